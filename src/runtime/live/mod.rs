//! CRI v1 by gRPC, at the edge: a real runtime behind a node, and the simulated one on a socket. Feature `cri`.
//!
//! Read `proto` (the messages as they are on the wire), `codec` (how they travel), `wire` (what they mean in
//! `protocol/cri.rs`); then `client`, `bridge` (the way of a run to real runtimes), `probes` with `tls`, `volumes` and `tidy`; or `server`
//! (the simulated runtime on a socket). With `cli/` the only place with sockets.

pub mod bridge;
pub mod client;
pub mod codec;
pub mod probes;
pub mod proto;
pub mod server;
pub mod tidy;
pub mod tls;
pub mod volumes;
pub mod wire;
