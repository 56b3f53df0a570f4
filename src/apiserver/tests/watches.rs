//! Who is told what, when, in which order.

use proptest::prelude::*;

use super::*;

const KUBELET: ClientId = ClientId(20);
const OTHER: ClientId = ClientId(21);

#[test]
fn a_watch_begins_with_all_objects_in_the_order_of_their_keys() {
    let mut play = Play::new();
    for name in ["b", "c", "a"] {
        play.create(pod(name));
    }
    play.watch(CLIENT, Kind::Pod, None);
    assert_eq!(play.heard(CLIENT), ["LISTED a,b,c"]);
}

#[test]
fn a_kubelet_hears_of_its_own_pods_only_and_a_bound_pod_is_new_to_it() {
    let mut play = Play::new();
    play.create(pod("before"));
    play.bind("before", "n1");
    play.watch(CLIENT, Kind::Pod, None);
    play.watch(KUBELET, Kind::Pod, Some("n1"));
    play.watch(OTHER, Kind::Pod, Some("n2"));
    play.create(pod("p"));
    play.bind("p", "n1");
    play.delete(pod_key("p"), Some(5));
    play.delete(pod_key("p"), Some(0));
    assert_eq!(play.heard(CLIENT), ["LISTED before", "ADDED p", "MODIFIED p", "MODIFIED p", "MODIFIED p", "DELETED p"]);
    assert_eq!(play.heard(KUBELET), ["LISTED before", "ADDED p", "MODIFIED p", "MODIFIED p", "DELETED p"]);
    assert_eq!(play.heard(OTHER), ["LISTED "]);
}

#[test]
fn a_kubelet_watches_its_own_node() {
    let mut play = Play::new();
    play.create(node("n1", &[]));
    play.create(node("n2", &[]));
    play.watch(KUBELET, Kind::Node, Some("n1"));
    for name in ["n1", "n2"] {
        play.patch(Key::new(Kind::Node, "", name), Patch::Unschedulable(true));
    }
    assert_eq!(play.heard(KUBELET), ["LISTED n1", "MODIFIED n1"]);
}

#[test]
fn one_event_is_made_for_all_watchers() {
    let mut play = Play::new();
    play.watch(CLIENT, Kind::Pod, None);
    play.watch(OTHER, Kind::Pod, None);
    play.create(pod("p"));
    let (one, other) = (play.events(CLIENT), play.events(OTHER));
    assert!(Arc::ptr_eq(&one[1].1, &other[1].1));
}

#[test]
fn a_watch_event_leaves_after_the_commit_and_an_answer_with_it() {
    let millis = |n| Distribution::Constant(Duration::from_millis(n));
    let mut play = Play::with(Config {
        write_latency: millis(8),
        read_latency: millis(3),
        watch_latency: millis(2),
        ..Config::default()
    });
    play.watch(CLIENT, Kind::Pod, None);
    play.at(second(1)).create(pod("p"));
    let times: Vec<Time> = play.events(CLIENT).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [Time::from_nanos(3_000_000), Time::from_nanos(1_010_000_000)]);
}

#[test]
fn a_disconnected_client_hears_nothing_more() {
    let mut play = Play::new();
    play.watch(KUBELET, Kind::Pod, Some("n1"));
    play.watch(KUBELET, Kind::Node, None);
    play.heard(KUBELET);
    let kinds: Vec<Kind> = play.api.watches_of(KUBELET).iter().map(|watch| watch.kind).collect();
    assert_eq!(kinds, [Kind::Pod, Kind::Node]);
    play.hand(In::Disconnected(KUBELET));
    assert_eq!(play.api.watches_of(KUBELET), []);
    play.create(node("n1", &[]));
    play.create(pod("p"));
    play.bind("p", "n1");
    assert_eq!(play.heard(KUBELET), Vec::<String>::new());
}

#[test]
fn an_outage_breaks_every_watch_and_a_new_one_lists_what_was_missed() {
    let mut play = Play::new();
    play.watch(CLIENT, Kind::Pod, None);
    play.watch(CLIENT, Kind::Node, None);
    play.watch(KUBELET, Kind::Pod, Some("n1"));
    play.hand(In::Up(false));
    play.hand(In::Up(true));
    play.create(pod("p"));
    assert_eq!(play.heard(CLIENT), ["LISTED ", "LISTED ", "BROKEN pods", "BROKEN nodes"]);
    assert_eq!(play.heard(KUBELET), ["LISTED ", "BROKEN pods"]);
    play.watch(CLIENT, Kind::Pod, None);
    play.create(pod("q"));
    assert_eq!(play.heard(CLIENT), ["LISTED p", "ADDED q"]);
}

#[test]
fn a_watch_that_begins_anew_replaces_the_one_before() {
    let mut play = Play::new();
    play.watch(CLIENT, Kind::Pod, None);
    play.watch(CLIENT, Kind::Pod, None);
    play.create(pod("p"));
    assert_eq!(play.heard(CLIENT), ["LISTED ", "LISTED ", "ADDED p"]);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Bind(u8, u8),
    Label(u8, u8),
    Delete(u8, u64),
    Watch(u8),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8).prop_map(Step::Create),
        (0..6u8, 0..3u8).prop_map(|(pod, node)| Step::Bind(pod, node)),
        (0..6u8, 0..3u8).prop_map(|(pod, value)| Step::Label(pod, value)),
        (0..6u8, 0..3u64).prop_map(|(pod, grace)| Step::Delete(pod, grace)),
        (0..4u8).prop_map(Step::Watch),
        (0..30u64).prop_map(Step::Wait),
    ]
}

/// What a watcher knows of the pods that it sees, worked out from what it was told.
fn known_by(events: &[(Time, Arc<WatchEvent>)]) -> Vec<Object> {
    let mut known: Vec<Object> = Vec::new();
    let mut newest = 0;
    for (_, event) in events {
        if let Some(object) = event.object() {
            let version = object.meta().resource_version;
            assert!(version > newest, "version {version} after {newest}");
            newest = version;
        }
        let at = |known: &[Object], object: &Object| known.iter().position(|other| other.key() == object.key());
        match &**event {
            WatchEvent::Listed(_, objects) => {
                newest = objects.iter().map(|object| object.meta().resource_version).max().unwrap_or(0).max(newest);
                known = objects.to_vec();
            }
            WatchEvent::Added(object) => {
                assert_eq!(at(&known, object), None, "{} was known", object.key());
                known.push(object.clone());
            }
            WatchEvent::Modified(object) => {
                let at = at(&known, object).expect("what is modified was known");
                known[at] = object.clone();
            }
            WatchEvent::Deleted(object) => {
                let at = at(&known, object).expect("what is deleted was known");
                known.remove(at);
            }
            WatchEvent::Broken(_) => known.clear(),
        }
    }
    known.sort_by_key(|object| object.meta().name);
    known
}

proptest! {
    #[test]
    fn every_watcher_knows_in_the_end_what_is_stored_and_learns_it_in_order(
        steps in prop::collection::vec(any_step(), 1..80)
    ) {
        let spread = |max| Distribution::Uniform { min: Duration::ZERO, max: Duration::from_millis(max) };
        let mut play =
            Play::with(Config { write_latency: spread(20), read_latency: spread(40), watch_latency: spread(30), ..Config::default() });
        let nodes = ["n0", "n1", "n2"];
        let watches = [None, Some("n0"), Some("n1"), Some("n2")];
        for (client, node) in watches.iter().enumerate() {
            play.watch(ClientId(client as u32 + 10), Kind::Pod, *node);
        }
        let mut now = Time::ZERO;
        for step in steps {
            let key = |pod: u8| pod_key(&format!("p{pod}"));
            let call = match step {
                Step::Create(name) => Call::Create(pod(&format!("p{name}")).into()),
                Step::Bind(name, node) => {
                    Call::Bind { pod: key(name), uid: Default::default(), node: Name::new(nodes[node as usize]) }
                }
                Step::Label(name, value) => {
                    let value = Some(Name::from(format!("v{value}")));
                    Call::Patch(key(name), Patch::Labels(vec![(Name::new("l"), value)]))
                }
                Step::Delete(name, grace) => {
                    let grace = Some(Duration::from_secs(grace));
                    Call::Delete(key(name), DeleteOptions { grace, ..DeleteOptions::default() })
                }
                Step::Watch(client) => {
                    play.watch(ClientId(u32::from(client) + 10), Kind::Pod, watches[client as usize]);
                    continue;
                }
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    play.at(now);
                    continue;
                }
            };
            play.send(CLIENT, Tag::NONE, call);
        }
        let stored: Vec<Object> = play.api.store().sorted(Kind::Pod).into_iter().cloned().collect();
        for (client, node) in watches.iter().enumerate() {
            let known = known_by(&play.events(ClientId(client as u32 + 10)));
            let sees = |object: &&Object| {
                node.is_none_or(|node| object.as_pod().is_some_and(|pod| pod.node == Some(Name::new(node))))
            };
            let expected: Vec<Object> = stored.iter().filter(sees).cloned().collect();
            prop_assert_eq!(known, expected);
        }
    }
}
