//! kube-scheduler: queue, scheduling and binding cycle, plug-ins at Kubernetes' extension points.

use std::sync::Arc;

use crate::protocol::api::{Request, Response, WatchEvent};

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
