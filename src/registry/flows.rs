//! How downloads share a registry's bandwidth: a fluid model, max-min fair under three limits.
//!
//! A flow is one layer on its way to one node. Each flow gets `min(stream limit, node limit / flows of the node, level)`,
//! where `level` is the greatest that keeps the sum within the registry's limit. Flows of nodes with equally many flows
//! run equally fast, so they form a class with one progress counter: an event costs the number of classes and the flows of
//! one node, not the number of flows.
//!
//! Integers only. Rates are whole bytes per second, rounded down (at least 1); progress is counted in nano-bytes, rate times
//! nanoseconds, exactly; a flow ends at the first nanosecond at which its bytes are through.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::kernel::{Cause, Duration, Time};
use crate::protocol::pull::FetchId;

use super::RuntimeId;

const NANOS: u128 = 1_000_000_000;

/// Bytes per second; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// For all nodes together. 0: nothing moves.
    pub total: Option<u64>,
    pub per_node: Option<u64>,
    pub per_stream: Option<u64>,
}

/// What nobody limits still takes time: 10 GB/s a flow.
const UNLIMITED: u64 = 10_000_000_000;

/// A flow that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub to: RuntimeId,
    pub id: FetchId,
    pub cause: Cause,
}

/// All flows of one registry.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    limits: Limits,
    /// The moment to which all progress is counted.
    counted: Time,
    nodes: BTreeMap<RuntimeId, SmallVec<[Flow; 4]>>,
    /// By the number of flows that each of its nodes has.
    classes: BTreeMap<u64, Class>,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    id: FetchId,
    cause: Cause,
    /// The value of its class's `progress` at which it ends.
    ends_at: u128,
}

#[derive(Clone, Debug, Default)]
struct Class {
    /// Nano-bytes that each of its flows got since the class began.
    progress: u128,
    /// Bytes per second of each of its flows.
    rate: u64,
    flows: BTreeSet<(u128, RuntimeId, FetchId)>,
}

impl Flows {
    /// No flows yet.
    pub fn new(limits: Limits) -> Flows {
        Flows { limits, ..Flows::default() }
    }

    /// Changes the limits from `now` on.
    pub fn limit(&mut self, now: Time, limits: Limits) {
        self.count_to(now);
        self.limits = limits;
        self.share();
    }

    /// A flow of `bytes` to `to` begins.
    pub fn begin(&mut self, now: Time, to: RuntimeId, id: FetchId, bytes: u64, cause: Cause) {
        self.count_to(now);
        let mut flows = self.leave_class(to);
        flows.push((id, cause, u128::from(bytes) * NANOS));
        self.join_class(to, flows);
        self.share();
    }

    /// Ends one flow before its time. False if there is none.
    pub fn cancel(&mut self, now: Time, to: RuntimeId, id: FetchId) -> bool {
        if !self.nodes.get(&to).is_some_and(|flows| flows.iter().any(|flow| flow.id == id)) {
            return false;
        }
        self.count_to(now);
        let mut flows = self.leave_class(to);
        flows.retain(|flow| flow.0 != id);
        self.join_class(to, flows);
        self.share();
        true
    }

    /// Ends all flows to one node.
    pub fn cancel_node(&mut self, now: Time, to: RuntimeId) {
        self.count_to(now);
        self.leave_class(to);
        self.share();
    }

    /// Ends all flows and says which they were, by node and in the order in which they began.
    pub fn cancel_all(&mut self, now: Time) -> Vec<Ended> {
        self.count_to(now);
        self.classes.clear();
        let nodes = std::mem::take(&mut self.nodes);
        nodes
            .into_iter()
            .flat_map(|(to, flows)| flows.into_iter().map(move |flow| Ended { to, id: flow.id, cause: flow.cause }))
            .collect()
    }

    /// Takes out the flows whose bytes are through, in a fixed order, into `ended`.
    pub fn finish(&mut self, now: Time, ended: &mut Vec<Ended>) {
        self.count_to(now);
        let first_new = ended.len();
        for class in self.classes.values() {
            for &(ends_at, to, id) in &class.flows {
                if ends_at > class.progress {
                    break;
                }
                ended.push(Ended { to, id, cause: Cause::NONE });
            }
        }
        let done = &mut ended[first_new..];
        done.sort_by_key(|end| (end.to, end.id));
        for end in done.iter_mut() {
            let mut flows = self.leave_class(end.to);
            if let Some(at) = flows.iter().position(|flow| flow.0 == end.id) {
                end.cause = flows.remove(at).1;
            }
            self.join_class(end.to, flows);
        }
        if !done.is_empty() {
            self.share();
        }
    }

    /// When the next flow ends, if nothing changes before.
    pub fn next_end(&self) -> Option<Time> {
        let ends = self.classes.values().filter(|class| class.rate > 0).filter_map(|class| {
            let &(ends_at, ..) = class.flows.first()?;
            let wait = ends_at.saturating_sub(class.progress).div_ceil(u128::from(class.rate));
            Some(self.counted + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
        });
        ends.min()
    }

    /// The rate of each flow of a node, in bytes per second.
    #[cfg(test)]
    pub fn rate(&self, to: RuntimeId) -> u64 {
        let flows = self.nodes.get(&to).map_or(0, |flows| flows.len() as u64);
        self.classes.get(&flows).map_or(0, |class| class.rate)
    }

    fn count_to(&mut self, now: Time) {
        let passed = u128::from(now.since(self.counted).as_nanos());
        self.counted = self.counted.max(now);
        if passed > 0 {
            for class in self.classes.values_mut() {
                class.progress += u128::from(class.rate) * passed;
            }
        }
    }

    /// Takes a node out; what its flows still need comes back, in nano-bytes.
    fn leave_class(&mut self, to: RuntimeId) -> SmallVec<[(FetchId, Cause, u128); 4]> {
        let flows = self.nodes.remove(&to).unwrap_or_default();
        let size = flows.len() as u64;
        let mut left = SmallVec::new();
        if let Some(class) = self.classes.get_mut(&size) {
            for flow in flows {
                class.flows.remove(&(flow.ends_at, to, flow.id));
                left.push((flow.id, flow.cause, flow.ends_at.saturating_sub(class.progress)));
            }
            if class.flows.is_empty() {
                self.classes.remove(&size);
            }
        }
        left
    }

    fn join_class(&mut self, to: RuntimeId, flows: SmallVec<[(FetchId, Cause, u128); 4]>) {
        if flows.is_empty() {
            return;
        }
        let class = self.classes.entry(flows.len() as u64).or_default();
        let joined = flows.into_iter().map(|(id, cause, left)| {
            let ends_at = class.progress + left;
            class.flows.insert((ends_at, to, id));
            Flow { id, cause, ends_at }
        });
        let joined: SmallVec<[Flow; 4]> = joined.collect();
        self.nodes.insert(to, joined);
    }

    /// Gives every class its rate.
    fn share(&mut self) {
        let per_stream = self.limits.per_stream.unwrap_or(UNLIMITED);
        let cap = |size: u64| per_stream.min(self.limits.per_node.map_or(UNLIMITED, |limit| limit / size)).max(1);
        let Some(mut left) = self.limits.total else {
            for (&size, class) in &mut self.classes {
                class.rate = cap(size);
            }
            return;
        };
        if left == 0 {
            self.classes.values_mut().for_each(|class| class.rate = 0);
            return;
        }
        // From the lowest cap up, which is from the greatest class down: whoever cannot use an equal share leaves the rest
        // to the others.
        let mut waiting: u64 = self.classes.values().map(|class| class.flows.len() as u64).sum();
        let mut level = None;
        for (&size, class) in self.classes.iter_mut().rev() {
            let flows = class.flows.len() as u64;
            let share = level.unwrap_or(left / waiting);
            class.rate = cap(size).min(share).max(1);
            if class.rate == share {
                // Nobody after this one has a lower cap, so all get the same.
                level = Some(share);
            }
            left = left.saturating_sub(class.rate * flows);
            waiting -= flows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    fn begin(flows: &mut Flows, now: u64, node: u32, id: u64, bytes: u64) {
        flows.begin(at(now), RuntimeId(node), FetchId(id), bytes, Cause::NONE);
    }

    fn ended(flows: &mut Flows, now: Time) -> Vec<u64> {
        let mut ended = Vec::new();
        flows.finish(now, &mut ended);
        ended.iter().map(|end| end.id.0).collect()
    }

    #[test]
    fn two_flows_get_half_each_and_a_third_that_leaves_raises_the_rates() {
        let mut flows = Flows::new(Limits { total: Some(60 * MIB), ..Limits::default() });
        begin(&mut flows, 0, 1, 1, 300 * MIB);
        assert_eq!(flows.rate(RuntimeId(1)), 60 * MIB);
        begin(&mut flows, 0, 2, 2, 300 * MIB);
        assert_eq!(flows.rate(RuntimeId(1)), 30 * MIB);
        begin(&mut flows, 0, 3, 3, 100 * MIB);
        assert_eq!(flows.rate(RuntimeId(3)), 20 * MIB);
        assert_eq!(flows.next_end(), Some(at(5)));
        assert_eq!(ended(&mut flows, at(5)), [3]);
        assert_eq!(flows.rate(RuntimeId(1)), 30 * MIB);
        // 200 MiB are left of each, at 30 MiB/s.
        assert_eq!(flows.next_end(), Some(Time::from_nanos(5_000_000_000 + 6_666_666_667)));
        let end = flows.next_end().unwrap();
        assert_eq!(ended(&mut flows, end), [1, 2]);
        assert_eq!(flows.next_end(), None);
    }

    #[test]
    fn a_node_or_a_stream_at_its_limit_leaves_the_rest_to_others() {
        let limits = Limits { total: Some(100), per_node: Some(30), per_stream: Some(60) };
        let mut flows = Flows::new(limits);
        begin(&mut flows, 0, 1, 1, 1000);
        begin(&mut flows, 0, 1, 2, 1000);
        begin(&mut flows, 0, 1, 3, 1000);
        assert_eq!(flows.rate(RuntimeId(1)), 10);
        flows.limit(at(1), Limits { per_node: None, ..limits });
        assert_eq!(flows.rate(RuntimeId(1)), 33);
        flows.limit(at(1), Limits { per_node: Some(150), total: Some(200), per_stream: Some(60) });
        begin(&mut flows, 1, 2, 4, 1000);
        assert_eq!((flows.rate(RuntimeId(1)), flows.rate(RuntimeId(2))), (50, 50));
        assert!(flows.cancel(at(1), RuntimeId(1), FetchId(1)));
        assert!(!flows.cancel(at(1), RuntimeId(1), FetchId(1)));
        assert_eq!((flows.rate(RuntimeId(1)), flows.rate(RuntimeId(2))), (60, 60));
    }

    #[test]
    fn nothing_moves_without_bandwidth_and_everything_goes_on_when_it_is_back() {
        let mut flows = Flows::new(Limits { total: Some(10), ..Limits::default() });
        begin(&mut flows, 0, 1, 1, 100);
        flows.limit(at(4), Limits { total: Some(0), ..Limits::default() });
        assert_eq!(flows.next_end(), None);
        flows.limit(at(50), Limits { total: Some(20), ..Limits::default() });
        assert_eq!(flows.next_end(), Some(at(53)));
    }

    proptest::proptest! {
        #[test]
        fn the_registry_never_gives_more_than_it_has_and_wastes_less_than_a_byte_a_flow(
            nodes in proptest::collection::vec(1u64..6, 1..20),
            total in 1_000u64..1_000_000,
            per_node in proptest::option::of(1_000u64..500_000),
            per_stream in proptest::option::of(1_000u64..500_000),
        ) {
            let mut flows = Flows::new(Limits { total: Some(total), per_node, per_stream });
            let mut id = 0;
            for (node, count) in nodes.iter().enumerate() {
                for _ in 0..*count {
                    id += 1;
                    begin(&mut flows, 0, node as u32, id, 1);
                }
            }
            let rates: Vec<(u64, u64)> =
                nodes.iter().enumerate().map(|(node, &count)| (count, flows.rate(RuntimeId(node as u32)))).collect();
            let sum: u64 = rates.iter().map(|(count, rate)| count * rate).sum();
            proptest::prop_assert!(sum <= total);
            let cap = |count: u64| per_stream.unwrap_or(u64::MAX).min(per_node.unwrap_or(u64::MAX) / count);
            for &(count, rate) in &rates {
                proptest::prop_assert!(rate <= cap(count));
                // Max-min: one below its own cap is among the fastest, and all bandwidth is used.
                if rate < cap(count) {
                    proptest::prop_assert!(rates.iter().all(|&(_, other)| other <= rate + 1));
                    proptest::prop_assert!(total - sum <= id);
                }
            }
        }
    }
}
