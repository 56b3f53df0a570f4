//! What the benchmarks of scheduling decisions share: a cluster without queue and API, and the kinds of pods.

#[path = "../../tests/support/cluster.rs"]
#[allow(dead_code, reason = "shared with the tests")]
pub mod cluster;

use std::sync::Arc;

use cluster::{node, spec};
use simlet::kernel::Time;
use simlet::model::{
    Affinity, Labels, Meta, Name, Node, Pod, PodAffinityTerm, PodSpec, PodStatus, Selector, TopologySpreadConstraint,
    Uid,
};
use simlet::scheduler::framework::{Point, Profile};
use simlet::scheduler::listers::World;
use simlet::scheduler::nominator::Nominator;
use simlet::scheduler::plugins::default_profile;
use simlet::scheduler::pod_info::{PodInfo, SpecCache};
use simlet::scheduler::race::DEFAULT_PARALLELISM;
use simlet::scheduler::search::Search;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// A node of one of three zones.
pub fn worker(number: usize) -> Node {
    let mut node = node(&format!("node-{number}"), 32_000);
    let labels = [(ZONE, format!("zone-{}", number % 3)), (HOSTNAME, format!("node-{number}"))];
    node.meta.labels = Labels::new(labels.map(|(key, value)| (Name::new(key), Name::from(value))));
    node
}

/// A cluster without queue and API: what decisions are made on.
pub struct Bare {
    world: World,
    nominator: Nominator,
    search: Search,
    specs: SpecCache,
    profile: Profile,
    uid: u64,
}

impl Bare {
    /// The same with one worker, which takes the nodes in their order.
    pub fn with_one_worker(mut self) -> Bare {
        self.search = Search::default();
        self
    }

    /// So many nodes, without pods.
    pub fn new(nodes: usize) -> Bare {
        let mut bare = Bare {
            world: World::default(),
            nominator: Nominator::default(),
            search: Search::parallel(DEFAULT_PARALLELISM),
            specs: SpecCache::default(),
            profile: default_profile(),
            uid: 0,
        };
        for number in 0..nodes {
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
    pub fn decide(mut self, spec: &Arc<PodSpec>, pods: usize) -> Bare {
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

/// A kind of pods to decide for.
pub struct Case {
    pub name: &'static str,
    /// How many, for each thousand nodes.
    pub pods: usize,
    pub spec: Arc<PodSpec>,
    /// The nodes are full of pods of less priority.
    pub full: bool,
}

/// All kinds.
pub fn cases() -> Vec<Case> {
    let with = |affinity: Affinity| PodSpec { affinity: Some(Arc::new(affinity)), ..spec(100) };
    let spreading = |hard| PodSpec { topology_spread: Arc::new([spread(hard)]), ..spec(100) };
    let anti = Affinity { pod_anti_required: vec![own_term(HOSTNAME)], ..Affinity::default() };
    let near = Affinity { pod_preferred: vec![(1, own_term(HOSTNAME))], ..Affinity::default() };
    let case = |name, pods, spec, full| Case { name, pods, spec: Arc::new(spec), full };
    vec![
        case("plain pods", 2000, spec(100), false),
        case("required anti-affinity", 800, with(anti), false),
        case("preferred affinity", 800, with(near), false),
        case("hard topology spread", 800, spreading(true), false),
        case("soft topology spread", 800, spreading(false), false),
        case("preemption", 200, PodSpec { priority: 10, ..spec(8000) }, true),
    ]
}

impl Case {
    /// The cluster to decide on.
    pub fn cluster(&self, nodes: usize) -> Bare {
        let mut bare = Bare::new(nodes);
        // 4 pods fill a node.
        let filler = Arc::new(PodSpec { priority: -1, ..spec(8000) });
        for number in 0..if self.full { 4 * nodes } else { 0 } {
            let pod = bare.pod(&filler, Name::new("filler"));
            bare.world.nodes.add_pod(Name::from(format!("node-{}", number % nodes)), pod);
        }
        bare
    }

    /// How many pods are decided for on so many nodes.
    pub fn pods_on(&self, nodes: usize) -> usize {
        (self.pods * nodes / 1000).max(1)
    }
}
