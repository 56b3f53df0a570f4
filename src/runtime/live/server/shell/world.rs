//! What a served container's programs find around them: files, names, who they are and what they may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::files::Files;

/// How a container ends by what its programs did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime::live::server) enum End {
    Exit(i32),
    OutOfMemory,
}

/// Ends the container.
type Ends = Box<dyn Fn(End) + Send + Sync>;

/// What is around a container's programs.
#[derive(Default)]
pub(in crate::runtime::live::server) struct World {
    pub files: Mutex<Files>,
    pub hostname: Mutex<String>,
    /// Environment.
    pub values: BTreeMap<String, String>,
    pub folder: String,
    /// The command that the container runs.
    pub main: Vec<String>,
    pub uid: i64,
    /// The first is the primary one.
    pub groups: Vec<i64>,
    pub user_name: String,
    /// Without `CAP_`.
    pub capabilities: BTreeSet<&'static str>,
    /// System calls that its seccomp profile refuses.
    pub refused: BTreeSet<String>,
    /// In bytes; 0: none.
    pub memory_limit: i64,
    /// It sees the machine's connections, its shared memory, its processes.
    pub host_network: bool,
    pub host_ipc: bool,
    /// Names and numbers of the processes that it sees.
    pub processes: Mutex<Vec<(u32, String)>>,
    /// None in tests.
    pub end: Option<Ends>,
}

impl World {
    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn hostname(&self) -> MutexGuard<'_, String> {
        self.hostname.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers and commands.
    pub fn processes(&self) -> MutexGuard<'_, Vec<(u32, String)>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may do what this capability allows by this system call.
    pub fn may(&self, capability: &str, call: &str) -> bool {
        self.capabilities.contains(capability) && !self.refused.contains(call)
    }

    pub fn ends(&self, how: End) {
        if let Some(end) = &self.end {
            end(how);
        }
    }
}

/// Linux' capabilities by their numbers.
pub(in crate::runtime::live::server) const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What runtimes give a container that asks for nothing.
const USUAL: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The capabilities of a container: the usual ones with those added and without those dropped; all for a privileged one.
pub(in crate::runtime::live::server) fn capabilities(
    privileged: bool,
    added: &[String],
    dropped: &[String],
) -> BTreeSet<&'static str> {
    if privileged {
        return CAPABILITIES.into();
    }
    let named = |names: &[String], name: &str| {
        names.iter().any(|other| {
            let other = other.to_ascii_uppercase();
            other.strip_prefix("CAP_").unwrap_or(&other) == name
        })
    };
    // What is named counts more than `ALL`.
    let kept = CAPABILITIES.into_iter().filter(|name| {
        if named(dropped, name) || named(added, name) {
            return !named(dropped, name);
        }
        named(added, "ALL") || (USUAL.contains(name) && !named(dropped, "ALL"))
    });
    kept.collect()
}

/// The capabilities as `/proc/self/status` has them.
pub(in crate::runtime::live::server) fn mask(capabilities: &BTreeSet<&'static str>) -> u64 {
    let bits = (0..).zip(CAPABILITIES).filter(|(_, name)| capabilities.contains(name));
    bits.fold(0, |mask, (bit, _)| mask | 1u64 << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_the_usual_ones_with_what_is_added_and_without_what_is_dropped() {
        let of = |added: &[&str], dropped: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
            mask(&capabilities(false, &owned(added), &owned(dropped)))
        };
        assert_eq!(of(&[], &[]), 0xa804_25fb, "as runc has them");
        assert_eq!(of(&[], &["ALL"]), 0);
        assert_eq!(of(&["NET_ADMIN"], &["ALL"]), 1 << 12);
        assert_eq!(of(&["CAP_NET_ADMIN"], &[]), 0xa804_35fb);
        assert_eq!(of(&["ALL"], &[]), mask(&capabilities(true, &[], &[])));
        assert_eq!(of(&["ALL"], &["NET_RAW"]) & 1 << 13, 0);
    }
}
