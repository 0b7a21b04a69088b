//! What holds in a cluster, who probes whom, and what each agent is told: all of it pure.

mod cluster {
    mod mtls;
    mod topology;
}
