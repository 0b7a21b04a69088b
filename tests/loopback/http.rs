use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION};
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::{HttpModule, HttpVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::http_support::{
    End, ask, good, h2c, matching, module, probe, read_head, scripted, serve, status_of, text,
};
use super::support::{assert_failed, server};

/// Answers with the request as it came: line, then headers in order.
async fn mirror(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut seen = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        seen += &format!("{name}: {}\n", value.to_str().expect("ASCII"));
    }
    let body = request.into_body().collect().await.expect("a whole body").to_bytes();
    seen += &String::from_utf8_lossy(&body);
    text(seen)
}

#[tokio::test]
async fn a_response_is_timed_from_request_to_first_and_last_byte() {
    let address = good(|_| async { text("hello") }).await;
    let outcome = ask(module(), address).await;
    assert_eq!(status_of(&outcome), 200);
    let http = outcome.facts.http.expect("a response");
    assert_eq!((http.version, http.body_bytes, http.content_length), ("HTTP/1.1", 5, Some(5)));
    assert_eq!(outcome.facts.remote_address, Some(address));
    assert_eq!(outcome.facts.warm, None);
    assert!(outcome.facts.tcp.is_some());
    assert!(outcome.reply_bytes > 5);
    for phase in [Phase::Connect, Phase::Processing, Phase::Transfer] {
        assert!(outcome.phases.of(phase).is_some(), "{phase}");
    }
    assert_eq!(outcome.phases.of(Phase::Resolve), None);
    assert_eq!(outcome.phases.of(Phase::Tls), None);
    assert!(outcome.phases.total() <= outcome.duration);
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_spoken_when_asked_for() {
    let address = good(mirror).await;
    let module = matching(h2c(), r"^GET http://127.0.0.1:\d+/a\?b HTTP/2.0\n");
    let outcome = ask(module, format!("http://{address}/a?b")).await;
    assert_eq!(status_of(&outcome), 200);
    assert_eq!(outcome.facts.http.expect("a response").version, "HTTP/2");
    assert!(outcome.phases.of(Phase::Processing).is_some());
    assert!(outcome.phases.total() <= outcome.duration);
}

#[tokio::test]
async fn any_status_is_a_complete_response() {
    for status in [204, 304, 404, 500] {
        let address = good(move |_| async move {
            let mut response = text("");
            *response.status_mut() = http::StatusCode::from_u16(status).expect("valid");
            response
        })
        .await;
        assert_eq!(status_of(&ask(module(), address).await), status);
        assert_eq!(status_of(&ask(h2c(), address).await), status);
    }
}

#[tokio::test]
async fn the_request_carries_what_was_stated_and_no_more() {
    let address = good(mirror).await;
    let stated = HttpModule {
        method: Method::POST,
        body: Some(b"the body".to_vec()),
        headers: vec![
            (HeaderName::from_static("x-one"), HeaderValue::from_static("1")),
            (HeaderName::from_static("x-one"), HeaderValue::from_static("2")),
            (HOST, HeaderValue::from_static("stated.example:81")),
        ],
        ..module()
    };
    let agent = concat!("user-agent: meshprobe/", env!("CARGO_PKG_VERSION"));
    let http1 = format!(
        "^POST /p HTTP/1.1\nhost: stated.example:81\n{agent}\nx-one: 1\nx-one: 2\n\
         connection: close\ncontent-length: 8\nthe body$"
    );
    let url = format!("http://{address}/p#fragment");
    assert_eq!(status_of(&ask(matching(stated.clone(), &http1), &url).await), 200);
    let http2 = format!(
        "^POST http://stated.example:81/p HTTP/2.0\n{agent}\nx-one: 1\nx-one: 2\n\
         content-length: 8\nthe body$"
    );
    let stated = HttpModule { version: HttpVersion::Http2, ..stated };
    assert_eq!(status_of(&ask(matching(stated, &http2), &url).await), 200);
}

#[tokio::test]
async fn a_large_request_body_arrives_whole() {
    let address = good(|request| async {
        let body = request.into_body().collect().await.expect("a whole body").to_bytes();
        text(body.len().to_string())
    })
    .await;
    for module in [module(), h2c()] {
        let body = Some(vec![b'x'; 3_000_000]);
        let posted = HttpModule { method: Method::POST, body, ..module };
        let outcome = ask(matching(posted, "^3000000$"), address).await;
        assert_eq!(status_of(&outcome), 200);
    }
}

#[tokio::test]
async fn a_line_break_in_an_address_reaches_no_header() {
    let address = good(mirror).await;
    let url = format!("http://{address}/a\r\nx-injected: 1?b=c\nd e|\"^`{{}}");
    let module = matching(module(), r"^GET /ax-injected:%201\?b=cd%20e\S* HTTP/1.1\n(?s).*$");
    let outcome = ask(module, url).await;
    assert_eq!(status_of(&outcome), 200);
}

#[tokio::test]
async fn a_body_is_matched_when_a_regex_is_stated() {
    let address = good(|_| async { text("all is well") }).await;
    for module in [module(), h2c()] {
        assert_eq!(status_of(&ask(matching(module.clone(), "is well$"), address).await), 200);
        let outcome = ask(matching(module, "is ill$"), address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::BodyMismatch);
        assert_eq!(outcome.facts.http.expect("a response").status, 200);
    }
}

#[tokio::test]
async fn head_has_no_body_whatever_the_length_says() {
    let address = scripted(
        "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\nContent-Encoding: gzip\r\n\r\n",
        End::Fin,
    )
    .await;
    let module = HttpModule { method: Method::HEAD, decompress: true, ..module() };
    let outcome = ask(module, address).await;
    assert_eq!(status_of(&outcome), 200);
    let http = outcome.facts.http.expect("a response");
    assert_eq!((http.body_bytes, http.content_length), (0, Some(999_999_999)));
    assert_eq!(http.decompressed_bytes, None);
}

#[tokio::test]
async fn chunks_and_trailers_are_a_complete_response() {
    let address = scripted(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Sum: 7\r\nX-Other: 8\r\n\r\n",
        End::Fin,
    )
    .await;
    let outcome = ask(matching(module(), "^abcdefg$"), address).await;
    assert_eq!(status_of(&outcome), 200);
    let http = outcome.facts.http.expect("a response");
    assert_eq!((http.body_bytes, http.trailers, http.content_length), (7, 2, None));
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let address = scripted("HTTP/1.0 200 OK\r\n\r\nto the end", End::Fin).await;
    let outcome = ask(matching(module(), "^to the end$"), address).await;
    assert_eq!(status_of(&outcome), 200);
    assert_eq!(outcome.facts.http.expect("a response").version, "HTTP/1.0");
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let address = scripted(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        End::Fin,
    )
    .await;
    assert_eq!(status_of(&ask(module(), address).await), 200);
}

#[tokio::test]
async fn ipv6_is_asked_by_its_literal() {
    let listener = TcpListener::bind("[::1]:0").await.expect("loopback has IPv6");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        serve(hyper_util::rt::TokioIo::new(stream), mirror).await;
    });
    let host = format!("host: \\[::1\\]:{}\n", address.port());
    let outcome = ask(matching(module(), &host), format!("http://{address}/")).await;
    assert_eq!(status_of(&outcome), 200);
    assert_eq!(outcome.facts.remote_address, Some(address));
}

fn redirect(status: u16, location: &str) -> Response<Full<Bytes>> {
    let mut response = text("moved");
    *response.status_mut() = http::StatusCode::from_u16(status).expect("valid");
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).expect("valid"));
    response
}

fn following(redirects: u8) -> HttpModule {
    HttpModule { redirects, ..module() }
}

/// `/` leads to `/next`, which mirrors.
async fn one_redirect(status: u16, location: &'static str) -> SocketAddr {
    good(move |request| async move {
        match request.uri().path() {
            "/" => redirect(status, location),
            _ => mirror(request).await,
        }
    })
    .await
}

#[tokio::test]
async fn a_redirect_is_a_response_like_others_unless_followed() {
    let address = one_redirect(302, "/next").await;
    assert_eq!(status_of(&ask(module(), address).await), 302);
    let outcome = ask(matching(following(1), "^GET /next HTTP/1.1\n"), address).await;
    assert_eq!(status_of(&outcome), 200);
    assert_eq!(outcome.facts.http.expect("a response").redirects, 1);
    let module = HttpModule { version: HttpVersion::Http2, ..following(1) };
    let outcome = ask(module, address).await;
    assert_eq!(outcome.facts.http.expect("a response").redirects, 1);
}

#[tokio::test]
async fn relative_redirects_lead_on_from_where_they_are() {
    let address = one_redirect(307, "../x/./y/../z?q#f").await;
    let outcome = ask(matching(following(1), r"^GET /x/z\?q HTTP/1.1\n"), address).await;
    assert_eq!(status_of(&outcome), 200);
}

#[tokio::test]
async fn endless_redirects_end_at_the_limit() {
    let hops = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&hops);
    let address = good(move |_| {
        let hop = counted.fetch_add(1, Ordering::Relaxed);
        async move { redirect(302, &format!("/{hop}")) }
    })
    .await;
    let outcome = ask(following(3), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Status);
    assert_eq!(hops.load(Ordering::Relaxed), 4);
    let http = outcome.facts.http.expect("a response");
    assert_eq!((http.status, http.redirects), (302, 3));
}

#[tokio::test]
async fn a_redirect_to_nowhere_cannot_be_followed() {
    for location in ["ftp://127.0.0.1/", "http://", "http://user:secret@127.0.0.1/"] {
        let address = one_redirect(302, location).await;
        let outcome = ask(following(3), address).await;
        assert_failed(&outcome, Phase::Processing, Reason::Status);
        let detail = outcome.failure.expect("failed").detail;
        assert!(!detail.contains("secret"), "{detail}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_dead_port_fails_in_connect() {
    let dead = super::support::refused_address().await;
    let address = good(move |_| async move { redirect(302, &format!("http://{dead}/")) }).await;
    let outcome = ask(following(3), address).await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(outcome.facts.remote_address, Some(dead));
}

fn with_secrets(module: HttpModule) -> HttpModule {
    let headers = vec![
        (AUTHORIZATION, HeaderValue::from_static("Bearer secret")),
        (COOKIE, HeaderValue::from_static("session=secret")),
        (HeaderName::from_static("x-plain"), HeaderValue::from_static("kept")),
    ];
    HttpModule { headers, ..module }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = good(mirror).await;
    let address =
        good(move |_| async move { redirect(302, &format!("http://{other}/next")) }).await;
    let crossed = ask(matching(with_secrets(following(1)), "secret"), address).await;
    assert_failed(&crossed, Phase::Transfer, Reason::BodyMismatch);
    let kept = ask(matching(with_secrets(following(1)), "x-plain: kept"), address).await;
    assert_eq!(status_of(&kept), 200);

    let same = one_redirect(302, "/next").await;
    let module = with_secrets(following(1));
    let outcome = ask(matching(module, "Bearer secret\ncookie: session=secret"), same).await;
    assert_eq!(status_of(&outcome), 200);
}

#[tokio::test]
async fn a_redirect_keeps_the_method_where_its_status_says_so() {
    let cases = [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")];
    for (status, method) in cases {
        let address = one_redirect(status, "/next").await;
        let body = if method == "POST" { "(?s).*the body$" } else { "(?s)[^y]*$" };
        let posted =
            HttpModule { method: Method::POST, body: Some(b"the body".to_vec()), ..following(1) };
        let outcome = ask(matching(posted, &format!("^{method} /next {body}")), address).await;
        assert_eq!(status_of(&outcome), 200, "{status}");
    }
}

#[tokio::test]
async fn a_kept_connection_is_warm_from_the_second_attempt_on() {
    for module in [module(), h2c()] {
        let connections = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&connections);
        let address = server(move |stream| {
            counted.fetch_add(1, Ordering::Relaxed);
            serve(hyper_util::rt::TokioIo::new(stream), |_| async { text("hello") })
        })
        .await;
        let probe = probe(HttpModule { keepalive: true, ..module }, address);
        let cold = probe.attempt().await;
        assert_eq!((status_of(&cold), cold.facts.warm), (200, Some(false)));
        assert!(cold.phases.of(Phase::Connect).is_some());
        for _ in 0..3 {
            let warm = probe.attempt().await;
            assert_eq!((status_of(&warm), warm.facts.warm), (200, Some(true)));
            assert_eq!(warm.phases.of(Phase::Connect), None, "nothing was connected");
            assert!(warm.phases.of(Phase::Processing).is_some());
            assert_eq!(warm.facts.remote_address, Some(address));
            assert!(warm.reply_bytes <= cold.reply_bytes, "only this attempt's bytes");
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_meanwhile_is_replaced() {
    for end in [End::Fin, End::Reset] {
        let (ended, mut dead) = tokio::sync::mpsc::unbounded_channel();
        let address = server(move |mut stream| {
            let ended = ended.clone();
            async move {
                read_head(&mut stream).await;
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(reply).await;
                end.apply(stream).await;
                let _ = ended.send(());
            }
        })
        .await;
        let probe = probe(HttpModule { keepalive: true, ..module() }, address);
        for _ in 0..3 {
            let outcome = probe.attempt().await;
            assert_eq!((status_of(&outcome), outcome.facts.warm), (200, Some(false)));
            dead.recv().await.expect("the server ends every connection");
            // The end of the connection has to travel through the kernel and the I/O driver.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_leaves_nothing_to_keep() {
    let address = good(|_| async {
        let mut response = text("ok");
        response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        response
    })
    .await;
    let probe = probe(HttpModule { keepalive: true, ..module() }, address);
    for _ in 0..3 {
        let outcome = probe.attempt().await;
        assert_eq!((status_of(&outcome), outcome.facts.warm), (200, Some(false)));
    }
}

#[tokio::test]
async fn the_server_closes_a_fresh_connection_first() {
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |mut stream| {
        let told = told.clone();
        async move {
            let head = read_head(&mut stream).await;
            assert!(head.contains("connection: close"), "{head}");
            let reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(reply).await.expect("an open connection");
            // Nothing to read: the client has not ended its side.
            let mut byte = [0; 1];
            let ended = stream.try_read(&mut byte).is_ok();
            stream.shutdown().await.expect("an open connection");
            let _ = told.send(ended);
        }
    })
    .await;
    assert_eq!(status_of(&ask(module(), address).await), 200);
    assert_eq!(order.recv().await, Some(false));
}
