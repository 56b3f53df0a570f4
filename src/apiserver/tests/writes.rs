//! Creation, updates, versions, Events.

use super::*;
use crate::model::event::{Event, EventType, ObjectReference};
use crate::model::{Condition, ConditionStatus, Source, Text, Uid};
use crate::protocol::api::{Propagation, StatusReason};
use crate::trace::Change;

fn deployment_key() -> Key {
    Key::new(Kind::Deployment, "default", "web")
}

#[test]
fn a_new_object_gets_uid_version_generation_and_a_time_in_whole_seconds() {
    let mut play = Play::new();
    let before = play.api.store().version();
    play.at(Time::from_nanos(2_700_000_000));
    let made = play.create(deployment("web"));
    assert_ne!(made.meta().uid, Uid::NONE);
    assert_eq!(made.meta().resource_version, before + 1);
    assert_eq!(made.meta().generation, 1);
    assert_eq!(made.meta().created, second(2));
    assert_eq!(play.create(node("n1", &[])).meta().generation, 0);
}

#[test]
fn a_new_object_begins_without_the_status_it_came_with() {
    let mut play = Play::new();
    let mut web = deployment("web");
    web.status.ready = 3;
    let Object::Deployment(made) = play.create(web) else { panic!() };
    assert_eq!(made.status, DeploymentStatus::default());
}

#[test]
fn a_generated_name_has_five_characters_of_kubernetes_alphabet_and_the_length_of_a_label() {
    let mut play = Play::new();
    for base in ["web-", &"x".repeat(70)] {
        let mut pod = pod("");
        pod.meta.generate_name = Name::new(base);
        let name = play.create(pod).meta().name;
        let (kept, random) = name.split_at(name.len() - 5);
        assert!(base.starts_with(kept) && name.len() <= 63, "{name}");
        assert!(random.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b)), "{name}");
    }
    let nameless = Call::Create(pod("").into());
    assert_eq!(
        play.error(nameless),
        "422 Pod \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
}

#[test]
fn a_taken_name_and_a_missing_object_have_their_texts() {
    let mut play = Play::new();
    play.create(deployment("web"));
    assert_eq!(play.error(Call::Create(deployment("web").into())), "409 deployments.apps \"web\" already exists");
    assert_eq!(play.error(Call::Get(pod_key("web"))), "404 pods \"web\" not found");
    assert_eq!(play.error(Call::Update(pod("web").into())), "404 pods \"web\" not found");
}

#[test]
fn an_update_that_read_an_older_version_is_refused_and_one_without_version_is_not() {
    let mut play = Play::new();
    let read = play.create(deployment("web"));
    play.patch(deployment_key(), Patch::Replicas(5));
    let mut stale = read.clone();
    stale.meta_mut().labels = names(&[("a", "b")]);
    let conflict = "409 Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your \
                    changes to the latest version and try again";
    assert_eq!(play.error(Call::Update(stale.clone())), conflict);
    assert_eq!(play.error(Call::UpdateStatus(stale.clone())), conflict);
    stale.meta_mut().resource_version = 0;
    let Object::Deployment(now) = play.ok(Call::Update(stale)) else { panic!() };
    assert_eq!((now.replicas, now.meta.labels.get(Name::new("a"))), (3, Some(Name::new("b"))));
}

#[test]
fn the_main_resource_keeps_the_status_and_the_status_resource_the_rest() {
    let mut play = Play::new();
    let Object::Deployment(read) = play.create(deployment("web")) else { panic!() };
    let mut both = Deployment::clone(&read);
    both.replicas = 9;
    both.status.ready = 2;
    let Object::Deployment(now) = play.ok(Call::UpdateStatus(both.clone().into())) else { panic!() };
    assert_eq!((now.replicas, now.status.ready, now.meta.generation), (3, 2, 1));
    both.meta.resource_version = now.meta.resource_version;
    both.status.ready = 7;
    let Object::Deployment(now) = play.ok(Call::Update(both.into())) else { panic!() };
    assert_eq!((now.replicas, now.status.ready, now.meta.generation), (9, 2, 2));
}

#[test]
fn generation_counts_specs_and_a_deployments_annotations_but_no_labels_and_no_status() {
    let mut play = Play::new();
    play.create(deployment("web"));
    let pair = |key| vec![(Name::new(key), Some(Name::new("x")))];
    for (patch, generation) in [
        (Patch::Labels(pair("l")), 1),
        (Patch::Replicas(4), 2),
        (Patch::Replicas(4), 2),
        (Patch::Annotations(pair("a")), 3),
        (Patch::Paused(true), 4),
    ] {
        assert_eq!(play.patch(deployment_key(), patch.clone()).meta().generation, generation, "{patch:?}");
    }
}

#[test]
fn a_write_that_changes_nothing_is_none() {
    let mut play = Play::new();
    let made = play.create(deployment("web"));
    play.create(pod("p"));
    play.watch(CLIENT, Kind::Deployment, None);
    play.heard(CLIENT);
    let (version, records) = (play.api.store().version(), play.records.len());
    play.ok(Call::Update(made.clone()));
    play.ok(Call::UpdateStatus(made.clone()));
    play.patch(deployment_key(), Patch::Replicas(3));
    play.patch(deployment_key(), Patch::Labels(vec![(Name::new("none"), None)]));
    play.patch(pod_key("p"), Patch::NominatedNode(None));
    // The same file read again, or moved by some lines.
    let mut moved = deployment("web");
    moved.meta.source = Some(Source { file: 1, line: 30 });
    let mut shifted = spec();
    shifted.source = Some(Source { file: 1, line: 40 });
    moved.template = Arc::new(PodTemplate { spec: Arc::new(shifted), ..PodTemplate::clone(&moved.template) });
    play.ok(Call::Update(moved.into()));
    let mut shifted = spec();
    shifted.source = Some(Source { file: 1, line: 9 });
    play.ok(Call::Update(Pod { spec: Arc::new(shifted), ..pod("p") }.into()));
    assert_eq!((play.api.store().version(), play.records.len()), (version, records));
    assert_eq!(play.heard(CLIENT), Vec::<String>::new());
}

#[test]
fn every_stored_change_is_recorded_with_its_version() {
    let mut play = Play::new();
    play.create(deployment("web"));
    play.patch(deployment_key(), Patch::Replicas(1));
    play.delete(deployment_key(), None);
    let written: Vec<(Change, u64)> = play
        .records
        .iter()
        .map(|record| match &record.what {
            Record::Written(change, object) => (*change, object.meta().resource_version),
            other => panic!("{other:?}"),
        })
        .collect();
    let first = written[0].1;
    let changes = [(Change::Created, first), (Change::Modified, first + 1), (Change::Deleted, first + 2)];
    assert_eq!(written, changes);
}

#[test]
fn a_condition_keeps_its_transition_time_while_its_status_stays() {
    let mut play = Play::new();
    play.create(node("n1", &[]));
    let key = Key::new(Kind::Node, "", "n1");
    let mut set = |at: u64, status, reason: &str| {
        let time = Time::from_nanos(at * 1_000_000);
        let condition = Condition {
            kind: Name::new("Ready"),
            status,
            reason: Name::new(reason),
            message: Text::default(),
            last_transition: time,
            last_update: time,
        };
        let Object::Node(node) = play.at(time).patch(key, Patch::Condition(condition)) else { panic!() };
        let ready = &node.status.conditions[0];
        (ready.last_transition, ready.last_update)
    };
    assert_eq!(set(1500, ConditionStatus::True, "KubeletReady"), (second(1), second(1)));
    assert_eq!(set(9700, ConditionStatus::True, "KubeletReady"), (second(1), second(9)));
    assert_eq!(set(20_000, ConditionStatus::Unknown, "NodeStatusUnknown"), (second(20), second(20)));
}

#[test]
fn a_bound_pods_image_may_change_and_its_command_may_not() {
    let mut play = Play::new();
    play.create(pod("p"));
    play.bind("p", "n1");
    let with = |change: &dyn Fn(&mut Container)| {
        let mut only = container("main");
        change(&mut only);
        let spec = PodSpec { containers: Arc::new([only]), ..spec() };
        Call::Update(Pod { spec: Arc::new(spec), ..pod("p") }.into())
    };
    play.ok(with(&|c| c.image = Name::new("app:2")));
    let now = play.pod("p").unwrap();
    assert_eq!((&*now.spec.containers[0].image, now.meta.generation, now.node), ("app:2", 2, Some(Name::new("n1"))));
    let refused = play.error(with(&|c| c.command = Arc::new(["sh".into()])));
    assert!(
        refused.starts_with("422 Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields"),
        "{refused}"
    );
}

#[test]
fn a_negative_scale_is_refused_in_the_scales_name() {
    let mut play = Play::new();
    play.create(deployment("web"));
    assert_eq!(
        play.error(Call::Patch(deployment_key(), Patch::Replicas(-1))),
        "422 Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[test]
fn a_patch_of_a_part_that_the_kind_lacks_is_not_found() {
    let mut play = Play::new();
    play.create(pod("p"));
    let no = "404 the server could not find the requested resource";
    assert_eq!(play.error(Call::Patch(pod_key("p"), Patch::Replicas(1))), no);
    assert_eq!(play.error(Call::Patch(pod_key("p"), Patch::Unschedulable(true))), no);
}

#[test]
fn taints_are_replaced_by_key_and_effect() {
    use crate::model::{Taint, TaintEffect};
    let mut play = Play::new();
    play.create(node("n1", &[]));
    let key = Key::new(Kind::Node, "", "n1");
    let taint = |value: &str, effect| Taint { value: Name::new(value), ..Taint::new("dedicated", effect) };
    let not_ready = Taint::new(crate::model::taint::NOT_READY, TaintEffect::NoSchedule);
    let add = vec![taint("a", TaintEffect::NoSchedule), taint("b", TaintEffect::NoExecute)];
    play.patch(key, Patch::Taints { add, remove: vec![not_ready] });
    let add = vec![taint("c", TaintEffect::NoSchedule)];
    let remove = vec![taint("", TaintEffect::NoExecute)];
    let Object::Node(now) = play.patch(key, Patch::Taints { add, remove }) else { panic!() };
    assert_eq!(now.spec.taints, [taint("c", TaintEffect::NoSchedule)]);
}

fn event(name: &str, count: u32, last: Time) -> Object {
    let pod = ObjectReference {
        kind: Kind::Pod,
        namespace: Name::new("default"),
        name: Name::new("p"),
        uid: Uid(1),
        field_path: Name::default(),
    };
    Object::Event(Arc::new(Event {
        meta: Meta::named("default", name),
        involved: pod,
        kind: EventType::Normal,
        reason: Name::new("Pulled"),
        message: Text::new("m"),
        count,
        first: Time::ZERO,
        last,
        component: Name::new("kubelet"),
        host: Name::default(),
    }))
}

#[test]
fn an_event_with_a_known_name_counts_on_and_each_is_kept_an_hour_after_its_last_write() {
    let mut play = Play::new();
    play.watch(CLIENT, Kind::Event, None);
    for (at, name, count) in [(0, "a", 1), (0, "b", 1), (1800, "a", 2), (3601, "c", 1)] {
        play.at(second(at)).send(CLIENT, Tag::NONE, Call::Create(event(name, count, second(at))));
    }
    assert_eq!(play.heard(CLIENT), ["LISTED ", "ADDED a", "ADDED b", "MODIFIED a", "ADDED c"]);
    let kept = |play: &Play| play.api.store().sorted(Kind::Event).iter().map(|o| o.meta().name).collect::<Vec<_>>();
    assert_eq!(kept(&play), ["a", "c"]);
    play.at(second(5401)).send(CLIENT, Tag::NONE, Call::Create(event("d", 1, second(5401))));
    assert_eq!(kept(&play), ["c", "d"]);
    assert!(play.records.iter().all(|record| matches!(record.what, Record::Event(_))));
}

#[test]
fn while_it_is_away_it_refuses_and_changes_nothing() {
    let mut play = Play::new();
    play.hand(In::Up(false));
    let call = Call::Create(pod("p").into());
    let refused = play.call(call.clone()).unwrap_err();
    assert_eq!(refused.reason, StatusReason::ServiceUnavailable);
    play.send(CLIENT, Tag::NONE, call.clone());
    assert_eq!(play.pod("p"), None);
    play.hand(In::Up(true));
    play.ok(call);
}

#[test]
fn a_deletion_of_another_uid_is_refused() {
    let mut play = Play::new();
    let uid = play.create(pod("p")).meta().uid;
    let options = DeleteOptions { uid: Some(Uid(999)), propagation: Propagation::Background, grace: None };
    assert_eq!(
        play.error(Call::Delete(pod_key("p"), options)),
        format!(
            "409 Operation cannot be fulfilled on pods \"p\": the UID in the precondition ({}) does not match the UID in record \
             ({uid}). The object might have been deleted and then recreated",
            Uid(999)
        )
    );
}

#[test]
fn a_server_can_run_on_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<ApiServer>();
}
