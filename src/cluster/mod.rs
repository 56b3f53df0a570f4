//! Wires the parts into a cluster and runs it: the closed set of messages, who hears what, faults, invariants.
//!
//! Nothing here knows how a part works; the parts know nothing of one another. Read `config`, `message`, then `wiring`,
//! where each thing that a part says is given to the part that hears it, then `run`, `fault` and `invariants`.

mod config;
mod control_plane;
mod cri_log;
mod fault;
mod invariants;
mod message;
mod outside;
pub mod recording;
mod run;
mod wiring;

pub use config::{Config, NodeConfig, NodeRuntime};
pub use control_plane::{ControlPlane, Heard};
pub use cri_log::{CriEntry, CriSaid};
pub use fault::{ContainerFault, Fault, NodeFault};
pub use message::{Incarnation, Message};
pub use outside::{Answerer, Nobody, Outside, Said};
pub use run::Cluster;
pub use wiring::TO_RUNTIME;
