//! Compact, interned Kubernetes objects and what several parts know of them: quantities, selectors, taints, conditions.
//! Knows nothing of files, of `k8s-openapi`, or of who uses it.
pub mod quantity;
