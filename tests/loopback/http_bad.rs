use std::net::SocketAddr;

use http::Response;
use hyper::body::Bytes;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::spec::HttpModule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http_support::{End, ask, ask_briefly, h2c, module, read_head, scripted};
use super::support::{assert_failed, refused_address, reset, server};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

fn detail(outcome: &Outcome) -> &str {
    &outcome.failure.as_ref().expect("failed").detail
}

#[tokio::test]
async fn a_refused_port_fails_in_connect() {
    let outcome = ask(module(), refused_address().await).await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(outcome.phases.of(Phase::Processing), None);
}

#[tokio::test]
async fn reset_after_accept_is_a_reset_in_processing() {
    for module in [module(), h2c()] {
        let address = server(|stream| async move { reset(stream) }).await;
        let outcome = ask(module, address).await;
        assert_failed(&outcome, Phase::Processing, Reason::Reset);
        assert_eq!(outcome.reply_bytes, 0);
    }
}

/// From another thread the reset may win against the end of connect(2).
#[tokio::test]
async fn reset_after_accept_is_never_told_of_connect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().take(200) {
            let stream = socket2::Socket::from(stream.expect("a client"));
            let _ = stream.set_linger(Some(std::time::Duration::ZERO));
        }
    });
    for _ in 0..200 {
        let outcome = ask(module(), address).await;
        assert_failed(&outcome, Phase::Processing, Reason::Reset);
    }
}

#[tokio::test]
async fn reset_after_the_request_is_a_reset_in_processing() {
    for module in [module(), h2c()] {
        let address = server(|mut stream| async move {
            let _ = stream.read(&mut [0; 64]).await;
            reset(stream);
        })
        .await;
        let outcome = ask(module, address).await;
        assert_failed(&outcome, Phase::Processing, Reason::Reset);
        assert_eq!(outcome.reply_bytes, 0);
    }
}

#[tokio::test]
async fn reset_while_the_request_is_sent_is_a_reset_in_processing() {
    for module in [module(), h2c()] {
        let address = server(|mut stream| async move {
            let _ = stream.read_exact(&mut [0; 1000]).await;
            reset(stream);
        })
        .await;
        let body = Some(vec![b'x'; 10_000_000]);
        let posted = HttpModule { method: http::Method::POST, body, ..module };
        let outcome = ask(posted, address).await;
        assert_failed(&outcome, Phase::Processing, Reason::Reset);
    }
}

#[tokio::test]
async fn an_orderly_end_without_a_byte_is_closed() {
    for module in [module(), h2c()] {
        // Kept open for reading, so that the request is not answered with RST.
        let after_accept = server(|mut stream| async move {
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let after_request = server(|mut stream| async move {
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        for address in [after_accept, after_request] {
            let outcome = ask(module.clone(), address).await;
            assert_failed(&outcome, Phase::Processing, Reason::Closed);
            assert_eq!(outcome.reply_bytes, 0);
        }
    }
}

#[tokio::test]
async fn silence_is_a_timeout_in_processing() {
    for module in [module(), h2c()] {
        let address = scripted("", End::Never).await;
        let outcome = ask_briefly(module, address).await;
        assert_failed(&outcome, Phase::Processing, Reason::Timeout);
        assert_eq!(outcome.phases.of(Phase::Transfer), None);
    }
}

#[tokio::test]
async fn a_head_cut_short_is_closed_in_processing() {
    let address = scripted("HTTP/1.1 200 OK\r\nContent-Le", End::Fin).await;
    assert_failed(&ask(module(), address).await, Phase::Processing, Reason::Closed);
    let address = scripted("HTTP/1.1 200 OK\r\nContent-Le", End::Reset).await;
    assert_failed(&ask(module(), address).await, Phase::Processing, Reason::Reset);
}

#[tokio::test]
async fn a_body_cut_short_is_told_by_how_it_was_cut() {
    let length = format!("{HEAD}12345");
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n12345";
    let no_last = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n";
    let trailer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: ";
    for reply in [length.as_str(), chunk, no_last, trailer] {
        let address = scripted(reply, End::Fin).await;
        let outcome = ask(module(), address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::Closed);
        assert_eq!(outcome.facts.http.as_ref().expect("a head came").status, 200);
        let address = scripted(reply, End::Reset).await;
        assert_failed(&ask(module(), address).await, Phase::Transfer, Reason::Reset);
        let address = scripted(reply, End::Never).await;
        assert_failed(&ask_briefly(module(), address).await, Phase::Transfer, Reason::Timeout);
    }
}

#[tokio::test]
async fn a_body_that_only_a_reset_ends_is_no_complete_body() {
    let address = scripted("HTTP/1.1 200 OK\r\n\r\n12345", End::Reset).await;
    assert_failed(&ask(module(), address).await, Phase::Transfer, Reason::Reset);
}

#[tokio::test]
async fn a_bad_chunk_is_malformed() {
    for chunk in ["xyz\r\n", "5\r\n1234567", "FFFFFFFFFFFFFFFFFF\r\n", "5;\n\r"] {
        let reply = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        let address = scripted(reply, End::Fin).await;
        let outcome = ask(module(), address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::HttpMalformed);
    }
}

#[tokio::test]
async fn what_is_no_http_is_malformed() {
    let replies: [&[u8]; 8] = [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/3.1 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ];
    for reply in replies {
        let address = scripted(reply, End::Never).await;
        let outcome = ask(module(), address).await;
        assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
        assert!(outcome.reply_bytes > 0);
    }
}

#[tokio::test]
async fn a_server_that_speaks_before_it_is_asked_is_malformed() {
    let address = server(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        std::future::pending().await
    })
    .await;
    let outcome = ask(module(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
}

#[tokio::test]
async fn an_http1_server_speaks_no_http2() {
    let address = scripted("HTTP/1.1 400 Bad Request\r\n\r\n", End::Fin).await;
    let outcome = ask(h2c(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
}

/// Sends `head`, then `more` for ever.
async fn endless(head: &'static str, more: &'static str) -> SocketAddr {
    server(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(more.as_bytes()).await.is_ok() {}
    })
    .await
}

#[tokio::test]
async fn endless_headers_are_malformed() {
    let address = endless("HTTP/1.1 200 OK\r\n", "X-More: of the same\r\n").await;
    let outcome = ask(module(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
    let address = endless("HTTP/1.1 200 OK\r\nX-Long: ", "and so on ").await;
    let outcome = ask(module(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
    assert!(outcome.reply_bytes < 1024 * 1024, "{} bytes", outcome.reply_bytes);
}

#[tokio::test]
async fn an_endless_body_is_too_large() {
    let heads = [
        ("HTTP/1.1 200 OK\r\n\r\n", "and so on "),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "and so on "),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nagain\r\n"),
    ];
    for (head, more) in heads {
        let address = endless(head, more).await;
        let outcome = ask(module(), address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
        assert_eq!(outcome.facts.http.expect("a head came").status, 200);
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_not_too_large() {
    let address = scripted(format!("{HEAD}1234567890"), End::Fin).await;
    let outcome = ask(HttpModule { body_limit: 10, ..module() }, address).await;
    assert_eq!(outcome.failure, None);
    let outcome = ask(HttpModule { body_limit: 9, ..module() }, address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
}

#[tokio::test]
async fn a_slow_drip_is_a_timeout_in_transfer() {
    let address = server(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n").await;
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
        while stream.write_all(b".").await.is_ok() {
            tick.tick().await;
        }
    })
    .await;
    let outcome = ask_briefly(module(), address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
    assert!(outcome.facts.http.expect("a head came").body_bytes > 0);
}

type Respond = h2::server::SendResponse<Bytes>;
type Handshaken = h2::server::Connection<TcpStream, Bytes>;

/// An HTTP/2 server that gives each connection with its first request to `serve`.
async fn http2<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(Handshaken, Respond) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    server(move |stream| {
        let serve = serve.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            if let Some(Ok((_, respond))) = connection.accept().await {
                serve(connection, respond).await;
            }
        }
    })
    .await
}

/// Moves what is left to be sent, and whatever else happens until the end.
async fn run(mut connection: Handshaken) {
    while let Some(Ok(_)) = connection.accept().await {}
}

/// Hands to the kernel what is ready to be sent.
async fn flush(connection: &mut Handshaken) {
    std::future::poll_fn(|context| {
        let _ = connection.poll_accept(context);
        std::task::Poll::Ready(())
    })
    .await;
}

fn ok() -> Response<()> {
    Response::new(())
}

#[tokio::test]
async fn goaway_before_the_response_is_closed_with_its_code() {
    let address = http2(|mut connection, _respond| async move {
        connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Closed);
    assert!(detail(&outcome).contains("ENHANCE_YOUR_CALM"), "{}", detail(&outcome));
}

#[tokio::test]
async fn goaway_amid_the_body_is_closed_in_transfer() {
    let address = http2(|mut connection, mut respond| async move {
        let mut body = respond.send_response(ok(), false).expect("an open stream");
        body.send_data(Bytes::from_static(b"part"), false).expect("an open stream");
        flush(&mut connection).await;
        connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Closed);
    assert!(detail(&outcome).contains("INTERNAL_ERROR"), "{}", detail(&outcome));
}

#[tokio::test]
async fn a_graceful_goaway_lets_the_response_complete() {
    let address = http2(|mut connection, mut respond| async move {
        connection.graceful_shutdown();
        let mut body = respond.send_response(ok(), false).expect("an open stream");
        body.send_data(Bytes::from_static(b"whole"), true).expect("an open stream");
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.facts.http.expect("a response").body_bytes, 5);
}

#[tokio::test]
async fn rst_stream_before_the_response_is_reset_with_its_code() {
    let address = http2(|connection, mut respond| async move {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Reset);
    assert!(detail(&outcome).contains("REFUSED_STREAM"), "{}", detail(&outcome));
}

#[tokio::test]
async fn rst_stream_amid_the_body_is_reset_in_transfer() {
    let address = http2(|mut connection, mut respond| async move {
        let mut body = respond.send_response(ok(), false).expect("an open stream");
        body.send_data(Bytes::from_static(b"part"), false).expect("an open stream");
        flush(&mut connection).await;
        body.send_reset(h2::Reason::CANCEL);
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Reset);
    assert!(detail(&outcome).contains("CANCEL"), "{}", detail(&outcome));
}

#[tokio::test]
async fn an_http2_body_cut_short_is_told_by_how_it_was_cut() {
    // SETTINGS, HEADERS of stream 1 with `:status: 200`, and DATA without END_STREAM.
    let reply = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x04\0\0\0\0\0\x01part";
    for (end, reason) in [(End::Fin, Reason::Closed), (End::Reset, Reason::Reset)] {
        let address = server(move |mut stream| async move {
            // The request is part of the same segment as our settings, or follows at once.
            let mut seen = Vec::new();
            while !has_headers(&seen) {
                if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let _ = stream.write_all(reply).await;
            end.apply(stream).await;
        })
        .await;
        let outcome = ask(h2c(), address).await;
        assert_failed(&outcome, Phase::Transfer, reason);
        assert_eq!(outcome.facts.http.expect("a head came").status, 200);
    }
}

/// Whether the bytes of an HTTP/2 client hold a HEADERS frame.
fn has_headers(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(24..).unwrap_or_default();
    while let [high, middle, low, kind, ..] = rest {
        let payload = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        if *kind == 1 {
            return rest.len() >= 9 + payload;
        }
        rest = rest.get(9 + payload..).unwrap_or_default();
    }
    false
}

#[tokio::test]
async fn an_endless_http2_body_is_too_large() {
    let address = http2(|connection, mut respond| async move {
        let mut body = respond.send_response(ok(), false).expect("an open stream");
        let _ = body.send_data(Bytes::from(vec![b'x'; 2 * 1024 * 1024]), false);
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
}

#[tokio::test]
async fn an_http2_response_without_end_is_a_timeout_in_transfer() {
    let address = http2(|connection, mut respond| async move {
        let _body = respond.send_response(ok(), false).expect("an open stream");
        run(connection).await;
    })
    .await;
    let outcome = ask_briefly(h2c(), address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
}

#[tokio::test]
async fn http2_trailers_are_counted() {
    let address = http2(|connection, mut respond| async move {
        let mut body = respond.send_response(ok(), false).expect("an open stream");
        body.send_data(Bytes::from_static(b"whole"), false).expect("an open stream");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("5"));
        body.send_trailers(trailers).expect("an open stream");
        run(connection).await;
    })
    .await;
    let outcome = ask(h2c(), address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.facts.http.expect("a response").trailers, 1);
}
