//! The metrics that a kubelet hands on at `/metrics/cadvisor` when it takes them from the runtime: their descriptions and,
//! for each sandbox and container, their values.
//!
//! Kubernetes: pkg/kubelet/metrics/collectors/cri_metrics.go; the names are cAdvisor's. What the model does not know
//! (traffic, disk operations, pressure) is 0.

use prost::bytes::Bytes;
use tonic::Status;

use crate::runtime::live::proto::{self, MetricType};
use crate::runtime::live::wire::encode;

use super::Server;
use super::calls::now_nanos;

/// One metric.
struct Described {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// Beyond those that all have: names and values.
    labels: &'static [(&'static str, &'static str)],
    source: Source,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    CpuSeconds,
    /// A share of the CPU time, in percent.
    CpuShare(u64),
    Memory,
    Disk,
    DiskInodes,
    MemoryLimit,
    SwapLimit,
    CpuPeriod,
    CpuQuota,
    CpuShares,
    StartTime,
    Now,
    Fixed(u64),
    /// Of the sandbox: traffic.
    Network,
}

/// What every metric is labelled with, in this order.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];
const DEVICE: &[(&str, &str)] = &[("device", "/dev/sim")];
const INTERFACE: &[(&str, &str)] = &[("interface", "eth0")];
const BLOCKS: &[(&str, &str)] = &[("device", "/dev/sim"), ("major", "0"), ("minor", "0"), ("operation", "Read")];

const fn counter(name: &'static str, help: &'static str, source: Source) -> Described {
    Described { name, help, kind: MetricType::Counter, labels: &[], source }
}

const fn gauge(name: &'static str, help: &'static str, source: Source) -> Described {
    Described { name, help, kind: MetricType::Gauge, labels: &[], source }
}

const fn with(metric: Described, labels: &'static [(&'static str, &'static str)]) -> Described {
    Described { labels, ..metric }
}

use Source::{
    CpuPeriod, CpuQuota, CpuSeconds, CpuShare, CpuShares, Disk, DiskInodes, Fixed, Memory, MemoryLimit, Network, Now,
    StartTime, SwapLimit,
};

#[rustfmt::skip]
const METRICS: [Described; 56] = [
    with(counter("container_blkio_device_usage_total", "Bytes read and written by block device", Fixed(0)), BLOCKS),
    counter("container_cpu_cfs_periods_total", "Enforcement periods that have elapsed", Fixed(0)),
    counter("container_cpu_cfs_throttled_periods_total", "Periods in which it was throttled", Fixed(0)),
    counter("container_cpu_cfs_throttled_seconds_total", "Time for which it was throttled, in seconds", Fixed(0)),
    counter("container_cpu_system_seconds_total", "CPU time in the kernel, in seconds", CpuShare(20)),
    with(counter("container_cpu_usage_seconds_total", "CPU time, in seconds", CpuSeconds), &[("cpu", "total")]),
    counter("container_cpu_user_seconds_total", "CPU time outside the kernel, in seconds", CpuShare(80)),
    gauge("container_file_descriptors", "Open files", Fixed(8)),
    with(gauge("container_fs_inodes_free", "Free inodes", Fixed(1 << 24)), DEVICE),
    with(gauge("container_fs_inodes_total", "All inodes", Fixed(1 << 24)), DEVICE),
    with(gauge("container_fs_limit_bytes", "Bytes that may be used", Fixed(1 << 40)), DEVICE),
    with(counter("container_fs_reads_bytes_total", "Bytes read", Fixed(0)), DEVICE),
    with(counter("container_fs_reads_total", "Reads completed", Fixed(0)), DEVICE),
    with(gauge("container_fs_usage_bytes", "Bytes used", Disk), DEVICE),
    with(counter("container_fs_writes_bytes_total", "Bytes written", Disk), DEVICE),
    with(counter("container_fs_writes_total", "Writes completed", DiskInodes), DEVICE),
    with(gauge("container_hugetlb_max_usage_bytes", "Most bytes in huge pages", Fixed(0)), &[("pagesize", "2MB")]),
    with(gauge("container_hugetlb_usage_bytes", "Bytes in huge pages", Fixed(0)), &[("pagesize", "2MB")]),
    gauge("container_last_seen", "When it was last seen, in seconds since 1970", Now),
    gauge("container_memory_cache", "Bytes of page cache", Fixed(0)),
    counter("container_memory_failcnt", "Hits of the memory limit", Fixed(0)),
    with(counter("container_memory_failures_total", "Page faults", Fixed(0)),
         &[("failure_type", "pgfault"), ("scope", "container")]),
    gauge("container_memory_kernel_usage", "Bytes of the kernel's memory", Fixed(0)),
    gauge("container_memory_mapped_file", "Bytes of mapped files", Fixed(0)),
    gauge("container_memory_max_usage_bytes", "Most bytes of memory used", Memory),
    gauge("container_memory_rss", "Bytes of anonymous memory", Memory),
    gauge("container_memory_swap", "Bytes of swap", Fixed(0)),
    gauge("container_memory_usage_bytes", "Bytes of memory used", Memory),
    gauge("container_memory_working_set_bytes", "Bytes of the working set", Memory),
    with(counter("container_network_receive_bytes_total", "Bytes received", Network), INTERFACE),
    with(counter("container_network_receive_errors_total", "Errors while receiving", Network), INTERFACE),
    with(counter("container_network_receive_packets_dropped_total", "Packets dropped while receiving", Network), INTERFACE),
    with(counter("container_network_receive_packets_total", "Packets received", Network), INTERFACE),
    with(counter("container_network_transmit_bytes_total", "Bytes sent", Network), INTERFACE),
    with(counter("container_network_transmit_errors_total", "Errors while sending", Network), INTERFACE),
    with(counter("container_network_transmit_packets_dropped_total", "Packets dropped while sending", Network), INTERFACE),
    with(counter("container_network_transmit_packets_total", "Packets sent", Network), INTERFACE),
    counter("container_oom_events_total", "Kills for lack of memory", Fixed(0)),
    counter("container_pressure_cpu_stalled_seconds_total", "Time in which all waited for a CPU, in seconds", Fixed(0)),
    counter("container_pressure_cpu_waiting_seconds_total", "Time in which some waited for a CPU, in seconds", Fixed(0)),
    counter("container_pressure_io_stalled_seconds_total", "Time in which all waited for a disk, in seconds", Fixed(0)),
    counter("container_pressure_io_waiting_seconds_total", "Time in which some waited for a disk, in seconds", Fixed(0)),
    counter("container_pressure_memory_stalled_seconds_total", "Time in which all waited for memory, in seconds", Fixed(0)),
    counter("container_pressure_memory_waiting_seconds_total", "Time in which some waited for memory, in seconds", Fixed(0)),
    gauge("container_processes", "Processes", Fixed(1)),
    gauge("container_sockets", "Open sockets", Fixed(0)),
    gauge("container_spec_cpu_period", "CFS period, in microseconds", CpuPeriod),
    gauge("container_spec_cpu_quota", "CFS quota, in microseconds", CpuQuota),
    gauge("container_spec_cpu_shares", "CPU shares", CpuShares),
    gauge("container_spec_memory_limit_bytes", "Memory limit, in bytes", MemoryLimit),
    gauge("container_spec_memory_reservation_limit_bytes", "Memory reservation, in bytes", Fixed(0)),
    gauge("container_spec_memory_swap_limit_bytes", "Swap limit, in bytes", SwapLimit),
    gauge("container_start_time_seconds", "When it was started, in seconds since 1970", StartTime),
    gauge("container_threads", "Threads", Fixed(1)),
    gauge("container_threads_max", "Threads that may be; 0: any number", Fixed(0)),
    with(gauge("container_ulimits_soft", "Soft limits of its first process", Fixed(1 << 20)), &[("ulimit", "max_open_files")]),
];

/// ListMetricDescriptors, answered.
pub(super) fn descriptors() -> Bytes {
    let descriptor = |metric: &Described| proto::MetricDescriptor {
        name: metric.name.to_owned(),
        help: format!("{}.", metric.help),
        label_keys: LABELS
            .iter()
            .copied()
            .chain(metric.labels.iter().map(|(key, _)| *key))
            .map(str::to_owned)
            .collect(),
    };
    encode(&proto::ListMetricDescriptorsResponse { descriptors: METRICS.iter().map(descriptor).collect() })
}

/// Whose metrics they are.
struct Subject<'a> {
    labels: [&'a str; 6],
    stats: Option<&'a proto::ContainerStats>,
    resources: proto::LinuxContainerResources,
    /// In nanoseconds since 1970.
    started_at: i64,
}

impl Subject<'_> {
    fn metric(&self, metric: &Described, now: i64) -> proto::Metric {
        let more = metric.labels.iter().map(|(_, value)| *value);
        proto::Metric {
            name: metric.name.to_owned(),
            timestamp: now,
            metric_type: metric.kind.into(),
            label_values: self.labels.iter().copied().chain(more).map(str::to_owned).collect(),
            value: Some(proto::UInt64Value { value: self.value(metric.source, now) }),
        }
    }

    fn value(&self, source: Source, now: i64) -> u64 {
        let stats = self.stats;
        let whole = |number: i64| u64::try_from(number).unwrap_or(0);
        let of = |part: Option<&proto::UInt64Value>| part.map_or(0, |part| part.value);
        let cpu = of(stats.and_then(|stats| stats.cpu.as_ref()?.usage_core_nano_seconds.as_ref())) / 1_000_000_000;
        let disk = of(stats.and_then(|stats| stats.writable_layer.as_ref()?.used_bytes.as_ref()));
        match source {
            Source::CpuSeconds => cpu,
            Source::CpuShare(percent) => cpu * percent / 100,
            Source::Memory => of(stats.and_then(|stats| stats.memory.as_ref()?.working_set_bytes.as_ref())),
            Source::Disk => disk,
            Source::DiskInodes => disk.div_ceil(4096),
            Source::MemoryLimit => whole(self.resources.memory_limit_in_bytes),
            Source::SwapLimit => whole(self.resources.memory_swap_limit_in_bytes),
            Source::CpuPeriod => whole(self.resources.cpu_period),
            Source::CpuQuota => whole(self.resources.cpu_quota),
            Source::CpuShares => whole(self.resources.cpu_shares),
            Source::StartTime => whole(self.started_at) / 1_000_000_000,
            Source::Now => whole(now) / 1_000_000_000,
            Source::Fixed(value) => value,
            Source::Network => 0,
        }
    }
}

impl Server {
    pub(super) async fn list_pod_sandbox_metrics(&self) -> Result<proto::ListPodSandboxMetricsResponse, Status> {
        let pods = self.list_pod_sandbox_stats(proto::ListPodSandboxStatsRequest::default()).await?;
        let now = now_nanos();
        let mut pod_metrics = Vec::with_capacity(pods.stats.len());
        for pod in &pods.stats {
            let attributes = pod.attributes.clone().unwrap_or_default();
            let metadata = attributes.metadata.clone().unwrap_or_default();
            let sandbox = Subject {
                labels: ["", &attributes.id, "", &attributes.id, &metadata.namespace, &metadata.name],
                stats: None,
                resources: proto::LinuxContainerResources::default(),
                started_at: 0,
            };
            let of_sandbox = METRICS.iter().filter(|metric| metric.source == Source::Network);
            let metrics = of_sandbox.map(|metric| sandbox.metric(metric, now)).collect();
            let stats = pod.linux.as_ref().map(|linux| linux.containers.as_slice()).unwrap_or_default();
            let mut container_metrics = Vec::with_capacity(stats.len());
            for stats in stats {
                let of = stats.attributes.clone().unwrap_or_default();
                let name = of.metadata.clone().unwrap_or_default().name;
                let id = self.container_named(&of.id);
                let kept = self.table().containers.get(&id.0).cloned().unwrap_or_default();
                let started_at = self.container_status_of(id).await.map_or(0, |status| status.started_at);
                let image = kept.config.image.clone().unwrap_or_default().image;
                let subject = Subject {
                    labels: [&name, &of.id, &image, &of.id, &metadata.namespace, &metadata.name],
                    stats: Some(stats),
                    resources: kept.resources,
                    started_at,
                };
                let of_container = METRICS.iter().filter(|metric| metric.source != Source::Network);
                container_metrics.push(proto::ContainerMetrics {
                    container_id: of.id.clone(),
                    metrics: of_container.map(|metric| subject.metric(metric, now)).collect(),
                });
            }
            pod_metrics.push(proto::PodSandboxMetrics { pod_sandbox_id: attributes.id, metrics, container_metrics });
        }
        Ok(proto::ListPodSandboxMetricsResponse { pod_metrics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_own_name_a_help_and_as_many_values_as_labels() {
        let names: std::collections::BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        let subject = Subject {
            labels: ["c", "1", "i", "1", "n", "p"],
            stats: None,
            resources: proto::LinuxContainerResources { cpu_quota: 7, ..Default::default() },
            started_at: 5_000_000_000,
        };
        for metric in &METRICS {
            let made = subject.metric(metric, 9);
            assert_eq!(made.label_values.len(), LABELS.len() + metric.labels.len(), "{}", metric.name);
            assert!(!metric.help.is_empty());
        }
        assert_eq!((subject.value(CpuQuota, 0), subject.value(StartTime, 0)), (7, 5));
    }
}
