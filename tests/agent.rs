//! The agent as its operators meet it: its admin server, its metrics, its reloads.

mod agent {
    mod admin;
    mod blackbox;
    mod controller;
    mod plans;
    mod reload;
    mod series;
    mod support;
}
