//! The control channel over loopback: both directions, keys, bounds, and what breaks it.

mod channel {
    mod bounds;
    mod exchanges;
    mod keys;
    mod support;
}
