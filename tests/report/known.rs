//! What is not known is neither nothing nor good.

use super::{Exit, Server, Value, good, ok, report};

/// The answer of one series a metric, each of one value at each instant that was asked for.
fn told_of(request: &str, series: &[(&str, f64)]) -> String {
    let body = request.rsplit("\r\n\r\n").next().unwrap_or_default();
    let pairs: std::collections::BTreeMap<_, _> =
        url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let number = |key: &str| pairs.get(key).map(|it| it.parse::<f64>().expect("a number") as i64);
    let result: Vec<Value> = series
        .iter()
        .map(|(node, value)| {
            let metric = serde_json::json!({"node": node});
            match number("start").zip(number("end")).zip(number("step")) {
                Some(((start, end), step)) => {
                    let times = (start..=end).step_by(step as usize);
                    let values: Vec<_> = times.map(|at| (at, value.to_string())).collect();
                    serde_json::json!({"metric": metric, "values": values})
                }
                None => {
                    serde_json::json!({"metric": metric, "value": (number("time"), value.to_string())})
                }
            }
        })
        .collect();
    let kind = if pairs.contains_key("start") { "matrix" } else { "vector" };
    let data = serde_json::json!({"resultType": kind, "result": result});
    serde_json::json!({"status": "success", "data": data}).to_string()
}

/// The query of a request; empty when it has none.
fn query(request: &str) -> String {
    let body = request.rsplit("\r\n\r\n").next().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(body.as_bytes());
    pairs.find(|(key, _)| key == "query").map(|(_, query)| query.into_owned()).unwrap_or_default()
}

fn corrupt() -> Option<(String, String)> {
    let body = r#"{"status":"error","error":"block is corrupt"}"#;
    Some(("500 Internal Server Error".to_owned(), body.to_owned()))
}

#[test]
fn a_node_whose_bad_attempts_are_not_known_is_not_told_as_perfect() {
    for (failing, told_nodes) in [("nothing", 1), ("slo_node_bad", 0), ("slo_node_total", 0)] {
        let server = Server::start(move |_, request| {
            let query = query(request);
            match () {
                () if query.contains(failing) => corrupt(),
                () if query.contains("slo_node_bad") => ok(told_of(request, &[("n1", 5.0)])),
                () if query.contains("slo_node_total") => ok(told_of(request, &[("n1", 50.0)])),
                () => ok(good(request)),
            }
        });
        let told = report(&server, &["-o", "json"]);
        assert_eq!(told.exit, Exit::Met, "{}", told.err);
        let json: Value = serde_json::from_str(&told.out).expect("JSON");
        let nodes = json["slos"][0]["nodes"].as_array().expect("a list");
        assert_eq!(nodes.len(), told_nodes, "{failing}: {nodes:?}");
        assert!(nodes.iter().all(|node| node["attained"] == 0.9), "{nodes:?}");
    }
}

#[test]
fn of_the_time_before_only_what_both_sides_were_answered_is_compared() {
    // The 40 days before these 40 are asked as 9 and as 31.
    for (failing, before, note) in [
        ("nothing", Some(0.99), ""),
        ("[12930m:1h]", Some(0.99), "1 counts of the time before cannot be"),
        ("[44610m:1h]", None, "Nothing is compared: 22 % of the time before is known"),
    ] {
        let server = Server::start(move |_, request| {
            let query = query(request);
            let fails = query.contains("slo_bad") && query.contains(failing);
            if fails { corrupt() } else { ok(good(request)) }
        });
        let told = report(&server, &["--from", "40d", "-o", "json"]);
        assert_eq!(told.exit, Exit::Met, "{}", told.err);
        let json: Value = serde_json::from_str(&told.out).expect("JSON");
        let slo = &json["slos"][0];
        let change = slo["whole"]["change"]["attained_before"].as_f64();
        assert_eq!(change, before, "{failing}: {}", told.out);
        assert!(slo["notes"].to_string().contains(note), "{failing}: {}", slo["notes"]);
    }
}

#[test]
fn several_series_of_one_budget_are_one_burn_rate() {
    let server = Server::start(|_, request| match query(request).as_str() {
        "meshprobe:slo_bad:increase1h{slo=\"calls\"}" => {
            ok(told_of(request, &[("n1", 10.0), ("n2", 20.0)]))
        }
        "meshprobe:slo_total:increase1h{slo=\"calls\"}" => {
            ok(told_of(request, &[("n1", 100.0), ("n2", 200.0)]))
        }
        _ => ok(good(request)),
    });
    let told = report(&server, &["-o", "json"]);
    let json: Value = serde_json::from_str(&told.out).expect("JSON");
    let burn = json["slos"][0]["whole"]["burn_rate_1h"].as_f64().expect("it is known");
    assert!((burn - 1.0).abs() < 1e-9, "{burn}");
}

/// A controller that diagnosed one thing so many seconds ago, until so many seconds ago.
fn controller(since: i64, until: i64) -> (Server, i64) {
    let now = time::OffsetDateTime::now_utc().replace_nanosecond(0).expect("0 is one");
    let stamp = |ago: i64| {
        let at = now - time::Duration::seconds(ago);
        at.format(&time::format_description::well_known::Rfc3339).expect("in range")
    };
    let (since, ended) = (stamp(since), stamp(until));
    let incident = serde_json::json!({"id": 1, "component": "ztunnel/n2", "fault": "dead", "since": since,
        "opened_at": since, "seen_at": ended, "closed_at": ended, "confidence": 0.9, "summary": "it is"});
    let body = serde_json::json!({"diagnoses": [], "explained_fraction": 1.0, "open": [], "closed": [incident]});
    let body = body.to_string();
    let server = Server::start(move |_, _| ok(body.clone()));
    (server, now.unix_timestamp() - until)
}

#[test]
fn what_an_incident_cost_is_asked_in_pieces_and_to_its_end() {
    let (server, _) = controller(60 * 86_400, 3600);
    let prometheus = Server::start(|_, request| ok(good(request)));
    let url = format!("http://{}", server.address);
    let told = report(&prometheus, &["--from", "61d", "--server", &url, "-o", "json"]);
    assert_eq!(told.exit, Exit::Met, "{}", told.err);
    let json: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(json["slos"][0]["incidents"][0]["bad"], 2.0 * 72.0, "{}", told.out);
    let range = regex::Regex::new(r"\[(\d+)(ms|m|d)").expect("a regex");
    let mut longest = 0;
    for request in prometheus.heard() {
        for found in range.captures_iter(&query(&request)) {
            let unit = match &found[2] {
                "ms" => 1,
                "m" => 60_000,
                _ => 86_400_000,
            };
            longest = longest.max(found[1].parse::<u64>().expect("a number") * unit);
        }
    }
    let day = 86_400_000;
    assert!((20 * day..=31 * day).contains(&longest), "{longest}");

    // The counters of agents do not look back as rates do.
    let (server, until) = controller(2 * 3600 + 47 * 60, 2 * 3600);
    let prometheus = Server::start(|_, request| match query(request) {
        query if query.contains("slo_") => ok(told_of(request, &[])),
        query if query.starts_with("count") => ok(told_of(request, &[("", 1.0)])),
        query if query.contains("\"violated\"") => ok(told_of(request, &[("", 3.0)])),
        _ => ok(told_of(request, &[("", 300.0)])),
    });
    let url = format!("http://{}", server.address);
    let told = report(&prometheus, &["--server", &url, "-o", "json"]);
    let json: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(json["slos"][0]["incidents"][0]["bad"], 3.0, "{}{}", told.err, told.out);
    let end = format!("end={until}.000");
    let heard = prometheus.heard();
    let asked = heard.iter().find(|it| query(it).contains("\"violated\"}[47m]"));
    assert!(asked.is_some_and(|it| it.contains(&end)), "{end}: {asked:?}");
}
