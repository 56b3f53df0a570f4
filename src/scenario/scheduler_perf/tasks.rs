//! What goes on while operations follow one another: what is seen of pods, and churn.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rustc_hash::FxHashMap;

use crate::cluster::Heard;
use crate::kernel::Time;
use crate::model::{Key, Labels, Name, Object, Pod, Selector, Uid};
use crate::trace::{Change, Record};

use super::file::Churn;

/// All that was seen of pods.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Those that are there, in the order of their creation.
    pub(super) pods: BTreeMap<Uid, SeenPod>,
    /// How many of these are scheduled, by namespace.
    scheduled: FxHashMap<Name, usize>,
    pub(super) attempts: u64,
    pub(super) collecting: Option<Collecting>,
    /// Requests whose answers are still to come.
    pub(super) unanswered: usize,
    /// The first answers that were errors.
    pub(super) refused: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct SeenPod {
    pub(super) key: Key,
    pub(super) labels: Labels,
    scheduled: bool,
    /// It was tried, or never will be as long as it is gated.
    attempted: bool,
}

/// A measurement under way.
#[derive(Clone, Debug)]
pub(super) struct Collecting {
    pub(super) namespaces: Vec<Name>,
    pub(super) selector: Selector,
    pub(super) start: Time,
    /// When each pod was bound.
    pub(super) times: Vec<Time>,
    pub(super) attempts: u64,
    pub(super) events: u64,
    /// What the machine's clock said.
    pub(super) cpu: crate::kernel::Duration,
}

impl Seen {
    pub(super) fn hear(&mut self, heard: Heard<'_>) {
        match heard {
            Heard::Answer(response) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                if let Err(status) = response.result
                    && self.refused.len() < 3
                {
                    self.refused.push(status.message.to_string());
                }
            }
            Heard::Record(entry) => match &entry.what {
                Record::Written(change, Object::Pod(pod)) => self.written(entry.time, *change, pod),
                Record::Attempt { pod, .. } => {
                    self.attempts += 1;
                    if let Some(seen) = self.pods.get_mut(&pod.uid) {
                        seen.attempted = true;
                    }
                }
                _ => {}
            },
        }
    }

    fn written(&mut self, now: Time, change: Change, pod: &Pod) {
        let uid = pod.meta.uid;
        if change == Change::Deleted {
            let Some(gone) = self.pods.remove(&uid) else { return };
            if gone.scheduled {
                *self.scheduled.entry(gone.key.namespace).or_default() -= 1;
            }
            return;
        }
        let seen = self.pods.entry(uid).or_insert_with(|| SeenPod {
            key: pod.meta.key(crate::model::Kind::Pod),
            labels: pod.meta.labels.clone(),
            scheduled: false,
            attempted: !pod.spec.scheduling_gates.is_empty(),
        });
        if seen.labels != pod.meta.labels {
            seen.labels = pod.meta.labels.clone();
        }
        if pod.node.is_none() || seen.scheduled {
            return;
        }
        (seen.scheduled, seen.attempted) = (true, true);
        *self.scheduled.entry(pod.meta.namespace).or_default() += 1;
        if let Some(collecting) = &mut self.collecting {
            let namespaces = &collecting.namespaces;
            if (namespaces.is_empty() || namespaces.contains(&pod.meta.namespace))
                && collecting.selector.matches(&pod.meta.labels)
            {
                collecting.times.push(now);
            }
        }
    }

    /// How many pods of a namespace are scheduled, or (`attempted`) were tried.
    pub(super) fn count(&self, namespace: Name, selector: &Selector, attempted: bool) -> usize {
        if selector.is_empty() && !attempted {
            return self.scheduled.get(&namespace).copied().unwrap_or(0);
        }
        let is_meant = |pod: &&SeenPod| pod.key.namespace == namespace && selector.matches(&pod.labels);
        let there = |pod: &&SeenPod| if attempted { pod.attempted } else { pod.scheduled };
        self.pods.values().filter(is_meant).filter(there).count()
    }

    /// The pods of a namespace that are there.
    pub(super) fn of(&self, namespace: Name, selector: &Selector) -> Vec<Key> {
        let is_meant = |pod: &&SeenPod| pod.key.namespace == namespace && selector.matches(&pod.labels);
        self.pods.values().filter(is_meant).map(|pod| pod.key).collect()
    }
}

/// A churn under way.
#[derive(Clone, Debug)]
pub(super) struct Churning {
    pub(super) churn: Churn,
    pub(super) namespace: Name,
    pub(super) next: Time,
    pub(super) tick: u32,
    /// What was created and not deleted, by template and turn.
    pub(super) there: IndexMap<(usize, u32), Key>,
}

/// What a tick of a churn does with each of its templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Create(u32),
    Delete(u32),
    /// It has ended.
    Over,
}

impl Churning {
    /// Takes the next turn.
    pub(super) fn turn(&mut self) -> Turn {
        let (tick, number) = (self.tick, self.churn.number);
        self.tick += 1;
        self.next += self.churn.interval;
        match (self.churn.recreate, number) {
            (false, 0) => Turn::Create(tick),
            (false, _) if tick < number => Turn::Create(tick),
            (false, _) => Turn::Over,
            (true, _) if (tick / number.max(1)) % 2 == 0 => Turn::Create(tick % number.max(1)),
            (true, _) => Turn::Delete(tick % number.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(recreate: bool, number: u32, wanted: &[Turn]) {
        let churn = Churn { recreate, number, ..Churn::default() };
        let (namespace, next) = (Name::default(), Time::ZERO);
        let mut churning = Churning { churn, namespace, next, tick: 0, there: IndexMap::new() };
        let turns: Vec<Turn> = wanted.iter().map(|_| churning.turn()).collect();
        assert_eq!(turns, wanted);
    }

    #[test]
    fn create_creates_so_many_or_for_ever() {
        use Turn::{Create, Over};
        check(false, 2, &[Create(0), Create(1), Over, Over]);
        check(false, 0, &[Create(0), Create(1), Create(2)]);
    }

    #[test]
    fn recreate_deletes_what_it_created_before_it_creates_again() {
        use Turn::{Create, Delete};
        check(true, 1, &[Create(0), Delete(0), Create(0)]);
        check(true, 2, &[Create(0), Create(1), Delete(0), Delete(1), Create(0)]);
    }
}
