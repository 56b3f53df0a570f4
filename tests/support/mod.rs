//! What several tests share.
#![allow(dead_code, reason = "each test uses its part")]

pub mod cluster;
pub mod oracle_config;
pub mod oracle_objects;
