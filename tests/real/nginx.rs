//! nginx: the server that most people have in front of their services.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use meshprobe::expectation::{Expectation, Verdict, judge};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{
    ClientIdentity, HoldModule, HttpModule, HttpVersion, IpPreference, Module, ModuleKind,
    OwnCertificate, Roots, Timeouts, TlsSettings,
};
use regex::bytes::Regex;
use tempfile::TempDir;

use super::pki::{Authority, Leaf};
use super::support::{Daemon, assert_failed, free_port, temp_dir, tool, write_file};

/// Never met by a server that answers, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An nginx with a plain, a TLS and a mutual-TLS listener.
struct Nginx {
    plain: SocketAddr,
    tls: SocketAddr,
    mutual: SocketAddr,
    authority: Authority,
    client: Leaf,
    _daemon: Daemon,
    _folder: TempDir,
}

async fn nginx() -> Nginx {
    let folder = temp_dir();
    let authority = Authority::new("nginx root");
    let server = authority.leaf("server", &["127.0.0.1"], "spiffe://cluster.local/ns/web/sa/nginx");
    let client = authority.leaf("client", &[], "spiffe://cluster.local/ns/probe/sa/meshprobe");
    let [plain, tls, mutual] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let text = configuration(folder.path(), &server, &authority.root, [plain, tls, mutual]);
    let config = write_file(&folder, "nginx.conf", text);
    write_file(&folder, "page.html", "a page that compresses well. ".repeat(1000));
    let mut command = Command::new(tool("nginx"));
    command.arg("-p").arg(folder.path()).arg("-c").arg(config).args(["-e", "stderr"]);
    let daemon = Daemon::start(command, plain).await;
    Nginx { plain, tls, mutual, authority, client, _daemon: daemon, _folder: folder }
}

fn configuration(
    folder: &Path,
    server: &Leaf,
    client_ca: &Path,
    [plain, tls, mutual]: [SocketAddr; 3],
) -> String {
    let folder = folder.display();
    let (certificate, key) = (server.certificate.display(), server.key.display());
    let client_ca = client_ca.display();
    format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
         events {{ worker_connections 256; }}
         http {{
           access_log off; default_type text/html;
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
           fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
           scgi_temp_path {folder}/scgi;
           ssl_protocols TLSv1.2 TLSv1.3;
           ssl_certificate {certificate}; ssl_certificate_key {key};
           gzip on; gzip_min_length 1; root {folder};
           server {{
             listen {plain};
             location = /ok {{ return 200 'all is well'; }}
             location = /moved {{ return 301 /ok; }}
             location = /upgrade {{ return 307 https://{tls}/ok; }}
             location = /round {{ return 302 /round; }}
             location = /nothing {{ return 444; }}
             location = /brief {{ keepalive_timeout 1s; return 200 'for a second'; }}
             location = /mirror {{ return 200 '$request_method $host $http_x_probe $http_user_agent'; }}
             location = /limited {{ client_max_body_size 10; return 200 $content_length; }}
           }}
           server {{
             listen {tls} ssl http2;
             location = /ok {{ return 200 'all is well over $server_protocol'; }}
           }}
           server {{
             listen {mutual} ssl http2;
             ssl_client_certificate {client_ca}; ssl_verify_client on;
             location = /ok {{ return 200 'all is well, $ssl_client_verify'; }}
           }}
         }}"
    )
}

impl Nginx {
    fn trusting(&self) -> TlsSettings {
        TlsSettings { roots: Roots::File(self.authority.root.clone()), ..TlsSettings::default() }
    }

    fn identified(&self) -> TlsSettings {
        let Leaf { certificate, key } = &self.client;
        let identity = ClientIdentity { certificate: certificate.clone(), key: key.clone() };
        TlsSettings { identity: Some(OwnCertificate::Files(identity)), ..self.trusting() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.plain)
    }
}

fn module() -> HttpModule {
    HttpModule {
        method: Method::GET,
        headers: Vec::new(),
        body: None,
        version: HttpVersion::Auto,
        body_regex: None,
        body_limit: 1024 * 1024,
        redirects: 0,
        decompress: false,
        keepalive: false,
        tls: TlsSettings::default(),
        ip: IpPreference::default(),
    }
}

fn matching(module: HttpModule, regex: &str) -> HttpModule {
    HttpModule { body_regex: Some(Regex::new(regex).expect("valid")), ..module }
}

fn prepare(kind: ModuleKind, url: &str) -> Probe {
    let module = Module { kind, timeouts: Timeouts::total(PATIENCE), expect: Expectation::Reply };
    let spec = module.aim(url).expect("a good URL");
    let environment = Environment::default();
    Probe::prepare(&spec, &environment).expect("good files")
}

async fn ask(module: HttpModule, url: &str) -> Outcome {
    prepare(ModuleKind::Http(module), url).attempt().await
}

fn status_of(outcome: &Outcome) -> u16 {
    assert_eq!(outcome.failure, None);
    outcome.facts.http.as_ref().expect("a response").status
}

#[tokio::test]
async fn statuses_are_told_and_judged_by_what_was_stated() {
    let nginx = nginx().await;
    let found = ask(matching(module(), "^all is well$"), &nginx.url("/ok")).await;
    assert_eq!(status_of(&found), 200);
    assert!(found.phases.total() <= found.duration);
    let missing = ask(module(), &nginx.url("/missing")).await;
    assert_eq!(status_of(&missing), 404);
    let stated = |list: &str| Expectation::Status(list.parse().expect("a list"));
    assert_eq!(judge(&stated("2xx"), &missing, None).verdict, Verdict::Violated);
    assert_eq!(judge(&stated("2xx,404"), &missing, None).verdict, Verdict::Met);
}

#[tokio::test]
async fn what_is_sent_is_what_nginx_sees() {
    let nginx = nginx().await;
    let header = (HeaderName::from_static("x-probe"), HeaderValue::from_static("seen"));
    let stated = HttpModule { headers: vec![header], method: Method::OPTIONS, ..module() };
    let regex = r"^OPTIONS 127\.0\.0\.1 seen meshprobe/\d";
    assert_eq!(status_of(&ask(matching(stated, regex), &nginx.url("/mirror")).await), 200);
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_stated() {
    let nginx = nginx().await;
    assert_eq!(status_of(&ask(module(), &nginx.url("/moved")).await), 301);
    let following = HttpModule { redirects: 2, tls: nginx.trusting(), ..module() };
    let outcome = ask(following.clone(), &nginx.url("/moved")).await;
    assert_eq!(status_of(&outcome), 200);
    assert_eq!(outcome.facts.http.expect("a response").redirects, 1);
    let outcome = ask(following.clone(), &nginx.url("/upgrade")).await;
    assert_eq!(status_of(&outcome), 200);
    assert_eq!(outcome.facts.remote_address, Some(nginx.tls));
    assert!(outcome.phases.of(Phase::Tls).is_some());
    let outcome = ask(following, &nginx.url("/round")).await;
    assert_failed(&outcome, Phase::Processing, Reason::Status);
}

#[tokio::test]
async fn gzip_is_undone_and_bounded_on_both_sides() {
    let nginx = nginx().await;
    let module = HttpModule { decompress: true, ..module() };
    let regex = "^(a page that compresses well. ){1000}$";
    let outcome = ask(matching(module.clone(), regex), &nginx.url("/page.html")).await;
    assert_eq!(status_of(&outcome), 200);
    let http = outcome.facts.http.expect("a response");
    assert_eq!(http.decompressed_bytes, Some(29_000));
    assert!(http.body_bytes < 2_000, "{} bytes", http.body_bytes);
    let tight = HttpModule { body_limit: 28_999, ..module };
    let outcome = ask(tight, &nginx.url("/page.html")).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
}

#[tokio::test]
async fn a_page_over_the_limit_is_too_large() {
    let nginx = nginx().await;
    for (body_limit, fits) in [(29_000, true), (28_999, false)] {
        let outcome = ask(HttpModule { body_limit, ..module() }, &nginx.url("/page.html")).await;
        if fits {
            assert_eq!(status_of(&outcome), 200);
        } else {
            assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
        }
    }
}

#[tokio::test]
async fn a_request_body_over_the_servers_limit_is_answered_413() {
    let nginx = nginx().await;
    let posted =
        |length| HttpModule { method: Method::POST, body: Some(vec![b'x'; length]), ..module() };
    assert_eq!(status_of(&ask(posted(10), &nginx.url("/limited")).await), 200);
    assert_eq!(status_of(&ask(posted(11), &nginx.url("/limited")).await), 413);
}

#[tokio::test]
async fn a_server_that_hangs_up_without_a_reply_is_closed() {
    let nginx = nginx().await;
    let outcome = ask(module(), &nginx.url("/nothing")).await;
    assert_failed(&outcome, Phase::Processing, Reason::Closed);
    assert_eq!(outcome.reply_bytes, 0);
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let nginx = nginx().await;
    let url = format!("https://{}/ok", nginx.tls);
    let cases = [
        (HttpVersion::Auto, "HTTP/2"),
        (HttpVersion::Http2, "HTTP/2"),
        (HttpVersion::Http1, "HTTP/1.1"),
    ];
    for (version, spoken) in cases {
        let secure = HttpModule { version, tls: nginx.trusting(), ..module() };
        let outcome = ask(matching(secure, "^all is well over HTTP/[12]"), &url).await;
        assert_eq!(status_of(&outcome), 200);
        assert_eq!(outcome.facts.http.expect("a response").version, spoken);
        assert_eq!(outcome.facts.tls.expect("a handshake").version, Some("TLSv1.3"));
        assert!(outcome.phases.total() <= outcome.duration);
    }
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_answered_400() {
    let nginx = nginx().await;
    let outcome = ask(module(), &format!("http://{}/ok", nginx.tls)).await;
    assert_eq!(status_of(&outcome), 400);
}

#[tokio::test]
async fn a_kept_connection_is_warm() {
    let nginx = nginx().await;
    for (url, version) in [
        (nginx.url("/ok"), HttpVersion::Auto),
        (format!("https://{}/ok", nginx.tls), HttpVersion::Http1),
        (format!("https://{}/ok", nginx.tls), HttpVersion::Http2),
    ] {
        let kept = HttpModule { keepalive: true, version, tls: nginx.trusting(), ..module() };
        let probe = prepare(ModuleKind::Http(kept), &url);
        for warm in [false, true, true] {
            let outcome = probe.attempt().await;
            assert_eq!((status_of(&outcome), outcome.facts.warm), (200, Some(warm)), "{url}");
        }
    }
}

#[tokio::test]
async fn a_required_client_certificate_is_asked_for_with_400() {
    let nginx = nginx().await;
    let url = format!("https://{}/ok", nginx.mutual);
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let nobody = HttpModule { version, tls: nginx.trusting(), ..module() };
        let outcome = ask(nobody, &url).await;
        assert_eq!(status_of(&outcome), 400);
        let tls = outcome.facts.tls.expect("a handshake");
        assert_eq!(tls.client_certificate_requested, Some(true));
        let somebody = HttpModule { version, tls: nginx.identified(), ..module() };
        let outcome = ask(matching(somebody, "^all is well, SUCCESS$"), &url).await;
        assert_eq!(status_of(&outcome), 200);
    }
}

fn hold(heartbeat: Duration, hold: Duration) -> ModuleKind {
    let (tls, ip) = (TlsSettings::default(), IpPreference::default());
    ModuleKind::Hold(HoldModule { heartbeat, hold, tls, ip })
}

#[tokio::test]
async fn a_held_connection_beats_until_its_time_is_over() {
    let nginx = nginx().await;
    let probe =
        prepare(hold(Duration::from_millis(20), Duration::from_millis(200)), &nginx.url("/ok"));
    let outcome = probe.attempt().await;
    assert_eq!(status_of(&outcome), 200);
    assert!(outcome.facts.hold.expect("it was held").heartbeats > 1);
}

#[tokio::test]
async fn an_idle_limit_of_the_server_ends_a_hold_as_closed() {
    let nginx = nginx().await;
    let hour = Duration::from_secs(3600);
    let outcome = prepare(hold(hour, hour), &nginx.url("/brief")).attempt().await;
    assert_failed(&outcome, Phase::Transfer, Reason::Closed);
    let facts = outcome.facts.hold.expect("it was held");
    assert_eq!(facts.heartbeats, 1);
    assert!(facts.held >= Duration::from_millis(900), "{:?}", facts.held);
}
