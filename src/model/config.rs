//! Configuration that pods read, and namespaces.

use std::sync::Arc;

use super::{Meta, Name};

/// A ConfigMap or a Secret: its keys decide whether containers can start; the values are there for live mode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigData {
    pub meta: Meta,
    /// In the order of the keys.
    pub data: Vec<(Name, Arc<[u8]>)>,
    /// `type` of a Secret.
    pub secret_type: Name,
    pub immutable: bool,
}

impl ConfigData {
    /// True if it has this key.
    pub fn has_key(&self, key: Name) -> bool {
        self.data.iter().any(|(existing, _)| *existing == key)
    }
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespace {
    pub meta: Meta,
}

/// A node's lease, as the API server keeps it: renewals of a healthy kubelet are computed, not written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lease {
    pub meta: Meta,
    /// The last renewal that reached the API server, if the holder renews no more or has not begun.
    pub renewed: Option<crate::kernel::Time>,
    /// `leaseDurationSeconds`: `nodeLeaseDurationSeconds` of the holder's kubelet.
    pub duration: crate::kernel::Duration,
    /// True while the holder renews on its grid, undisturbed: its last renewal is never older than the lease's renew interval.
    pub renewing: bool,
}
