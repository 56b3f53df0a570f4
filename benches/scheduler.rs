//! How many pods a second of CPU does the scheduler place on 5,000 nodes?
//!
//! The first group is the whole scheduler with its queue, events and bindings; the others are its decisions alone, each made
//! on what the ones before left.

#[path = "../tests/support/cluster.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod cluster;

use std::sync::Arc;

use cluster::{Cluster, node, spec};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use simlet::kernel::{Distribution, Duration, Time};
use simlet::model::workload::ReplicaSet;
use simlet::model::{
    Affinity, Kind, Labels, Meta, Name, Node, Object, OwnerReference, Pod, PodAffinityTerm, PodSpec, PodStatus,
    Selector, TopologySpreadConstraint, Uid,
};
use simlet::protocol::api::WatchEvent;
use simlet::scheduler::Config;
use simlet::scheduler::framework::{Point, Profile};
use simlet::scheduler::listers::World;
use simlet::scheduler::nominator::Nominator;
use simlet::scheduler::plugins::default_profile;
use simlet::scheduler::pod_info::{PodInfo, SpecCache};
use simlet::scheduler::search::Search;

const NODES: usize = 5000;
const PODS: usize = 10_000;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

fn worker(number: usize) -> Node {
    let mut node = node(&format!("node-{number}"), 32_000);
    let labels = [(ZONE, format!("zone-{}", number % 3)), (HOSTNAME, format!("node-{number}"))];
    node.meta.labels = Labels::new(labels.map(|(key, value)| (Name::new(key), Name::from(value))));
    node
}

/// 5,000 nodes in 3 zones, and the pods in the scheduler's inbox.
fn prepared(specs: usize, deployment: bool) -> Cluster {
    let config =
        Config { client_qps: 0, cycle_time: Distribution::Constant(Duration::from_micros(100)), ..Config::default() };
    let mut cluster = Cluster::new(config);
    cluster.keep_log = false;
    for number in 0..NODES {
        cluster.add_node(worker(number));
    }
    cluster.run_until(Time::from_secs(1));
    if deployment {
        cluster.labels = Labels::new([(Name::new("app"), Name::new("web"))]);
        let selector = Selector::from_labels(&cluster.labels);
        let meta = Meta::named("default", "web");
        let set = Arc::new(ReplicaSet { meta, selector, ..ReplicaSet::default() });
        cluster.tell(WatchEvent::Added(Object::ReplicaSet(set)));
        cluster.owner =
            Some(OwnerReference { kind: Kind::ReplicaSet, name: Name::new("web"), uid: Uid(1), block_deletion: true });
    }
    let specs: Vec<_> = (0..specs).map(|number| Arc::new(spec(100 + number as i64))).collect();
    for number in 0..PODS {
        cluster.add_pod(&format!("pod-{number}"), &specs[number % specs.len()]);
    }
    cluster
}

fn place(mut cluster: Cluster) -> Cluster {
    cluster.run_until(Time::from_secs(60));
    assert_eq!(cluster.bound, PODS, "every pod was placed");
    cluster
}

fn pods_on_5000_nodes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 pods on 5,000 nodes");
    group.throughput(Throughput::Elements(PODS as u64)).sample_size(10);
    let cases = [("one spec", 1, false), ("100 specs", 100, false), ("one Deployment", 1, true)];
    for (name, specs, deployment) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| prepared(specs, deployment), place, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A cluster without queue and API: what decisions are made on.
struct Bare {
    world: World,
    nominator: Nominator,
    search: Search,
    specs: SpecCache,
    profile: Profile,
    uid: u64,
}

impl Bare {
    fn new() -> Bare {
        let mut bare = Bare {
            world: World::default(),
            nominator: Nominator::default(),
            search: Search::default(),
            specs: SpecCache::default(),
            profile: default_profile(),
            uid: 0,
        };
        for number in 0..NODES {
            bare.world.nodes.set_node(&Arc::new(worker(number)));
        }
        bare.world.nodes.refresh_order();
        bare
    }

    fn pod(&mut self, spec: &Arc<PodSpec>, app: Name) -> PodInfo {
        self.uid += 1;
        let labels = Labels::new([(Name::new("app"), app)]);
        let meta = Meta { uid: Uid(self.uid), labels, ..Meta::named("default", format!("pod-{}", self.uid)) };
        let status = PodStatus { start_time: Some(Time::from_nanos(self.uid)), ..PodStatus::default() };
        self.specs.pod(&Arc::new(Pod { meta, spec: spec.clone(), node: None, status }))
    }

    /// Decides for so many pods. Where one is placed it stays; where one is nominated its victims go at once.
    fn decide(mut self, spec: &Arc<PodSpec>, pods: usize) -> Bare {
        let app = Name::new("web");
        for number in 0..pods {
            let pod = self.pod(spec, app);
            for &idx in self.profile.at(Point::PreFilter).iter().chain(self.profile.at(Point::PreScore)) {
                self.profile.plugins[idx].prepare(&pod, &mut self.world);
            }
            let random = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match self.search.schedule((0, &self.profile), &pod, &self.world, &self.nominator, random) {
                Ok(chosen) => self.world.nodes.add_pod(chosen.node, pod),
                Err(failure) => {
                    let nomination = failure.nomination.flatten().expect("it is placed, or others go for it");
                    for victim in nomination.victims {
                        self.world.nodes.remove_pod(nomination.node, victim);
                    }
                    self.world.nodes.add_pod(nomination.node, pod);
                }
            }
        }
        self
    }
}

fn own_term(key: &str) -> PodAffinityTerm {
    let labels = Labels::new([(Name::new("app"), Name::new("web"))]);
    PodAffinityTerm {
        selector: Some(Selector::from_labels(&labels)),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: Name::new(key),
        match_label_keys: Vec::new(),
        mismatch_label_keys: Vec::new(),
    }
}

fn spread(hard: bool) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 5,
        topology_key: Name::new(ZONE),
        hard,
        selector: own_term(ZONE).selector,
        min_domains: None,
        honor_node_affinity: true,
        honor_node_taints: false,
        match_label_keys: Vec::new(),
    }
}

fn decisions_on_5000_nodes(criterion: &mut Criterion) {
    let with = |affinity: Affinity| PodSpec { affinity: Some(Arc::new(affinity)), ..spec(100) };
    let spreading = |hard| PodSpec { topology_spread: Arc::new([spread(hard)]), ..spec(100) };
    let anti = Affinity { pod_anti_required: vec![own_term(HOSTNAME)], ..Affinity::default() };
    let near = Affinity { pod_preferred: vec![(1, own_term(HOSTNAME))], ..Affinity::default() };
    // 4 pods fill a node.
    let filler = Arc::new(PodSpec { priority: -1, ..spec(8000) });
    let cases = [
        ("plain pods", PODS, spec(100), false),
        ("required anti-affinity", 4000, with(anti), false),
        ("preferred affinity", 4000, with(near), false),
        ("hard topology spread", 4000, spreading(true), false),
        ("soft topology spread", 4000, spreading(false), false),
        ("preemption", 1000, PodSpec { priority: 10, ..spec(8000) }, true),
    ];
    let mut group = criterion.benchmark_group("decisions on 5,000 nodes");
    group.sample_size(10);
    for (name, pods, spec, full) in cases {
        let spec = Arc::new(spec);
        group.throughput(Throughput::Elements(pods as u64));
        group.bench_function(name, |bencher| {
            let setup = || {
                let mut bare = Bare::new();
                for number in 0..if full { 4 * NODES } else { 0 } {
                    let pod = bare.pod(&filler, Name::new("filler"));
                    bare.world.nodes.add_pod(Name::from(format!("node-{}", number % NODES)), pod);
                }
                bare
            };
            bencher.iter_batched(setup, |bare| bare.decide(&spec, pods), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, pods_on_5000_nodes, decisions_on_5000_nodes);
criterion_main!(benches);
