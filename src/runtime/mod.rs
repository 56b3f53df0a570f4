//! Container runtimes: `simulated/` answers the CRI from a model; `live/` (feature `cri`) hands it to a real one.

#[cfg(feature = "cri")]
pub mod live;
pub mod simulated;
