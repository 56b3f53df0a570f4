//! Metrics of the scheduler, the API server and the controllers.
//!
//! Kubernetes: pkg/scheduler/metrics/metrics.go, staging/src/k8s.io/apiserver/pkg/storage/etcd3/metrics, and the metrics.go
//! of each controller.

use std::collections::BTreeMap;

use crate::model::{Kind, Object};

use super::super::journal::Journal;
use super::page::Page;
use super::tally::{Tally, zone_key};

/// Writes the families.
pub(super) fn write(page: &mut Page, journal: &Journal, tally: &Tally) {
    scheduler(page, journal, tally);
    api_server(page, tally);
    controllers(page, journal, tally);
}

fn scheduler(page: &mut Page, journal: &Journal, tally: &Tally) {
    let name = "scheduler_pod_scheduling_sli_duration_seconds";
    page.family(name, "histogram", "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.");
    for (attempts, histogram) in &tally.scheduling {
        page.histogram(name, &[("attempts", attempts)], histogram);
    }
    let name = "scheduler_pod_scheduling_attempts";
    page.family(name, "histogram", "Number of attempts to successfully schedule a pod.");
    if let Some(histogram) = &tally.attempts_of_pods {
        page.histogram(name, &[], histogram);
    }
    let name = "scheduler_schedule_attempts";
    page.family(name, "counter", "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.");
    for ((profile, result), number) in &tally.attempts {
        page.count(name, &[("profile", profile), ("result", result)], *number);
    }
    let mut queues = BTreeMap::from([("active", 0), ("backoff", 0), ("gated", 0), ("unschedulable", 0)]);
    let mut bound = 0;
    for pod in tally.pods_left() {
        let queue = match pod.node {
            Some(_) => {
                bound += u64::from(!pod.status.phase.is_terminal());
                continue;
            }
            None if pod.meta.deletion.is_some() || pod.status.phase.is_terminal() => continue,
            None if !pod.spec.scheduling_gates.is_empty() => "gated",
            None if tally.is_unschedulable(pod.meta.uid) => "unschedulable",
            None => "active",
        };
        *queues.entry(queue).or_default() += 1;
    }
    let name = "scheduler_pending_pods";
    page.family(name, "gauge", "Number of pending pods, by the queue type. Pods that wait for the end of a back-off count as unschedulable here.");
    for (queue, number) in queues {
        page.sample(name, &[("queue", queue)], &number.to_string());
    }
    let nodes = journal.nodes.values().filter(|node| node.gone.is_none() && node.last.is_some()).count();
    let name = "scheduler_cache_size";
    page.family(name, "gauge", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.");
    for (kind, number) in [("assumed_pods", 0), ("nodes", nodes as u64), ("pods", bound)] {
        page.sample(name, &[("type", kind)], &number.to_string());
    }
}

/// The API group of a kind, empty for the core.
fn group(kind: Kind) -> &'static str {
    kind.api_version().split_once('/').map_or("", |(group, _)| group)
}

fn api_server(page: &mut Page, tally: &Tally) {
    // Events and leases are stored, too, but are no records of their own.
    let kinds = tally.objects.iter();
    let name = "apiserver_resource_objects";
    page.family(name, "gauge", "Number of stored objects at the time of last check split by kind.");
    for (kind, (there, _)) in kinds.clone() {
        page.sample(name, &[("group", group(*kind)), ("resource", kind.plural())], &there.to_string());
    }
    let name = "apiserver_storage_objects";
    page.family(name, "gauge", "Number of stored objects at the time of last check split by kind.");
    for (kind, (there, _)) in kinds.clone() {
        let dot = if group(*kind).is_empty() { "" } else { "." };
        let resource = format!("{}{dot}{}", kind.plural(), group(*kind));
        page.sample(name, &[("resource", &resource)], &there.to_string());
    }
    let name = "apiserver_storage_events_received";
    page.family(name, "counter", "Number of etcd events received split by kind.");
    for (kind, (_, changes)) in kinds {
        page.count(name, &[("group", group(*kind)), ("resource", kind.plural())], *changes);
    }
}

fn controllers(page: &mut Page, journal: &Journal, tally: &Tally) {
    // By zone: nodes, and those that are not ready.
    let mut zones: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for node in journal.nodes.values().filter(|node| node.gone.is_none()) {
        if let Some(last) = &node.last {
            let (all, sick) = zones.entry(zone_key(last)).or_default();
            *all += 1;
            *sick += u64::from(!last.is_ready());
        }
    }
    let name = "node_collector_zone_size";
    page.family(name, "gauge", "Gauge measuring number of registered Nodes per zones.");
    for (zone, (all, _)) in &zones {
        page.sample(name, &[("zone", zone)], &all.to_string());
    }
    let name = "node_collector_zone_health";
    page.family(name, "gauge", "Gauge measuring percentage of healthy nodes per zone.");
    for (zone, (all, sick)) in &zones {
        let percent = (100 * (all - sick)) as f64 / *all as f64;
        page.sample(name, &[("zone", zone)], &percent.to_string());
    }
    let name = "node_collector_unhealthy_nodes_in_zone";
    page.family(name, "gauge", "Gauge measuring number of not Ready Nodes per zones.");
    for (zone, (_, sick)) in &zones {
        page.sample(name, &[("zone", zone)], &sick.to_string());
    }
    let name = "node_collector_evictions";
    page.family(
        name,
        "counter",
        "Number of Node evictions that happened since current instance of NodeController started.",
    );
    for (zone, number) in &tally.evictions {
        page.count(name, &[("zone", zone)], *number);
    }
    let name = "taint_eviction_controller_pod_deletions";
    page.family(name, "counter", "Total number of Pods deleted by TaintEvictionController since its start.");
    page.count(name, &[], tally.taint_deletions);
    let name = "job_controller_jobs_finished";
    page.family(name, "counter", "The number of finished jobs");
    for ((mode, reason, result), number) in &tally.jobs_finished {
        page.count(name, &[("completion_mode", mode), ("reason", reason), ("result", result)], *number);
    }
    let name = "job_controller_job_pods_finished";
    page.family(name, "counter", "The number of finished Pods that are fully tracked");
    for ((mode, result), number) in &tally.job_pods_finished {
        page.count(name, &[("completion_mode", mode), ("result", result)], *number);
    }
    let name = "endpoint_slice_controller_changes";
    page.family(name, "counter", "Number of EndpointSlice changes");
    for (operation, number) in &tally.slice_changes {
        page.count(name, &[("operation", operation)], *number);
    }
    let slices = || {
        journal.others.values().filter_map(|object| match object {
            Object::EndpointSlice(slice) => Some(slice),
            _ => None,
        })
    };
    let name = "endpoint_slice_controller_num_endpoint_slices";
    page.family(name, "gauge", "Number of EndpointSlices");
    page.sample(name, &[], &slices().count().to_string());
    let name = "endpoint_slice_controller_endpoints_desired";
    page.family(name, "gauge", "Number of endpoints desired");
    page.sample(name, &[], &slices().map(|slice| slice.endpoints.len()).sum::<usize>().to_string());
}
