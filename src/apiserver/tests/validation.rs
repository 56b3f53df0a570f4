//! Validation, against what a real API server said: the objects have the mistakes of the files in
//! `../shared/data/broken` (not all else that stands in them), the messages are read from there.

use proptest::prelude::*;

use super::*;
use crate::apiserver::FeatureGates;
use crate::apiserver::validation::{Invalid, message, validate, validate_update};
use crate::model::affinity::TopologySpreadConstraint;
use crate::model::pod::{
    ContainerPort, EnvVar, Handler, PortRef, Probe, Protocol, ResourceRequirements, RestartPolicy, VolumeMount,
};
use crate::model::policy::PodDisruptionBudget;
use crate::model::resources::ResourceList;
use crate::model::service::{Service, ServicePort};
use crate::model::storage::{ClaimSpec, PersistentVolumeClaim};
use crate::model::taint::TolerationOperator;
use crate::model::workload::{ConcurrencyPolicy, CronJob, Job, JobStatus};
use crate::model::{Affinity, Bytes, MilliCpu, NodeSelector, NodeSelectorTerm, Toleration};

/// What the real API server says is wrong with a file of the corpus, a problem a line.
fn real_words(file: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/broken/expected.jsonl");
    let lines = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"));
    let line = lines.into_iter().find(|line| line["file"] == file).unwrap_or_else(|| panic!("{file} is in {path}"));
    let message = line["kubernetes"]["message"].as_str().expect("a refused file has a message").to_owned();
    let (_, problems) = message.split_once(" is invalid: ").unwrap_or_else(|| panic!("{file}: {message}"));
    match problems.strip_prefix("\n* ") {
        None => vec![problems.to_owned()],
        Some(list) => list.split("\n* ").map(str::to_owned).collect(),
    }
}

fn check(file: &str, object: impl Into<Object>) {
    let found: Vec<String> = validate(&object.into(), FeatureGates::default()).iter().map(Invalid::to_string).collect();
    assert_eq!(found, real_words(file), "{file}");
}

/// A pod `p` with one container `c`, changed.
fn pod_with(change: impl FnOnce(&mut PodSpec)) -> Pod {
    let mut spec = PodSpec { containers: Arc::new([container("c")]), ..PodSpec::default() };
    change(&mut spec);
    Pod { spec: Arc::new(spec), ..pod("p") }
}

fn with_container(change: impl FnOnce(&mut Container)) -> Pod {
    let mut only = container("c");
    change(&mut only);
    pod_with(|spec| spec.containers = Arc::new([only]))
}

fn port(number: u16, host_port: u16) -> ContainerPort {
    let (name, host_ip) = (Name::default(), Name::default());
    ContainerPort { name, port: number, host_port, host_ip, protocol: Protocol::Tcp }
}

fn cpu(milli: i64) -> ResourceList {
    ResourceList { cpu: Some(MilliCpu(milli)), ..ResourceList::default() }
}

fn memory(bytes: i64) -> ResourceList {
    ResourceList { memory: Some(Bytes(bytes)), ..ResourceList::default() }
}

fn of(requests: ResourceList, limits: ResourceList) -> ResourceRequirements {
    ResourceRequirements { requests, limits }
}

fn probe() -> Option<Arc<Probe>> {
    Some(Arc::new(Probe {
        handler: Handler::TcpSocket { port: PortRef::Number(80), host: Name::default() },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace: None,
    }))
}

fn never() -> Arc<PodTemplate> {
    let spec = PodSpec { restart_policy: RestartPolicy::Never, ..spec() };
    Arc::new(PodTemplate { spec: Arc::new(spec), ..PodTemplate::default() })
}

fn job(template: Arc<PodTemplate>) -> Job {
    Job {
        meta: Meta::named("default", "j"),
        parallelism: 1,
        completions: Some(1),
        active_deadline: None,
        backoff_limit: 6,
        backoff_limit_per_index: None,
        max_failed_indexes: None,
        selector: None,
        template,
        ttl: None,
        indexed: false,
        suspend: false,
        pod_failure_policy: Arc::new([]),
        replace_failed_only: false,
        status: JobStatus::default(),
    }
}

fn as_object(job: Job) -> Object {
    Object::Job(Arc::new(job))
}

#[test]
fn pods_are_refused_in_kubernetes_words() {
    let mut named = pod("Web_1");
    named.spec = Arc::new(PodSpec { containers: Arc::new([container("c")]), ..PodSpec::default() });
    check("k8s-name-uppercase.yaml", named);
    let mut labelled = pod("p");
    labelled.meta.labels = names(&[("app", &"a".repeat(63))]);
    assert_eq!(validate(&labelled.clone().into(), FeatureGates::default()), []);
    labelled.meta.labels = names(&[("app", &"a".repeat(64))]);
    check("k8s-label-too-long.yaml", labelled);
    check("k8s-no-containers.yaml", pod_with(|spec| spec.containers = Arc::new([])));
    check("k8s-image-missing.yaml", with_container(|c| c.image = Name::default()));
    check(
        "k8s-duplicate-container-name.yaml",
        pod_with(|spec| spec.containers = Arc::new([container("c"), container("c")])),
    );
    check("k8s-duplicate-host-port.yaml", with_container(|c| c.ports = vec![port(80, 80), port(81, 80)]));
    check("k8s-limit-below-request.yaml", with_container(|c| c.resources = of(cpu(500), cpu(250))));
    check("quantity-Mi-and-M.yaml", with_container(|c| c.resources = of(memory(128 << 20), memory(128_000_000))));
    check("quantity-negative.yaml", with_container(|c| c.resources = of(cpu(-100), ResourceList::default())));
    check(
        "k8s-resource-unqualified.yaml",
        with_container(|c| {
            let mut list = ResourceList::default();
            list.extended.push((Name::new("gpu"), 1));
            c.resources = of(list.clone(), list);
        }),
    );
    check(
        "k8s-mount-without-volume.yaml",
        with_container(|c| {
            let (volume, path) = (Name::new("data"), Name::new("/data"));
            c.volume_mounts = vec![VolumeMount { volume, path, ..VolumeMount::default() }];
        }),
    );
    check(
        "k8s-init-container-probe.yaml",
        pod_with(|spec| spec.init_containers = Arc::new([Container { readiness: probe(), ..container("i") }])),
    );
    check(
        "k8s-gated-with-node-name.yaml",
        Pod {
            node: Some(Name::new("n1")),
            ..pod_with(|spec| spec.scheduling_gates = Arc::new([Name::new("example.com/wait")]))
        },
    );
}

#[test]
fn placement_is_refused_in_kubernetes_words() {
    let with_affinity = |affinity| pod_with(|spec| spec.affinity = Some(Arc::new(affinity)));
    let none = NodeSelector::default();
    check(
        "k8s-affinity-empty-terms.yaml",
        with_affinity(Affinity { node_required: Some(none), ..Affinity::default() }),
    );
    let weightless = vec![(0, NodeSelectorTerm::default())];
    check(
        "k8s-affinity-weight-zero.yaml",
        with_affinity(Affinity { node_preferred: weightless, ..Affinity::default() }),
    );
    let spread = TopologySpreadConstraint {
        max_skew: 1,
        topology_key: Name::new("zone"),
        hard: true,
        selector: None,
        min_domains: None,
        honor_node_affinity: true,
        honor_node_taints: false,
        match_label_keys: Vec::new(),
    };
    let twice = [spread.clone(), TopologySpreadConstraint { max_skew: 2, ..spread }];
    check("k8s-spread-duplicate.yaml", pod_with(|spec| spec.topology_spread = Arc::new(twice)));
    let toleration = Toleration {
        key: Name::new("nvidia.com/gpu"),
        operator: TolerationOperator::Exists,
        value: Name::new("gpu"),
        effect: None,
        seconds: None,
    };
    check("k8s-toleration-exists-value.yaml", pod_with(|spec| spec.tolerations = Arc::new([toleration])));
}

#[test]
fn workloads_are_refused_in_kubernetes_words() {
    let templated = |labels: &[(&str, &str)], spec: PodSpec| {
        Arc::new(PodTemplate { labels: names(labels), annotations: Labels::default(), spec: Arc::new(spec) })
    };
    check("k8s-negative-replicas.yaml", Deployment { replicas: -1, ..deployment("web") });
    check(
        "k8s-selector-mismatch.yaml",
        Deployment { template: templated(&[("app", "wbe")], spec()), ..deployment("web") },
    );
    let restart = PodSpec { restart_policy: RestartPolicy::Never, ..spec() };
    check(
        "k8s-deployment-restart-never.yaml",
        Deployment { template: templated(&[("app", "web")], restart.clone()), ..deployment("web") },
    );
    let none = IntOrPercent::Int(0);
    let stuck = DeploymentStrategy::RollingUpdate { max_unavailable: none, max_surge: none };
    check("k8s-rolling-update-stuck.yaml", Deployment { strategy: stuck, ..deployment("web") });
    let broken = Container {
        image: Name::default(),
        ports: vec![port(0, 0)],
        resources: of(cpu(2000), cpu(1000)),
        ..container("c")
    };
    let many = PodSpec { containers: Arc::new([broken]), ..restart };
    check(
        "k8s-many-errors.yaml",
        Deployment { replicas: -1, template: templated(&[("app", "other")], many), ..deployment("Web") },
    );
    check(
        "k8s-job-restart-always.yaml",
        as_object(job(Arc::new(PodTemplate { spec: Arc::new(spec()), ..PodTemplate::default() }))),
    );
    check("k8s-job-indexed-no-completions.yaml", as_object(Job { indexed: true, completions: None, ..job(never()) }));
    let cron_job = CronJob {
        meta: Meta::named("default", "j"),
        schedule: Name::new("*/0 * * * *"),
        time_zone: Name::default(),
        starting_deadline: None,
        concurrency: ConcurrencyPolicy::Allow,
        suspend: false,
        successful_history: 3,
        failed_history: 1,
        job_template: Arc::new(job(never())),
        last_schedule: None,
        last_successful: None,
        active: Vec::new(),
    };
    check("k8s-cron-step-zero.yaml", Object::CronJob(Arc::new(cron_job)));
}

#[test]
fn smaller_objects_are_refused_in_kubernetes_words() {
    let budget = PodDisruptionBudget {
        meta: Meta::named("default", "b"),
        selector: Some(Selector::from_labels(&names(&[("app", "web")]))),
        min_available: Some(IntOrPercent::Int(1)),
        max_unavailable: Some(IntOrPercent::Int(1)),
        ..PodDisruptionBudget::default()
    };
    check("k8s-pdb-both.yaml", Object::PodDisruptionBudget(Arc::new(budget)));
    let port = |number| ServicePort {
        name: Name::default(),
        port: number,
        target: PortRef::Number(number),
        protocol: Protocol::Tcp,
        node_port: 0,
    };
    let service = Service { meta: Meta::named("default", "s"), ports: vec![port(80), port(81)], ..Service::default() };
    check("k8s-service-two-unnamed-ports.yaml", Object::Service(Arc::new(service)));
    let spec = ClaimSpec { access_modes: vec![Name::new("ReadWriteOnce")], ..ClaimSpec::default() };
    let claim = PersistentVolumeClaim { meta: Meta::named("default", "c"), spec, ..Default::default() };
    check("k8s-pvc-no-size.yaml", Object::PersistentVolumeClaim(Arc::new(claim)));
    let mut negative = node("n1", &[]);
    negative.status.allocatable.cpu = MilliCpu(-1000);
    check("k8s-node-negative-allocatable.yaml", negative);
    let mut annotated = crate::model::config::ConfigData { meta: Meta::named("default", "c"), ..Default::default() };
    annotated.meta.annotations = names(&[("a", &"x".repeat(262_144))]);
    check("k8s-annotation-too-big.yaml", Object::ConfigMap(Arc::new(annotated)));
}

#[test]
fn what_is_right_is_not_refused() {
    let env = vec![EnvVar { name: Name::new("A.b-c"), value: crate::model::pod::EnvValue::Literal("x".into()) }];
    let sidecar = Container { restart_policy: Some(RestartPolicy::Always), readiness: probe(), ..container("s") };
    for object in [
        pod("p").into(),
        with_container(|c| c.env = env).into(),
        pod_with(|spec| spec.init_containers = Arc::new([sidecar])).into(),
        with_container(|c| c.ports = vec![port(80, 80), ContainerPort { protocol: Protocol::Udp, ..port(80, 80) }])
            .into(),
        node("n1.example.com", &[("topology.kubernetes.io/zone", "a")]).into(),
        deployment("web").into(),
        as_object(job(never())),
    ] {
        assert_eq!(validate(&object, FeatureGates::default()), [], "{}", object.key());
    }
}

#[test]
fn several_problems_stand_in_brackets_behind_kind_group_and_name() {
    let problems = [Invalid::new("a", "x"), Invalid::new("b", "y")];
    let text = message(Kind::Deployment, Name::new("web"), &problems);
    assert_eq!(text, "Deployment.apps \"web\" is invalid: [a: x, b: y]");
    assert_eq!(message(Kind::Pod, Name::new("p"), &problems[..1]), "Pod \"p\" is invalid: a: x");
}

#[test]
fn what_may_not_change_is_refused_and_the_rest_is_not() {
    let fields = |old: Object, new: Object| -> Vec<String> {
        validate_update(&old, &new).into_iter().map(|problem| problem.field).collect()
    };
    let other = Selector::from_labels(&names(&[("app", "api")]));
    let changed: Object = Deployment { selector: other, ..deployment("web") }.into();
    assert_eq!(
        validate_update(&deployment("web").into(), &changed),
        [Invalid::new("spec.selector", "Invalid value: {\"matchLabels\":{\"app\":\"api\"}}: field is immutable")]
    );
    let image = with_container(|c| c.image = Name::new("app:2"));
    assert_eq!(fields(pod_with(|_| {}).into(), image.into()), Vec::<String>::new());
    let command = with_container(|c| c.command = Arc::new(["sh".into()]));
    assert_eq!(fields(pod_with(|_| {}).into(), command.into()), ["spec"]);
    let deadline = |seconds| pod_with(|spec| spec.active_deadline = Some(Duration::from_secs(seconds)));
    assert_eq!(fields(deadline(10).into(), deadline(5).into()), Vec::<String>::new());
    assert_eq!(fields(deadline(5).into(), deadline(10).into()), ["spec.activeDeadlineSeconds"]);
    let gated =
        |gates: &[&str]| pod_with(|spec| spec.scheduling_gates = gates.iter().map(|gate| Name::new(gate)).collect());
    assert_eq!(fields(gated(&["x.io/a", "x.io/b"]).into(), gated(&["x.io/b"]).into()), Vec::<String>::new());
    assert_eq!(fields(gated(&[]).into(), gated(&["x.io/b"]).into()), ["spec.schedulingGates"]);
    let more = Job { completions: Some(2), ..job(never()) };
    assert_eq!(fields(as_object(job(never())), as_object(more)), ["spec.completions"]);
    let relabelled = PodTemplate { labels: names(&[("a", "b")]), ..PodTemplate::clone(&never()) };
    assert_eq!(fields(as_object(job(never())), as_object(job(Arc::new(relabelled)))), ["spec.template"]);
}

#[test]
fn an_invalid_object_is_answered_with_422_and_not_stored() {
    let mut play = Play::new();
    let call = Call::Create(Deployment { replicas: -1, ..deployment("web") }.into());
    assert_eq!(
        play.error(call),
        "422 Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    assert_eq!(play.api.store().count(Kind::Deployment), 0);
}

proptest! {
    #[test]
    fn nothing_that_a_file_can_hold_makes_the_server_panic(
        text in "[ -~äß]{0,70}",
        amount in any::<i64>(),
        number in any::<i32>(),
        port_number in any::<u16>(),
    ) {
        let word = Name::new(&text);
        let odd = Container {
            name: word,
            image: word,
            ports: vec![ContainerPort { name: word, ..port(port_number, port_number) }; 2],
            resources: ResourceRequirements {
                requests: ResourceList { extended: [(word, amount)].into_iter().collect(), ..cpu(amount) },
                limits: memory(amount),
            },
            ..container("c")
        };
        let spec = Arc::new(PodSpec { containers: Arc::new([odd.clone(), odd]), ..spec() });
        let labels = names(&[(&text, &text)]);
        let meta = Meta { generate_name: word, labels: labels.clone(), annotations: labels, ..Meta::named("default", &*text) };
        let nameless = Meta { name: Name::default(), ..meta.clone() };
        let share = IntOrPercent::Percent(number);
        let mut play = Play::new();
        let item = crate::model::policy::LimitRangeItem {
            kind: Name::new("Pod"),
            min: cpu(amount),
            max: memory(amount),
            ..Default::default()
        };
        let range = crate::model::policy::LimitRange { meta: Meta::named("default", "l"), limits: vec![item] };
        for object in [
            Object::LimitRange(Arc::new(range)),
            Pod { meta: meta.clone(), spec: spec.clone(), ..Pod::default() }.into(),
            Pod { meta: nameless, spec: spec.clone(), ..Pod::default() }.into(),
            Deployment {
                meta: meta.clone(),
                replicas: number,
                template: Arc::new(PodTemplate { spec, ..PodTemplate::default() }),
                strategy: DeploymentStrategy::RollingUpdate { max_unavailable: share, max_surge: share },
                ..deployment("web")
            }
            .into(),
            as_object(Job { meta, parallelism: number, completions: Some(number), ..job(never()) }),
        ] {
            play.send(CLIENT, Tag::NONE, Call::Create(object));
        }
    }
}
