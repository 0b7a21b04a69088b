//! Every reason, produced by a real server on loopback that misbehaves in one way.

mod loopback {
    mod dns;
    mod dns_paths;
    mod dns_server;
    mod pki;
    mod resolve;
    mod support;
    mod tcp;
    mod tls;
}
