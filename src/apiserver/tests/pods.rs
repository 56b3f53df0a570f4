//! Pod statuses, binding, eviction.

use super::*;
use crate::model::node::{REGION_LABEL, ZONE_LABEL};
use crate::model::pod::{ContainerState, ContainerStatus, Phase, PodStatus};
use crate::model::policy::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use crate::model::{Condition, ConditionStatus, Text, Uid, condition};

fn condition(kind: &str, holds: bool, at: Time) -> Condition {
    Condition {
        kind: Name::new(kind),
        status: holds.into(),
        reason: Name::default(),
        message: Text::default(),
        last_transition: at,
        last_update: Time::ZERO,
    }
}

fn kinds(pod: &Pod) -> Vec<&str> {
    pod.status.conditions.iter().map(|condition| condition.kind.as_str()).collect()
}

#[test]
fn binding_sets_the_node_the_condition_and_the_topology_in_one_write() {
    let mut play = Play::new();
    play.create(node("n1", &[(ZONE_LABEL, "z"), (REGION_LABEL, "r")]));
    play.create(pod("p"));
    play.patch(pod_key("p"), Patch::NominatedNode(Some(Name::new("n1"))));
    let refused = condition("PodScheduled", false, second(1));
    play.patch(pod_key("p"), Patch::Condition(Condition { reason: Name::new("Unschedulable"), ..refused }));
    let before = play.api.store().version();
    play.at(second(3)).bind("p", "n1");
    let bound = play.pod("p").unwrap();
    assert_eq!(play.api.store().version(), before + 1);
    assert_eq!(bound.node, Some(Name::new("n1")));
    assert_eq!(bound.status.nominated_node, None);
    assert_eq!(
        bound.status.conditions.to_vec(),
        [Condition { last_update: second(3), ..condition("PodScheduled", true, second(3)) }]
    );
    assert_eq!(bound.meta.labels, names(&[(ZONE_LABEL, "z"), (REGION_LABEL, "r")]));
    assert_eq!(bound.meta.generation, 1);
    let on_node: Vec<Name> = play.api.store().pods_of(Name::new("n1")).map(|pod| pod.meta.name).collect();
    assert_eq!(on_node, [Name::new("p")]);
}

#[test]
fn a_binding_is_refused_to_bound_ending_gated_and_other_pods() {
    let mut play = Play::new();
    let bind = |pod: &str, uid| Call::Bind { pod: pod_key(pod), uid, node: Name::new("n2") };
    assert_eq!(play.error(bind("p", Uid::NONE)), "404 pods \"p\" not found");
    let uid = play.create(pod("p")).meta().uid;
    let start = "409 Operation cannot be fulfilled on pods/binding";
    let other = Uid(77);
    assert_eq!(
        play.error(bind("p", other)),
        format!("{start} \"p\": Precondition failed: UID in precondition: {other}, UID in object meta: {uid}")
    );
    play.bind("p", "n1");
    assert_eq!(play.error(bind("p", uid)), format!("{start} \"p\": pod p is already assigned to node \"n1\""));
    play.delete(pod_key("p"), Some(9));
    assert_eq!(
        play.error(bind("p", uid)),
        format!("{start} \"p\": pod p is being deleted, cannot be assigned to a host")
    );
    let mut gated = pod("g");
    gated.spec = Arc::new(PodSpec { scheduling_gates: Arc::new([Name::new("x.io/wait")]), ..spec() });
    play.create(gated);
    assert_eq!(play.error(bind("g", Uid::NONE)), format!("{start} \"g\": pod g has non-empty .spec.schedulingGates"));
}

#[test]
fn a_gated_pod_says_that_it_is_gated() {
    let mut play = Play::new();
    let mut gated = pod("g");
    gated.spec = Arc::new(PodSpec { scheduling_gates: Arc::new([Name::new("x.io/wait")]), ..spec() });
    play.create(gated);
    let pod = play.pod("g").unwrap();
    let scheduled = condition::find(&pod.status.conditions, "PodScheduled").unwrap();
    assert_eq!((scheduled.status, &*scheduled.reason), (ConditionStatus::False, "SchedulingGated"));
}

#[test]
fn the_kubelets_status_leaves_others_conditions_and_goes_before_nothing_of_theirs() {
    let mut play = Play::new();
    let uid = play.create(pod("p")).meta().uid;
    play.bind("p", "n1");
    play.patch(pod_key("p"), Patch::Condition(condition("DisruptionTarget", true, second(1))));
    let mut status =
        PodStatus { phase: Phase::Running, start_time: Some(Time::from_nanos(2_900_000_000)), ..PodStatus::default() };
    status.conditions =
        vec![condition("Ready", true, Time::from_nanos(5_500_000_000)), condition("PodScheduled", true, second(1))]
            .into();
    status.containers.push(ContainerStatus {
        name: Name::new("main"),
        state: ContainerState::Running { started_at: Time::from_nanos(4_999_999_999).into() },
        last_terminated: None,
        ready: true,
        started: Some(true),
        restart_count: 0,
        image: Name::new("app:1"),
        container_id: 1,
        runtime_id: Name::default(),
        image_id: Name::default(),
    });
    let patch = Patch::PodStatus { uid, status: Box::new(status) };
    play.at(second(6)).patch(pod_key("p"), patch.clone());
    let now = play.pod("p").unwrap();
    assert_eq!(kinds(&now), ["DisruptionTarget", "Ready", "PodScheduled"]);
    assert_eq!(now.status.conditions[1].last_transition, second(5));
    assert_eq!(now.status.start_time, Some(second(2)));
    assert_eq!(now.status.containers[0].state, ContainerState::Running { started_at: second(4).into() });
    assert_eq!(now.meta.generation, 1);
    let version = play.api.store().version();
    play.patch(pod_key("p"), patch);
    assert_eq!(play.api.store().version(), version, "the same status again is no write");
}

#[test]
fn a_status_of_another_pod_of_this_name_is_refused() {
    let mut play = Play::new();
    let uid = play.create(pod("p")).meta().uid;
    let patch = |uid| Patch::PodStatus { uid, status: Box::default() };
    assert_eq!(play.error(Call::Patch(pod_key("q"), patch(uid))), "404 pods \"q\" not found");
    let other = Uid(99);
    assert_eq!(
        play.error(Call::Patch(pod_key("p"), patch(other))),
        format!(
            "409 Operation cannot be fulfilled on pods \"p\": StorageError: invalid object, Code: 4, Key: /registry/pods/default/p, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {other}, UID in object meta: {uid}"
        )
    );
}

/// A running pod labelled `app: web`, ready or not.
fn run(play: &mut Play, name: &str, ready: bool) {
    let mut pod = pod(name);
    pod.meta.labels = names(&[("app", "web")]);
    let uid = play.create(pod).meta().uid;
    play.bind(name, "n1");
    let mut status = PodStatus { phase: Phase::Running, ..PodStatus::default() };
    status.conditions.push(condition("Ready", ready, Time::ZERO));
    play.patch(pod_key(name), Patch::PodStatus { uid, status: Box::new(status) });
}

/// A budget over `app: web` with this status.
fn protect(play: &mut Play, name: &str, status: PodDisruptionBudgetStatus) {
    let budget = PodDisruptionBudget {
        meta: Meta::named("default", name),
        selector: Some(Selector::from_labels(&names(&[("app", "web")]))),
        min_available: Some(IntOrPercent::Int(1)),
        ..PodDisruptionBudget::default()
    };
    let Object::PodDisruptionBudget(made) = play.create(Object::PodDisruptionBudget(Arc::new(budget))) else {
        panic!()
    };
    let budget = PodDisruptionBudget { status, ..PodDisruptionBudget::clone(&made) };
    play.ok(Call::UpdateStatus(Object::PodDisruptionBudget(Arc::new(budget))));
}

fn allowing(disruptions: i32) -> PodDisruptionBudgetStatus {
    PodDisruptionBudgetStatus {
        disruptions_allowed: disruptions,
        current_healthy: 2,
        desired_healthy: 1,
        expected_pods: 2,
        observed_generation: 1,
        ..PodDisruptionBudgetStatus::default()
    }
}

fn budget(play: &Play) -> Arc<PodDisruptionBudget> {
    match play.api.store().get(&Key::new(Kind::PodDisruptionBudget, "default", "b")) {
        Some(Object::PodDisruptionBudget(budget)) => budget.clone(),
        other => panic!("{other:?}"),
    }
}

fn evict(pod: &str) -> Call {
    Call::Evict { pod: pod_key(pod), grace: None, dry_run: false }
}

#[test]
fn an_eviction_marks_the_pod_and_deletes_it_with_its_own_grace_period() {
    let mut play = Play::new();
    run(&mut play, "a", true);
    assert_eq!(play.call(evict("a")), Ok(Answer::Done));
    let pod = play.pod("a").unwrap();
    assert_eq!(pod.meta.deletion.unwrap().grace, Duration::from_secs(30));
    let target = condition::find(&pod.status.conditions, "DisruptionTarget").unwrap();
    assert_eq!((&*target.reason, &*target.message), ("EvictionByEvictionAPI", "Eviction API: evicting"));
    assert_eq!(play.error(evict("b")), "404 pods \"b\" not found");
}

#[test]
fn an_eviction_takes_from_the_budget_until_there_is_none_left() {
    let mut play = Play::new();
    for name in ["a", "b"] {
        run(&mut play, name, true);
    }
    protect(&mut play, "b", allowing(1));
    let dry = Call::Evict { pod: pod_key("a"), grace: None, dry_run: true };
    assert_eq!(play.call(dry), Ok(Answer::Done));
    assert_eq!(budget(&play).status.disruptions_allowed, 1);
    assert_eq!(play.at(second(5)).call(evict("a")), Ok(Answer::Done));
    let charged = budget(&play);
    assert_eq!(charged.status.disruptions_allowed, 0);
    assert_eq!(charged.status.disrupted_pods, [(Name::new("a"), second(5))]);
    let refused = play.call(evict("b")).unwrap_err();
    assert_eq!(
        (refused.reason.code(), &*refused.message, refused.retry_after),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.", None)
    );
    assert!(!play.pod("b").unwrap().is_terminating());
    // The first is ending already: no budget is asked again.
    assert_eq!(play.call(evict("a")), Ok(Answer::Done));
}

#[test]
fn a_budget_that_its_controller_has_not_seen_says_when_to_try_again() {
    let mut play = Play::new();
    run(&mut play, "a", true);
    protect(&mut play, "b", PodDisruptionBudgetStatus::default());
    let refused = play.call(evict("a")).unwrap_err();
    assert_eq!((refused.reason.code(), refused.retry_after), (429, Some(Duration::from_secs(10))));
}

#[test]
fn two_budgets_over_one_pod_are_an_error() {
    let mut play = Play::new();
    run(&mut play, "a", true);
    protect(&mut play, "b", allowing(1));
    protect(&mut play, "c", allowing(1));
    assert_eq!(
        play.error(evict("a")),
        "500 This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
}

#[test]
fn unready_and_pending_pods_cost_no_budget_where_enough_are_healthy() {
    let mut play = Play::new();
    run(&mut play, "unready", false);
    let mut waiting = pod("pending");
    waiting.meta.labels = names(&[("app", "web")]);
    play.create(waiting);
    protect(&mut play, "b", allowing(0));
    assert_eq!(play.call(evict("unready")), Ok(Answer::Done));
    assert_eq!(play.call(evict("pending")), Ok(Answer::Done));
    assert_eq!(play.pod("pending"), None, "an unbound pod goes at once");

    let mut play = Play::new();
    run(&mut play, "unready", false);
    protect(&mut play, "b", PodDisruptionBudgetStatus { current_healthy: 0, ..allowing(0) });
    assert_eq!(play.call(evict("unready")).unwrap_err().reason.code(), 429);
}

/// What a patch of the ephemeral containers comes to: `added`, or the error.
fn ephemeral(play: &mut Play, name: &str, list: Vec<Container>) -> String {
    match play.call(Call::Patch(pod_key(name), Patch::EphemeralContainers(list.into()))) {
        Ok(_) => "added".to_owned(),
        Err(status) => format!("{} {}", status.reason.code(), status.message),
    }
}

#[test]
fn ephemeral_containers_are_added_to_a_pod_and_stay_as_they_are() {
    use crate::model::pod::{ContainerPort, ResourceRequirements, RestartPolicy, VolumeMount};
    let mut play = Play::new();
    play.create(pod("p"));
    let debugger = || container("debugger");
    assert_eq!(ephemeral(&mut play, "p", vec![debugger()]), "added");
    let there = play.pod("p").unwrap();
    assert_eq!((there.meta.generation, there.spec.ephemeral_containers.len()), (2, 1));
    let version = play.api.store().version();
    assert_eq!(ephemeral(&mut play, "p", vec![debugger()]), "added");
    assert_eq!(play.api.store().version(), version, "nothing has changed");

    let at = "spec.ephemeralContainers";
    let cannot = "cannot be set for an Ephemeral Container";
    let port = ContainerPort {
        name: Name::default(),
        port: 80,
        host_port: 0,
        host_ip: Name::default(),
        protocol: crate::model::pod::Protocol::Tcp,
    };
    let mut resources = ResourceRequirements::default();
    resources.limits.cpu = Some(crate::model::MilliCpu(100));
    let mount = VolumeMount { volume: Name::new("v"), path: Name::new("/v"), ..VolumeMount::default() };
    for (list, problem) in [
        (vec![], format!("{at}: Forbidden: existing ephemeral containers \"debugger\" may not be removed\n")),
        (
            vec![Container { image: Name::new("other:1"), ..debugger() }],
            format!("{at}: Forbidden: existing ephemeral containers \"debugger\" may not be changed\n"),
        ),
        (vec![debugger(), container("main")], format!("{at}[1].name: Duplicate value: \"main\"")),
        (
            vec![debugger(), Container { target: Name::new("nobody"), ..container("x") }],
            format!("{at}[1].targetContainerName: Not found: \"nobody\""),
        ),
        (
            vec![debugger(), Container { ports: vec![port], ..container("x") }],
            format!("{at}[1].ports: Forbidden: {cannot}"),
        ),
        (
            vec![debugger(), Container { resources, ..container("x") }],
            format!("{at}[1].resources: Forbidden: {cannot}"),
        ),
        (
            vec![debugger(), Container { restart_policy: Some(RestartPolicy::Always), ..container("x") }],
            format!("{at}[1].restartPolicy: Forbidden: {cannot}"),
        ),
        (
            vec![debugger(), Container { volume_mounts: vec![mount], ..container("x") }],
            format!("{at}[1].volumeMounts[0].name: Not found: \"v\""),
        ),
        (
            vec![debugger(), Container { image: Name::default(), ..container("x") }],
            format!("{at}[1].image: Required value"),
        ),
    ] {
        let said = ephemeral(&mut play, "p", list);
        assert_eq!(said, format!("422 Pod \"p\" is invalid: {problem}"));
    }
    let target = Container { target: Name::new("main"), ..container("x") };
    assert_eq!(ephemeral(&mut play, "p", vec![debugger(), target]), "added");
}

#[test]
fn ephemeral_containers_come_by_their_subresource_alone() {
    let mut play = Play::new();
    let with = |name: &str| {
        let spec = PodSpec { ephemeral_containers: Arc::new([container("debugger")]), ..spec() };
        Pod { spec: Arc::new(spec), ..pod(name) }
    };
    assert_eq!(
        play.error(Call::Create(with("p").into())),
        "422 Pod \"p\" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create"
    );
    play.create(pod("p"));
    let error = play.error(Call::Update(with("p").into()));
    assert!(error.starts_with("422 Pod \"p\" is invalid: spec: Forbidden: pod updates may not change"), "{error}");
    let mut mirror = pod("m");
    mirror.meta.annotations = names(&[("kubernetes.io/config.mirror", "x")]);
    play.create(mirror);
    let said = ephemeral(&mut play, "m", vec![container("debugger")]);
    assert!(said.ends_with("Forbidden: static pods do not support ephemeral containers"), "{said}");
}
