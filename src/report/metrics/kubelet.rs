//! Kubelets' own metrics.
//!
//! Kubernetes: pkg/kubelet/metrics/metrics.go, pkg/kubelet/images/metrics.go, pkg/kubelet/prober/prober_manager.go.

use std::collections::BTreeMap;

use crate::kernel::Duration;
use crate::model::{ContainerState, Name, Phase, Pod, Uid};

use super::page::{Histogram, Page, exponential};
use super::tally::Tally;

/// Prometheus' `DefBuckets`.
const USUAL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// `podStartupDurationBuckets`.
const POD_START: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0,
    600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// `imagePullDurationBuckets`.
pub(super) const PULL: &[f64] = &[
    1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0,
    3600.0,
];
/// The annotation of a static pod's image in the API.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What one kubelet has counted.
#[derive(Clone, Debug)]
pub(super) struct NodeTally {
    pub(super) pod_start: Histogram,
    pub(super) pod_start_sli: Histogram,
    pub(super) pod_start_total: Histogram,
    pub(super) first_network_pod: Option<Duration>,
    pub(super) containers_per_pod: Histogram,
    pub(super) sandboxes: Histogram,
    pub(super) sandbox_errors: u64,
    /// By operation: lengths and errors.
    operations: BTreeMap<&'static str, (Histogram, u64)>,
    /// By size.
    pub(super) pulls: BTreeMap<&'static str, Histogram>,
    /// By presence, pull policy, and whether it had to be pulled.
    pub(super) ensure_image: BTreeMap<(bool, &'static str, bool), u64>,
    pub(super) started_pods: u64,
    pub(super) started_pods_errors: u64,
    pub(super) started_containers: BTreeMap<&'static str, u64>,
    pub(super) started_containers_errors: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) terminated: BTreeMap<(&'static str, i32, Name), u64>,
    pub(super) rejections: BTreeMap<Name, u64>,
    pub(super) evictions: BTreeMap<&'static str, u64>,
    /// By probe, namespace, pod, container.
    pub(super) failed_probes: BTreeMap<(&'static str, Name, Name, Name, Uid), u64>,
}

impl Default for NodeTally {
    fn default() -> NodeTally {
        NodeTally {
            pod_start: Histogram::new(POD_START),
            pod_start_sli: Histogram::new(POD_START),
            pod_start_total: Histogram::new(POD_START),
            first_network_pod: None,
            containers_per_pod: Histogram::new(&exponential(1.0, 2.0, 5)),
            sandboxes: Histogram::new(USUAL),
            sandbox_errors: 0,
            operations: BTreeMap::new(),
            pulls: BTreeMap::new(),
            ensure_image: BTreeMap::new(),
            started_pods: 0,
            started_pods_errors: 0,
            started_containers: BTreeMap::new(),
            started_containers_errors: BTreeMap::new(),
            terminated: BTreeMap::new(),
            rejections: BTreeMap::new(),
            evictions: BTreeMap::new(),
            failed_probes: BTreeMap::new(),
        }
    }
}

impl NodeTally {
    /// A call of the runtime was answered.
    pub(super) fn operation(&mut self, name: &'static str, length: Duration, failed: bool) {
        let (lengths, errors) = self.entry(name);
        lengths.add(length);
        *errors += u64::from(failed);
    }

    /// A call of the runtime failed, nobody knows after how long.
    pub(super) fn operation_failed(&mut self, name: &'static str) {
        self.entry(name).1 += 1;
    }

    fn entry(&mut self, name: &'static str) -> &mut (Histogram, u64) {
        self.operations.entry(name).or_insert_with(|| (Histogram::new(&exponential(0.005, 2.5, 14)), 0))
    }
}

/// What the pods of a node are at the end.
#[derive(Clone, Debug, Default)]
struct Gauges {
    running_pods: u64,
    /// By state.
    containers: BTreeMap<&'static str, u64>,
    mirror: u64,
    desired: [u64; 2],
    active: [u64; 2],
    /// By lifecycle and whether it is static.
    working: BTreeMap<(&'static str, bool), u64>,
}

fn gauges(tally: &Tally) -> BTreeMap<Name, Gauges> {
    let mut all: BTreeMap<Name, Gauges> = tally.nodes.keys().map(|node| (*node, Gauges::default())).collect();
    for pod in tally.pods_left() {
        if let Some(node) = pod.node {
            all.entry(node).or_default().add(pod);
        }
    }
    all
}

impl Gauges {
    fn add(&mut self, pod: &Pod) {
        let is_static = pod.meta.annotations.get(Name::new(MIRROR)).is_some();
        let of = usize::from(is_static);
        self.desired[of] += 1;
        self.mirror += u64::from(is_static);
        let mut runs = false;
        let regular = pod.status.containers.iter().chain(&pod.status.init_containers);
        for container in regular.chain(&pod.status.ephemeral_containers) {
            let state = match &container.state {
                ContainerState::Running { .. } => "running",
                ContainerState::Terminated(_) => "exited",
                ContainerState::Waiting { .. } if container.last_terminated.is_some() => "exited",
                ContainerState::Waiting { .. } => continue,
            };
            runs |= state == "running";
            *self.containers.entry(state).or_default() += 1;
        }
        let terminal = pod.status.phase.is_terminal();
        self.running_pods += u64::from(runs || pod.status.phase == Phase::Running);
        let lifecycle = match (terminal, pod.meta.deletion) {
            (true, _) => "terminated",
            (false, Some(_)) => "terminating",
            (false, None) => "sync",
        };
        self.active[of] += u64::from(!terminal);
        *self.working.entry((lifecycle, is_static)).or_default() += 1;
    }
}

/// One number of a kubelet.
type Number = fn(&NodeTally) -> u64;
/// One histogram of a kubelet.
type Lengths = fn(&NodeTally) -> &Histogram;

/// Writes the families.
pub(super) fn write(page: &mut Page, tally: &Tally) {
    let nodes = &tally.nodes;
    let histograms: [(&str, &str, Lengths); 4] = [
        (
            "kubelet_pod_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
            |node| &node.pod_start,
        ),
        (
            "kubelet_pod_start_sli_duration_seconds",
            "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
            |node| &node.pod_start_sli,
        ),
        (
            "kubelet_pod_start_total_duration_seconds",
            "Duration in seconds to start a pod since creation, including time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
            |node| &node.pod_start_total,
        ),
        ("kubelet_containers_per_pod_count", "The number of containers per pod.", |node| &node.containers_per_pod),
    ];
    for (name, help, lengths) in histograms {
        page.family(name, "histogram", help);
        for (node, tally) in nodes {
            page.histogram(name, &[("node", node)], lengths(tally));
        }
    }
    let name = "kubelet_first_network_pod_start_sli_duration_seconds";
    page.family(
        name,
        "gauge",
        "Duration in seconds to start the first network pod, excluding time to pull images and run init containers",
    );
    for (node, tally) in nodes {
        let seconds = tally.first_network_pod.unwrap_or_default().as_secs_f64();
        page.sample(name, &[("node", node)], &seconds.to_string());
    }
    let name = "kubelet_run_podsandbox_duration_seconds";
    page.family(name, "histogram", "Duration in seconds of the run_podsandbox operations, by RuntimeClass handler.");
    for (node, tally) in nodes {
        page.histogram(name, &[("node", node), ("runtime_handler", "")], &tally.sandboxes);
    }
    operations(page, tally);
    images(page, tally);
    let numbers: [(&str, &str, Number); 2] = [
        ("kubelet_started_pods", "Cumulative number of pods started", |node| node.started_pods),
        ("kubelet_started_pods_errors", "Cumulative number of errors when starting pods", |node| {
            node.started_pods_errors
        }),
    ];
    for (name, help, number) in numbers {
        page.family(name, "counter", help);
        for (node, tally) in nodes {
            page.count(name, &[("node", node)], number(tally));
        }
    }
    containers(page, tally);
    troubles(page, tally);
    states(page, tally);
}

/// Names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

fn operations(page: &mut Page, tally: &Tally) {
    let name = "kubelet_run_podsandbox_errors";
    page.family(name, "counter", "Cumulative number of the run_podsandbox operation errors by RuntimeClass handler.");
    for (node, tally) in tally.nodes.iter().filter(|(_, tally)| tally.sandbox_errors > 0) {
        page.count(name, &[("node", node), ("runtime_handler", "")], tally.sandbox_errors);
    }
    let each = |write: &mut dyn FnMut(Labels, &Histogram, u64)| {
        for (node, tally) in &tally.nodes {
            for (operation, (lengths, errors)) in &tally.operations {
                write(&[("node", node), ("operation_type", operation)], lengths, *errors);
            }
        }
    };
    let name = "kubelet_runtime_operations";
    page.family(name, "counter", "Cumulative number of runtime operations by operation type.");
    each(&mut |labels, lengths, _| page.count(name, labels, lengths.number()));
    let name = "kubelet_runtime_operations_errors";
    page.family(name, "counter", "Cumulative number of runtime operation errors by operation type.");
    each(&mut |labels, _, errors| {
        if errors > 0 {
            page.count(name, labels, errors);
        }
    });
    let name = "kubelet_runtime_operations_duration_seconds";
    page.family(name, "histogram", "Duration in seconds of runtime operations. Broken down by operation type.");
    each(&mut |labels, lengths, _| page.histogram(name, labels, lengths));
}

fn images(page: &mut Page, tally: &Tally) {
    let name = "kubelet_image_pull_duration_seconds";
    page.family(name, "histogram", "Duration in seconds to pull an image.");
    for (node, tally) in &tally.nodes {
        for (size, lengths) in &tally.pulls {
            page.histogram(name, &[("node", node), ("image_size_in_bytes", size)], lengths);
        }
    }
    let name = "kubelet_image_manager_ensure_image_requests";
    page.family(name, "counter", "Number of ensure-image requests processed by the kubelet.");
    for (node, tally) in &tally.nodes {
        for ((present, policy, pull), number) in &tally.ensure_image {
            let (present, pull) = (present.to_string(), pull.to_string());
            let labels = [
                ("node", node.as_str()),
                ("present_locally", present.as_str()),
                ("pull_policy", policy),
                ("pull_required", pull.as_str()),
            ];
            page.count(name, &labels, *number);
        }
    }
}

fn containers(page: &mut Page, tally: &Tally) {
    let name = "kubelet_started_containers";
    page.family(name, "counter", "Cumulative number of containers started");
    for (node, tally) in &tally.nodes {
        for (kind, number) in &tally.started_containers {
            page.count(name, &[("node", node), ("container_type", kind)], *number);
        }
    }
    let name = "kubelet_started_containers_errors";
    page.family(name, "counter", "Cumulative number of errors when starting containers");
    for (node, tally) in &tally.nodes {
        for ((kind, code), number) in &tally.started_containers_errors {
            page.count(name, &[("node", node), ("container_type", kind), ("code", code)], *number);
        }
    }
    let name = "kubelet_terminated_containers";
    page.family(name, "counter", "Cumulative number of terminated containers.");
    for (node, tally) in &tally.nodes {
        for ((kind, exit_code, reason), number) in &tally.terminated {
            let exit_code = exit_code.to_string();
            let labels = [
                ("node", node.as_str()),
                ("container_type", kind),
                ("exit_code", exit_code.as_str()),
                ("reason", reason.as_str()),
            ];
            page.count(name, &labels, *number);
        }
    }
}

fn troubles(page: &mut Page, tally: &Tally) {
    let name = "kubelet_admission_rejections";
    page.family(name, "counter", "Cumulative number pod admission rejections by the Kubelet.");
    for (node, tally) in &tally.nodes {
        for (reason, number) in &tally.rejections {
            page.count(name, &[("node", node), ("reason", reason)], *number);
        }
    }
    let name = "kubelet_evictions";
    page.family(name, "counter", "Cumulative number of pod evictions by eviction signal");
    for (node, tally) in &tally.nodes {
        for (signal, number) in &tally.evictions {
            page.count(name, &[("node", node), ("eviction_signal", signal)], *number);
        }
    }
    let name = "prober_probe";
    page.family(
        name,
        "counter",
        "Cumulative number of a liveness, readiness or startup probe for a container by result; successes are not counted.",
    );
    for (node, tally) in &tally.nodes {
        for ((probe, namespace, pod, container, uid), number) in &tally.failed_probes {
            let uid = uid.to_string();
            let labels = [
                ("node", node.as_str()),
                ("probe_type", probe),
                ("result", "failed"),
                ("container", container.as_str()),
                ("pod", pod.as_str()),
                ("namespace", namespace.as_str()),
                ("pod_uid", uid.as_str()),
            ];
            page.count(name, &labels, *number);
        }
    }
}

/// Gauges: what there is at the end.
fn states(page: &mut Page, tally: &Tally) {
    let all = gauges(tally);
    let name = "kubelet_node_name";
    page.family(name, "gauge", "The node's name. The count is always 1.");
    for node in all.keys() {
        page.sample(name, &[("node", node)], "1");
    }
    let name = "kubelet_running_pods";
    page.family(name, "gauge", "Number of pods that have a running pod sandbox");
    for (node, gauges) in &all {
        page.sample(name, &[("node", node)], &gauges.running_pods.to_string());
    }
    let name = "kubelet_running_containers";
    page.family(name, "gauge", "Number of containers currently running");
    for (node, gauges) in &all {
        for (state, number) in &gauges.containers {
            page.sample(name, &[("node", node), ("container_state", state)], &number.to_string());
        }
    }
    let name = "kubelet_mirror_pods";
    page.family(
        name,
        "gauge",
        "The number of mirror pods the kubelet will try to create (one per admitted static pod)",
    );
    for (node, gauges) in &all {
        page.sample(name, &[("node", node)], &gauges.mirror.to_string());
    }
    let name = "kubelet_desired_pods";
    page.family(name, "gauge", "The number of pods the kubelet is being instructed to run.");
    for (node, gauges) in &all {
        for (is_static, number) in ["", "true"].into_iter().zip(gauges.desired) {
            page.sample(name, &[("node", node), ("static", is_static)], &number.to_string());
        }
    }
    let name = "kubelet_active_pods";
    page.family(
        name,
        "gauge",
        "The number of pods the kubelet considers active and which are being considered when admitting new pods.",
    );
    for (node, gauges) in &all {
        for (is_static, number) in ["", "true"].into_iter().zip(gauges.active) {
            page.sample(name, &[("node", node), ("static", is_static)], &number.to_string());
        }
    }
    let name = "kubelet_working_pods";
    page.family(
        name,
        "gauge",
        "Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is desired, orphaned, or runtime only (also orphaned), and whether the pod is static.",
    );
    for (node, gauges) in &all {
        for ((lifecycle, is_static), number) in &gauges.working {
            let labels = [
                ("node", node.as_str()),
                ("config", "desired"),
                ("lifecycle", lifecycle),
                ("static", if *is_static { "true" } else { "" }),
            ];
            page.sample(name, &labels, &number.to_string());
        }
    }
}
