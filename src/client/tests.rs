//! kubectl against a server that is a map.

use std::collections::VecDeque;

use super::*;
use crate::kernel::{Effect, Time};
use crate::model::pod::{Container, Volume, VolumeSource};
use crate::model::workload::{Deployment, DeploymentStrategy, IntOrPercent, PodTemplate, ReplicaSet};
use crate::model::{Labels, Meta, Node, OwnerReference, Pod, PodSpec, Uid};
use crate::protocol::api::Patch;

/// Answers requests at once from what is stored; evictions as the test says.
struct Server {
    objects: BTreeMap<Key, Object>,
    /// How often an eviction of this pod is refused.
    refusals: BTreeMap<Name, u32>,
    /// Pods go this long after their eviction; None: never.
    termination: Option<Duration>,
    going: Vec<(Time, Key)>,
    calls: Vec<String>,
}

impl Server {
    fn with(objects: impl IntoIterator<Item = Object>) -> Server {
        Server {
            objects: objects.into_iter().map(|object| (object.key(), object)).collect(),
            refusals: BTreeMap::new(),
            termination: Some(Duration::ZERO),
            going: Vec::new(),
            calls: Vec::new(),
        }
    }

    fn answer(&mut self, now: Time, call: Call) -> Result<Answer, Status> {
        for (_, key) in self.going.extract_if(.., |(at, _)| *at <= now) {
            self.objects.remove(&key);
        }
        let stored = |objects: &BTreeMap<Key, Object>, key: &Key| {
            objects.get(key).cloned().ok_or_else(|| Status::not_found(key))
        };
        match call {
            Call::Get(key) => stored(&self.objects, &key).map(Answer::Object),
            Call::List { kind, namespace, selector } => Ok(Answer::List(
                self.objects
                    .values()
                    .filter(|object| object.kind() == kind)
                    .filter(|object| namespace.is_empty() || object.meta().namespace == namespace)
                    .filter(|object| selector.matches(&object.meta().labels))
                    .cloned()
                    .collect(),
            )),
            Call::Create(object) => {
                self.calls.push(format!("{now:?} create {}", object.key()));
                self.objects.insert(object.key(), object.clone());
                Ok(Answer::Object(object))
            }
            Call::Update(object) => {
                self.calls.push(format!("{now:?} update {}", object.key()));
                self.objects.insert(object.key(), object.clone());
                Ok(Answer::Object(object))
            }
            Call::Patch(key, patch) => {
                let mut object = stored(&self.objects, &key)?;
                self.calls.push(format!("{now:?} patch {key}"));
                match (&mut object, patch) {
                    (Object::Node(node), Patch::Unschedulable(wanted)) => {
                        Arc::make_mut(node).spec.unschedulable = wanted;
                    }
                    (Object::Deployment(deployment), Patch::Replicas(replicas)) => {
                        Arc::make_mut(deployment).replicas = replicas;
                    }
                    (Object::Deployment(deployment), Patch::Template(template)) => {
                        Arc::make_mut(deployment).template = template;
                    }
                    (Object::Deployment(deployment), Patch::Paused(paused)) => {
                        Arc::make_mut(deployment).paused = paused;
                    }
                    (object, Patch::Labels(labels)) => {
                        for (key, value) in labels {
                            let meta = object.meta_mut();
                            meta.labels = match value {
                                Some(value) => meta.labels.with(key, value),
                                None => meta.labels.without(key),
                            };
                        }
                    }
                    (_, other) => panic!("the test's server has no patch {other:?}"),
                }
                self.objects.insert(key, object.clone());
                Ok(Answer::Object(object))
            }
            Call::Delete(key, options) => {
                self.calls.push(format!("{now:?} delete {key} {:?}", options.grace.map(Duration::as_secs)));
                self.objects.remove(&key).map(Answer::Object).ok_or_else(|| Status::not_found(&key))
            }
            Call::Evict { pod, .. } => {
                stored(&self.objects, &pod)?;
                if let Some(left) = self.refusals.get_mut(&pod.name).filter(|left| **left > 0) {
                    *left -= 1;
                    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
                    return Err(Status::new(StatusReason::TooManyRequests, message));
                }
                self.calls.push(format!("{now:?} evict {pod}"));
                self.going.extend(self.termination.map(|length| (now + length, pod)));
                Ok(Answer::Done)
            }
            other => panic!("kubectl does not ask for {other:?}"),
        }
    }
}

/// Plays the commands, a second apart, and returns what kubectl said: time in seconds and text.
fn play(server: &mut Server, commands: &[&str]) -> Vec<String> {
    let verbs = commands.iter().map(|words| {
        let verb = parse::parse(words, Name::new("default")).unwrap_or_else(|error| panic!("{words}: {error}"));
        (words.to_string(), verb)
    });
    play_verbs(server, verbs.collect())
}

fn play_verbs(server: &mut Server, verbs: Vec<(String, Verb)>) -> Vec<String> {
    let mut client = Client::new(1_767_225_600);
    let mut fx = Effects::default();
    let mut queue: VecDeque<(Time, In)> = VecDeque::new();
    for (second, (text, verb)) in verbs.into_iter().enumerate() {
        let action = Action { text: text.into(), source: None, verb };
        queue.push_back((Time::from_secs(second as u64), In::Do(Box::new(action))));
    }
    let mut said = Vec::new();
    let mut record = 1;
    let mut action = Cause::NONE;
    for _ in 0..10_000 {
        let Some(first) = (0..queue.len()).min_by_key(|&at| (queue[at].0, at)) else { break };
        let (now, message) = queue.remove(first).expect("it was found");
        fx.begin(now, Cause::NONE, record);
        client.handle(message, &mut fx);
        record = fx.next_record();
        let effects: Vec<_> = fx.drain_effects().collect();
        for entry in fx.drain_records() {
            match entry.what {
                Record::Action { .. } => action = entry.id,
                Record::Decided { object, text, .. } => {
                    assert_eq!(entry.cause, action, "{text}: the user's action is the cause");
                    said.push(format!("{}s {object}: {text}", now.as_secs()));
                }
                other => panic!("kubectl does not record {other:?}"),
            }
        }
        for (cause, effect) in effects {
            assert_ne!(cause, Cause::NONE, "everything has a cause");
            match effect {
                Effect::Wake { at, message } => queue.push_back((at, message)),
                Effect::Send { message: Out::Api(request), .. } => {
                    let result = server.answer(now, request.call);
                    queue.push_back((now, In::Api(Box::new(Response { tag: request.tag, result }))));
                }
            }
        }
    }
    assert!(queue.is_empty() || server.termination.is_none(), "kubectl comes to an end");
    assert!(!client.is_busy() || server.termination.is_none());
    said
}

fn node(name: &str) -> Object {
    Object::Node(Arc::new(Node { meta: Meta::named("", name), ..Node::default() }))
}

fn pod_on(node: &str, name: &str, owner: Option<Kind>, local: bool) -> Object {
    let mut meta = Meta::named("default", name);
    meta.uid = Uid(7);
    meta.owner = owner.map(|kind| OwnerReference { kind, name: Name::new("o"), uid: Uid(1), block_deletion: true });
    let volume = Volume { name: Name::new("v"), source: VolumeSource::EmptyDir { memory: false, size_limit: None } };
    let volumes = if local { vec![volume] } else { Vec::new() };
    let spec = PodSpec { volumes: volumes.into(), ..PodSpec::default() };
    Object::Pod(Arc::new(Pod { meta, spec: Arc::new(spec), node: Some(Name::new(node)), ..Pod::default() }))
}

fn template(image: &str, hash: Option<&str>) -> Arc<PodTemplate> {
    let container = Container { name: Name::new("c"), image: Name::new(image), ..Container::default() };
    let labels = Labels::new([(Name::new("app"), Name::new("web"))]);
    let labels = match hash {
        Some(hash) => labels.with(Name::new("pod-template-hash"), Name::new(hash)),
        None => labels,
    };
    let spec = PodSpec { containers: Arc::new([container]), ..PodSpec::default() };
    Arc::new(PodTemplate { labels, annotations: Labels::default(), spec: Arc::new(spec) })
}

fn deployment(image: &str) -> Object {
    let template = template(image, None);
    let mut meta = Meta::named("default", "web");
    meta.uid = Uid(3);
    Object::Deployment(Arc::new(Deployment {
        meta,
        replicas: 2,
        selector: Selector::from_labels(&template.labels),
        template,
        strategy: DeploymentStrategy::RollingUpdate {
            max_unavailable: IntOrPercent::Percent(25),
            max_surge: IntOrPercent::Percent(25),
        },
        min_ready: Duration::ZERO,
        revision_history_limit: 10,
        progress_deadline: Duration::from_secs(600),
        paused: false,
        status: Default::default(),
    }))
}

fn replica_set(revision: i64, image: &str) -> Object {
    let mut meta = Meta::named("default", format!("web-{revision}"));
    meta.labels = template(image, None).labels.clone();
    let key = Name::new("deployment.kubernetes.io/revision");
    meta.annotations = Labels::new([(key, Name::new(&revision.to_string()))]);
    meta.owner =
        Some(OwnerReference { kind: Kind::Deployment, name: Name::new("web"), uid: Uid(3), block_deletion: true });
    let template = template(image, Some("abc"));
    Object::ReplicaSet(Arc::new(ReplicaSet { meta, template, ..ReplicaSet::default() }))
}

fn web(server: &Server) -> &Deployment {
    match &server.objects[&Key::new(Kind::Deployment, "default", "web")] {
        Object::Deployment(deployment) => deployment,
        other => panic!("{other:?}"),
    }
}

const RS: Option<Kind> = Some(Kind::ReplicaSet);

#[test]
fn a_drain_evicts_and_says_so_pod_by_pod() {
    let mut server = Server::with([
        node("n1"),
        pod_on("n1", "a", RS, false),
        pod_on("n1", "d", Some(Kind::DaemonSet), false),
        pod_on("n2", "other", RS, false),
    ]);
    server.termination = Some(Duration::from_millis(2500));
    assert_eq!(
        play(&mut server, &["drain n1 --ignore-daemonsets"]),
        [
            "0s Node/n1: Warning: ignoring DaemonSet-managed Pods: default/d",
            "0s Pod/default/a: evicting pod default/a",
            "3s Pod/default/a: pod/a evicted",
            "3s Node/n1: node/n1 drained",
        ]
    );
    assert_eq!(server.calls, ["Time(0) patch Node/n1", "Time(0) evict Pod/default/a"]);
}

#[test]
fn a_refused_eviction_is_tried_again_every_five_seconds() {
    let mut server = Server::with([node("n1"), pod_on("n1", "a", RS, false)]);
    server.refusals.insert(Name::new("a"), 2);
    let refused = "error when evicting pods/\"a\" -n \"default\" (will retry after 5s): Cannot evict pod as it would violate the pod's disruption budget.";
    assert_eq!(
        play(&mut server, &["drain n1"]),
        [
            "0s Pod/default/a: evicting pod default/a".to_owned(),
            format!("0s Pod/default/a: {refused}"),
            "5s Pod/default/a: evicting pod default/a".to_owned(),
            format!("5s Pod/default/a: {refused}"),
            "10s Pod/default/a: evicting pod default/a".to_owned(),
            "10s Pod/default/a: pod/a evicted".to_owned(),
            "10s Node/n1: node/n1 drained".to_owned(),
        ]
    );
}

#[test]
fn pods_that_may_not_go_keep_the_node_and_the_next_node_is_drained() {
    let mut server = Server::with([
        node("n1"),
        node("n2"),
        pod_on("n1", "bare", None, false),
        pod_on("n1", "d", Some(Kind::DaemonSet), false),
        pod_on("n1", "local", RS, true),
        pod_on("n1", "local2", RS, true),
        pod_on("n2", "x", RS, false),
    ]);
    let said = play(&mut server, &["drain n1 n2"]);
    assert_eq!(
        said,
        [
            "0s Node/n1: error: unable to drain node \"n1\" due to error: [cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): default/d, cannot delete Pods with local storage (use --delete-emptydir-data to override): default/local, default/local2, cannot delete Pods that declare no controller (use --force to override): default/bare], continuing command...",
            "0s Pod/default/x: evicting pod default/x",
            "0s Pod/default/x: pod/x evicted",
            "0s Node/n2: node/n2 drained",
            "0s Node/n1: There are pending nodes to be drained: n1",
        ]
    );
    assert_eq!(server.calls, ["Time(0) patch Node/n1", "Time(0) patch Node/n2", "Time(0) evict Pod/default/x"]);
}

#[test]
fn a_drain_ends_at_its_timeout() {
    let mut server = Server::with([node("n1"), pod_on("n1", "a", RS, false), pod_on("n1", "b", RS, false)]);
    server.termination = None;
    server.refusals.insert(Name::new("b"), 100);
    let said = play(&mut server, &["drain n1 --timeout=12s"]);
    let last: Vec<&str> = said.iter().rev().take(4).rev().map(String::as_str).collect();
    assert_eq!(
        last,
        [
            "12s Pod/default/a: error when waiting for pod \"a\" in namespace \"default\" to terminate: global timeout reached: 12s",
            "15s Pod/default/b: error when evicting pods/\"b\" -n \"default\": global timeout reached: 12s",
            "15s Node/n1: error: unable to drain node \"n1\" due to error: [error when waiting for pod \"a\" in namespace \"default\" to terminate: global timeout reached: 12s, error when evicting pods/\"b\" -n \"default\": global timeout reached: 12s], continuing command...",
            "15s Node/n1: There are pending nodes to be drained: n1",
        ]
    );
}

#[test]
fn cordon_scale_and_delete_send_their_requests_one_after_the_other() {
    let mut server =
        Server::with([node("n1"), deployment("web:1"), pod_on("n1", "a", RS, false), pod_on("n1", "b", RS, false)]);
    let said = play(
        &mut server,
        &[
            "cordon n1",
            "cordon n1",
            "scale deployment/web --replicas=5 --current-replicas=3",
            "scale deployment/web --replicas=5",
            "scale deployment/none --replicas=5",
            "delete pods --all --grace-period=0",
            "delete pods -l app=none",
            "label node n1 pool=a",
        ],
    );
    assert_eq!(
        said,
        [
            "1s Node/n1: node/n1 already cordoned",
            "2s Deployment/default/web: error: Expected replicas to be 3, was 2",
            "4s Deployment/default/none: Error from server (NotFound): deployments.apps \"none\" not found",
            "6s Pod/default/: No resources found",
        ]
    );
    assert_eq!(
        server.calls,
        [
            "Time(0) patch Node/n1",
            "Time(3000000000) patch Deployment/default/web",
            "Time(5000000000) delete Pod/default/a Some(1)",
            "Time(5000000000) delete Pod/default/b Some(1)",
            "Time(7000000000) patch Node/n1",
        ]
    );
}

#[test]
fn rollouts_change_the_template() {
    let mut server = Server::with([deployment("web:2"), replica_set(1, "web:1"), replica_set(2, "web:2")]);
    let said = play(
        &mut server,
        &[
            "rollout undo deployment/web",
            "rollout undo deployment/web --to-revision=7",
            "set image deployment/web c=web:3",
            "set image deployment/web nope=web:3",
            "rollout pause deployment/web",
            "rollout restart deployment/web",
            "rollout resume deployment/web",
            "rollout restart deployment/web",
        ],
    );
    assert_eq!(
        said,
        [
            "1s Deployment/default/web: error: unable to find specified revision 7 in history",
            "3s Deployment/default/web: error: unable to find container named \"nope\"",
            "5s Deployment/default/web: error: can't restart paused deployment (run rollout resume first): deployment.apps/web",
        ]
    );
    let template = &web(&server).template;
    assert_eq!(template.spec.containers[0].image, *"web:3");
    let restarted = template.annotations.get(Name::new("kubectl.kubernetes.io/restartedAt"));
    assert_eq!(restarted, Some(Name::new("2026-01-01T00:00:07Z")));
}

#[test]
fn undo_takes_the_revision_before_without_its_hash() {
    let mut server = Server::with([deployment("web:2"), replica_set(1, "web:1"), replica_set(2, "web:2")]);
    assert!(play(&mut server, &["rollout undo deployment/web"]).is_empty());
    assert_eq!(*web(&server).template, *template("web:1", None));
}

#[test]
fn apply_creates_then_updates_only_what_differs() {
    let apply = |objects: Vec<Object>| ("apply".to_owned(), Verb::Apply(objects.into()));
    let labelled = |pairs: &[(&str, &str)]| {
        let mut object = deployment("web:1");
        object.meta_mut().uid = Uid::NONE;
        object.meta_mut().labels = Labels::new(pairs.iter().map(|(key, value)| (Name::new(key), Name::new(value))));
        object
    };
    let mut server = Server::with([]);
    let label = parse::parse("label deployment/web mine=yes", Name::new("default")).unwrap();
    let verbs = vec![
        apply(vec![labelled(&[("a", "1"), ("b", "1")]), node("n1")]),
        apply(vec![labelled(&[("a", "1"), ("b", "1")]), node("n1")]),
        ("label".to_owned(), label),
        apply(vec![labelled(&[("a", "2")])]),
    ];
    assert!(play_verbs(&mut server, verbs).is_empty());
    assert_eq!(
        server.calls,
        [
            "Time(0) create Deployment/default/web",
            "Time(0) create Node/n1",
            "Time(2000000000) patch Deployment/default/web",
            "Time(3000000000) update Deployment/default/web",
        ]
    );
    let labels: Vec<String> = web(&server).meta.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["a=2", "mine=yes"], "what the file dropped goes, what somebody else set stays");
}

#[test]
fn a_template_that_stands_elsewhere_in_the_files_is_the_same_template() {
    let mut moved = deployment("web:1");
    if let Object::Deployment(deployment) = &mut moved {
        let deployment = Arc::make_mut(deployment);
        deployment.replicas = 9;
        let template = Arc::make_mut(&mut deployment.template);
        Arc::make_mut(&mut template.spec).source = Some(Source { file: 1, line: 12 });
    }
    let mut server = Server::with([deployment("web:1")]);
    let before = Arc::clone(&web(&server).template);
    play_verbs(&mut server, vec![("apply".to_owned(), Verb::Apply(vec![moved].into()))]);
    assert_eq!(web(&server).replicas, 9);
    assert!(Arc::ptr_eq(&web(&server).template, &before), "no rollout");
}
