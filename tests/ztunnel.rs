//! The lab's stand-in for ztunnel, held against what a real one shows on the wire.

mod ztunnel {
    mod faults;
    mod flows;
    mod healthy;
    mod own;
    mod probed;
    mod signatures;
    mod support;
    mod wire;
}
