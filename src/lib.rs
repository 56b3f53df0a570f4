//! simlet: a deterministic discrete-event simulator of Kubernetes, down to the kubelet and the container runtime.
pub mod kernel;

pub mod model;

pub mod protocol;
pub mod trace;

pub mod apiserver;
pub mod client;
pub mod controllers;
pub mod kubelet;
pub mod registry;
pub mod runtime;
pub mod scheduler;

pub mod report;
