//! simlet: a deterministic discrete-event simulator of Kubernetes, down to the kubelet and the container runtime.
pub mod kernel;
pub mod manifest;
pub mod model;
