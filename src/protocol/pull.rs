//! Image pulls: what a runtime asks of a registry (the OCI distribution protocol, as far as it takes time or fails).

use std::fmt;
use std::sync::Arc;

use crate::model::{Name, Text};

use super::cri::ImageId;

/// A request of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub id: FetchId,
    pub what: Fetch,
}

/// The runtime's number for a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Resolve the reference, authenticate, get manifest and configuration.
    Manifest { image: Name, auth: Option<AuthConfig> },
    /// One layer, over a connection of its own.
    Layer { image: Name, layer: Layer },
    /// Give up an unfinished fetch with this request's id.
    Cancel,
}

/// A user of a registry, as the kubelet hands it to the runtime (`AuthConfig` of CRI).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthConfig {
    pub username: Name,
    pub password: Name,
}

/// Without the password: this goes to messages and logs.
impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.username)
    }
}

/// A layer by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    pub digest: u64,
    /// Compressed, as it goes over the wire.
    pub bytes: u64,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub id: ImageId,
    pub digest: u64,
    pub layers: Arc<[Layer]>,
    /// What its layers take on a disk.
    pub unpacked_bytes: i64,
    /// The user of the image's configuration.
    pub user: Option<i64>,
}

/// The registry's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub id: FetchId,
    pub result: Result<Fetched, Error>,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    Manifest(Arc<Manifest>),
    Layer,
}

/// Why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404: no such repository or tag.
    #[error("not found")]
    NotFound,
    /// 401 without credentials.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// 401 with credentials that the registry doesn't know.
    #[error("unauthorized: authentication required")]
    Unauthorized,
    /// 429, with the registry's words.
    #[error("{0}")]
    TooManyRequests(Text),
    /// 5xx.
    #[error("unexpected status code {0}")]
    ServerError(u16),
    /// Nobody listens.
    #[error("dial tcp: connect: connection refused")]
    ConnectionRefused,
    /// The connection broke while it was used.
    #[error("read tcp: read: connection reset by peer")]
    ConnectionReset,
    /// The host's name does not resolve.
    #[error("dial tcp: lookup: no such host")]
    NoSuchHost,
    /// No answer in time.
    #[error("i/o timeout")]
    Timeout,
    /// The content does not have the digest that it should have.
    #[error("failed commit on ref: unexpected digest")]
    Corrupt,
}
