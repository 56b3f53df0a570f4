//! kube-scheduler: queue, scheduling and binding cycle, plug-ins at Kubernetes' extension points.

use std::sync::Arc;

use crate::protocol::api::{Request, Response, WatchEvent};

pub mod classes;
pub mod events;
pub mod explain;
pub mod fit_error;
pub mod framework;
pub mod listers;
pub mod node_order;
pub mod node_table;
pub mod nominator;
pub mod plugins;
pub mod pod_info;
pub mod profile;
pub mod search;
pub mod states;

/// What the scheduler hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// The process starts (again): it lists and watches.
    Start,
    Watch(Arc<WatchEvent>),
    Api(Box<Response>),
    Timer(Timer),
}

/// The scheduler's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What the scheduler says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<Request>),
}
