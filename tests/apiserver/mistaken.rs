//! What users get wrong, all of it at once: told by `check`, in a metric and as an Event on the object,
//! at no cost to what is right.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::chart::{change, mesh};
use super::controlled::Controlled;
use super::objects::{apply, service};
use super::support::eventually;

/// How long the slowest may take: an Event, once the Lease is held.
const PATIENCE: Duration = Duration::from_secs(90);

/// A name that does not exist, and one port that two entries claim.
const SERVICES: &str = "[{ namespace: default, name: nowhere }, \
                        { namespace: default, name: mirai-frontend, ports: [80] }, \
                        { namespace: default, name: mirai-frontend, ports: [http] }]";

/// Reason, and the object that the Event is on.
const MISTAKES: [(&str, &str, &str); 6] = [
    // What is not there has no Events: this one is on whoever was told to call it.
    ("ServiceNotFound", "Pod", "meshprobe-controller-0"),
    ("Conflict", "Service", "mirai-frontend"),
    ("PortNotFound", "Service", "cloudflared"),
    ("NoEndpoints", "Service", "empty"),
    ("BadAnnotation", "Service", "prometheus"),
    ("BadLabel", "Pod", "meshprobe-agent-1"),
];

#[tokio::test]
async fn every_mistake_is_told_three_times_and_the_rest_of_the_plan_is_as_before() {
    let (plane, client) = mesh(2).await;
    err(&client).await;
    let controlled = Controlled::start_with(&plane, SERVICES).await;

    let shown = eventually("all findings", PATIENCE, || async {
        let output = controlled.check(&["-o", "short"]);
        let shown = String::from_utf8(output.stdout).expect("UTF-8");
        let all = MISTAKES.iter().all(|(reason, ..)| shown.contains(&format!(": {reason}\n")));
        (all && output.status.code() == Some(2)).then_some(shown)
    });
    let shown = shown.await;
    assert!(shown.contains("× Service default/nowhere: ServiceNotFound"), "{shown}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");

    let page = controlled.page("/metrics").await;
    for (reason, ..) in MISTAKES {
        let series = format!("meshprobe_controller_findings{{reason=\"{reason}\"}} 1\n");
        assert!(page.contains(&series), "{series}{page}");
    }

    let expected: BTreeSet<_> =
        MISTAKES.map(|told| <[&str; 3]>::from(told).map(str::to_owned)).into();
    eventually("all Events", PATIENCE, || async {
        (events(&client).await == expected).then_some(())
    })
    .await;

    let plan = "/v1/plan?node=node-0&vantage=plain&pod=meshprobe-agent-0";
    let plan: Value = controlled.nodes(plan).await;
    let targets = plan["config"]["targets"].as_array().expect("a list");
    let names: BTreeSet<_> = targets.iter().filter_map(|target| target["name"].as_str()).collect();
    for name in
        ["peer/node-1", "canary/node-1", "service/default/mirai-frontend:80/mirai-frontend-1"]
    {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
    for name in ["empty", "prometheus", "cloudflared", "nowhere"] {
        assert!(!names.iter().any(|it| it.contains(name)), "{name} is in {names:?}");
    }
}

/// Makes every mistake that is made in objects.
async fn err(client: &Client) {
    let probe =
        |value: &str| json!({ "metadata": { "annotations": { "meshprobe.dev/probe": value } } });
    let named = |namespace: &str, name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": namespace, "name": name },
        })
    };
    change(client, &named("ingress", "cloudflared"), &probe("81")).await;
    let hostile = "\u{7}\u{1b}[2Jx\n".repeat(20_000);
    change(client, &named("monitoring", "prometheus"), &probe(&hostile)).await;
    let mut empty = service("default", "empty", json!({ "app": "empty" }), &[("", "TCP", 80, 80)]);
    empty["metadata"]["annotations"] = json!({ "meshprobe.dev/probe": "true" });
    apply(client, &empty).await;
    let agent = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": "meshprobe-ambient", "name": "meshprobe-agent-1" },
    });
    let label = json!({ "metadata": { "labels": { "meshprobe.dev/vantage": "sideways" } } });
    change(client, &agent, &label).await;
}

/// Reason, kind and name of what the controller's Events are about.
async fn events(client: &Client) -> BTreeSet<[String; 3]> {
    let all = Api::<Event>::all(client.clone()).list(&ListParams::default()).await;
    let all = all.expect("the administrator may").items.into_iter();
    let ours = all
        .filter(|event| event.reporting_controller.as_deref() == Some("meshprobe.dev/controller"));
    ours.map(|event| {
        let object = event.regarding.unwrap_or_default();
        [event.reason, object.kind, object.name].map(Option::unwrap_or_default)
    })
    .collect()
}
