//! HBONE against peers that keep its rules, and against peers that break them in one way each.

mod hbone {
    mod call;
    mod ends;
    mod floods;
    mod frames;
    mod knock;
    mod peer;
    #[path = "../loopback/pki.rs"]
    mod pki;
    #[allow(dead_code, reason = "made for the tests of other probes")]
    #[path = "../loopback/support.rs"]
    mod support;
    mod verdict;
    mod warm;
}
