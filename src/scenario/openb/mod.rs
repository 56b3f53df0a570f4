//! The openb trace: a production cluster with GPUs, as Kubernetes objects, and what the scheduler makes of it.
//!
//! Read `trace` (the CSV files), `objects` (nodes and pods of them), `cards` (which shares fit on one card), then `fill` (the
//! experiment of the paper that came with the trace: pods until far more GPUs are asked for than there are) and `replay` (pods
//! come and go at their times).
//!
//! The trace: Alibaba, <https://github.com/alibaba/clusterdata>, cluster-trace-gpu-v2023. The paper: "Beware of Fragmentation:
//! Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023.

mod cards;
mod fill;
mod objects;
mod replay;
mod trace;

pub use fill::{Fill, Filled, LOAD_POINTS, fill};
pub use objects::{Gpus, objects, scheduler_of};
pub use replay::{Replayed, replay};
pub use trace::{Expected, Trace, TraceNode, TracePod, read_expected, read_nodes, read_pods};
