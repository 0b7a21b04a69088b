//! The page of an instant that a real Prometheus holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use meshprobe::diagnosis::{self, Topology};
use meshprobe::gate::{Report, Scope};
use meshprobe::net::Resolver;
use meshprobe::observation::Observation;
use meshprobe::page::{Known, Node, Pages, Past, Source, Whose, past};
use meshprobe::promql;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::real::prometheus::agent::Agent;
use crate::real::prometheus::fixture::Prometheus;
use crate::real::support::eventually;

const RULES: &str = include_str!("../../../deploy/helm/meshprobe/files/records.yaml");
/// How long a series may take from its target into an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One who knows nothing but what Prometheus holds.
struct Scraped(promql::Prometheus);

impl Source for Scraped {
    async fn known(&self) -> Known {
        Known::blind("only the past is known", OffsetDateTime::now_utc())
    }

    async fn past(&self, at: OffsetDateTime) -> Result<Past, String> {
        let zone = Some("a".to_owned());
        let name = "node-a".to_owned();
        let nodes = vec![diagnosis::Node { name: name.clone(), zone: zone.clone() }];
        let nodes_known = BTreeMap::from([(name, Node { zone, ..Node::default() })]);
        let topology = Topology { nodes, ..Topology::default() };
        past(&self.0, topology, nodes_known, at, OffsetDateTime::now_utc()).await
    }

    async fn gate(&self, _scope: Scope) -> Result<Report, String> {
        Err("nothing is judged".to_owned())
    }

    async fn windows(&self, _whose: Whose) -> Vec<Observation> {
        Vec::new()
    }
}

async fn page(pages: &Arc<Pages<Scraped>>, path: &str, at: OffsetDateTime) -> (u16, String) {
    let at = at.replace_nanosecond(0).expect("0 is in range").format(&Rfc3339).expect("a year");
    let uri = format!("{path}at={at}").parse().expect("a URI");
    let reply = pages.answer(&uri).await.expect("a page");
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.expect("whole").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn an_instant_that_prometheus_holds_is_shown_as_it_was_and_another_is_unknown() {
    let agent = Agent::start().await;
    let rules = RULES.replace("interval: 15s", "interval: 1s");
    let prometheus = Prometheus::with_rules(&agent.job(), &rules).await;
    let resolver = Arc::new(Resolver::with_nameservers(Vec::new(), Default::default()));
    let url = format!("http://{}/", prometheus.address);
    let reader = promql::Prometheus::new(&url, None, resolver).expect("a URL");
    let pages = Arc::new(Pages::new(Scraped(reader), TaskTracker::new(), CancellationToken::new()));
    let (then, shown) = eventually("a broken path", PATIENCE, || async {
        let then = OffsetDateTime::now_utc();
        let (status, shown) = page(&pages, "/?", then).await;
        // The first failure of a target has no series before it: its reason comes with the next.
        (status == 200 && shown.contains("tone v")).then_some((then, shown))
    })
    .await;
    assert!(shown.contains("<h1>workload meshprobe/gone is dead"), "{shown}");
    assert!(shown.contains("Whether STRICT was safe then is not known"), "{shown}");
    assert!(shown.contains("What was an incident then is not known"), "{shown}");
    assert!(!shown.contains("data-events"), "what is over does not change");
    let (_, node) = page(&pages, "/node?name=node-a&", then).await;
    assert!(node.contains("The plain agent is heard") && node.contains("refused"), "{node}");

    let (status, before) = page(&pages, "/?", then - Duration::from_secs(86_400)).await;
    assert_eq!(status, 502);
    assert!(before.contains("unknown: that instant cannot be told"), "{before}");
    assert!(before.contains("holds no attempts") && !before.contains("tone m"), "{before}");
    let (_, after) = page(&pages, "/?", then + Duration::from_secs(86_400)).await;
    assert!(after.contains("That instant is to come."), "{after}");
}
