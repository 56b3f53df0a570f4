//! CPU time: who gets how much of the machine when not all can have what they want, and what that does to programs.
//!
//! Kubernetes: the cgroup tree of pkg/kubelet/cm (pods below their QoS class below kubepods), shares and CFS quotas of
//! pkg/kubelet/cm/helpers_linux.go. A fluid model: within a level time is divided by weight, nobody gets more than he wants or
//! than his quota; shares stand for the weights that follow from them. It is worked out anew when a program begins or ends
//! that says how much it wants, and only then.

use std::collections::BTreeMap;

use crate::protocol::cri::{ContainerId, LinuxResources, SandboxId};
use crate::trace::Effects;

use super::{In, Out, Runtime};

/// A container that wants time.
#[derive(Clone, Copy, Debug)]
struct Wish {
    container: ContainerId,
    sandbox: SandboxId,
    class: Class,
    shares: u64,
    /// In thousandths of a core, no more than its quota.
    wants: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// The least weight of a cgroup.
const LEAST_SHARES: u64 = 2;

/// The class shows in the score that the OOM killer is given.
fn class_of(resources: &LinuxResources) -> Class {
    match resources.oom_score_adj {
        1000 => Class::BestEffort,
        adjustment if adjustment < 0 => Class::Guaranteed,
        _ => Class::Burstable,
    }
}

/// The quota in thousandths of a core; none: more than any machine has.
fn quota(resources: &LinuxResources) -> u64 {
    let (quota, period) = (resources.cpu_quota, resources.cpu_period);
    if quota <= 0 {
        return u64::MAX;
    }
    let period = if period > 0 { period } else { 100_000 };
    u64::try_from(i128::from(quota) * 1000 / i128::from(period)).unwrap_or(u64::MAX).max(1)
}

impl Runtime {
    /// A program that says how much it wants has begun or ended, or a quota has changed.
    pub(super) fn divide_cpu(&mut self, fx: &mut Effects<In, Out>) {
        let mut wishes: Vec<Wish> = self
            .containers
            .iter()
            .filter_map(|(id, container)| {
                let wants = container.program.as_ref()?.cpu_wanted()?;
                Some(Wish {
                    container: *id,
                    sandbox: container.sandbox,
                    class: class_of(&container.resources),
                    shares: u64::try_from(container.resources.cpu_shares).unwrap_or(0).max(LEAST_SHARES),
                    wants: wants.min(quota(&container.resources)),
                })
            })
            .collect();
        // A pod with a quota of its own never gets more for all its containers.
        for (id, sandbox) in &self.sandboxes {
            if let Some(resources) = &sandbox.resources {
                cap(*id, quota(resources), &mut wishes);
            }
        }
        let capacity = u64::try_from(self.config.cpu.0).unwrap_or(0).max(1);
        let shares = divide(capacity, &wishes);
        for (wish, share) in wishes.iter().zip(shares) {
            let Some(container) = self.containers.get_mut(&wish.container) else { continue };
            let Some(program) = container.program.as_mut() else { continue };
            if program.gets_cpu(share.max(1), fx.now()) {
                self.arm_program(wish.container, fx);
                self.probes_change(wish.container, fx);
            }
        }
    }
}

/// The containers of a sandbox want no more than it may have, which they divide by weight.
fn cap(sandbox: SandboxId, most: u64, wishes: &mut [Wish]) {
    let of_sandbox = |wish: &&mut Wish| wish.sandbox == sandbox;
    let wanted: Vec<(u64, u64)> = wishes.iter_mut().filter(of_sandbox).map(|wish| (wish.shares, wish.wants)).collect();
    if wanted.iter().map(|(_, wants)| *wants).fold(0, u64::saturating_add) <= most {
        return;
    }
    for (wish, share) in wishes.iter_mut().filter(of_sandbox).zip(fill(most, &wanted)) {
        wish.wants = share;
    }
}

/// What each gets.
fn divide(capacity: u64, wishes: &[Wish]) -> Vec<u64> {
    let total: u64 = wishes.iter().map(|wish| wish.wants).fold(0, u64::saturating_add);
    if total <= capacity {
        return wishes.iter().map(|wish| wish.wants).collect();
    }
    // Guaranteed pods stand beside the other two classes.
    let mut groups: BTreeMap<(Class, Option<SandboxId>), Vec<usize>> = BTreeMap::new();
    for (at, wish) in wishes.iter().enumerate() {
        let own = (wish.class == Class::Guaranteed).then_some(wish.sandbox);
        groups.entry((wish.class, own)).or_default().push(at);
    }
    let weight = |members: &[usize]| -> u64 { members.iter().map(|at| wishes[*at].shares).sum() };
    let wants = |members: &[usize]| -> u64 { members.iter().map(|at| wishes[*at].wants).sum() };
    let tops: Vec<(u64, u64)> = groups
        .iter()
        .map(|((class, _), members)| {
            let weight = if *class == Class::BestEffort { LEAST_SHARES } else { weight(members) };
            (weight, wants(members))
        })
        .collect();
    let mut given = vec![0; wishes.len()];
    for (members, group) in groups.values().zip(fill(capacity, &tops)) {
        let mut pods: BTreeMap<SandboxId, Vec<usize>> = BTreeMap::new();
        for at in members {
            pods.entry(wishes[*at].sandbox).or_default().push(*at);
        }
        let of_pods: Vec<(u64, u64)> = pods.values().map(|members| (weight(members), wants(members))).collect();
        for (members, pod) in pods.values().zip(fill(group, &of_pods)) {
            let of_containers: Vec<(u64, u64)> =
                members.iter().map(|at| (wishes[*at].shares, wishes[*at].wants)).collect();
            for (at, share) in members.iter().zip(fill(pod, &of_containers)) {
                given[*at] = share;
            }
        }
    }
    given
}

/// Divides `capacity` by weight among those that want so much; what one leaves, the others share.
fn fill(capacity: u64, items: &[(u64, u64)]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    // Those first that want least for their weight.
    order.sort_by(|a, b| {
        let ((weight_a, wants_a), (weight_b, wants_b)) = (items[*a], items[*b]);
        let (a_side, b_side) = (u128::from(wants_a) * u128::from(weight_b), u128::from(wants_b) * u128::from(weight_a));
        a_side.cmp(&b_side).then(a.cmp(b))
    });
    let mut given = vec![0; items.len()];
    let mut left = u128::from(capacity);
    let mut weights: u128 = items.iter().map(|(weight, _)| u128::from(*weight)).sum();
    for at in order {
        let (weight, wants) = items[at];
        let fair = left * u128::from(weight) / weights.max(1);
        let share = fair.min(u128::from(wants));
        given[at] = share as u64;
        left -= share;
        weights -= u128::from(weight);
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(sandbox: u64, class: Class, shares: u64, wants: u64) -> Wish {
        Wish { container: ContainerId(sandbox), sandbox: SandboxId(sandbox), class, shares, wants }
    }

    #[test]
    fn all_get_what_they_want_while_there_is_enough() {
        let wishes = [wish(1, Class::BestEffort, 2, 900), wish(2, Class::Guaranteed, 1024, 1100)];
        assert_eq!(divide(2000, &wishes), [900, 1100]);
    }

    #[test]
    fn a_full_machine_is_divided_by_weight_and_what_one_leaves_goes_to_the_others() {
        use Class::{BestEffort, Burstable, Guaranteed};
        let wishes = [wish(1, Guaranteed, 1024, 1000), wish(2, Burstable, 1024, 4000), wish(3, BestEffort, 2, 4000)];
        let given = divide(4000, &wishes);
        assert_eq!(given[0], 1000);
        assert!(given[1] > 2900 && given[2] < 100, "{given:?}");
        assert_eq!(given.iter().sum::<u64>(), 4000);
        let equal = [wish(1, BestEffort, 2, 3000), wish(2, BestEffort, 2, 3000)];
        assert_eq!(divide(2000, &equal), [1000, 1000]);
    }

    #[test]
    fn a_pod_with_a_quota_divides_it_among_its_containers() {
        let mut wishes = [
            wish(1, Class::Burstable, 1024, 3000),
            wish(1, Class::Burstable, 3072, 3000),
            wish(2, Class::Burstable, 1024, 500),
        ];
        cap(SandboxId(1), 2000, &mut wishes);
        assert_eq!(divide(4000, &wishes), [500, 1500, 500]);
        cap(SandboxId(2), u64::MAX, &mut wishes);
        assert_eq!(wishes[2].wants, 500);
    }

    #[test]
    fn a_quota_is_the_most_that_a_container_gets() {
        let limited = LinuxResources { cpu_quota: 20_000, cpu_period: 100_000, ..LinuxResources::default() };
        assert_eq!(quota(&limited), 200);
        assert_eq!(quota(&LinuxResources::default()), u64::MAX);
    }
}
