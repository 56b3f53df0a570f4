//! Zones of nodes: how disrupted each is, and how fast its nodes get their `NoExecute` taints.
//!
//! Kubernetes: pkg/controller/nodelifecycle/node_lifecycle_controller.go (ComputeZoneState, handleDisruption),
//! pkg/controller/nodelifecycle/scheduler/rate_limited_queue.go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::kernel::{Duration, Time};
use crate::model::Name;

use super::Config;
use super::workqueue::interval_of;

/// How many of a zone's nodes are not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneState {
    Initial,
    Normal,
    PartialDisruption,
    FullDisruption,
}

/// A zone.
#[derive(Debug)]
pub struct Zone {
    pub nodes: usize,
    pub not_ready: usize,
    state: ZoneState,
    /// Time between two taints; None: no taints at all.
    interval: Option<Duration>,
    /// When the next taint may be set.
    next: Time,
    queue: VecDeque<Name>,
    /// Nodes that are queued or have been tainted from the queue.
    known: BTreeSet<Name>,
}

/// All zones.
#[derive(Debug, Default)]
pub struct Zones {
    zones: BTreeMap<Name, Zone>,
}

/// What a change of the zones' states asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// No zone has a ready node any more: `NoExecute` taints go and no new ones come.
    AllDisrupted,
    /// A node is ready again after that: every node gets a new grace period.
    Recovered,
}

impl Zone {
    fn state(&self, config: &Config) -> ZoneState {
        let share = self.not_ready as f64 >= config.unhealthy_zone_threshold * self.nodes as f64;
        if self.not_ready > 0 && self.not_ready == self.nodes {
            ZoneState::FullDisruption
        } else if self.not_ready > 2 && share {
            ZoneState::PartialDisruption
        } else {
            ZoneState::Normal
        }
    }

    /// A new rate; a limiter that was waiting goes on waiting, for a whole new interval.
    fn limit(&mut self, interval: Option<Duration>, now: Time) {
        if self.interval == interval {
            return;
        }
        let waits = self.interval.is_none() || now < self.next;
        self.next = if waits { now + interval.unwrap_or(Duration::ZERO) } else { now };
        self.interval = interval;
    }

    fn limit_by_state(&mut self, config: &Config, now: Time) {
        let rate = match self.state {
            ZoneState::PartialDisruption if self.nodes > config.large_cluster_size_threshold => {
                config.secondary_node_eviction_rate
            }
            ZoneState::PartialDisruption => 0.0,
            _ => config.node_eviction_rate,
        };
        self.limit(interval_of(rate), now);
    }
}

impl Zones {
    /// The zone of this name, made if it is new.
    pub fn zone(&mut self, name: Name, config: &Config) -> &mut Zone {
        self.zones.entry(name).or_insert_with(|| Zone {
            nodes: 0,
            not_ready: 0,
            state: ZoneState::Initial,
            interval: interval_of(config.node_eviction_rate),
            next: Time::ZERO,
            queue: VecDeque::new(),
            known: BTreeSet::new(),
        })
    }

    /// Queues a node for its taint, unless it is there or has it already.
    pub fn add(&mut self, zone: Name, node: Name, config: &Config) {
        let zone = self.zone(zone, config);
        if zone.known.insert(node) {
            zone.queue.push_back(node);
        }
    }

    /// Takes a node out: it is ready again, or gone.
    pub fn remove(&mut self, zone: Name, node: Name) {
        if let Some(zone) = self.zones.get_mut(&zone)
            && zone.known.remove(&node)
        {
            zone.queue.retain(|queued| *queued != node);
        }
    }

    /// Works out the zones' states anew and sets their rates.
    pub fn update(&mut self, config: &Config, now: Time) -> Change {
        self.zones.retain(|_, zone| zone.nodes > 0 || !zone.known.is_empty());
        let occupied = || self.zones.values().filter(|zone| zone.nodes > 0);
        let any = occupied().next().is_some();
        let all_were = any && occupied().all(|zone| zone.state == ZoneState::FullDisruption);
        let all_are = any && occupied().all(|zone| zone.state(config) == ZoneState::FullDisruption);
        for zone in self.zones.values_mut() {
            let state = zone.state(config);
            let changed = std::mem::replace(&mut zone.state, state) != state;
            if all_are && !all_were {
                zone.limit(None, now);
            } else if !all_are && (changed || all_were) {
                zone.limit_by_state(config, now);
            }
        }
        match (all_were, all_are) {
            (false, true) => Change::AllDisrupted,
            (true, false) => Change::Recovered,
            _ => Change::None,
        }
    }

    /// The nodes that get their taint now.
    pub fn take(&mut self, now: Time) -> Vec<Name> {
        let mut nodes = Vec::new();
        for zone in self.zones.values_mut() {
            let Some(interval) = zone.interval else { continue };
            while now >= zone.next
                && let Some(node) = zone.queue.pop_front()
            {
                zone.next = now + interval;
                nodes.push(node);
            }
        }
        nodes
    }

    /// When the next node may get its taint.
    pub fn next(&self) -> Option<Time> {
        let zones = self.zones.values().filter(|zone| zone.interval.is_some() && !zone.queue.is_empty());
        zones.map(|zone| zone.next).min()
    }
}
