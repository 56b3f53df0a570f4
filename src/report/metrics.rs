//! `metrics.prom`: the run's numbers under the names that real components and kube-state-metrics give them, as OpenMetrics.
//!
//! Histograms are over the whole run, gauges are the state at its end; all samples carry the moment of its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::kernel::Duration;
use crate::model::{ConditionStatus, Name, Object, Phase};
use crate::trace::{Footer, Header};

use super::journal::{Happening, Journal, PodLife};
use super::latency::{Step, pod_start};

/// The buckets of kubelet_pod_start_sli_duration_seconds (pkg/kubelet/metrics/metrics.go), in milliseconds.
const POD_START: &[u64] = &[
    500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 20_000, 30_000, 45_000, 60_000, 120_000, 180_000,
    240_000, 300_000, 360_000, 480_000, 600_000, 900_000, 1_200_000, 1_800_000, 2_700_000, 3_600_000,
];

/// scheduler_pod_scheduling_sli_duration_seconds: 10 ms, doubled 20 times (pkg/scheduler/metrics/metrics.go).
fn scheduling_buckets() -> Vec<u64> {
    (0..20).map(|power| 10 << power).collect()
}

/// Lengths in buckets.
struct Histogram {
    upper: Vec<u64>,
    counts: Vec<u64>,
    sum: Duration,
    number: u64,
}

impl Histogram {
    fn new(upper: Vec<u64>) -> Histogram {
        Histogram { counts: vec![0; upper.len()], upper, sum: Duration::ZERO, number: 0 }
    }

    fn add(&mut self, length: Duration) {
        self.sum += length;
        self.number += 1;
        for (upper, count) in self.upper.iter().zip(&mut self.counts) {
            *count += u64::from(length <= Duration::from_millis(*upper));
        }
    }
}

struct Page {
    text: String,
    at: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if at == 0 { "{" } else { "," });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value} {}", self.at);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (upper, count) in histogram.upper.iter().zip(&histogram.counts) {
            let le = seconds(Duration::from_millis(*upper), true);
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", le.as_str())]).collect();
            self.sample(&bucket, &labels, &count.to_string());
        }
        let labels_inf: Vec<(&str, &str)> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &labels_inf, &histogram.number.to_string());
        self.sample(&format!("{name}_sum"), labels, &seconds(histogram.sum, false));
        self.sample(&format!("{name}_count"), labels, &histogram.number.to_string());
    }
}

/// Seconds as a decimal; of a bucket's bound with a fraction, as OpenMetrics wants it.
fn seconds(length: Duration, bound: bool) -> String {
    let nanos = length.as_nanos();
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return if bound { format!("{whole}.0") } else { whole.to_string() };
    }
    format!("{whole}.{rest:09}").trim_end_matches('0').to_owned()
}

/// The page.
pub fn metrics(header: &Header, journal: &Journal, footer: &Footer) -> String {
    let end = footer.end.as_nanos();
    let at = format!("{}.{:03}", header.epoch.saturating_add((end / 1_000_000_000) as i64), end / 1_000_000 % 1_000);
    let mut page = Page { text: String::new(), at };
    latencies(&mut page, journal);
    pods(&mut page, journal);
    nodes(&mut page, journal);
    workloads(&mut page, journal);
    page.text.push_str("# EOF\n");
    page.text
}

fn latencies(page: &mut Page, journal: &Journal) {
    let mut of_node: BTreeMap<Name, Histogram> = BTreeMap::new();
    let mut scheduling: BTreeMap<u32, Histogram> = BTreeMap::new();
    for pod in journal.pods.values() {
        if let (Some(start), Some(node)) = (pod_start(pod), pod.last.node) {
            // The kubelet's SLI leaves out image pulls and init containers.
            let length = start.total().saturating_sub(start.steps[Step::Pull as usize]);
            of_node.entry(node).or_insert_with(|| Histogram::new(POD_START.to_vec())).add(length);
        }
        if let Some(placed) = pod.placed {
            let attempts = pod.attempts.max(1);
            let histogram = scheduling.entry(attempts).or_insert_with(|| Histogram::new(scheduling_buckets()));
            histogram.add(placed.since(pod.created));
        }
    }
    let name = "kubelet_pod_start_sli_duration_seconds";
    page.family(
        name,
        "histogram",
        "Duration in seconds to start a pod, excluding time to pull images and run init containers.",
    );
    for (node, histogram) in &of_node {
        page.histogram(name, &[("node", node.as_str())], histogram);
    }
    let name = "scheduler_pod_scheduling_sli_duration_seconds";
    page.family(name, "histogram", "E2e latency for a pod being scheduled, from the time the pod enters the queue.");
    for (attempts, histogram) in &scheduling {
        page.histogram(name, &[("attempts", &attempts.to_string())], histogram);
    }
    let name = "scheduler_schedule_attempts";
    page.family(name, "counter", "Number of attempts to schedule pods, by the result.");
    for (result, number) in ["scheduled", "unschedulable", "error"].into_iter().zip(journal.attempts) {
        page.sample(&format!("{name}_total"), &[("result", result)], &number.to_string());
    }
}

fn pods(page: &mut Page, journal: &Journal) {
    let mut pods: Vec<&PodLife> = journal.final_pods().collect();
    pods.sort_by_key(|pod| (pod.last.meta.namespace, pod.last.meta.name));
    let name = "kube_pod_status_phase";
    page.family(name, "gauge", "The pods current phase.");
    for pod in &pods {
        let meta = &pod.last.meta;
        let uid = meta.uid.to_string();
        for phase in [Phase::Pending, Phase::Succeeded, Phase::Failed, Phase::Unknown, Phase::Running] {
            let labels = [
                ("namespace", meta.namespace.as_str()),
                ("pod", meta.name.as_str()),
                ("uid", uid.as_str()),
                ("phase", phase.as_str()),
            ];
            page.sample(name, &labels, if pod.last.status.phase == phase { "1" } else { "0" });
        }
    }
    let name = "kube_pod_status_ready";
    page.family(name, "gauge", "Describes whether the pod is ready to serve requests.");
    for pod in &pods {
        let meta = &pod.last.meta;
        let labels = [("namespace", meta.namespace.as_str()), ("pod", meta.name.as_str()), ("condition", "true")];
        page.sample(name, &labels, if pod.is_ready() { "1" } else { "0" });
    }
    let name = "kube_pod_container_status_restarts";
    page.family(name, "counter", "The number of container restarts per container.");
    for pod in &pods {
        let meta = &pod.last.meta;
        for container in &pod.last.status.containers {
            let labels = [
                ("namespace", meta.namespace.as_str()),
                ("pod", meta.name.as_str()),
                ("container", container.name.as_str()),
            ];
            page.sample(&format!("{name}_total"), &labels, &container.restart_count.to_string());
        }
    }
    let mut exits: BTreeMap<Name, u64> = BTreeMap::new();
    for pod in journal.pods.values() {
        for moment in &pod.moments {
            if let Happening::Exited { reason, .. } = moment.what {
                *exits.entry(reason).or_default() += 1;
            }
        }
    }
    let name = "simlet_container_exits";
    page.family(name, "counter", "Exits of containers in the run, by reason.");
    for (reason, number) in exits {
        page.sample(&format!("{name}_total"), &[("reason", reason.as_str())], &number.to_string());
    }
}

fn nodes(page: &mut Page, journal: &Journal) {
    let nodes: BTreeMap<Name, _> = journal
        .nodes
        .values()
        .filter(|node| node.gone.is_none())
        .filter_map(|node| Some((node.name, node.last.as_ref()?)))
        .collect();
    let name = "kube_node_status_condition";
    page.family(name, "gauge", "The condition of a cluster node.");
    for (node, last) in &nodes {
        for condition in &last.status.conditions {
            for status in [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown] {
                let word = status.as_str().to_ascii_lowercase();
                let labels =
                    [("node", node.as_str()), ("condition", condition.kind.as_str()), ("status", word.as_str())];
                page.sample(name, &labels, if condition.status == status { "1" } else { "0" });
            }
        }
    }
    let name = "kube_node_spec_unschedulable";
    page.family(name, "gauge", "Whether a node can schedule new pods.");
    for (node, last) in &nodes {
        page.sample(name, &[("node", node.as_str())], if last.spec.unschedulable { "1" } else { "0" });
    }
}

fn workloads(page: &mut Page, journal: &Journal) {
    let deployments: Vec<_> = journal
        .top_workloads()
        .into_iter()
        .filter(|workload| workload.gone.is_none() && matches!(workload.last, Object::Deployment(_)))
        .collect();
    for (name, help, value) in [
        ("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", 0),
        ("kube_deployment_status_replicas_ready", "The number of ready replicas per deployment.", 1),
        ("kube_deployment_status_replicas_available", "The number of available replicas per deployment.", 2),
    ] {
        page.family(name, "gauge", help);
        for workload in &deployments {
            let now = workload.now();
            let value = [now.wanted, now.ready, now.available][value];
            let labels = [("namespace", workload.key.namespace.as_str()), ("deployment", workload.key.name.as_str())];
            page.sample(name, &labels, &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::zone_outage;
    use super::metrics;

    #[test]
    fn the_page_is_openmetrics_with_the_names_of_real_components() {
        let sample = zone_outage(1);
        let text = metrics(&sample.header, &sample.journal(), &sample.footer);
        assert!(text.ends_with("# EOF\n"));
        let mut families: Vec<&str> = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap_or_default();
                assert!(!families.contains(&name), "{name} comes twice");
                families.push(name);
            } else if !line.starts_with('#') {
                let family = families.last().expect("a sample belongs to a family");
                assert!(line.starts_with(family), "{line} stands under {family}");
                assert!(line.ends_with(" 1767227700.000"), "{line} has no time");
            }
        }
        let shown: Vec<&str> = text
            .lines()
            .filter(|line| {
                line.contains("attempts_total")
                    || line.contains("deployment=\"checkout\"")
                    || line.contains("node=\"worker-eu-b-0\",condition")
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        scheduler_schedule_attempts_total{result="scheduled"} 14 1767227700.000
        scheduler_schedule_attempts_total{result="unschedulable"} 1 1767227700.000
        scheduler_schedule_attempts_total{result="error"} 0 1767227700.000
        kube_node_status_condition{node="worker-eu-b-0",condition="Ready",status="true"} 1 1767227700.000
        kube_node_status_condition{node="worker-eu-b-0",condition="Ready",status="false"} 0 1767227700.000
        kube_node_status_condition{node="worker-eu-b-0",condition="Ready",status="unknown"} 0 1767227700.000
        kube_deployment_spec_replicas{namespace="shop",deployment="checkout"} 5 1767227700.000
        kube_deployment_status_replicas_ready{namespace="shop",deployment="checkout"} 5 1767227700.000
        kube_deployment_status_replicas_available{namespace="shop",deployment="checkout"} 5 1767227700.000
        "#);
    }
}
