//! The API server with its etcd: storage and resource versions, watches, admission, validation, graceful deletion.
//!
//! It leaves out everything that is text: objects arrive compiled and defaulted (see `manifest/`). Networks between it
//! and its clients are links of the cluster; its own processing time is in [`Config`].

use std::sync::Arc;

use crate::kernel::Distribution;
use crate::model::Name;
use crate::protocol::api::{ClientId, Request, Response, WatchEvent};

/// Settings of the API server.
#[derive(Clone, Debug)]
pub struct Config {
    /// From a write's arrival until its answer leaves (etcd included).
    pub write_latency: Distribution,
    /// The same for reads.
    pub read_latency: Distribution,
    /// From a write's commit until the watch event leaves.
    pub watch_latency: Distribution,
}

/// What the API server hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    Request {
        from: ClientId,
        request: Box<Request>,
    },
    /// A fault of the world around it: the lease holder on this node can't reach it any more, so its renewals stop.
    LeaseCut {
        node: Name,
    },
    /// A client's connections broke (power, network, restart): its watches end and requests under way are lost.
    Disconnected(ClientId),
    /// The API server goes away (false) or comes back (true): while away it answers nothing and its watches break.
    Up(bool),
    Timer(Timer),
}

/// The API server's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What the API server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Respond { to: ClientId, response: Box<Response> },
    Deliver { to: ClientId, event: Arc<WatchEvent> },
}
