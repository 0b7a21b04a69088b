//! What holds in a cluster, who probes whom, and what each agent is told: all of it pure.

mod cluster {
    mod accepted;
    mod changes;
    mod mtls;
    mod plans;
    mod support;
    mod topology;
}
