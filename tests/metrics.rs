//! `metrics.prom` has the names, types, labels and buckets that the components of a real cluster export.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

/// A family of a page.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    buckets: Vec<f64>,
}

/// The families of a page by name.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            current = name.to_owned();
            found.insert(current.clone(), Family { kind: kind.to_owned(), ..Family::default() });
        } else if !line.starts_with('#') {
            let family = found.get_mut(&current).expect("a sample stands under its family");
            let Some((_, rest)) = line.split_once('{') else { continue };
            for pair in rest.split("\",").flat_map(|part| part.split_once("=\"")) {
                let (label, value) = (pair.0.trim_start_matches('{'), pair.1.split('"').next().unwrap_or_default());
                if label != "le" {
                    family.labels.insert(label.to_owned());
                } else if let Ok(bound) = value.parse::<f64>()
                    && bound.is_finite()
                    && !family.buckets.contains(&bound)
                {
                    family.buckets.push(bound);
                }
            }
        }
    }
    found
}

/// What real components export, by the name that the family has in OpenMetrics.
fn real() -> BTreeMap<String, Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/timelines/metric-names.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let components: BTreeMap<String, Vec<Value>> = serde_json::from_str(&text).expect("metric names by component");
    let all = components.into_values().flatten().map(|metric| {
        let name = metric["name"].as_str().expect("a name").to_owned();
        (name.strip_suffix("_total").map_or(name.clone(), str::to_owned), metric)
    });
    all.collect()
}

/// Metrics that exist but that no component of the recorded cluster had counted yet, with their labels: kube-state-metrics
/// (its docs), the kubelet's probes, and what no kubelet there did (pkg/kubelet/metrics/metrics.go).
const NOT_RECORDED: &[(&str, &str, &[&str])] = &[
    ("kube_deployment_spec_replicas", "gauge", &["deployment", "namespace"]),
    ("kube_deployment_status_replicas_available", "gauge", &["deployment", "namespace"]),
    ("kube_deployment_status_replicas_ready", "gauge", &["deployment", "namespace"]),
    ("kube_node_spec_unschedulable", "gauge", &["node"]),
    ("kube_node_status_condition", "gauge", &["condition", "node", "status"]),
    ("kube_pod_container_status_restarts", "counter", &["container", "namespace", "pod"]),
    ("kube_pod_status_phase", "gauge", &["namespace", "phase", "pod", "uid"]),
    ("kube_pod_status_ready", "gauge", &["condition", "namespace", "pod"]),
    ("kubelet_evictions", "counter", &["eviction_signal"]),
    ("kubelet_run_podsandbox_errors", "counter", &["runtime_handler"]),
    ("prober_probe", "counter", &["container", "namespace", "pod", "pod_uid", "probe_type", "result"]),
    ("simlet_container_exits", "counter", &["reason"]),
];

#[test]
fn names_types_labels_and_buckets_are_those_of_a_real_cluster() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let real = real();
    assert!(real.len() > 200, "only {} metrics are known", real.len());
    let (mut wrong, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for scenario in ["bad-image-tag.yaml", "crash-loop.yaml", "out-of-memory.yaml", "zone-outage.yaml"] {
        let outputs = simlet::cli::outputs_of(&root.join(scenario).display().to_string()).expect(scenario);
        let (_, page) = outputs.iter().find(|(name, _)| name == "metrics.prom").expect("metrics are written");
        for (name, family) in families(std::str::from_utf8(page).expect("the page is text")) {
            let mut labels: Vec<&str> = family.labels.iter().map(String::as_str).collect();
            if name.starts_with("kubelet_") || name.starts_with("prober_") {
                // The target's label, which a scraper adds.
                labels.retain(|label| *label != "node" || name == "kubelet_node_name");
            }
            let (kind, known, buckets): (&str, Vec<&str>, Vec<f64>) = match real.get(&name) {
                Some(metric) => {
                    let texts = |field: &str| metric[field].as_array().into_iter().flatten().filter_map(Value::as_str);
                    let buckets =
                        texts("buckets").filter_map(|bound| bound.parse().ok()).filter(|bound: &f64| bound.is_finite());
                    (metric["type"].as_str().unwrap_or_default(), texts("labels").collect(), buckets.collect())
                }
                None => match NOT_RECORDED.iter().find(|(known, _, _)| *known == name) {
                    Some((_, kind, labels)) => (kind, labels.to_vec(), Vec::new()),
                    None => {
                        wrong.insert(format!("{name} does not exist"));
                        continue;
                    }
                },
            };
            if family.kind != kind {
                wrong.insert(format!("{name} is a {}, not a {kind}", family.kind));
            }
            if family.labels.is_empty() && !known.is_empty() {
                continue; // No sample in this run.
            }
            seen.insert(name.clone());
            if labels != known {
                wrong.insert(format!("{name} has the labels {labels:?}, not {known:?}"));
            }
            if !buckets.is_empty() && !family.buckets.is_empty() && family.buckets != buckets {
                wrong.insert(format!("{name} has the buckets {:?}, not {buckets:?}", family.buckets));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    for name in [
        "kubelet_pod_start_sli_duration_seconds",
        "kubelet_image_pull_duration_seconds",
        "kubelet_terminated_containers",
    ] {
        assert!(seen.contains(name), "{name} was never written");
    }
}
