//! What the parts say to each other, and nothing else: the Kubernetes API (`api`), the CRI (`cri`), probes (`probe`),
//! image pulls (`pull`) and volumes (`volume`). Each mirrors the real protocol, so that a real part can stand at either end.
//!
//! The parts never import one another; what two of them both need is a message here or a fact in `model/`.

pub mod api;
pub mod cri;
pub mod probe;
pub mod pull;
pub mod stats;
pub mod volume;
