//! The scenario language: a file that says what a cluster is, what happens to it, and what is expected of it.
//!
//! It leaves out files and terminals: `cli/` reads the files that a scenario names, through [`Files`]. Read `file` (the
//! document), `cluster`, `kubelet_config` and `scheduler_config` (what the cluster is made of), `timeline` and `fault` (what happens),
//! `world` and `condition` (expressions over the cluster's state), `expect` and `placement`, then `run`, which walks through all of it.
//! `scheduler_perf`, `openb` and `simkube` are languages of others: the scheduler's own performance tests, the trace of a cluster with
//! GPUs, and recordings of what was applied.

mod behavior;
mod cluster;
mod condition;
mod dump;
mod expect;
mod fault;
mod file;
pub mod kubelet_config;
pub mod openb;
mod patch;
mod placement;
mod read;
mod remarks;
mod run;
mod runtime;
pub mod scheduler_config;
pub mod scheduler_perf;
pub mod simkube;
mod timeline;
mod values;
mod world;

pub use file::{Files, LoadOptions, Loaded, RealNode, Scenario, load};
pub use run::{End, Measured, Options, run, run_with};
