//! The open loop against real sockets: slots, bounds, controls, reloads.

mod runner {
    mod controls;
    mod reloads;
    mod slots;
    mod support;
}
