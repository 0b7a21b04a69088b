//! The calls to istiod, the ladder, and the agent's own identity, against a gRPC server of our
//! own making that is good, or bad in one way.

mod istiod {
    mod agent;
    mod broken;
    mod identity;

    mod ladder;
    mod secrets;
    mod server;
    mod signing;
    mod support;
    mod token;
}
