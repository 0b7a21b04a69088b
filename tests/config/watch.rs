//! Hot reload: what is a change of the files, and what is not.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshprobe::config::Watch;
use tempfile::TempDir;
use tokio::time::{Instant, timeout_at};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
    }

    fn watch(&self, name: &str) -> Watch {
        Watch::new(self.path(name), Duration::from_millis(1))
    }
}

async fn next(watch: &mut Watch) -> io::Result<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let next = timeout_at(deadline, watch.changed()).await;
    next.expect("a change is noticed in time")
}

async fn text(watch: &mut Watch) -> String {
    next(watch).await.expect("the file is readable")
}

#[tokio::test]
async fn a_rewrite_and_a_rename_over_the_file_are_changes() {
    let folder = Folder::new();
    folder.write("config.yaml", "a");
    let mut watch = folder.watch("config.yaml");
    folder.write("config.yaml", "b");
    assert_eq!(text(&mut watch).await, "b");
    folder.write("new", "c");
    fs::rename(folder.path("new"), folder.path("config.yaml")).expect("renamed");
    assert_eq!(text(&mut watch).await, "c");
}

/// A ConfigMap volume as kubelet writes it: files are links into `..data`, a link to a folder.
fn mount(folder: &Folder, version: &str, text: &str) {
    fs::create_dir(folder.path(version)).expect("created");
    folder.write(&format!("{version}/config.yaml"), text);
    symlink(version, folder.path("..data_tmp")).expect("linked");
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).expect("swapped");
}

#[tokio::test]
async fn the_symlink_swap_of_a_config_map_is_a_change() {
    let folder = Folder::new();
    mount(&folder, "..1", "a");
    symlink(Path::new("..data/config.yaml"), folder.path("config.yaml")).expect("linked");
    let mut watch = folder.watch("config.yaml");
    mount(&folder, "..2", "b");
    fs::remove_dir_all(folder.path("..1")).expect("removed");
    assert_eq!(text(&mut watch).await, "b");
    // A swap to equal bytes is none.
    mount(&folder, "..3", "b");
    mount(&folder, "..4", "c");
    assert_eq!(text(&mut watch).await, "c");
}

#[tokio::test]
async fn a_file_that_is_touched_but_equal_is_no_change() {
    let folder = Folder::new();
    folder.write("config.yaml", "a");
    folder.write("ca.pem", "x");
    let mut watch = folder.watch("config.yaml");
    watch.follow(vec![folder.path("ca.pem")]);
    folder.write("config.yaml", "a");
    folder.write("ca.pem", "x");
    let soon = Instant::now() + Duration::from_millis(50);
    assert!(timeout_at(soon, watch.changed()).await.is_err());
    folder.write("config.yaml", "b");
    assert_eq!(text(&mut watch).await, "b");
}

#[tokio::test]
async fn a_named_file_that_changes_appears_or_goes_is_a_change() {
    let folder = Folder::new();
    folder.write("config.yaml", "a");
    folder.write("ca.pem", "x");
    let mut watch = folder.watch("config.yaml");
    watch.follow(vec![folder.path("ca.pem"), folder.path("key.pem")]);
    folder.write("ca.pem", b"\xff");
    assert_eq!(text(&mut watch).await, "a");
    folder.write("key.pem", "k");
    assert_eq!(text(&mut watch).await, "a");
    fs::remove_file(folder.path("ca.pem")).expect("removed");
    assert_eq!(text(&mut watch).await, "a");
}

#[tokio::test]
async fn a_change_before_the_same_files_are_followed_again_is_not_lost() {
    let folder = Folder::new();
    folder.write("config.yaml", "a");
    folder.write("ca.pem", "x");
    let mut watch = folder.watch("config.yaml");
    watch.follow(vec![folder.path("ca.pem")]);
    folder.write("ca.pem", "y");
    watch.follow(vec![folder.path("ca.pem")]);
    assert_eq!(text(&mut watch).await, "a");
    // What is no longer followed changes nothing.
    watch.follow(Vec::new());
    folder.write("ca.pem", "z");
    folder.write("config.yaml", "b");
    assert_eq!(text(&mut watch).await, "b");
}

#[tokio::test]
async fn a_file_that_goes_is_told_once_and_again_when_it_is_back() {
    let folder = Folder::new();
    folder.write("config.yaml", "a");
    let mut watch = folder.watch("config.yaml");
    fs::remove_file(folder.path("config.yaml")).expect("removed");
    let error = next(&mut watch).await.expect_err("the file is gone");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let soon = Instant::now() + Duration::from_millis(50);
    assert!(timeout_at(soon, watch.changed()).await.is_err());
    folder.write("config.yaml", b"\xff");
    let error = next(&mut watch).await.expect_err("the file is no text");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    folder.write("config.yaml", "a");
    assert_eq!(text(&mut watch).await, "a");
}
