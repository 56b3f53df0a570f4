//! What admission adds and refuses.

use proptest::prelude::*;

use super::*;
use crate::apiserver::FeatureGates;
use crate::model::feature_gates;
use crate::model::pod::ResourceRequirements;
use crate::model::policy::{LimitRange, LimitRangeItem, PriorityClass, ResourceQuota};
use crate::model::resources::ResourceList;
use crate::model::service::{Service, ServicePort, ServiceType};
use crate::model::storage::{ClaimSpec, PersistentVolumeClaim, StorageClass};
use crate::model::taint::{NOT_READY, TaintEffect, TolerationOperator, UNREACHABLE};
use crate::model::{
    Affinity, Bytes, MilliCpu, PodAffinityTerm, Requirement, Taint, Toleration, TopologySpreadConstraint,
};

fn with_spec(name: &str, change: impl FnOnce(&mut PodSpec)) -> Pod {
    let mut spec = spec();
    change(&mut spec);
    Pod { spec: Arc::new(spec), ..pod(name) }
}

#[test]
fn a_namespace_must_exist() {
    let mut play = Play::new();
    let mut lost = pod("p");
    lost.meta.namespace = Name::new("nowhere");
    assert_eq!(play.error(Call::Create(lost.into())), "404 namespaces \"nowhere\" not found");
    let namespaces: Vec<Name> =
        play.api.store().sorted(Kind::Namespace).iter().map(|namespace| namespace.meta().name).collect();
    assert_eq!(namespaces, ["default", "kube-node-lease", "kube-public", "kube-system"]);
}

#[test]
fn a_thousand_replicas_share_one_admitted_spec() {
    let mut play = Play::new();
    let shared = Arc::new(spec());
    let specs: Vec<Arc<PodSpec>> = (0..1000)
        .map(|idx| {
            let replica = Pod { spec: shared.clone(), ..pod(&format!("p{idx}")) };
            play.api.store();
            play.send(CLIENT, Tag::NONE, Call::Create(replica.into()));
            play.pod(&format!("p{idx}")).unwrap().spec
        })
        .collect();
    assert!(specs.iter().all(|spec| Arc::ptr_eq(spec, &specs[0])));
    let keys: Vec<&str> = specs[0].tolerations.iter().map(|toleration| toleration.key.as_str()).collect();
    assert_eq!(keys, [NOT_READY, UNREACHABLE]);
    assert_eq!(specs[0].service_account, "default");
}

#[test]
fn default_tolerations_leave_alone_what_the_pod_says_itself() {
    let mut play = Play::new();
    let own = |key: &str, effect| Toleration {
        key: Name::new(key),
        operator: TolerationOperator::Exists,
        value: Name::default(),
        effect,
        seconds: None,
    };
    for (given, added) in [
        (vec![own(NOT_READY, Some(TaintEffect::NoExecute))], vec![UNREACHABLE]),
        (vec![own(NOT_READY, Some(TaintEffect::NoSchedule))], vec![NOT_READY, UNREACHABLE]),
        (vec![own("", None)], vec![]),
    ] {
        let name = format!("p{}", added.len());
        play.create(with_spec(&name, |spec| spec.tolerations = given.clone().into()));
        let spec = play.pod(&name).unwrap().spec;
        let new: Vec<&Toleration> = spec.tolerations.iter().skip(given.len()).collect();
        assert_eq!(new.iter().map(|toleration| toleration.key.as_str()).collect::<Vec<_>>(), added);
        assert!(new.iter().all(|toleration| toleration.seconds == Some(Duration::from_secs(300))));
    }
}

#[test]
fn priority_comes_from_the_class_or_the_global_default() {
    let mut play = Play::new();
    let class = |spec: &mut PodSpec, name: &str| spec.priority_class = Name::new(name);
    play.create(with_spec("none", |_| {}));
    play.create(with_spec("system", |spec| class(spec, "system-node-critical")));
    assert_eq!(
        play.error(Call::Create(with_spec("p", |spec| class(spec, "gold")).into())),
        "403 pods \"p\" is forbidden: no PriorityClass with name gold was found"
    );
    let gold = PriorityClass { meta: Meta::named("", "gold"), value: 7, global_default: true, preempts_never: true };
    play.create(Object::PriorityClass(Arc::new(gold)));
    play.create(with_spec("default", |_| {}));
    let priority = |name| {
        let spec = play.pod(name).unwrap().spec;
        (spec.priority, spec.priority_class.as_str(), spec.preempts_never)
    };
    assert_eq!(priority("none"), (0, "", false));
    assert_eq!(priority("system"), (2_000_001_000, "system-node-critical", false));
    assert_eq!(priority("default"), (7, "gold", true));
}

#[test]
fn affinity_is_written_out_with_the_pods_namespace_and_labels() {
    let mut play = Play::new();
    let term = PodAffinityTerm {
        selector: Some(Selector::default()),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: Name::new("zone"),
        match_label_keys: vec![Name::new("hash"), Name::new("absent")],
        mismatch_label_keys: vec![Name::new("tenant")],
    };
    let affinity = Affinity { pod_required: vec![term], ..Affinity::default() };
    let shared = Arc::new(PodSpec { affinity: Some(Arc::new(affinity)), ..spec() });
    for hash in ["1", "2"] {
        let mut pod = Pod { spec: shared.clone(), ..pod(&format!("p{hash}")) };
        pod.meta.labels = names(&[("hash", hash), ("tenant", "t")]);
        play.create(pod);
        let spec = play.pod(&format!("p{hash}")).unwrap().spec;
        let term = &spec.affinity.as_ref().unwrap().pod_required[0];
        assert_eq!(term.namespaces, ["default"]);
        let wanted = [
            Requirement::In(Name::new("hash"), vec![Name::new(hash)]),
            Requirement::NotIn(Name::new("tenant"), vec![Name::new("t")]),
        ];
        assert_eq!(*term.selector.as_ref().unwrap().requirements, wanted);
    }
}

#[test]
fn fields_of_features_that_are_off_are_taken_out_of_new_pods() {
    let constraint = TopologySpreadConstraint {
        max_skew: 1,
        topology_key: Name::new("zone"),
        hard: true,
        selector: Some(Selector::default()),
        min_domains: None,
        honor_node_affinity: true,
        honor_node_taints: false,
        match_label_keys: vec![Name::new("hash")],
    };
    let mut given = pod("p");
    given.meta.labels = names(&[("hash", "1")]);
    let shared = PodSpec { topology_spread: Arc::new([constraint]), resources: Some(Box::default()), ..spec() };
    given.spec = Arc::new(shared);
    let admitted = |name: &str, on: bool| {
        let gates = feature_gates::FeatureGates([(name.to_owned(), on)].into());
        let mut play = Play::with(Config { feature_gates: FeatureGates::of(&gates), ..Play::at_once() });
        play.create(given.clone());
        let spec = play.pod("p").unwrap().spec;
        let constraint = &spec.topology_spread[0];
        let merged = !constraint.selector.as_ref().unwrap().is_empty();
        (spec.resources.is_some(), constraint.match_label_keys.len(), merged)
    };
    for (gate, on, expected) in [
        ("PodLevelResources", true, (true, 1, true)),
        ("PodLevelResources", false, (false, 1, true)),
        ("MatchLabelKeysInPodTopologySpread", false, (true, 0, false)),
        ("MatchLabelKeysInPodTopologySpreadSelectorMerge", false, (true, 1, false)),
        ("AllBeta", false, (false, 0, false)),
    ] {
        assert_eq!(admitted(gate, on), expected, "{gate}={on}");
    }
}

#[test]
fn a_new_node_is_tainted_until_it_is_ready_and_has_an_address() {
    let mut play = Play::new();
    let Object::Node(one) = play.create(node("n1", &[])) else { panic!() };
    let Object::Node(other) = play.create(node("n2", &[])) else { panic!() };
    assert_eq!(one.spec.taints, [Taint::new(NOT_READY, TaintEffect::NoSchedule)]);
    assert!(one.status.internal_ip.is_some() && one.status.internal_ip != other.status.internal_ip);
    assert!(!one.is_ready());
}

fn amounts(cpu: Option<i64>, memory: Option<i64>) -> ResourceList {
    ResourceList { cpu: cpu.map(MilliCpu), memory: memory.map(Bytes), ..ResourceList::default() }
}

fn with_requests(name: &str, cpu: Option<i64>, memory: Option<i64>) -> Pod {
    with_spec(name, |spec| {
        let resources = ResourceRequirements { requests: amounts(cpu, memory), limits: ResourceList::default() };
        spec.containers = Arc::new([Container { resources, ..container("main") }]);
    })
}

#[test]
fn a_limit_range_gives_defaults_and_bounds() {
    const MI: i64 = 1 << 20;
    let mut play = Play::new();
    let item = LimitRangeItem {
        kind: Name::new("Container"),
        default_limits: amounts(Some(500), None),
        default_requests: ResourceList::default(),
        min: amounts(None, Some(64 * MI)),
        max: amounts(Some(1000), None),
    };
    let range = LimitRange { meta: Meta::named("default", "l"), limits: vec![item] };
    play.create(Object::LimitRange(Arc::new(range)));
    play.create(pod("p"));
    let resources = play.pod("p").unwrap().spec.containers[0].resources.clone();
    assert_eq!(resources.limits, amounts(Some(500), None));
    assert_eq!(resources.requests, amounts(Some(500), Some(64 * MI)));
    assert_eq!(
        play.error(Call::Create(with_requests("q", Some(200), Some(32 * MI)).into())),
        "403 pods \"q\" is forbidden: minimum memory usage per Container is 64Mi, but request is 32Mi"
    );
    let mut big = with_requests("q", Some(200), Some(32 * MI));
    let mut spec = PodSpec::clone(&big.spec);
    let mut only = spec.containers[0].clone();
    only.resources.limits = amounts(Some(2000), None);
    spec.containers = Arc::new([only]);
    big.spec = Arc::new(spec);
    assert_eq!(
        play.error(Call::Create(big.into())),
        "403 pods \"q\" is forbidden: [minimum memory usage per Container is 64Mi, but request is 32Mi, maximum cpu usage per \
         Container is 1, but limit is 2]"
    );
}

fn quota(hard: &[(&str, i64)]) -> Object {
    let hard = hard.iter().map(|(name, amount)| (Name::new(name), *amount)).collect();
    Object::ResourceQuota(Arc::new(ResourceQuota { meta: Meta::named("default", "q"), hard, used: Vec::new() }))
}

fn used(play: &Play) -> Vec<(&'static str, i64)> {
    match play.api.store().get(&Key::new(Kind::ResourceQuota, "default", "q")) {
        Some(Object::ResourceQuota(quota)) => quota.used.iter().map(|(name, used)| (name.as_str(), *used)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_quota_counts_what_is_there_what_comes_and_what_goes() {
    use crate::model::pod::{Phase, PodStatus};
    let mut play = Play::new();
    let uid = play.create(with_requests("before", Some(300), None)).meta().uid;
    play.create(quota(&[("pods", 2), ("requests.cpu", 1000), ("count/deployments.apps", 1)]));
    assert_eq!(used(&play), [("pods", 1), ("requests.cpu", 300), ("count/deployments.apps", 0)]);
    assert_eq!(
        play.error(Call::Create(pod("p").into())),
        "403 pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: main"
    );
    play.create(with_requests("p", Some(500), None));
    assert_eq!(
        play.error(Call::Create(with_requests("r", Some(300), None).into())),
        "403 pods \"r\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=300m, used: pods=2,requests.cpu=800m, \
         limited: pods=2,requests.cpu=1"
    );
    play.create(deployment("web"));
    assert_eq!(
        play.error(Call::Create(deployment("api").into())),
        "403 deployments.apps \"api\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: \
         count/deployments.apps=1, limited: count/deployments.apps=1"
    );
    let status = Box::new(PodStatus { phase: Phase::Failed, ..PodStatus::default() });
    play.patch(pod_key("before"), Patch::PodStatus { uid, status });
    assert_eq!(used(&play), [("pods", 1), ("requests.cpu", 500), ("count/deployments.apps", 1)]);
    play.delete(pod_key("before"), None);
    play.delete(pod_key("p"), None);
    play.delete(Key::new(Kind::Deployment, "default", "web"), None);
    assert_eq!(used(&play), [("pods", 0), ("requests.cpu", 0), ("count/deployments.apps", 0)]);
}

proptest! {
    #[test]
    fn a_quota_never_drifts_from_what_is_there(
        steps in prop::collection::vec((0..5u8, 0..4u8), 1..60),
        quota_at in 0..20usize,
    ) {
        use crate::model::pod::{Phase, PodStatus};
        let mut play = Play::new();
        for (idx, (name, step)) in steps.into_iter().enumerate() {
            if idx == quota_at {
                play.create(quota(&[("pods", 3), ("requests.cpu", 900), ("count/pods", 4)]));
            }
            let name = format!("p{name}");
            let call = match step {
                0 | 1 => Call::Create(with_requests(&name, Some(100 + 50 * i64::from(step)), None).into()),
                2 => {
                    let uid = play.pod(&name).map(|pod| pod.meta.uid).unwrap_or_default();
                    let status = Box::new(PodStatus { phase: Phase::Failed, ..PodStatus::default() });
                    Call::Patch(pod_key(&name), Patch::PodStatus { uid, status })
                }
                _ => Call::Delete(pod_key(&name), DeleteOptions::default()),
            };
            play.send(CLIENT, Tag::NONE, call);
        }
        if play.api.store().count(Kind::ResourceQuota) == 1 {
            let pods: Vec<Arc<Pod>> = play.api.store().iter(Kind::Pod).filter_map(|o| o.as_pod()).cloned().collect();
            let live: Vec<&Arc<Pod>> = pods.iter().filter(|pod| !pod.status.phase.is_terminal()).collect();
            let cpu = live.iter().map(|pod| pod.spec.requests().cpu.0).sum();
            let there = [("pods", live.len() as i64), ("requests.cpu", cpu), ("count/pods", pods.len() as i64)];
            prop_assert_eq!(used(&play), there);
        }
    }
}

/// What comes of a resize to so much CPU: `done` or the error.
fn resize(play: &mut Play, container: &str, cpu: i64) -> String {
    use crate::protocol::api::ResizeRequest;
    let list = amounts(Some(cpu), None);
    let change = ResizeRequest { container: Name::new(container), requests: list.clone(), limits: list };
    match play.call(Call::Patch(pod_key("p"), Patch::Resize(Arc::new([change])))) {
        Ok(_) => "done".to_owned(),
        Err(status) => format!("{} {}", status.reason.code(), status.message),
    }
}

#[test]
fn a_resize_is_held_against_limit_ranges_and_quotas() {
    let mut play = Play::new();
    let item = LimitRangeItem { kind: Name::new("Container"), max: amounts(Some(2000), None), ..Default::default() };
    let range = LimitRange { meta: Meta::named("default", "l"), limits: vec![item] };
    play.create(Object::LimitRange(Arc::new(range)));
    play.create(with_spec("p", |spec| {
        let resources = ResourceRequirements { requests: amounts(Some(300), None), limits: amounts(Some(300), None) };
        spec.containers = Arc::new([Container { resources, ..container("main") }]);
    }));
    play.create(quota(&[("requests.cpu", 1000)]));
    assert_eq!(resize(&mut play, "main", 900), "done");
    assert_eq!(used(&play), [("requests.cpu", 900)]);
    assert_eq!(
        resize(&mut play, "main", 1200),
        "403 pods \"p\" is forbidden: exceeded quota: q, requested: requests.cpu=300m, used: requests.cpu=900m, limited: \
         requests.cpu=1"
    );
    assert_eq!(
        resize(&mut play, "main", 2500),
        "403 pods \"p\" is forbidden: maximum cpu usage per Container is 2, but limit is 2500m"
    );
    assert_eq!(resize(&mut play, "main", 400), "done");
    assert_eq!(used(&play), [("requests.cpu", 400)]);
}

#[test]
fn a_pod_as_a_whole_has_no_less_than_its_containers() {
    let mut play = Play::new();
    let with = |pod_level: (i64, i64), own: (i64, i64)| {
        with_spec("p", |spec| {
            let of = |(request, limit)| ResourceRequirements {
                requests: amounts(Some(request), None),
                limits: amounts(Some(limit), None),
            };
            spec.containers = Arc::new([Container { resources: of(own), ..container("main") }]);
            spec.resources = Some(Box::new(of(pod_level)));
        })
    };
    for (pod_level, own, problem) in [
        (
            (100, 1000),
            (200, 500),
            "spec.resources.requests[cpu]: Invalid value: \"100m\": must be greater than or equal to aggregate container \
             requests of 200m",
        ),
        (
            (300, 400),
            (200, 500),
            "spec.containers[0].resources.limits[cpu]: Invalid value: \"500m\": must be less than or equal to pod limits of \
             400m",
        ),
    ] {
        let error = play.error(Call::Create(with(pod_level, own).into()));
        assert_eq!(error, format!("422 Pod \"p\" is invalid: {problem}"));
    }
    play.create(with((300, 1000), (200, 500)));
    play.create(quota(&[("requests.cpu", 2000), ("limits.cpu", 3000)]));
    assert_eq!(used(&play), [("requests.cpu", 300), ("limits.cpu", 1000)]);
    assert_eq!(
        resize(&mut play, "", 100),
        "422 Pod \"p\" is invalid: [spec.resources.requests[cpu]: Invalid value: \"100m\": must be greater than or equal to aggregate container \
         requests of 200m, spec.containers[0].resources.limits[cpu]: Invalid value: \"500m\": must be less than or equal to \
         pod limits of 100m]"
    );
}

#[test]
fn a_claim_without_class_gets_the_default_one() {
    let mut play = Play::new();
    let claim = |name: &str, class: Option<&str>| {
        let spec = ClaimSpec {
            storage_class: class.map(Name::new),
            request: Bytes(1 << 30),
            access_modes: vec![Name::new("ReadWriteOnce")],
            ..ClaimSpec::default()
        };
        let meta = Meta::named("default", name);
        Object::PersistentVolumeClaim(Arc::new(PersistentVolumeClaim { meta, spec, ..Default::default() }))
    };
    let class = |object: Object| match object {
        Object::PersistentVolumeClaim(claim) => claim.spec.storage_class,
        _ => None,
    };
    let made = play.create(claim("early", None));
    assert_eq!(class(made), None);
    let standard = StorageClass { meta: Meta::named("", "standard"), is_default: true, ..StorageClass::default() };
    play.create(Object::StorageClass(Arc::new(standard)));
    let made = play.create(claim("a", None));
    assert_eq!(class(made), Some(Name::new("standard")));
    let made = play.create(claim("b", Some("")));
    assert_eq!(class(made), Some(Name::default()));
}

#[test]
fn services_get_addresses_of_their_own_and_keep_them() {
    let mut play = Play::new();
    let service = |name: &str, kind, headless| {
        let port = ServicePort {
            name: Name::default(),
            port: 80,
            target: crate::model::pod::PortRef::Number(80),
            protocol: Default::default(),
            node_port: 0,
        };
        let meta = Meta::named("default", name);
        Service { meta, ports: vec![port], kind, headless, ..Service::default() }
    };
    let mut make = |object: Service| match play.create(Object::Service(Arc::new(object))) {
        Object::Service(service) => Service::clone(&service),
        _ => panic!(),
    };
    let a = make(service("a", ServiceType::ClusterIp, false));
    let b = make(service("b", ServiceType::NodePort, false));
    let none = make(service("c", ServiceType::ClusterIp, true));
    assert!(a.cluster_ip.is_some() && b.cluster_ip.is_some() && a.cluster_ip != b.cluster_ip);
    assert_eq!((none.cluster_ip, a.ports[0].node_port), (None, 0));
    assert!((30_000..=32_767).contains(&b.ports[0].node_port));
    let mut again = service("b", ServiceType::NodePort, false);
    again.publish_not_ready = true;
    let Object::Service(after) = play.ok(Call::Update(Object::Service(Arc::new(again)))) else { panic!() };
    assert_eq!((after.cluster_ip, &after.ports), (b.cluster_ip, &b.ports));
    assert!(after.publish_not_ready);
}
