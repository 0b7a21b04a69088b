//! A token that cannot be used is our own trouble, never istiod's.

use std::fs;
use std::path::Path;

use meshprobe::expectation::{Verdict, rung_verdicts};
use meshprobe::failure::{Blame, Reason};
use meshprobe::outcome::Rung;
use meshprobe::spec::IstiodModule;

use super::support::{Mesh, PATIENCE, TOKEN, assert_broken, assert_good, ladder};

/// Climbs with the token file as `spoil` leaves it.
async fn spoiled(spoil: impl FnOnce(&Path)) -> String {
    let mesh = Mesh::start().await;
    fs::remove_file(mesh.token()).expect("removed");
    spoil(&mesh.token());
    let outcome = mesh.climb().await;
    let failure = assert_broken(&outcome, Rung::Xds, Reason::NoIdentity);
    assert_eq!(failure.reason.blame(), Blame::Prober);
    assert!(failure.detail.contains(&mesh.token().display().to_string()), "{failure}");
    assert!(!failure.detail.contains(&TOKEN[..20]), "{failure}");
    let verdicts = rung_verdicts(ladder(&outcome));
    assert!(verdicts.contains(&(Rung::Http2, Verdict::Met)));
    assert!(verdicts.contains(&(Rung::Xds, Verdict::Inconclusive)));
    assert!(mesh.istiod.seen().authorizations.is_empty(), "istiod is not asked without one");
    failure.detail.clone()
}

#[tokio::test]
async fn a_missing_token_is_no_identity() {
    let told = spoiled(|_| {}).await;
    assert!(told.contains("No such file"), "{told}");
}

#[tokio::test]
async fn an_empty_token_is_no_identity() {
    let told = spoiled(|path| fs::write(path, " \n").expect("written")).await;
    assert!(told.ends_with("the file is empty"), "{told}");
}

#[tokio::test]
async fn a_token_that_is_no_file_is_no_identity() {
    let told = spoiled(|path| fs::create_dir(path).expect("created")).await;
    assert!(told.ends_with("not a regular file"), "{told}");
}

#[tokio::test]
async fn a_token_that_leads_in_a_circle_is_no_identity() {
    // Unreadable also for root, for whom permissions do not count.
    spoiled(|path| std::os::unix::fs::symlink("token", path).expect("linked")).await;
}

#[tokio::test]
async fn a_token_written_only_in_part_is_no_identity() {
    let half = &TOKEN[..TOKEN.rfind('.').expect("three parts")];
    let told = spoiled(|path| fs::write(path, half).expect("written")).await;
    assert!(told.contains("no whole JWT"), "{told}");
    let told = spoiled(|path| fs::write(path, vec![b'a'; 1024 * 1024]).expect("written")).await;
    assert!(told.contains("larger than 64 KiB"), "{told}");
}

#[tokio::test]
async fn the_token_is_read_anew_for_each_attempt() {
    let mesh = Mesh::start().await;
    let probe = mesh.prepare(IstiodModule { csr: None, ..mesh.module() }, PATIENCE);
    assert_good(&probe.attempt().await);
    let rotated = "aGVhZGVyLW9mLWI.cGF5bG9hZC1vZi1i.c2lnbmF0dXJlLW9mLWI";
    fs::write(mesh.token(), format!("{rotated}\n")).expect("written");
    assert_good(&probe.attempt().await);
    let seen = mesh.istiod.seen().authorizations;
    assert_eq!(seen, [format!("Bearer {TOKEN}"), format!("Bearer {rotated}")]);
}
