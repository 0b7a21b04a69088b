//! The parts that the lab is made of, each by itself, asked by our own clients.
#![cfg(feature = "lab")]

#[path = "lab_parts/climber.rs"]
mod climber;
#[path = "lab_parts/dns.rs"]
mod dns;
#[path = "lab_parts/istiod.rs"]
mod istiod;
