//! Leases that are computed.

use super::*;
use crate::model::config::Lease;

const OTHER: ClientId = ClientId(22);

fn key() -> Key {
    Key::new(Kind::Lease, "kube-node-lease", "n1")
}

fn lease(play: &Play) -> Lease {
    match play.api.store().get(&key()) {
        Some(Object::Lease(lease)) => Lease::clone(lease),
        other => panic!("{other:?}"),
    }
}

fn renew() -> Call {
    Call::RenewLease { node: Name::new("n1"), every: Duration::from_secs(10), reports: Duration::from_secs(300) }
}

#[test]
fn a_renewing_lease_costs_nothing_and_a_cut_finds_its_last_renewal() {
    let mut play = Play::new();
    play.watch(CLIENT, Kind::Lease, None);
    assert_eq!(play.at(second(5)).call(renew()), Ok(Answer::Done));
    assert!(lease(&play).renewing);
    let version = play.api.store().version();
    let day = second(86_400);
    play.at(day);
    assert_eq!((play.api.store().version(), play.timers.len()), (version, 0));
    play.hand(In::LeaseCut { node: Name::new("n1") });
    let cut = lease(&play);
    let ago = day.since(cut.renewed.unwrap());
    assert!(!cut.renewing && ago < Duration::from_millis(10_400), "renewed {ago} ago");
    assert_eq!(play.heard(CLIENT), ["LISTED ", "ADDED n1", "MODIFIED n1"]);
    assert!(play.records.is_empty());
    play.hand(In::LeaseCut { node: Name::new("n1") });
    play.call(renew()).unwrap();
    assert_eq!(play.heard(CLIENT), ["MODIFIED n1"]);
    assert_eq!(lease(&play).renewed, None);
}

#[test]
fn intervals_are_ten_seconds_and_up_to_four_percent() {
    let mut last = Time::ZERO;
    let mut intervals = Vec::new();
    for cut in 1..400 {
        let mut play = Play::new();
        play.call(renew()).unwrap();
        play.at(Time::from_nanos(cut * 500_000_000)).hand(In::LeaseCut { node: Name::new("n1") });
        let renewed = lease(&play).renewed.unwrap();
        if renewed != last {
            intervals.push(renewed.since(last));
            last = renewed;
        }
    }
    let range = Duration::from_secs(10)..Duration::from_millis(10_400);
    assert!(
        intervals.remove(0) < Duration::from_secs(10),
        "who renews since before the start is anywhere in its interval"
    );
    assert!(intervals.len() >= 18 && intervals.iter().all(|interval| range.contains(interval)), "{intervals:?}");
}

#[test]
fn an_outage_freezes_the_lease_until_the_holders_next_renewal_after_it() {
    let mut play = Play::new();
    play.call(renew()).unwrap();
    play.watch(OTHER, Kind::Lease, None);
    play.at(second(100)).hand(In::Up(false));
    let frozen = lease(&play);
    assert_eq!(play.heard(OTHER)[1..], ["MODIFIED n1", "BROKEN leases"], "watchers know how old it is");
    assert!(!frozen.renewing && second(100).since(frozen.renewed.unwrap()) < Duration::from_millis(10_400));
    play.at(second(150)).hand(In::Up(true));
    play.watch(CLIENT, Kind::Lease, None);
    assert_eq!(lease(&play), frozen);
    play.at(second(161));
    assert!(lease(&play).renewing);
    let events = play.events(CLIENT);
    let (at, renewed) = &events[1];
    assert_eq!(super::shown(renewed), "MODIFIED n1");
    assert!(*at > second(150) && *at <= Time::from_nanos(160_400_000_000), "{at:?}");
}

#[test]
fn a_holder_that_is_cut_off_during_an_outage_renews_no_more() {
    let mut play = Play::new();
    play.call(renew()).unwrap();
    play.at(second(100)).hand(In::Up(false));
    let frozen = lease(&play);
    play.at(second(110)).hand(In::LeaseCut { node: Name::new("n1") });
    play.at(second(120)).hand(In::Up(true));
    play.at(second(200));
    assert_eq!(lease(&play), frozen);
}

#[test]
fn a_holder_whose_way_is_mended_goes_on_with_its_next_renewal() {
    let mut play = Play::new();
    play.call(renew()).unwrap();
    play.at(second(100)).hand(In::LeaseCut { node: Name::new("n1") });
    let cut = lease(&play);
    play.at(second(300)).hand(In::LeaseMended { node: Name::new("n1") });
    assert_eq!(lease(&play), cut);
    play.at(Time::from_nanos(310_400_000_000));
    assert!(lease(&play).renewing);
}

#[test]
fn a_lease_belongs_to_its_node_and_is_made_anew_if_its_holder_outlives_that() {
    let mut play = Play::new();
    let uid = play.create(node("n1", &[])).meta().uid;
    play.call(renew()).unwrap();
    assert!(lease(&play).meta.is_owned_by(uid));
    play.delete(Key::new(Kind::Node, "", "n1"), None);
    play.delete(key(), None);
    assert_eq!(play.api.store().get(&key()), None);
    play.at(second(11));
    assert!(lease(&play).renewing && lease(&play).meta.owner.is_none());
}

#[test]
fn a_lease_is_read_with_its_own_duration_and_its_last_renewal() {
    let mut play = Play::new();
    let every = Duration::from_secs(5);
    let reports = Duration::from_secs(60);
    play.at(second(5)).call(Call::RenewLease { node: Name::new("n1"), every, reports }).unwrap();
    let read = |play: &mut Play| match play.ok(Call::Get(key())) {
        Object::Lease(lease) => (lease.duration, lease.renewed.unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&mut play), (Duration::from_secs(20), second(5)));
    let hour = second(3600);
    play.at(hour);
    let (_, renewed) = read(&mut play);
    let ago = hour.since(renewed);
    assert!(ago < Duration::from_millis(5200), "renewed {ago} ago");
    assert_eq!(play.api.leases(hour).len(), 1);
    play.hand(In::LeaseCut { node: Name::new("n1") });
    play.at(second(7200));
    assert_eq!(read(&mut play), (Duration::from_secs(20), renewed), "a reader sees what a cut leaves");
}

#[test]
fn a_node_is_read_with_the_heartbeats_of_a_status_that_stays() {
    use crate::model::{Condition, ConditionStatus, Node};
    let mut play = Play::new();
    let mut ready = node("n1", &[]);
    let of = |kind: &str, status| Condition {
        kind: Name::new(kind),
        status,
        reason: Name::default(),
        message: Default::default(),
        last_transition: second(5),
        last_update: second(5),
    };
    ready.status.conditions.push(of("Ready", ConditionStatus::True));
    ready.status.conditions.push(of("NetworkUnavailable", ConditionStatus::False));
    play.at(second(5)).create(ready);
    play.call(renew()).unwrap();
    let heartbeats = |play: &Play, at| -> Vec<Time> {
        let nodes = play.api.nodes(at);
        let Some(Object::Node(node)) = nodes.first() else { panic!("{nodes:?}") };
        let node: &Node = node;
        node.status.conditions.iter().map(|condition| condition.last_update).collect()
    };
    assert_eq!(heartbeats(&play, second(100)), [second(5), second(5)]);
    let first = heartbeats(&play, second(500))[0];
    assert!((second(155)..second(501)).contains(&first), "within one and a half periods, or one more: {first:?}");
    let later = heartbeats(&play, second(10_000));
    assert_eq!(later[1], second(5), "not the kubelet's");
    let apart = later[0].since(first).as_secs() % 300;
    assert!(apart <= 1 || apart == 299, "each 300 s, cut to seconds: {apart}");
    assert!(second(10_000).since(later[0]) < Duration::from_secs(301));
    play.at(second(20_000)).hand(In::LeaseCut { node: Name::new("n1") });
    let cut = heartbeats(&play, second(40_000))[0];
    assert!(cut <= second(20_000), "{cut:?}");
}
