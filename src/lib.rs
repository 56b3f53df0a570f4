//! simlet: a deterministic discrete-event simulator of Kubernetes, down to the kubelet and the container runtime, whose
//! reconcile code also runs real containers.
//!
//! The map, in the order in which to read it. Each layer may use the layers below it, never one above, and the parts never
//! use each other, exactly as in a real cluster; a test keeps it so.
//!
//! ```text
//! cli
//! report · scenario
//! cluster
//! manifest · apiserver · scheduler · controllers · kubelet · runtime · registry · client
//! protocol · trace
//! model
//! kernel
//! ```
//!
//! Every part is a state machine without I/O: a message comes in with the time, messages, timers and records go out
//! ([`kernel::Effects`]). Nothing below `cli` opens a file, reads the environment, spawns a thread or looks at the machine's
//! clock, but for [`kernel::Wall`], the clock of live mode: which clock drives the kernel, and which actor answers the
//! kubelet's CRI messages, is the only difference between a simulation and a live run.

pub mod kernel;

pub mod model;

pub mod protocol;
pub mod trace;

pub mod apiserver;
pub mod client;
pub mod controllers;
pub mod kubelet;
pub mod manifest;
pub mod registry;
pub mod runtime;
pub mod scheduler;

pub mod cluster;

pub mod report;
pub mod scenario;

pub mod cli;
