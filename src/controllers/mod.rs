//! kube-controller-manager: one file a controller, and the work queue and the informer's cache that they share.

use std::sync::Arc;

use crate::protocol::api::{Request, Response, WatchEvent};

/// What the controller manager hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// The process starts (again): it lists and watches.
    Start,
    Watch(Arc<WatchEvent>),
    Api(Box<Response>),
    Timer(Timer),
}

/// The controller manager's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What the controller manager says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<Request>),
}
