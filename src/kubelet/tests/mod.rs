//! The kubelet as a whole, in a small world.

use super::{Observe, StartKind};

mod content;
mod ephemeral;
mod faults;
mod lifecycle;
mod node;
mod probing;
mod pulling;
mod tables;
mod world;
