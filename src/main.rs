//! The `meshprobe` binary.

fn main() {}
