use meshprobe::config::Config;

use super::support::{agent, config, get, http, metrics, silent, value};

fn idle(name: &str) -> String {
    format!(
        "  - {{ name: {name}, tcp: {{}}, address: '127.0.0.1:1', interval: 24h, via: pod_ip }}\n"
    )
}

#[tokio::test]
async fn zero_counters_exist_before_the_first_attempt() {
    let agent = agent(&format!("targets:\n{}", idle("t"))).await;
    let page = metrics(&agent).await;
    for verdict in ["met", "violated", "inconclusive"] {
        let labels = [
            "probe=\"tcp\"",
            "target=\"t\"",
            "connection=\"cold\"",
            "via=\"pod_ip\"",
            &format!("verdict=\"{verdict}\""),
            "node=\"node-1\"",
            "zone=\"zone-a\"",
            "vantage=\"plain\"",
        ];
        assert_eq!(value(&page, "meshprobe_attempts_total", &labels), Some(0.0), "{page}");
    }
    for cause in ["late", "in_flight", "agent_in_flight"] {
        let labels = ["target=\"t\"", &format!("cause=\"{cause}\"")];
        assert_eq!(value(&page, "meshprobe_missed_slots_total", &labels), Some(0.0), "{page}");
    }
    assert_eq!(value(&page, "meshprobe_enforcement_gaps_total", &["target=\"t\""]), Some(0.0));
}

#[tokio::test]
async fn series_of_a_target_leave_with_it_and_no_others() {
    let server = http("200 OK", "").await;
    let stays =
        format!("  - {{ name: stays, http: {{}}, address: 'http://{server}/', interval: 20ms }}\n");
    let leaves = format!(
        "  - {{ name: leaves, http: {{}}, address: 'http://{server}/', interval: 20ms }}
  - {{ name: leaves/busy, tcp: {{}}, address: '{}', interval: 20ms, timeout: 10m }}\n",
        silent().await
    );
    let mut agent = agent(&format!("targets:\n{stays}{leaves}")).await;
    let mut attempts = agent.follow();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.insert(attempts.recv().await.expect("it goes on").target);
    }
    let before = metrics(&agent).await;
    assert!(before.contains("target=\"leaves\"") && before.contains("target=\"leaves/busy\""));
    assert_eq!(agent.apply(config(&format!("targets:\n{stays}"))).await, Ok(vec![]));
    let after = metrics(&agent).await;
    assert!(!after.contains("leaves"), "{after}");
    let duration = "meshprobe_attempt_duration_seconds_count";
    assert!(
        value(&after, duration, &["target=\"stays\""])
            >= value(&before, duration, &["target=\"stays\""])
    );
    let window = get(agent.admin_addr(), "/v1/window").await.body;
    assert!(!window.contains("leaves") && window.contains("stays"), "{window}");
}

#[tokio::test]
async fn a_target_that_changes_goes_on_counting_under_the_same_labels() {
    let server = http("200 OK", "").await;
    let with = |more: &str| -> Config {
        config(&format!("targets: [{{ name: t, address: '{server}', interval: 20ms, {more} }}]"))
    };
    let mut agent = agent(&format!(
        "targets: [{{ name: t, address: '{server}', interval: 20ms, http: {{}} }}]"
    ))
    .await;
    let mut attempts = agent.follow();
    assert!(attempts.recv().await.expect("an attempt").success);
    let met = |page: &str| value(page, "meshprobe_attempts_total", &["verdict=\"met\""]);
    agent.apply(with("http: {}, timeout: 1500ms")).await.expect("a good configuration");
    assert!(met(&metrics(&agent).await) >= Some(1.0));
    // Another kind of probe has other labels: nothing of the old is left.
    agent.apply(with("tls: {}, timeout: 1500ms")).await.expect("a good configuration");
    let page = metrics(&agent).await;
    assert!(!page.contains("probe=\"http\"") && page.contains("probe=\"tls\""), "{page}");
}

#[tokio::test]
async fn latencies_of_failures_are_in_no_histogram() {
    let mut agent =
        agent("targets: [{ name: t, tcp: {}, address: '127.0.0.1:1', interval: 20ms }]").await;
    let mut attempts = agent.follow();
    attempts.recv().await.expect("an attempt");
    let page = metrics(&agent).await;
    let refused = ["target=\"t\"", "phase=\"connect\"", "reason=\"refused\""];
    assert!(value(&page, "meshprobe_failures_total", &refused) >= Some(1.0), "{page}");
    assert!(!page.contains("meshprobe_phase_duration_seconds"), "{page}");
    assert!(!page.contains("meshprobe_attempt_duration_seconds"), "{page}");
}

#[tokio::test]
async fn histograms_are_cumulative_and_complete() {
    let server = http("200 OK", "").await;
    let mut agent = agent(&format!(
        "buckets: [0.000001, 30]
targets: [{{ name: t, http: {{}}, address: 'http://{server}/', interval: 20ms }}]"
    ))
    .await;
    let mut attempts = agent.follow();
    attempts.recv().await.expect("an attempt");
    let page = metrics(&agent).await;
    let name = "meshprobe_attempt_duration_seconds";
    let bucket = |le: &str| value(&page, &format!("{name}_bucket"), &[&format!("le=\"{le}\"")]);
    let count = value(&page, &format!("{name}_count"), &[]);
    assert!(count >= Some(1.0), "{page}");
    assert_eq!(
        (bucket("0.000001"), bucket("30"), bucket("+Inf")),
        (Some(0.0), count, count),
        "{page}"
    );
    assert!(value(&page, &format!("{name}_sum"), &[]) > Some(0.0));
}

#[tokio::test]
async fn warm_and_cold_attempts_are_different_series() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(1..) = stream.read(&mut [0; 4096]).await {
                    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(reply).await;
                }
            });
        }
    });
    let mut agent = agent(&format!(
        "targets: [{{ name: t, http: {{ keepalive: true }}, address: 'http://{server}/', interval: 20ms }}]"
    ))
    .await;
    let mut attempts = agent.follow();
    attempts.recv().await.expect("an attempt");
    let warm = ["connection=\"warm\"", "verdict=\"met\""];
    let page = metrics(&agent).await;
    assert!(value(&page, "meshprobe_attempts_total", &warm).is_some(), "zero from the start");
    attempts.recv().await.expect("an attempt");
    let page = metrics(&agent).await;
    assert!(value(&page, "meshprobe_attempts_total", &warm) >= Some(1.0), "{page}");
    let connect = ["connection=\"warm\"", "phase=\"connect\""];
    let name = "meshprobe_phase_duration_seconds_count";
    assert_eq!(value(&page, name, &connect), None, "a warm attempt does not connect");
    assert!(value(&page, name, &["connection=\"cold\"", "phase=\"connect\""]).is_some());
}
