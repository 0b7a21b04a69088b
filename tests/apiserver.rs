//! Against a real kube-apiserver on a real etcd, with the RBAC authorizer on.
//!
//! Needs the programs that `tests/tools.sh cluster` installs, so only `make test-cluster` and
//! `cargo test --test apiserver` run it.

mod apiserver {
    mod chart;
    mod control_plane;
    mod controlled;
    mod data_plane;
    mod discovered;
    mod fleet;
    mod gated;
    mod installed;
    mod lab;
    mod mistaken;
    #[path = "../netns_mesh/net.rs"]
    mod net;
    mod objects;
    mod outages;
    #[path = "../real/prometheus/panels.rs"]
    mod panels;
    mod pki;
    mod plugin;
    mod rights;
    mod scraped;
    mod seed;
    mod standing;
    #[path = "../real/support.rs"]
    mod support;
    mod watching;
    mod writing;
}
