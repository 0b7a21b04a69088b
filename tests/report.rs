//! `meshprobe report slo` at a server that is no good Prometheus: slow, busy, guarded, something
//! else, or one that tells only a part. How one that is good is read is in `tests/real`.

#[path = "report/known.rs"]
mod known;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use meshprobe::cli::{Exit, World, run};
use serde_json::Value;
use tempfile::TempDir;

const SLOS: &str = "slos:
- { name: calls, objective: 90%, window: 1d, sli: availability }
";

/// A server of HTTP that answers as `answer` says, one request a connection; ends with its process.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` gets the number of the request and its text, and gives status line and headers, and
    /// the body; `None` says nothing for ever.
    fn start(answer: impl Fn(usize, &str) -> Option<(String, String)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let request = request(&mut stream);
                let number = {
                    let mut heard = heard.lock().expect("no panic while held");
                    heard.push(request.clone());
                    heard.len()
                };
                match answer(number, &request) {
                    Some((head, body)) => {
                        let length = body.len();
                        let text =
                            format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
                        // Who asked may be gone already.
                        let _ = stream.write_all(text.as_bytes());
                    }
                    None => silent.push(stream),
                }
            }
        });
        Self { address, requests }
    }

    fn always(head: &'static str, body: &'static str) -> Self {
        Self::start(move |_, _| Some((head.to_owned(), body.to_owned())))
    }

    fn heard(&self) -> Vec<String> {
        self.requests.lock().expect("no panic while held").clone()
    }
}

/// One request, read whole.
fn request(stream: &mut TcpStream) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let is_whole = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
        })
    };
    while !is_whole(&bytes) {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend(&buffer[..read]),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Told {
    exit: Exit,
    out: String,
    err: String,
}

fn told(arguments: &[&str]) -> Told {
    let arguments = ["meshprobe", "report", "slo"].iter().chain(arguments).map(Into::into);
    let world = World { arguments: arguments.collect(), ..World::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(world, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Told { exit, out: text(out), err: text(err) }
}

fn written(name: &str, text: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("writable");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("writable");
    let path = path.to_str().expect("UTF-8").to_owned();
    (dir, path)
}

fn report(server: &Server, flags: &[&str]) -> Told {
    let (_dir, config) = written("config.yaml", SLOS);
    let url = format!("http://{}", server.address);
    told(&[&["--prometheus", &url, "--config", &config], flags].concat())
}

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

/// What a Prometheus answers that knows two attempts a second for a day, one in a hundred bad.
fn good(request: &str) -> String {
    let body = request.rsplit("\r\n\r\n").next().unwrap_or_default();
    let pairs: std::collections::BTreeMap<_, _> =
        url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    if !request.starts_with("POST /api/v1/query_range") {
        return EMPTY.to_owned();
    }
    let number = |key: &str| pairs[key].parse::<f64>().expect("a number") as i64;
    let value = match pairs["query"].as_str() {
        query if query.starts_with("count_over_time") => 12,
        query if query.starts_with("count") => 1,
        query if query.contains("slo_bad") => 72,
        query if query.contains("slo_total") => 7200,
        query if query.contains("slo_inconclusive") => 0,
        _ => {
            return r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned();
        }
    };
    let times = (number("start")..=number("end")).step_by(number("step") as usize);
    let values: Vec<Value> = times.map(|at| serde_json::json!([at, value.to_string()])).collect();
    let result = serde_json::json!([{"metric": {}, "values": values}]);
    serde_json::json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
        .to_string()
}

fn ok(body: String) -> Option<(String, String)> {
    Some(("200 OK".to_owned(), body))
}

#[test]
fn one_that_says_nothing_is_asked_again_and_given_up() {
    let server = Server::start(|_, _| None);
    let told = report(&server, &["--timeout", "1s", "--retries", "1"]);
    assert_eq!(told.exit, Exit::CouldNotRun);
    assert!(told.err.contains("no answer within 1s"), "{}", told.err);
    assert_eq!(server.heard().len(), 2);
    assert!(told.out.is_empty());
}

#[test]
fn one_that_is_busy_is_asked_again_until_it_answers() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "504 Gateway Timeout"] {
        let server = Server::start(move |number, request| match number {
            1 | 2 => Some((format!("{status}\r\nretry-after: 0"), "busy".to_owned())),
            _ => ok(good(request)),
        });
        let told = report(&server, &[]);
        assert_eq!(told.exit, Exit::Met, "{}{}", told.err, told.out);
        assert!(told.out.contains("99 % of test calls went as they must"), "{}", told.out);

        let server = Server::start(move |_, _| {
            Some((format!("{status}\r\nretry-after: 0"), "too busy".to_owned()))
        });
        let told = report(&server, &["--retries", "2"]);
        assert_eq!((told.exit, server.heard().len()), (Exit::CouldNotRun, 3));
        assert!(told.err.contains("too busy"), "{}", told.err);
    }
}

#[test]
fn what_another_try_does_not_mend_is_asked_once() {
    for (head, body, said) in [
        ("200 OK", "<html>Welcome</html>", "the answer is none of Prometheus's"),
        ("200 OK", r#"{"status":"success","data":{"resul"#, "the answer is none of Prometheus's"),
        ("200 OK", r#"{"status":"success"}"#, "refused with status 200"),
        ("404 Not Found", "<html>nginx</html>", "is that a Prometheus"),
        ("401 Unauthorized", "no", "--bearer-token-file or --basic-auth-file"),
        ("403 Forbidden", "no", "--bearer-token-file or --basic-auth-file"),
        (
            "422 Unprocessable Entity",
            r#"{"status":"error","error":"too many samples"}"#,
            "too many samples",
        ),
    ] {
        let server = Server::always(head, body);
        let told = report(&server, &[]);
        assert_eq!(told.exit, Exit::CouldNotRun, "{head}: {}", told.out);
        assert!(told.err.contains(said), "{head}: {}", told.err);
        assert_eq!(server.heard().len(), 1, "{head}");
        assert!(told.out.is_empty());
    }
}

#[test]
fn nobody_at_all_is_told() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    let server = Server { address: closed, requests: Arc::default() };
    let told = report(&server, &["--retries", "0"]);
    assert_eq!(told.exit, Exit::CouldNotRun);
    assert!(told.err.contains("refused"), "{}", told.err);
}

#[test]
fn credentials_are_sent_as_their_files_hold_them() {
    let (_dir, token) = written("token", "abc.def\n");
    let server = Server::start(|_, request| ok(good(request)));
    let told = report(&server, &["--bearer-token-file", &token]);
    assert_eq!(told.exit, Exit::Met, "{}", told.err);
    assert!(server.heard().iter().all(|it| it.contains("\r\nauthorization: Bearer abc.def\r\n")));

    let server = Server::start(|_, request| ok(good(request)));
    let (_dir, password) = written("password", "user:pass:word\n");
    report(&server, &["--basic-auth-file", &password]);
    // RFC 7617: the password is all behind the first colon.
    assert!(
        server
            .heard()
            .iter()
            .all(|it| it.contains("\r\nauthorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"))
    );

    let told = report(&server, &["--bearer-token-file", "/nowhere/token"]);
    assert_eq!(told.exit, Exit::CouldNotRun);
    assert!(told.err.contains("/nowhere/token: No such file"), "{}", told.err);
}

#[test]
fn a_part_that_is_not_answered_is_missing_and_said_to_be() {
    let server = Server::start(|_, request| {
        let bad = "500 Internal Server Error".to_owned();
        let body = r#"{"status":"error","error":"block is corrupt"}"#.to_owned();
        if request.contains("slo_node_") { Some((bad, body)) } else { ok(good(request)) }
    });
    let told = report(&server, &["-o", "json"]);
    assert_eq!(told.exit, Exit::Met, "{}", told.err);
    let slo: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(slo["slos"][0]["nodes"].as_array().map(Vec::len), Some(0));
    assert!(told.out.contains("A part is missing, which Prometheus did not answer: refused with status 500: block is corrupt"));
}

#[test]
fn a_warning_of_prometheus_reaches_the_reader() {
    let server = Server::start(|_, request| {
        ok(good(request).replacen('{', r#"{"warnings":["a store is away"],"#, 1))
    });
    let told = report(&server, &[]);
    assert_eq!(told.exit, Exit::Met, "{}", told.err);
    let warned = "Prometheus warns that this may not be all: a store is away";
    assert_eq!(told.out.matches(warned).count(), 1, "{}", told.out);
}

#[test]
fn numbers_that_cannot_be_are_a_hole_and_no_result() {
    for (bad, total) in [("9000", "7200"), ("NaN", "7200"), ("-5", "7200"), ("1", "+Inf")] {
        let server = Server::start(move |_, request| {
            let body = good(request);
            ok(body
                .replace("\"72\"", &format!("\"{bad}\""))
                .replace("\"7200\"", &format!("\"{total}\"")))
        });
        let told = report(&server, &["-o", "json"]);
        assert_eq!(told.exit, Exit::Inconclusive, "{bad} of {total}: {}{}", told.err, told.out);
        let json: Value = serde_json::from_str(&told.out).expect("JSON");
        assert!(json["slos"][0]["whole"]["attained"].is_null());
        assert!(told.out.contains("are left out"), "{}", told.out);
    }
}

#[test]
fn a_clock_that_is_off_is_told() {
    let server = Server::start(|_, request| {
        let date = "200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT".to_owned();
        Some((date, good(request)))
    });
    let told = report(&server, &[]);
    assert!(told.out.contains("The clock of Prometheus is "), "{}", told.out);
    assert!(told.out.contains(" s behind this machine's"), "{}", told.out);
}

#[test]
fn usage_that_cannot_be_meant_is_told_before_anybody_is_asked() {
    let server = Server::always("200 OK", EMPTY);
    for (flags, said) in [
        (&["--from", "yesterday"][..], "2026-05-01T00:00:00Z"),
        (
            &["--from", "1h", "--to", "2020-01-01T00:00:00Z", "--compare", "1d"],
            "previous or FROM..TO",
        ),
        (&["--to", "2099-01-01T00:00:00Z"], "--to is still to come"),
        (
            &["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
            "--from is not before --to",
        ),
        (&["--compare", "2026-01-02T00:00:00Z..2026-01-01T00:00:00Z"], "FROM is not before TO"),
        (&["--slo", "other"], "config.yaml has calls"),
        (&["--node", "n1"], "select.node"),
        (&["--timeout", "1ms"], "from 1s to 10m"),
        (&["--bearer-token-file", "a", "--basic-auth-file", "b"], "cannot be used with"),
    ] {
        let told = report(&server, flags);
        assert_eq!(told.exit, Exit::Usage, "{flags:?}: {}", told.out);
        assert!(told.err.contains(said), "{flags:?}: {}", told.err);
    }
    assert!(server.heard().is_empty());
    let (_dir, config) = written("config.yaml", SLOS);
    let told = self::told(&["--prometheus", "https://a.example", "--config", &config]);
    assert_eq!(told.exit, Exit::Usage);
    assert!(told.err.contains("TLS is not spoken here"), "{}", told.err);
    let url = "http://admin:hunter2@prometheus:9090";
    let told = self::told(&["--prometheus", url, "--config", &config]);
    assert_eq!(told.exit, Exit::Usage);
    assert!(told.err.contains("--prometheus <secret>: must be http://"), "{}", told.err);
    assert!(!told.err.contains("hunter2") && !told.out.contains("hunter2"), "{}", told.err);
}

/// What a controller answers.
const OF_A_CONTROLLER: &str = r#"{"at":"2026-05-01T12:00:00Z","source":"a controller","notes":["minutes only"],"slos":[
{"name":"calls","objective":0.99,"window":"30d","sli":"attempts","period":{"from":"2026-05-01T11:55:00Z","to":"2026-05-01T12:00:00Z"},
"standing":"missed","sentence":"In the last 5 min: 90 %.","whole":{"bad":10.0,"total":100.0,"inconclusive":0.0,"standing":"missed",
"attained":0.9,"budget_left":-9.0,"covered":1.0,"either":{"p50":{"seconds":0.01},"p90":{"seconds":0.02},"p99":{"seconds":0.4}}},
"group_by":[],"groups":[],"nodes":[],"zones":[],"phases":[],"steps":[],"holes":[],"spells":[],
"incidents":[{"component":"ztunnel/n2","fault":"dead","summary":"it is","since":"2026-05-01T11:56:00Z"}],"notes":[]}]}"#;

#[test]
fn a_controller_tells_of_its_last_minutes() {
    let server = Server::always("200 OK", OF_A_CONTROLLER);
    let url = format!("http://{}", server.address);
    let table = told(&["--server", &url]);
    assert_eq!(table.exit, Exit::Violated, "{}", table.err);
    assert!(server.heard()[0].starts_with("GET /v1/slo "), "{:?}", server.heard());
    for text in
        ["In the last 5 min: 90 %.", "10.0 ms", "ztunnel/n2 dead", "goes on", "minutes only"]
    {
        assert!(table.out.contains(text), "{text}: {}", table.out);
    }
    let json = told(&["--server", &url, "-o", "json"]);
    let (told_again, first): (Value, Value) = (
        serde_json::from_str(&json.out).expect("JSON"),
        serde_json::from_str(OF_A_CONTROLLER).expect("JSON"),
    );
    assert_eq!(told_again, first, "what is not known stays absent");

    let other = told(&["--server", &url, "--slo", "other"]);
    assert_eq!(other.exit, Exit::Usage);
    let wrong = told(&["--server", &format!("http://{}", Server::always("200 OK", "[]").address)]);
    assert_eq!(wrong.exit, Exit::CouldNotRun);
    assert!(wrong.err.contains("that is no answer of a controller"), "{}", wrong.err);
}
