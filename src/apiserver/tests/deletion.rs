//! Graceful deletion, finalizers, propagation.

use super::*;
use crate::model::Deletion;
use crate::model::pod::{Phase, PodStatus};
use crate::protocol::api::Propagation;

fn bound(play: &mut Play) {
    play.create(pod("p"));
    play.bind("p", "n1");
    play.watch(CLIENT, Kind::Pod, None);
    play.heard(CLIENT);
}

fn deletion(play: &Play) -> Option<(u64, u64)> {
    let Deletion { at, grace } = play.pod("p")?.meta.deletion?;
    Some((at.as_secs(), grace.as_secs()))
}

#[test]
fn a_running_pod_is_marked_and_waits_for_its_kubelet() {
    let mut play = Play::new();
    bound(&mut play);
    play.at(Time::from_nanos(10_600_000_000)).delete(pod_key("p"), None);
    assert_eq!(deletion(&play), Some((40, 30)));
    assert_eq!(play.pod("p").unwrap().meta.generation, 2);
    assert_eq!(play.heard(CLIENT), ["MODIFIED p"]);
    // The kubelet's: the mark moves to now with grace 0, then the pod is gone.
    play.at(second(20)).delete(pod_key("p"), Some(0));
    let events = play.events(CLIENT);
    let [(_, modified), (_, deleted)] = events.as_slice() else { panic!("{events:?}") };
    let (modified, deleted) = (modified.object().unwrap(), deleted.object().unwrap());
    assert_eq!(modified.meta().deletion, Some(Deletion { at: second(20), grace: Duration::ZERO }));
    assert_eq!(modified.meta().generation, 2);
    assert_eq!(deleted.meta().resource_version, modified.meta().resource_version + 1);
    assert_eq!(play.pod("p"), None);
}

#[test]
fn a_second_deletion_only_shortens() {
    let mut play = Play::new();
    bound(&mut play);
    play.at(second(10)).delete(pod_key("p"), Some(60));
    for (at, grace, after) in [
        (12, None, (70, 60)),
        (13, Some(60), (70, 60)),
        (14, Some(90), (70, 60)),
        (15, Some(20), (30, 20)),
        // Ten seconds from the first request are over by now: it gets one more.
        (25, Some(10), (26, 1)),
    ] {
        play.at(second(at)).delete(pod_key("p"), grace);
        assert_eq!(deletion(&play), Some(after), "at {at} s with {grace:?}");
    }
    assert_eq!(play.heard(CLIENT).len(), 3);
}

#[test]
fn unbound_and_ended_pods_and_those_deleted_by_force_go_at_once() {
    let mut play = Play::new();
    play.create(pod("unbound"));
    play.create(pod("forced"));
    play.bind("forced", "n1");
    let uid = play.create(pod("ended")).meta().uid;
    play.bind("ended", "n1");
    let status = Box::new(PodStatus { phase: Phase::Succeeded, ..PodStatus::default() });
    play.patch(pod_key("ended"), Patch::PodStatus { uid, status });
    play.watch(CLIENT, Kind::Pod, None);
    play.heard(CLIENT);
    for (name, grace) in [("unbound", Some(30)), ("ended", None), ("forced", Some(0))] {
        play.delete(pod_key(name), grace);
        assert_eq!(play.pod(name), None, "{name}");
        assert_eq!(play.heard(CLIENT), [format!("MODIFIED {name}"), format!("DELETED {name}")]);
    }
}

#[test]
fn a_pod_with_a_finalizer_goes_when_both_kubelet_and_finalizer_let_it() {
    let finalizer = Name::new("batch.kubernetes.io/job-tracking");
    let mut play = Play::new();
    let mut tracked = pod("p");
    tracked.meta.finalizers.push(finalizer);
    play.create(tracked);
    play.bind("p", "n1");
    play.delete(pod_key("p"), Some(5));
    play.delete(pod_key("p"), Some(0));
    assert!(play.pod("p").is_some());
    assert_eq!(play.error(Call::Create(pod("p").into())), "409 object is being deleted: pods \"p\" already exists");
    play.watch(CLIENT, Kind::Pod, None);
    play.patch(pod_key("p"), Patch::RemoveFinalizer(finalizer));
    assert_eq!(play.pod("p"), None);
    assert_eq!(play.heard(CLIENT), ["LISTED p", "DELETED p"]);
}

#[test]
fn a_finalizer_removed_during_the_grace_period_deletes_nothing() {
    let finalizer = Name::new("batch.kubernetes.io/job-tracking");
    let mut play = Play::new();
    let mut tracked = pod("p");
    tracked.meta.finalizers.push(finalizer);
    play.create(tracked);
    play.bind("p", "n1");
    play.delete(pod_key("p"), Some(5));
    play.patch(pod_key("p"), Patch::RemoveFinalizer(finalizer));
    assert!(play.pod("p").is_some());
}

fn delete_web(play: &mut Play, propagation: Propagation) -> Option<Object> {
    let key = Key::new(Kind::Deployment, "default", "web");
    play.create(deployment("web"));
    play.at(Time::from_nanos(7_900_000_000));
    play.ok(Call::Delete(key, DeleteOptions { propagation, ..DeleteOptions::default() }));
    play.api.store().get(&key).cloned()
}

#[test]
fn propagation_decides_whether_the_owner_goes_first_or_waits_with_a_finalizer() {
    assert_eq!(delete_web(&mut Play::new(), Propagation::Background), None);
    for (propagation, finalizer) in [(Propagation::Foreground, "foregroundDeletion"), (Propagation::Orphan, "orphan")] {
        let mut play = Play::new();
        let web = delete_web(&mut play, propagation).unwrap();
        assert_eq!(web.meta().finalizers.as_slice(), [Name::new(finalizer)]);
        assert_eq!(web.meta().deletion, Some(Deletion { at: second(7), grace: Duration::ZERO }));
        assert_eq!(web.meta().generation, 2);
        let version = play.api.store().version();
        play.ok(Call::Delete(web.key(), DeleteOptions { propagation, ..DeleteOptions::default() }));
        assert_eq!(play.api.store().version(), version, "the same deletion again is no write");
        let mut more = web.clone();
        more.meta_mut().finalizers.push(Name::new("x.io/new"));
        assert_eq!(
            play.error(Call::Update(more)),
            "422 Deployment.apps \"web\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is \
             being deleted, found new finalizers []string{\"x.io/new\"}"
        );
        play.patch(web.key(), Patch::RemoveFinalizer(Name::new(finalizer)));
        assert_eq!(play.api.store().get(&web.key()), None);
    }
}

#[test]
fn a_later_background_deletion_takes_the_collectors_finalizer_away() {
    let mut play = Play::new();
    let web = delete_web(&mut play, Propagation::Foreground).unwrap();
    play.ok(Call::Delete(web.key(), DeleteOptions::default()));
    assert_eq!(play.api.store().get(&web.key()), None);
}

#[test]
fn a_namespace_ends_when_its_contents_are_gone_and_takes_nothing_new_until_then() {
    use crate::model::config::Namespace;
    let mut play = Play::new();
    play.create(Object::Namespace(Arc::new(Namespace { meta: Meta::named("", "shop") })));
    let shop = Key::new(Kind::Namespace, "", "shop");
    play.delete(shop, None);
    let mut late = pod("p");
    late.meta.namespace = Name::new("shop");
    assert_eq!(
        play.error(Call::Create(late.into())),
        "403 pods \"p\" is forbidden: unable to create new content in namespace shop because it is being terminated"
    );
    play.patch(shop, Patch::RemoveFinalizer(Name::new("kubernetes")));
    assert_eq!(play.api.store().get(&shop), None);
    assert_eq!(
        play.error(Call::Delete(Key::new(Kind::Namespace, "", "default"), DeleteOptions::default())),
        "403 namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}
