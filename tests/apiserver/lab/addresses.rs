//! Who is where: the numbers of pods, and ClusterIPs.

use std::net::Ipv4Addr;

/// ClusterIPs are of this range.
pub(crate) const SERVICES: &str = "198.19.0.0/16";
/// The API server takes the first for itself.
pub(crate) const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// CoreDNS's.
pub(crate) const KUBE_DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 10);
/// istiod's.
pub(crate) const ISTIOD_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 15);
/// The application's.
pub(crate) const FRONTEND_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 80);

/// istiod's pod.
pub(crate) const ISTIOD: u8 = 5;
/// CoreDNS's pods.
pub(crate) const COREDNS: [u8; 2] = [6, 7];
/// The application's pod, on the first node.
pub(crate) const FRONTEND: u8 = 21;

/// ztunnel's own pod.
pub(crate) const fn ztunnel(node: usize) -> u8 {
    11 + node as u8
}

/// The agent in the mesh.
pub(crate) const fn ambient_agent(node: usize) -> u8 {
    31 + node as u8
}

/// The agent outside of it.
pub(crate) const fn plain_agent(node: usize) -> u8 {
    41 + node as u8
}
