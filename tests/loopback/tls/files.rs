//! Files that TLS cannot work with are told before any attempt, and never with their contents.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use meshprobe::probe::PrepareError;
use meshprobe::spec::{ClientIdentity, OwnCertificate, Roots, Timeouts, TlsSettings, TlsVersion};

use super::{NAME, PATIENCE, Trust, ask, prepare, showing};
use crate::loopback::pki::{Authority, Leaf};

/// Preparing never connects, so that any address will do.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn rejected(tls: TlsSettings) -> PrepareError {
    prepare(tls, Timeouts::total(PATIENCE), NOWHERE).expect_err("these files are bad")
}

fn roots(file: PathBuf) -> TlsSettings {
    TlsSettings { roots: Roots::File(file), ..TlsSettings::default() }
}

fn identity(trust: &Trust, certificate: &Path, key: &Path) -> TlsSettings {
    let identity = ClientIdentity { certificate: certificate.into(), key: key.into() };
    TlsSettings { identity: Some(OwnCertificate::Files(identity)), ..trust.settings() }
}

fn file(trust: &Trust, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = trust.dir.path().join(name);
    std::fs::write(&path, contents).expect("the directory of a test is writable");
    path
}

#[test]
fn unusable_roots_are_told_with_field_and_file() {
    let trust = Trust::new();
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cases = [
        (trust.dir.path().join("missing.pem"), "No such file"),
        (trust.dir.path().to_owned(), "directory"),
        (file(&trust, "empty.pem", ""), "no certificate"),
        (file(&trust, "garbage.pem", [0xfe; 100]), "no certificate"),
        (file(&trust, "broken.pem", broken), "broken PEM"),
        (file(&trust, "no-der.pem", no_der), "cannot be a root"),
        (file(&trust, "huge.pem", vec![b'\n'; 5 << 20]), "larger than"),
    ];
    for (path, problem) in cases {
        let error = rejected(roots(path.clone()));
        assert_eq!((error.field, &error.path), ("tls.ca", &path));
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    }
}

#[tokio::test]
async fn every_root_of_a_file_counts() {
    let trust = Trust::new();
    let bundle = format!("# old\n{}# new\n{}", Authority::root("other").pem(), trust.root.pem());
    let settings =
        TlsSettings { roots: Roots::File(file(&trust, "bundle.pem", bundle)), ..trust.settings() };
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    assert_eq!(ask(settings, showing(&issued).await).await.failure, None);
}

#[test]
fn unusable_client_certificates_are_told_with_field_and_file() {
    let trust = Trust::new();
    let good = trust.root.issue(&Leaf::named(&["client.test"])).write(trust.dir.path(), "good");
    let other = trust.root.issue(&Leaf::named(&["client.test"])).write(trust.dir.path(), "other");
    let missing = trust.dir.path().join("missing.pem");
    let empty = file(&trust, "empty.pem", "");
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_der = file(&trust, "no-der.pem", no_der);
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_key = file(&trust, "no-der.key", no_key);
    let cases: [(&Path, &Path, &str, &str); 8] = [
        (&missing, &good.key, "tls.cert", "No such file"),
        (&empty, &good.key, "tls.cert", "no certificate"),
        (&no_der, &good.key, "tls.cert", "cannot be parsed"),
        (&good.certificate, &missing, "tls.key", "No such file"),
        (&good.certificate, &empty, "tls.key", "no private key"),
        (&good.certificate, &good.certificate, "tls.key", "no private key"),
        (&good.certificate, &other.key, "tls.key", "not the one of"),
        (&good.certificate, &no_key, "tls.key", "cannot be used"),
    ];
    for (certificate, key, field, problem) in cases {
        let error = rejected(identity(&trust, certificate, key));
        let path = if field == "tls.key" { key } else { certificate };
        assert_eq!((error.field, error.path.as_path()), (field, path), "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
}

#[test]
fn a_key_is_in_no_debug_output_and_no_error() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&["client.test"]));
    let files = issued.write(trust.dir.path(), "client");
    let other = trust.root.issue(&Leaf::named(&["client.test"])).write(trust.dir.path(), "other");
    let good = prepare(
        identity(&trust, &files.certificate, &files.key),
        Timeouts::total(PATIENCE),
        NOWHERE,
    );
    let truncated: String =
        issued.key_pem().lines().take(2).map(|line| format!("{line}\n")).collect();
    let truncated = file(&trust, "truncated.key", truncated);
    let mismatch = rejected(identity(&trust, &other.certificate, &files.key));
    let unreadable = rejected(identity(&trust, &files.certificate, &truncated));
    let texts = [
        format!("{:?}", good.expect("good files")),
        format!("{mismatch:?} {mismatch}"),
        format!("{unreadable:?} {unreadable}"),
    ];
    let secret = issued.key_pem();
    let bytes = format!("{:?}", &issued.key[40..48]);
    let bytes = bytes.trim_matches(['[', ']']);
    for text in texts {
        for line in secret.lines().filter(|line| !line.starts_with("--")) {
            assert!(!text.contains(line));
        }
        assert!(!text.contains(bytes));
    }
}

#[test]
fn versions_that_exclude_each_other_are_told() {
    let trust = Trust::new();
    let error = rejected(TlsSettings {
        min_version: Some(TlsVersion::V1_3),
        max_version: Some(TlsVersion::V1_2),
        ..trust.settings()
    });
    assert_eq!(error.field, "tls.min_version");
}

#[test]
fn a_server_name_that_no_certificate_can_have_is_told() {
    let trust = Trust::new();
    let name = Some("not a name".to_owned());
    let error = rejected(TlsSettings { server_name: name, ..trust.settings() });
    assert_eq!(error.field, "tls.server_name");
    assert!(error.to_string().starts_with("`not a name`"), "{error}");
}
