//! The responder over real sockets: what it answers, and that every bound really bounds.

mod responder {
    mod answers;
    mod bounds;
    mod probed;
    mod support;
}
