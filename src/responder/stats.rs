//! What the responder counts. Knows nothing of metrics: whoever wants the counts reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a responder, written by it and read by others.
#[derive(Debug, Default)]
pub struct ResponderStats {
    open_connections: AtomicU64,
    connections: AtomicU64,
    requests: AtomicU64,
    rejected_connections: AtomicU64,
    rejected_rate: AtomicU64,
    rejected_body: AtomicU64,
    accept_errors: AtomicU64,
}

/// The counters of one moment. All but `open_connections` only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponderCounts {
    /// Connections that are being served now.
    pub open_connections: u64,
    /// Connections served so far.
    pub connections: u64,
    /// Requests whose head was understood, rejected ones included.
    pub requests: u64,
    /// Connections closed at once because `max_connections` were open.
    pub rejected_connections: u64,
    /// Requests answered 429.
    pub rejected_rate: u64,
    /// Requests answered 413.
    pub rejected_body: u64,
    /// Connections that this machine had no file descriptor or memory for.
    pub accept_errors: u64,
}

impl ResponderStats {
    /// The counters now.
    pub fn read(&self) -> ResponderCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ResponderCounts {
            open_connections: load(&self.open_connections),
            connections: load(&self.connections),
            requests: load(&self.requests),
            rejected_connections: load(&self.rejected_connections),
            rejected_rate: load(&self.rejected_rate),
            rejected_body: load(&self.rejected_body),
            accept_errors: load(&self.accept_errors),
        }
    }

    /// Counts a connection; it is open until the guard goes.
    pub(super) fn connection(self: &Arc<Self>) -> OpenConnection {
        increment(&self.connections);
        increment(&self.open_connections);
        OpenConnection(Arc::clone(self))
    }

    pub(super) fn request(&self) {
        increment(&self.requests);
    }

    pub(super) fn rejected_connection(&self) {
        increment(&self.rejected_connections);
    }

    pub(super) fn rejected_rate(&self) {
        increment(&self.rejected_rate);
    }

    pub(super) fn rejected_body(&self) {
        increment(&self.rejected_body);
    }

    pub(super) fn accept_error(&self) {
        increment(&self.accept_errors);
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A connection that is being served.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<ResponderStats>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}
