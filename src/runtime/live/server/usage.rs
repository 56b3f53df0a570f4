//! The methods that tell what containers and sandboxes use.

use prost::bytes::Bytes;
use tonic::Status;

use crate::protocol::cri::{self, Answer, Call};
use crate::runtime::live::proto;
use crate::runtime::live::wire::{encode, hex};

use super::calls::{not_found, now_nanos};
use super::table::{Container, matches};
use super::{Server, unexpected};

impl Server {
    /// Every container that runs, with what it uses.
    async fn all_stats(&self) -> Result<Vec<(u64, proto::ContainerStats)>, Status> {
        let found = match self.ask(Call::ListContainerStats).await? {
            Answer::Stats(found) => found,
            other => return Err(unexpected(&other)),
        };
        let now = now_nanos();
        let table = self.table();
        let stats = found.iter().filter_map(|stats| {
            let kept = table.containers.get(&stats.container.0)?;
            Some((kept.sandbox, message(stats, kept, now)))
        });
        Ok(stats.collect())
    }

    pub(super) async fn container_stats(&self, request: proto::ContainerRequest) -> Result<Bytes, Status> {
        let id = self.container_named(&request.container_id);
        let Some(kept) = self.table().containers.get(&id.0).cloned() else {
            return Err(not_found("container", &request.container_id));
        };
        let whole = hex(id.0);
        let all = self.all_stats().await?;
        let found = all.into_iter().map(|(_, stats)| stats);
        let found = found.into_iter().find(|stats| stats.attributes.as_ref().is_some_and(|of| of.id == whole));
        // One that does not run uses nothing.
        let idle = || {
            let nothing = cri::ContainerStats {
                container: id,
                pod: crate::model::Uid::NONE,
                cpu_usage_core_nanos: 0,
                memory_working_set_bytes: 0,
                filesystem_used_bytes: 0,
            };
            message(&nothing, &kept, now_nanos())
        };
        Ok(encode(&proto::ContainerStatsResponse { stats: Some(found.unwrap_or_else(idle)) }))
    }

    pub(super) async fn list_container_stats(
        &self,
        request: proto::ListContainerStatsRequest,
    ) -> Result<proto::ListContainerStatsResponse, Status> {
        let filter = request.filter.unwrap_or_default();
        let wanted = |(sandbox, stats): &(u64, proto::ContainerStats)| {
            let attributes = stats.attributes.as_ref();
            attributes.is_some_and(|of| of.id.starts_with(&filter.id) && matches(&filter.label_selector, &of.labels))
                && hex(*sandbox).starts_with(&filter.pod_sandbox_id)
        };
        let stats = self.all_stats().await?.into_iter().filter(wanted).map(|(_, stats)| stats);
        Ok(proto::ListContainerStatsResponse { stats: stats.collect() })
    }

    pub(super) async fn pod_sandbox_stats(&self, request: proto::PodSandboxRequest) -> Result<Bytes, Status> {
        let id = self.sandbox_named(&request.pod_sandbox_id);
        let stats = if id.0 == 0 { None } else { self.sandbox_stats(&hex(id.0)).await?.pop() };
        match stats {
            Some(stats) => Ok(encode(&proto::PodSandboxStatsResponse { stats: Some(stats) })),
            None => Err(not_found("sandbox", &request.pod_sandbox_id)),
        }
    }

    pub(super) async fn list_pod_sandbox_stats(
        &self,
        request: proto::ListPodSandboxStatsRequest,
    ) -> Result<proto::ListPodSandboxStatsResponse, Status> {
        let filter = request.filter.unwrap_or_default();
        let mut stats = self.sandbox_stats(&filter.id).await?;
        stats.retain(|stats| stats.attributes.as_ref().is_some_and(|of| matches(&filter.label_selector, &of.labels)));
        Ok(proto::ListPodSandboxStatsResponse { stats })
    }

    /// Of the sandboxes whose id begins so.
    async fn sandbox_stats(&self, id: &str) -> Result<Vec<proto::PodSandboxStats>, Status> {
        let filter = proto::PodSandboxFilter { id: id.to_owned(), ..Default::default() };
        let sandboxes = self.list_pod_sandbox(proto::ListPodSandboxRequest { filter: Some(filter) }).await?;
        let all = self.all_stats().await?;
        let now = now_nanos();
        let of_sandbox = |sandbox: proto::PodSandbox| {
            let containers: Vec<proto::ContainerStats> =
                all.iter().filter(|(id, _)| hex(*id) == sandbox.id).map(|(_, stats)| stats.clone()).collect();
            let cpu = total(&containers, |stats| stats.cpu.as_ref()?.usage_core_nano_seconds.as_ref());
            let memory = total(&containers, |stats| stats.memory.as_ref()?.working_set_bytes.as_ref());
            let processes = u64::try_from(containers.len()).unwrap_or(0) + 1;
            let interface = proto::NetworkInterfaceUsage {
                name: "eth0".to_owned(),
                rx_bytes: value(0),
                rx_errors: value(0),
                tx_bytes: value(0),
                tx_errors: value(0),
            };
            let linux = proto::LinuxPodSandboxStats {
                cpu: Some(cpu_usage(cpu, now)),
                memory: Some(memory_usage(memory, 0, now)),
                network: Some(proto::NetworkUsage {
                    timestamp: now,
                    default_interface: Some(interface),
                    interfaces: Vec::new(),
                }),
                process: Some(proto::ProcessUsage { timestamp: now, process_count: value(processes) }),
                containers,
            };
            proto::PodSandboxStats {
                attributes: Some(proto::PodSandboxAttributes {
                    id: sandbox.id,
                    metadata: sandbox.metadata,
                    labels: sandbox.labels,
                    annotations: sandbox.annotations,
                }),
                linux: Some(linux),
            }
        };
        Ok(sandboxes.items.into_iter().map(of_sandbox).collect())
    }
}

fn value(value: u64) -> Option<proto::UInt64Value> {
    Some(proto::UInt64Value { value })
}

fn total(
    containers: &[proto::ContainerStats],
    part: impl Fn(&proto::ContainerStats) -> Option<&proto::UInt64Value>,
) -> u64 {
    containers.iter().filter_map(part).map(|part| part.value).sum()
}

/// A kubelet works out by itself how much that is in a second.
fn cpu_usage(core_nanos: u64, timestamp: i64) -> proto::CpuUsage {
    proto::CpuUsage { timestamp, usage_core_nano_seconds: value(core_nanos), usage_nano_cores: None }
}

/// `limit` 0: none.
fn memory_usage(bytes: u64, limit: u64, timestamp: i64) -> proto::MemoryUsage {
    proto::MemoryUsage {
        timestamp,
        working_set_bytes: value(bytes),
        available_bytes: value(limit.saturating_sub(bytes)),
        usage_bytes: value(bytes),
        rss_bytes: value(bytes),
        page_faults: value(0),
        major_page_faults: value(0),
    }
}

fn message(stats: &cri::ContainerStats, kept: &Container, now: i64) -> proto::ContainerStats {
    let whole = |number: i64| u64::try_from(number).unwrap_or(0);
    let limit = whole(kept.resources.memory_limit_in_bytes);
    let disk = whole(stats.filesystem_used_bytes);
    proto::ContainerStats {
        attributes: Some(proto::ContainerAttributes {
            id: hex(stats.container.0),
            metadata: kept.config.metadata.clone(),
            labels: kept.config.labels.clone(),
            annotations: kept.config.annotations.clone(),
        }),
        cpu: Some(cpu_usage(stats.cpu_usage_core_nanos, now)),
        memory: Some(memory_usage(whole(stats.memory_working_set_bytes), limit, now)),
        writable_layer: Some(proto::FilesystemUsage {
            timestamp: now,
            fs_id: Some(proto::FilesystemIdentifier { mountpoint: super::storage() }),
            used_bytes: value(disk),
            inodes_used: value(disk.div_ceil(4096)),
        }),
        swap: Some(proto::SwapUsage { timestamp: now, swap_available_bytes: value(0), swap_usage_bytes: value(0) }),
    }
}
