//! The agent as its operators meet it: its admin server, its metrics, its reloads.

mod agent {
    mod admin;
    mod blackbox;
    mod controller;
    mod flows;
    mod plans;
    mod reload;
    mod series;
    mod support;
}
