//! The configuration of an oracle's case as profiles, read as a file would be.

use serde_json::{Value, json};
use simlet::manifest::Source;
use simlet::scenario::scheduler_config;
use simlet::scheduler::framework::Profile;
use simlet::scheduler::{Config, FeatureGates};

/// The profiles of a case's configuration; without one, those of an empty file.
pub fn profiles(case: &Value) -> Vec<Profile> {
    let mut config = case["config"].clone();
    if config.is_null() {
        config = json!({"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"});
        config["percentageOfNodesToScore"] = json!(100);
    }
    let comparing = case["featureGates"]["TaintTolerationComparisonOperators"] == true;
    let feature_gates = FeatureGates { taint_toleration_comparison_operators: comparing, ..FeatureGates::default() };
    let source = Source::new("config.json", config.to_string());
    let (config, problems) = scheduler_config::read(&source, Config { feature_gates, ..Config::default() }, &[]);
    config.unwrap_or_else(|| panic!("{}: {problems:?}", case["id"])).profiles
}
