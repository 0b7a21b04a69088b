//! From objects of the Kubernetes API to a cluster, and the watches on the wire.

mod discovery {
    mod choices;
    mod enrolment;
    mod fleet;
    mod forward;
    mod gate;
    mod hostile;
    mod policies;
    mod support;
    mod wire;
}
