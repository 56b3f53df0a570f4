//! What kube-state-metrics would say of pods, nodes and deployments at the end, and how containers ended.

use std::collections::BTreeMap;

use crate::model::{ConditionStatus, Name, Object, Phase};

use super::super::journal::{Happening, Journal, PodLife};
use super::page::Page;

/// Writes the families.
pub(super) fn write(page: &mut Page, journal: &Journal) {
    pods(page, journal);
    nodes(page, journal);
    workloads(page, journal);
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
