//! What would let a pod in, in small clusters.

use super::*;
use crate::model::{
    Affinity, Bytes, Container, Meta, MilliCpu, Pod, PodAffinityTerm, PodSpec, Selector, TopologySpreadConstraint, Uid,
};
use crate::scheduler::plugins::default_profile;

const ZONE: &str = "topology.kubernetes.io/zone";

/// A node of 4 CPU, 8 GiB.
fn node(name: &str, labels: &[(&str, &str)]) -> Node {
    let mut node = Node { meta: Meta::named("", name), ..Node::default() };
    let hostname = [(HOSTNAME_LABEL, name)];
    let all = labels.iter().chain(&hostname).map(|(key, value)| (Name::new(key), Name::new(value)));
    node.meta.labels = crate::model::Labels::new(all);
    node.status.allocatable.cpu = MilliCpu(4000);
    node.status.allocatable.memory = Bytes(8 << 30);
    node.status.allocatable.pods = 110;
    node
}

fn tainted(name: &str, key: &str) -> Node {
    let mut node = node(name, &[]);
    node.spec.taints.push(Taint::new(key, TaintEffect::NoSchedule));
    node
}

fn cordoned(name: &str) -> Node {
    let mut node = tainted(name, "node.kubernetes.io/unschedulable");
    node.spec.unschedulable = true;
    node
}

fn spec(milli_cpu: i64, memory: i64) -> PodSpec {
    let mut container = Container { name: Name::new("c"), ..Container::default() };
    container.resources.requests.cpu = Some(MilliCpu(milli_cpu));
    container.resources.requests.memory = Some(Bytes(memory));
    PodSpec { containers: Arc::new([container]), ..PodSpec::default() }
}

fn pod(uid: u64, spec: PodSpec) -> PodInfo {
    let mut meta = Meta { uid: Uid(uid), ..Meta::named("default", format!("p{uid}")) };
    meta.labels = crate::model::Labels::new([(Name::new("app"), Name::new("web"))]);
    PodInfo::new(Arc::new(Pod { meta, spec: Arc::new(spec), ..Pod::default() }))
}

/// The remedies for `wanted`, with `on` already placed.
fn check(nodes: Vec<Node>, on: &[(&str, PodSpec)], wanted: PodSpec, expected: &[&str]) {
    let mut world = World::default();
    for node in nodes {
        world.nodes.set_node(&Arc::new(node));
    }
    world.nodes.refresh_order();
    for (uid, (name, spec)) in (1..).zip(on) {
        world.nodes.add_pod(Name::new(name), pod(uid, spec.clone()));
    }
    let wanted = pod(1000, wanted);
    let profile = default_profile();
    let found = remedies(&profile, &wanted, &world, &Nominator::default());
    let found: Vec<&str> = found.iter().map(Text::as_str).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_node_that_lacks_least_says_how_much_less_would_do() {
    let on = [("a", spec(2000, 0)), ("b", spec(500, 0))];
    let nodes = || vec![node("a", &[]), node("b", &[])];
    check(nodes(), &on, spec(4000, 0), &["500m less cpu (on b)", "one more node like a"]);
    check(nodes(), &on, spec(5000, 0), &["1500m less cpu (on b)"]);
    // To ask for nothing at all would be no advice.
    let full = [("a", spec(4000, 0)), ("b", spec(4000, 0))];
    check(nodes(), &full, spec(500, 0), &["one more node like a"]);
    check(nodes(), &[], spec(1000, 9 << 30), &["1024Mi less memory (on a)"]);
}

#[test]
fn a_taint_of_the_users_is_tolerated_and_one_of_kubernetes_goes() {
    check(vec![tainted("a", "pool")], &[], spec(100, 0), &["a toleration of pool:NoSchedule (on a)"]);
    let unreachable = "node.kubernetes.io/unreachable";
    let expected = ["a without the taint node.kubernetes.io/unreachable (on a)", "one more node like a"];
    check(vec![tainted("a", unreachable)], &[], spec(100, 0), &expected);
    check(vec![cordoned("a")], &[], spec(100, 0), &["a uncordoned (on a)", "one more node like a"]);
}

#[test]
fn a_selector_that_nothing_matches_is_given_up() {
    let wanted = || PodSpec {
        node_selector: crate::model::Labels::new([(Name::new("disk"), Name::new("ssd"))]),
        ..spec(100, 0)
    };
    let nodes = vec![node("a", &[("disk", "hdd")])];
    check(nodes, &[], wanted(), &["no nodeSelector disk=ssd (or that label on a) (on a)"]);
}

#[test]
fn what_takes_fewer_changes_is_told_first() {
    let nodes = vec![tainted("a", "pool"), node("b", &[])];
    let on = [("a", spec(3000, 0)), ("b", spec(3500, 0))];
    let expected = ["a toleration of pool:NoSchedule (on a)", "500m less cpu (on b)", "one more node like b"];
    check(nodes, &on, spec(1000, 0), &expected);
}

fn own_term(key: &str) -> PodAffinityTerm {
    let labels = crate::model::Labels::new([(Name::new("app"), Name::new("web"))]);
    PodAffinityTerm {
        selector: Some(Selector::from_labels(&labels)),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: Name::new(key),
        match_label_keys: Vec::new(),
        mismatch_label_keys: Vec::new(),
    }
}

#[test]
fn a_rule_of_the_pods_own_is_given_up_or_met_by_another_node() {
    let anti = Affinity { pod_anti_required: vec![own_term(HOSTNAME_LABEL)], ..Affinity::default() };
    let wanted = PodSpec { affinity: Some(Arc::new(anti)), ..spec(100, 0) };
    let expected = ["no required pod anti-affinity (on a)", "one more node like a"];
    check(vec![node("a", &[])], &[("a", spec(100, 0))], wanted, &expected);
}

#[test]
fn a_spread_holds_with_a_greater_skew() {
    let constraint = TopologySpreadConstraint {
        max_skew: 1,
        topology_key: Name::new(ZONE),
        hard: true,
        selector: own_term(ZONE).selector,
        min_domains: None,
        honor_node_affinity: true,
        honor_node_taints: false,
        match_label_keys: Vec::new(),
    };
    let wanted = PodSpec { topology_spread: Arc::new([constraint]), ..spec(3000, 0) };
    let on = [("a", spec(100, 0)), ("b", spec(2000, 0))];
    let nodes = vec![node("a", &[(ZONE, "x")]), node("b", &[(ZONE, "y")])];
    // `b` is full, and `a` has the only place: two pods to one.
    let on: Vec<(&str, PodSpec)> = on.into_iter().chain([("a", spec(100, 0))]).collect();
    let expected = ["maxSkew: 2 over topology.kubernetes.io/zone (on a)", "1 less cpu (on b)", "one more node like b"];
    check(nodes, &on, wanted, &expected);
}
