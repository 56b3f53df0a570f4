//! What a kubelet measures of its machine and its pods: memory, disks, inodes, processes.
//!
//! Kubernetes: staging/src/k8s.io/kubelet/pkg/apis/stats/v1alpha1/types.go (cAdvisor, `du`, statfs). Amounts come as straight
//! lines, so that a kubelet that sleeps knows when to look again; one that polls needs only what they are now.

use crate::kernel::{Duration, Time};
use crate::model::{Name, Uid};

use super::cri::ContainerId;

/// Asks for a measurement. What containers have on disk is as of `disk_at`, what volumes hold as of `volumes_at`: both are
/// measured less often than memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub disk_at: Time,
    pub volumes_at: Time,
}

/// An amount that grows steadily.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub amount: i64,
    pub per_minute: i64,
}

impl Line {
    /// An amount that stays.
    pub fn constant(amount: i64) -> Line {
        Line { amount, per_minute: 0 }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Line) -> Line {
        Line {
            amount: self.amount.saturating_add(other.amount),
            per_minute: self.per_minute.saturating_add(other.per_minute),
        }
    }

    /// How long it takes to grow to `limit`; None: it never does.
    pub fn reaches(self, limit: i64) -> Option<Duration> {
        if self.amount >= limit {
            return Some(Duration::ZERO);
        }
        if self.per_minute <= 0 {
            return None;
        }
        const MINUTE: i128 = 60_000_000_000;
        let missing = i128::from(limit) - i128::from(self.amount);
        let nanos = (missing * MINUTE + i128::from(self.per_minute) - 1) / i128::from(self.per_minute);
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    pub capacity: i64,
    pub used: Line,
    pub inodes: i64,
    pub inodes_used: Line,
}

/// A measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub at: Time,
    pub memory_capacity: i64,
    /// The working set of all that runs on the machine, but for volumes in memory.
    pub memory: Line,
    pub nodefs: FileSystem,
    /// Where images and writable layers are; None: on the same disk.
    pub imagefs: Option<FileSystem>,
    pub pid_limit: i64,
    pub processes: Line,
    pub containers: Vec<ContainerUsage>,
    pub volumes: Vec<VolumeUsage>,
    /// When the next of the lines bends.
    pub bends_at: Option<Time>,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    pub pod: Uid,
    pub container: ContainerId,
    pub name: Name,
    /// Its working set.
    pub memory: Line,
    /// Its writable layer.
    pub rootfs: Line,
    pub logs: Line,
    pub inodes: Line,
    pub processes: Line,
}

/// What a pod's volume holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeUsage {
    pub pod: Uid,
    pub volume: Name,
    pub used: Line,
    pub inodes: Line,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_a_limit_when_it_has_grown_to_it() {
        let line = Line { amount: 100, per_minute: 60 };
        assert_eq!(line.reaches(130), Some(Duration::from_secs(30)));
        assert_eq!(line.reaches(100), Some(Duration::ZERO));
        assert_eq!(Line::constant(5).reaches(6), None);
        assert_eq!(line.plus(Line { amount: 10, per_minute: -60 }), Line::constant(110));
    }
}
