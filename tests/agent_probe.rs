//! `/probe` and the rest of the admin server of a real agent, over real sockets.

mod agent_probe {
    mod bounds;
    mod dns;
    #[allow(dead_code, reason = "made for the tests of the probe itself")]
    #[path = "../loopback/dns_server.rs"]
    mod dns_server;
    mod fence;
    mod http;
    #[path = "../loopback/pki.rs"]
    mod pki;
    mod secrets;
    mod support;
    mod tls;
}
