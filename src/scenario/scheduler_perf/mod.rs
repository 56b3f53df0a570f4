//! scheduler_perf: the scheduler's own performance tests, run from their files as they are.
//!
//! A file holds test cases, each with operations and with workloads, which are sizes to run these with. Scheduler and API server
//! run without nodes behind the Node objects, as there. Read `file` (what a file says), `template` (Go templates in the objects'
//! files), `objects` (from a template to objects), `filter` (which workloads are meant), then `run` with `tasks` and `measure`;
//! `support` says what of a workload is not simulated.
//!
//! Kubernetes: test/integration/scheduler_perf/{scheduler_perf,create,util}.go.

mod devices;
mod file;
mod filter;
mod measure;
mod objects;
mod run;
mod support;
mod tasks;
mod template;

pub use file::{TestCase, Threshold, Workload, load};
pub use filter::Filter;
pub use run::{Measured, Outcome, run};
