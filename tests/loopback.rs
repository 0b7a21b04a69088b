//! Every reason, produced by a real server on loopback that misbehaves in one way.

mod loopback {
    mod capture;
    mod dns;
    mod dns_paths;
    mod dns_server;
    mod hold;
    mod http;
    mod http_bad;
    mod http_encoding;
    mod http_support;
    mod http_tls;
    mod mtu;
    mod pki;
    mod resolve;
    mod support;
    mod tcp;
    mod tls;
    mod ztunnel;
}
