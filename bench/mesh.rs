//! The far end of the HBONE benchmark, and its floor: bare rustls handshakes with that far end.
//!
//! `serve DIR` stands in for a ztunnel until it is killed; it writes its root, a client's
//! certificate and, last, `addresses` to DIR. `handshake HBONE DIR SECONDS RATE [mutual]` shakes
//! hands on a few threads, RATE times a second together or, with 0, one right after the other, and
//! prints their count and the CPU seconds that this process used for them.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meshprobe::config::{Identity, ResponderConfig};
use meshprobe::lab::ca::{Authority, Subject};
use meshprobe::lab::world::{Pod, PodPort, World};
use meshprobe::lab::ztunnel::{Timing, Ztunnel};
use meshprobe::responder::Responder;
use meshprobe::spec::HBONE_PORT;
use nix::time::{ClockId, clock_gettime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// The port of the pod's application, for plain callers too.
const PORT: u16 = 8080;
/// Handshakes before the clock starts.
const WARM_UP: u32 = 50;
/// As many are under way as keep the far end busy: one alone would mostly pay for waking its core.
const THREADS: usize = 4;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", dir] => serve(Path::new(dir)),
        ["handshake", hbone, dir, seconds, rate, ref mutual @ ..] => {
            let config = Arc::new(client(Path::new(dir), *mutual == ["mutual"])?);
            handshakes(hbone.parse()?, &config, seconds.parse()?, rate.parse()?)
        }
        // What `cargo bench` runs: this is measured by bench/mesh.sh.
        _ => Ok(writeln!(io::stdout(), "run bench/mesh.sh")?),
    }
}

/// A node with one ambient pod, on addresses of this process's own part of 127/8.
fn serve(dir: &Path) -> Result<(), Failure> {
    let part = (std::process::id() % 250) as u8;
    let ip = |last| IpAddr::V4(Ipv4Addr::new(127, 127, part, last));
    let application = SocketAddr::new(ip(3), PORT);
    let pod = Pod {
        name: "web-0".to_owned(),
        namespace: "default".to_owned(),
        service_account: "web".to_owned(),
        node: "node-1".to_owned(),
        ip: ip(2),
        ambient: true,
        ports: vec![PodPort { number: PORT, strict: false, application: Some(application) }],
    };
    let id = pod.spiffe_id();
    let world = World { nodes: vec!["node-1".to_owned()], pods: vec![pod], services: Vec::new() };
    let authority = Arc::new(Authority::new("cluster.local")?);
    let own =
        authority.issue(&Subject::workload("spiffe://cluster.local/ns/meshprobe/sa/bench"))?;
    std::fs::write(dir.join("root.pem"), authority.root_pem())?;
    std::fs::write(dir.join("client.pem"), own.chain_pem)?;
    std::fs::write(dir.join("client.key"), own.key.serialize_pem())?;
    let responder = ResponderConfig {
        listen: vec![application],
        max_connections: 4096,
        max_body: 1024,
        max_requests_per_second: 1_000_000,
        idle_timeout: Duration::from_secs(300),
    };
    meshprobe::net::raise_file_limit();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let identity = Identity { node: "node-1".to_owned(), zone: None, vantage: None };
        let serving = Responder::bind(&responder, &identity)?.serve(std::future::pending());
        let timing = Timing::scaled(1.0);
        let _ztunnel = Ztunnel::start("node-1", ip(1), Arc::new(world), authority, timing).await?;
        let hbone = SocketAddr::new(ip(2), HBONE_PORT);
        let page = SocketAddr::new(ip(2), PORT);
        std::fs::write(dir.join("addresses.new"), format!("{hbone} {page} {id}\n"))?;
        std::fs::rename(dir.join("addresses.new"), dir.join("addresses"))?;
        serving.await;
        Ok(())
    })
}

fn handshakes(
    hbone: SocketAddr,
    config: &Arc<ClientConfig>,
    seconds: u64,
    rate: u32,
) -> Result<(), Failure> {
    for _ in 0..WARM_UP {
        handshake(hbone, config)?;
    }
    let used = cpu()?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let until_end = |thread: usize| -> Result<u64, Failure> {
        let mut count = 0;
        while Instant::now() < end {
            if rate > 0 {
                let slot = count * THREADS as u64 + thread as u64;
                let at = begin + Duration::from_secs_f64(slot as f64 / f64::from(rate));
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
            }
            handshake(hbone, config)?;
            count += 1;
        }
        Ok(count)
    };
    let until_end = &until_end;
    let counts: Result<Vec<u64>, Failure> = std::thread::scope(|scope| {
        let threads = std::array::from_fn::<_, THREADS, _>(|n| scope.spawn(move || until_end(n)));
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let (count, used) = (counts?.iter().sum::<u64>(), cpu()? - used);
    Ok(writeln!(io::stdout(), "{count} {}", used.as_secs_f64())?)
}

/// One full handshake on a connection of its own, from the dial to the last message.
fn handshake(hbone: SocketAddr, config: &Arc<ClientConfig>) -> Result<(), Failure> {
    let mut stream = TcpStream::connect_timeout(&hbone, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    let name = ServerName::IpAddress(hbone.ip().into());
    let mut session = ClientConnection::new(Arc::clone(config), name)?;
    while session.is_handshaking() || session.wants_write() {
        session.complete_io(&mut stream)?;
    }
    match session.negotiated_key_exchange_group() {
        Some(group) if group.name() == rustls::NamedGroup::X25519MLKEM768 => Ok(()),
        other => Err(format!("not the mesh's key exchange: {other:?}").into()),
    }
}

/// Everything that meshprobe's own handshakes are made with, but none of its facts.
fn client(dir: &Path, mutual: bool) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(dir.join("root.pem"))? {
        roots.add(root?)?;
    }
    let verifier = Arc::new(Chain { provider: Arc::clone(&provider), roots });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = if mutual {
        let chain = CertificateDer::pem_file_iter(dir.join("client.pem"))?;
        let key = PrivateKeyDer::from_pem_file(dir.join("client.key"))?;
        builder.with_client_auth_cert(chain.collect::<Result<_, _>>()?, key)?
    } else {
        builder.with_no_client_auth()
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.enable_sni = false;
    Ok(config)
}

fn cpu() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// The chain to the mesh's root and no name: certificates of workloads carry none.
#[derive(Debug)]
struct Chain {
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
}

impl ServerCertVerifier for Chain {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, above, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
