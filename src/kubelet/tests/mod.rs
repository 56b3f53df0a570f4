//! The kubelet as a whole, in a small world.

mod lifecycle;
mod world;
