use std::io::Write;
use std::net::SocketAddr;

use http::HeaderValue;
use http::header::CONTENT_ENCODING;
use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::HttpModule;

use super::http_support::{ask, good, matching, module, status_of, text};
use super::support::assert_failed;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

fn deflated(plain: &[u8], zlib: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + 1024);
    let mut state = flate2::Compress::new(flate2::Compression::best(), zlib);
    state.compress_vec(plain, &mut out, flate2::FlushCompress::Finish).expect("in memory");
    out
}

async fn encoded(coding: &'static str, body: Vec<u8>) -> SocketAddr {
    good(move |_| {
        let mut response = text(body.clone());
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        async move { response }
    })
    .await
}

#[tokio::test]
async fn compressed_bodies_are_undone_and_both_sizes_told() {
    let plain = "well ".repeat(5000).into_bytes();
    let cases = [
        ("gzip", gzip(&plain)),
        ("gzip", [gzip(&plain[..10_000]), gzip(&plain[10_000..])].concat()),
        ("X-GZIP", gzip(&plain)),
        ("deflate", deflated(&plain, true)),
        ("deflate", deflated(&plain, false)),
    ];
    for (coding, body) in cases {
        let sent = body.len() as u64;
        let address = encoded(coding, body).await;
        let module = HttpModule { decompress: true, ..module() };
        let outcome = ask(matching(module, "^(well ){5000}$"), address).await;
        assert_eq!(status_of(&outcome), 200, "{coding}");
        let http = outcome.facts.http.expect("a response");
        assert_eq!((http.body_bytes, http.decompressed_bytes), (sent, Some(25_000)), "{coding}");
    }
}

#[tokio::test]
async fn compression_is_left_alone_unless_asked_for() {
    let body = gzip(b"well");
    let address = encoded("gzip", body.clone()).await;
    let outcome = ask(module(), address).await;
    let http = outcome.facts.http.expect("a response");
    assert_eq!((http.body_bytes, http.decompressed_bytes), (body.len() as u64, None));
}

#[tokio::test]
async fn a_compression_bomb_is_too_large_a_body() {
    let plain = vec![0; 64 * 1024 * 1024];
    for (coding, body) in [("gzip", gzip(&plain)), ("deflate", deflated(&plain, true))] {
        assert!(body.len() < 1024 * 1024, "small as sent");
        let address = encoded(coding, body).await;
        let module = HttpModule { decompress: true, ..module() };
        let outcome = ask(matching(module, "x"), address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
    }
}

#[tokio::test]
async fn the_limit_counts_decompressed_bytes_to_the_last() {
    let plain = "well ".repeat(5000).into_bytes();
    for (coding, body) in [("gzip", gzip(&plain)), ("deflate", deflated(&plain, true))] {
        let address = encoded(coding, body).await;
        let limited = |body_limit| HttpModule { decompress: true, body_limit, ..module() };
        assert_eq!(status_of(&ask(limited(25_000), address).await), 200);
        let outcome = ask(limited(24_999), address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
    }
}

#[tokio::test]
async fn broken_compression_is_malformed() {
    let plain = "well ".repeat(5000).into_bytes();
    let cut = |mut body: Vec<u8>| {
        body.truncate(body.len() - 4);
        body
    };
    let cases = [
        ("gzip", b"no gzip at all".to_vec()),
        ("gzip", cut(gzip(&plain))),
        ("gzip", [gzip(&plain), b"rest".to_vec()].concat()),
        ("deflate", cut(deflated(&plain, true))),
        ("deflate", cut(deflated(&plain, false))),
    ];
    for (coding, body) in cases {
        let address = encoded(coding, body).await;
        let outcome = ask(HttpModule { decompress: true, ..module() }, address).await;
        assert_failed(&outcome, Phase::Transfer, Reason::HttpMalformed);
    }
}
