//! Pod templates compared and named: what tells one revision of a workload from another.
//!
//! Kubernetes: pkg/controller/controller_utils.go (ComputeHash), pkg/controller/deployment/util (EqualIgnoreHash). The
//! hash is over our own form of the template, so its letters differ from Kubernetes', its shape and length do not.

use std::fmt::Write;
use std::sync::Arc;

use crate::model::workload::PodTemplate;
use crate::model::{Container, PodSpec};

/// True if both make the same pods: where a user wrote them does not count.
pub fn same_template(a: &PodTemplate, b: &PodTemplate) -> bool {
    a.labels == b.labels && a.annotations == b.annotations && same_spec(&a.spec, &b.spec)
}

fn same_spec(a: &Arc<PodSpec>, b: &Arc<PodSpec>) -> bool {
    Arc::ptr_eq(a, b) || a == b || without_source(a) == without_source(b)
}

fn without_source(spec: &PodSpec) -> PodSpec {
    let strip = |containers: &[Container]| {
        containers.iter().map(|container| Container { source: None, ..container.clone() }).collect::<Vec<_>>().into()
    };
    PodSpec {
        source: None,
        containers: strip(&spec.containers),
        init_containers: strip(&spec.init_containers),
        ..spec.clone()
    }
}

/// FNV-1a over 32 bits of the template's printed form and the collision count, as the suffix of names and as the value of
/// hash labels: decimal digits written in letters that make no words.
pub fn template_hash(template: &PodTemplate, collision_count: i32) -> String {
    let mut hasher = Fnv(0x811c_9dc5);
    let spec = without_source(&template.spec);
    let _ = write!(hasher, "{:?}{:?}{:?}", template.labels, template.annotations, spec);
    if collision_count > 0 {
        hasher.add(&collision_count.to_le_bytes());
    }
    safe_encode(&hasher.0.to_string())
}

/// Kubernetes' `SafeEncodeString`: each byte as a letter or digit of an alphabet without vowels.
fn safe_encode(text: &str) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

struct Fnv(u32);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}
