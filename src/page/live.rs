//! The events that keep a page live (server-sent events): the sections that changed, whole.
//!
//! A few clients at once; each has its own page, and all of them what is known in common.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::page::answer::{PageBody, Pages, guard, reply};
use crate::page::html::{Rendered, Section};
use crate::page::known::Source;
use crate::page::query::Query;

/// When clients are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm {
    /// Time between two looks at what changed.
    every: Duration,
    /// Who reads nothing for so long has left.
    patience: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        // As often as a controller concludes.
        Self { every: Duration::from_secs(2), patience: Duration::from_secs(10) }
    }
}

/// Events that wait for a client that reads slowly.
const WAITING: usize = 2;
const KIND: &str = "text/event-stream";
const PLAIN: &str = "text/plain; charset=utf-8";

impl<S: Source> Pages<S> {
    /// Tells a client what changes on the page of `query`, until it leaves or reads no more.
    pub(super) fn follow(self: &Arc<Self>, query: Query) -> Response<PageBody> {
        if query.at.is_some() {
            return reply(StatusCode::BAD_REQUEST, PLAIN, "what is over does not change\n");
        }
        let Ok(place) = Arc::clone(&self.followers).try_acquire_owned() else {
            // The browser would ask again and again if this were an error.
            return reply(StatusCode::OK, KIND, event("full", "{}"));
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        let pages = Arc::clone(self);
        self.tasks.spawn(async move {
            let stop = pages.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = pages.tell(&query, &sender, place) => {}
            }
        });
        let mut reply = Response::new(PageBody::Events(receiver));
        guard(&mut reply, KIND);
        reply
    }

    async fn tell(
        &self,
        query: &Query,
        sender: &mpsc::Sender<Bytes>,
        _place: OwnedSemaphorePermit,
    ) {
        let mut told = Told::default();
        let Rhythm { every, patience } = self.rhythm;
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sender.closed() => return,
                _ = looks.tick() => {}
            }
            let Ok(rendered) = self.render(query).await else { return };
            let news = Bytes::from(event("page", &told.news(&rendered)));
            let deadline = Instant::now() + patience;
            let Ok(Ok(())) = timeout_at(deadline, sender.send(news)).await else { return };
        }
    }
}

/// What a client was told already.
#[derive(Default)]
struct Told(HashMap<&'static str, String>);

impl Told {
    /// What of `rendered` is new, as JSON: `title`, and `sections` by id. Never nothing, so that a
    /// client knows that it is still told.
    fn news(&mut self, rendered: &Rendered) -> String {
        let Rendered { title, sections } = rendered;
        let mut news = serde_json::Map::new();
        for Section { id, html } in sections {
            if self.0.get(id) != Some(html) {
                news.insert((*id).to_owned(), html.clone().into());
                self.0.insert(id, html.clone());
            }
        }
        json!({ "title": title, "sections": news }).to_string()
    }
}

/// An event; `data` is JSON, and therefore one line.
fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use http_body_util::BodyExt;
    use time::OffsetDateTime;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::gate::{Report, Scope};
    use crate::observation::Observation;
    use crate::page::answer::MOST_FOLLOWERS;
    use crate::page::known::{Known, Past, Whose};

    fn rendered(verdict: &str, paths: &str) -> Rendered {
        let section = |id, html: &str| Section { id, html: html.to_owned() };
        let sections = vec![section("verdict", verdict), section("paths", paths)];
        Rendered { title: "t".to_owned(), sections }
    }

    fn told(news: &str) -> Vec<String> {
        let news: serde_json::Value = serde_json::from_str(news).expect("JSON");
        news["sections"].as_object().expect("sections").keys().cloned().collect()
    }

    #[test]
    fn a_client_is_told_everything_once_and_then_what_changed() {
        let mut client = Told::default();
        assert_eq!(told(&client.news(&rendered("a", "b"))), ["paths", "verdict"]);
        assert_eq!(told(&client.news(&rendered("a", "b"))), [""; 0]);
        assert_eq!(told(&client.news(&rendered("a", "c"))), ["paths"]);
    }

    struct Nothing;

    impl Source for Nothing {
        async fn known(&self) -> Known {
            Known::blind("it is a test", OffsetDateTime::UNIX_EPOCH)
        }

        async fn past(&self, _at: OffsetDateTime) -> Result<Past, String> {
            Err("nothing was".to_owned())
        }

        async fn gate(&self, _scope: Scope) -> Result<Report, String> {
            Err("nothing is judged".to_owned())
        }

        async fn windows(&self, _whose: Whose) -> Vec<Observation> {
            Vec::new()
        }
    }

    async fn first(reply: Response<PageBody>) -> (String, PageBody) {
        let mut body = reply.into_body();
        let frame = body.frame().await.expect("an event").expect("no error");
        let data = frame.into_data().expect("data");
        (String::from_utf8(data.to_vec()).expect("text"), body)
    }

    #[tokio::test]
    async fn who_comes_when_too_many_follow_is_told_so_and_has_a_place_when_one_leaves() {
        let stop = CancellationToken::new();
        let pages = Arc::new(Pages::new(Nothing, TaskTracker::new(), stop.clone()));
        let events: Uri = "/events?".parse().expect("a URI");
        let mut following = Vec::new();
        for _ in 0..MOST_FOLLOWERS {
            let (event, body) = first(pages.answer(&events).await.expect("events")).await;
            assert!(event.starts_with("event: page\n"), "{event}");
            following.push(body);
        }
        let (event, _) = first(pages.answer(&events).await.expect("events")).await;
        assert_eq!(event, "event: full\ndata: {}\n\n");
        following.pop();
        let place = pages.followers.acquire().await.expect("never closed");
        drop(place);
        let (event, _) = first(pages.answer(&events).await.expect("events")).await;
        assert!(event.starts_with("event: page\n"), "{event}");
        // The end of the server is the end of the events.
        stop.cancel();
        for mut body in following {
            while let Some(frame) = body.frame().await {
                frame.expect("no error");
            }
        }
    }

    #[tokio::test]
    async fn who_reads_nothing_gives_its_place_back() {
        let mut pages = Pages::new(Nothing, TaskTracker::new(), CancellationToken::new());
        let moment = Duration::from_millis(20);
        pages.rhythm = Rhythm { every: moment, patience: moment };
        let pages = Arc::new(pages);
        let uri = "/events?".parse().expect("a URI");
        let unread = pages.answer(&uri).await.expect("events");
        let all = pages.followers.acquire_many(MOST_FOLLOWERS as u32);
        let deadline = Instant::now() + Duration::from_secs(60);
        drop(timeout_at(deadline, all).await.expect("a place").expect("never closed"));
        let mut body = unread.into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("no error");
        }
    }

    #[tokio::test]
    async fn those_who_ask_for_the_same_are_shown_the_same_as_long_as_nothing_else_is_known() {
        let pages = Pages::new(Nothing, TaskTracker::new(), CancellationToken::new());
        let known = || Arc::new(Known::blind("it is a test", OffsetDateTime::UNIX_EPOCH));
        let (first, next) = (known(), known());
        let other = Query::default().node("a");
        let show = async |query: &Query, known: &Arc<Known>| {
            let shown = pages.shown(query, Arc::clone(known), Vec::new(), None).await;
            shown.expect("a page")
        };
        let query = Query::default();
        let shown = show(&query, &first).await;
        assert!(Arc::ptr_eq(&shown, &show(&query, &first).await));
        assert!(!Arc::ptr_eq(&shown, &show(&other, &first).await), "another page");
        assert!(!Arc::ptr_eq(&shown, &show(&query, &next).await), "something else is known");
    }

    #[tokio::test]
    async fn an_instant_that_cannot_be_told_is_unknown_and_says_why() {
        let pages = Arc::new(Pages::new(Nothing, TaskTracker::new(), CancellationToken::new()));
        let uri: Uri = "/?at=2026-01-01T00:00:00Z".parse().expect("a URI");
        let reply = pages.answer(&uri).await.expect("a page");
        assert_eq!(reply.status(), StatusCode::BAD_GATEWAY);
        let (page, _) = first(reply).await;
        assert!(page.contains("unknown: that instant cannot be told"), "{page}");
        assert!(page.contains("nothing was") && !page.contains("data-events"), "{page}");
        assert!(pages.answer(&"/v1/nodes".parse().expect("a URI")).await.is_none());
    }

    #[test]
    fn an_event_is_one_line_whatever_a_name_contains() {
        let news = Told::default().news(&rendered("a\n\nevent: evil\ndata: x", "b\r"));
        let event = event("page", &news);
        assert_eq!(event.lines().count(), 3);
        assert!(!event.contains("\r"));
    }
}
