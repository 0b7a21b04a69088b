//! The same probes against servers that others wrote: CoreDNS, Envoy, nginx, Prometheus; alerts and reports
//! from a Prometheus; and the page in Chromium.
//!
//! Needs the tools that `make tools` installs, so only `make test` and `cargo test --test real`
//! run it.

mod real {
    mod coredns;
    mod envoy;
    mod hbone_client;
    mod nginx;
    #[cfg(feature = "lab")]
    mod page;
    mod pki;
    #[cfg(feature = "lab")]
    #[path = "../lab_gate/process.rs"]
    mod process;
    mod prometheus;
    mod report;
    #[path = "../ztunnel/support.rs"]
    mod stand_in;
    mod support;
}
