//! What the server keeps of sandboxes and containers beside the runtime's own state, and how requests name them.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::Uid;
use crate::protocol::cri::{ContainerSummary, SandboxSummary};
use crate::runtime::live::proto::{self, Map};
use crate::runtime::live::wire::{hex, number};

use super::known::Known;
use super::logs::Log;
use super::shell::world::World;

/// All that is kept.
#[derive(Default)]
pub(super) struct Table {
    pub sandboxes: BTreeMap<u64, Sandbox>,
    pub containers: BTreeMap<u64, Container>,
    /// Sandboxes that are being made, by pod and attempt: lists and events may come before the answer.
    pub coming_sandboxes: BTreeMap<(Uid, u32), Sandbox>,
    /// Containers that are being made, by sandbox, name and attempt.
    pub coming_containers: BTreeMap<(u64, String, u32), Container>,
    /// The newest sandbox of each pod, also after its removal.
    pub newest: BTreeMap<Uid, u64>,
}

/// A sandbox as it was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sandbox {
    pub config: proto::PodSandboxConfig,
    pub handler: String,
}

/// A container as it was asked for.
#[derive(Clone, Default)]
pub(super) struct Container {
    pub config: proto::ContainerConfig,
    pub sandbox: u64,
    /// The image's id and its reference by digest.
    pub image_id: String,
    pub image_ref: String,
    pub image_tag: Option<String>,
    /// Whom it runs as.
    pub user: proto::LinuxContainerUser,
    pub known: Known,
    /// Its main command's exit is known here, not in the model.
    pub understood: bool,
    pub world: Option<Arc<World>>,
    pub resources: proto::LinuxContainerResources,
    pub log: Option<Log>,
}

impl Table {
    /// The sandbox of this entry, also while it is being made. One of which nothing is kept is empty.
    pub fn sandbox(&mut self, summary: &SandboxSummary) -> &Sandbox {
        let id = summary.id.0;
        self.newest.insert(summary.pod, id);
        let coming = &self.coming_sandboxes;
        self.sandboxes
            .entry(id)
            .or_insert_with(|| coming.get(&(summary.pod, summary.attempt)).cloned().unwrap_or_default())
    }

    /// The container of this entry, also while it is being made.
    pub fn container(&mut self, summary: &ContainerSummary) -> &Container {
        let key = (summary.sandbox.0, summary.name.to_string(), summary.attempt);
        let coming = &self.coming_containers;
        self.containers.entry(summary.id.0).or_insert_with(|| coming.get(&key).cloned().unwrap_or_default())
    }

    /// Forgets a sandbox and its containers.
    pub fn forget_sandbox(&mut self, id: u64) {
        self.sandboxes.remove(&id);
        self.containers.retain(|_, container| container.sandbox != id);
    }
}

/// The number of what a request names: a whole id, or the beginning of just one of those that are `known`. For what is not
/// known, a number that nothing has.
pub(super) fn resolve<'a>(text: &str, known: impl Iterator<Item = &'a u64>) -> u64 {
    let unknown = number(text).filter(|number| hex(*number) == text).unwrap_or(0);
    if text.is_empty() || unknown != 0 {
        return unknown;
    }
    let mut found = known.filter(|id| hex(**id).starts_with(text));
    match (found.next(), found.next()) {
        (Some(only), None) => *only,
        _ => 0,
    }
}

/// The runtime's number for a pod: a kubelet's uid is any text.
pub(super) fn pod_number(uid: &str) -> Uid {
    Uid::parse(uid).unwrap_or_else(|| Uid(xxh3_64(uid.as_bytes()) | Uid::FIRST_FOREIGN))
}

/// Whether `labels` has all that `selector` asks for.
pub(super) fn matches(selector: &Map, labels: &Map) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A message in which the runtime's own form of ids, 64 digits with the number last, became this server's.
pub(super) fn whole_ids(message: &str) -> String {
    let mut whole = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find("000000000000000000000000000000000000000000000000") {
        let (before, from) = rest.split_at(start);
        whole.push_str(before);
        let digits = from.get(48..64).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let taken = match digits {
            Some(number) => {
                whole.push_str(&hex(number));
                64
            }
            None => {
                whole.push('0');
                1
            }
        };
        rest = from.get(taken..).unwrap_or("");
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_id_or_an_unambiguous_beginning_names_a_thing() {
        let known = [0x1234_0000_0000_0000, 0x1235_0000_0000_0000];
        let find = |text: &str| resolve(text, known.iter());
        assert_eq!(find(&hex(known[0])), known[0]);
        assert_eq!(find("1234"), known[0]);
        assert_eq!((find("123"), find("9"), find(""), find("\u{e9}")), (0, 0, 0, 0));
        assert_eq!(find(&hex(77)), 77, "a whole id that is not known is itself");
    }

    #[test]
    fn ids_in_messages_are_written_as_everywhere_else() {
        let message = format!(r#"sandbox "{:064x}": not found"#, 0xabcd);
        assert_eq!(whole_ids(&message), format!(r#"sandbox "{}": not found"#, hex(0xabcd)));
        assert_eq!(whole_ids("nothing here"), "nothing here");
    }
}
