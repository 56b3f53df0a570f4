//! A `performance-config.yaml`: test cases with their operations and workloads.
//!
//! Kubernetes: test/integration/scheduler_perf/scheduler_perf.go (testCase, workload, op).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::manifest::{self, Source, render_all};

use super::super::terminal;

/// A test case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Case {
    pub name: String,
    pub labels: Vec<String>,
    pub default_pod_template_path: Option<String>,
    pub scheduler_config_path: Option<String>,
    pub feature_gates: BTreeMap<String, bool>,
    pub workload_template: Vec<Op>,
    pub workloads: Vec<Workload>,
    /// Says how real clusters are measured; here it is always pods and CPU time.
    metrics_collector_config: Value,
    default_threshold_metric_selector: Value,
}

/// A size of a test case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    pub name: String,
    pub labels: Vec<String>,
    pub feature_gates: BTreeMap<String, bool>,
    pub params: BTreeMap<String, Value>,
    threshold: Value,
    threshold_metric_selector: Value,
}

impl Workload {
    /// Pods a second; None if nothing is checked, or something else than throughput is.
    pub fn threshold(&self) -> Option<f64> {
        if !self.threshold_metric_selector.is_null() {
            return None;
        }
        let number = match &self.threshold {
            Value::Object(by_topic) => by_topic.values().find_map(Value::as_f64),
            other => other.as_f64(),
        };
        number.filter(|number| *number > 0.0)
    }
}

/// An operation: the fields of all opcodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Op {
    pub opcode: String,
    pub count: i64,
    pub count_param: String,
    pub name: String,
    pub namespace: Option<String>,
    pub namespaces: Vec<String>,
    pub prefix: String,
    pub namespace_prefix: String,
    pub namespace_template_path: Option<String>,
    pub node_template_path: Option<String>,
    pub node_allocatable_strategy: Option<NodeAllocatable>,
    pub label_node_prepare_strategy: Option<LabelNodes>,
    pub unique_node_label_strategy: Option<LabelNodes>,
    pub pod_template_path: Option<String>,
    pub persistent_volume_template_path: Option<String>,
    pub persistent_volume_claim_template_path: Option<String>,
    pub collect_metrics: bool,
    pub skip_wait_to_completion: bool,
    pub steady_state: bool,
    pub steady_state_param: String,
    pub duration: String,
    pub duration_param: String,
    pub create_pods_op: Option<Box<Op>>,
    pub label_selector: BTreeMap<String, String>,
    pub delete_pods_per_second: i64,
    pub mode: String,
    pub number: i64,
    pub interval_milliseconds: i64,
    pub template_paths: Vec<String>,
    pub template_path: String,
    pub update_per_second: i64,
    pub subresources: Vec<String>,
    pub stage_requirement: String,
    /// Of operations for Dynamic Resource Allocation, which are named and passed over.
    driver_name: String,
    nodes: String,
    max_claims_per_node: i64,
    max_claims_per_node_param: String,
    device_class_mapping: Value,
}

/// What nodes have, for `createNodes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAllocatable {
    pub node_allocatable: BTreeMap<String, String>,
    pub csi_node_allocatable: BTreeMap<String, VolumeLimit>,
    pub migrated_plugins: Vec<String>,
}

/// How many volumes of a driver a node takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeLimit {
    pub count: Option<i32>,
}

/// A label for the new nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelNodes {
    pub label_key: String,
    pub label_values: Vec<String>,
}

/// Reads the file.
///
/// # Errors
/// Everything that is wrong with it, rendered.
pub fn read(source: &Source) -> Result<Vec<Case>, String> {
    let (documents, mut problems) = manifest::documents_and_problems(source);
    let mut cases = Vec::new();
    for document in &documents {
        let (found, more): (Vec<Case>, _) = manifest::decode(source, document, "performance-config", "");
        cases.extend(found);
        problems.extend(more);
    }
    if problems.iter().any(manifest::Problem::is_error) {
        return Err(render_all(source, &problems, terminal::colour_on_stderr()));
    }
    Ok(cases)
}
