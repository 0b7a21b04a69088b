//! `TCP_INFO` (tcp(7)): what the kernel measured on a connection.
#![allow(unsafe_code, reason = "nix's sockopt_impl! expands to it; nothing else is in this file")]

// The macro calls its own siblings unqualified.
use nix::{getsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// `struct tcp_info` of Linux.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info
);
