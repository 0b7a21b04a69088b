//! Every reason, produced by a real server on loopback that misbehaves in one way.

mod loopback {
    mod support;
    mod tcp;
}
