//! A trace that is written and read back is the same.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::kernel::{Cause, Duration, Time};
use crate::model::condition::Condition;
use crate::model::pod::{ContainerState, ContainerStatus, ResourceRequirements, Terminated};
use crate::model::resources::ResourceList;
use crate::model::service::{Endpoint, EndpointSlice};
use crate::model::taint::TolerationOperator;
use crate::model::workload::{Deployment, DeploymentStatus, DeploymentStrategy, PodTemplate};
use crate::model::{
    Bytes, ConditionStatus, Container, Deletion, Event, EventType, Key, Kind, Labels, Meta, MilliCpu, Name, Node,
    NodeSpec, NodeStatus, Object, ObjectReference, OwnerReference, Phase, Pod, PodSpec, PodStatus, Resources, Selector,
    Source, Taint, TaintEffect, Text, Toleration, Uid,
};
use crate::protocol::probe::Purpose;

struct Kept(Vec<Entry>);

impl Sink for Kept {
    fn take(&mut self, entry: &Entry) {
        self.0.push(entry.clone());
    }
}

fn write(header: &Header, entries: &[Entry], footer: &Footer) -> String {
    let mut writer = Writer::new(Vec::new(), header);
    for entry in entries {
        writer.take(entry);
    }
    String::from_utf8(writer.finish(footer).expect("a vector takes everything")).expect("JSON is UTF-8")
}

fn read(text: &str) -> Result<(Header, Vec<Entry>, Footer), String> {
    let mut kept = Kept(Vec::new());
    let reader = Reader::new(text.as_bytes(), "trace.jsonl").map_err(|error| error.to_string())?;
    let (header, footer) = reader.read_all(&mut kept).map_err(|error| error.to_string())?;
    Ok((header, kept.0, footer))
}

fn time() -> impl Strategy<Value = Time> {
    (0..u64::MAX / 2).prop_map(Time::from_nanos)
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z\"\\\\é]{0,4}".prop_map(Name::from)
}

fn text() -> impl Strategy<Value = Text> {
    "[ -~\n→]{0,9}".prop_map(Text::from)
}

fn source() -> impl Strategy<Value = Option<Source>> {
    proptest::option::of((0..3u32, 1..99u32).prop_map(|(file, line)| Source { file, line }))
}

prop_compose! {
    fn meta()(namespace in name(), name in name(), uid: u64, version: u64, created in time(), source in source(),
              labels in proptest::collection::vec((name(), name()), 0..3), owner: bool, deletion: bool) -> Meta {
        Meta {
            namespace, name, uid: Uid(uid), resource_version: version, created, source, labels: Labels::new(labels),
            generation: version as u32,
            owner: owner.then_some(OwnerReference { kind: Kind::Job, name, uid: Uid(1), block_deletion: false }),
            deletion: deletion.then(|| Deletion { at: created, grace: Duration::from_secs(30) }),
            ..Meta::default()
        }
    }
}

prop_compose! {
    fn condition()(kind in name(), status in 0..3, reason in name(), message in text(), since in time()) -> Condition {
        let all = [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown];
        Condition { kind, status: all[status as usize], reason, message, last_transition: since, last_update: since }
    }
}

prop_compose! {
    fn terminated()(exit_code: i32, signal in 0..64, reason in name(), message in text(), at in time()) -> Terminated {
        let (started_at, finished_at) = (at.into(), at.into());
        Terminated { exit_code, signal, reason, message, started_at, finished_at, container_id: 7, runtime_id: reason }
    }
}

prop_compose! {
    fn container()(name in name(), state in 0..3, ended in terminated(), last in proptest::option::of(terminated()),
                   ready: bool, restarts: u32) -> ContainerStatus {
        let state = match state {
            0 => ContainerState::Waiting { reason: name, message: ended.message.clone() },
            1 => ContainerState::Running { started_at: ended.started_at },
            _ => ContainerState::Terminated(Box::new(ended)),
        };
        ContainerStatus {
            name, state, last_terminated: last.map(Box::new), ready, started: Some(ready), restart_count: restarts,
            image: name, container_id: u64::from(restarts), runtime_id: name, image_id: name,
        }
    }
}

prop_compose! {
    fn pod()(meta in meta(), node in proptest::option::of(name()), phase in 0..5, reason in name(), message in text(),
             conditions in proptest::collection::vec(condition(), 0..3), source in source(), cpu: Option<i32>,
             containers in proptest::collection::vec(container(), 0..3)) -> Pod {
        let all = [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::Unknown];
        let requests = ResourceList { cpu: cpu.map(|cpu| MilliCpu(cpu.into())), ..ResourceList::default() };
        let server = Container {
            name: reason, image: meta.name, source,
            resources: ResourceRequirements { requests, limits: ResourceList::default() },
            ..Container::default()
        };
        let toleration = Toleration {
            key: reason, operator: TolerationOperator::Exists, value: Name::default(),
            effect: Some(TaintEffect::NoExecute), seconds: Some(Duration::from_secs(300)),
        };
        let spec = PodSpec {
            containers: Arc::new([server.clone()]), ephemeral_containers: Arc::new([server]), tolerations: Arc::new([toleration]), source, ..PodSpec::default()
        };
        Pod {
            meta, spec: Arc::new(spec), node,
            status: PodStatus {
                phase: all[phase as usize], reason, message, conditions: conditions.into(),
                ephemeral_containers: containers.clone(), containers,
                ..PodStatus::default()
            },
        }
    }
}

prop_compose! {
    fn other_object()(which in 0..4, meta in meta(), count in 0..9i32, conditions in proptest::collection::vec(condition(), 0..3))
        -> Object {
        match which {
            0 => Object::Node(Arc::new(Node {
                spec: NodeSpec {
                    unschedulable: count > 4,
                    taints: vec![Taint::new(&meta.name, TaintEffect::NoExecute)],
                    provider_id: Name::default(),
                },
                status: NodeStatus {
                    conditions: conditions.into(),
                    allocatable: Resources { cpu: MilliCpu(count.into()), memory: Bytes(5), ..Resources::default() },
                    ..NodeStatus::default()
                },
                meta,
            })),
            1 => Object::Deployment(Arc::new(Deployment {
                meta, replicas: count, selector: Selector::default(), template: Arc::new(PodTemplate::default()),
                strategy: DeploymentStrategy::Recreate, min_ready: Duration::ZERO, revision_history_limit: 10,
                progress_deadline: Duration::from_secs(600), paused: count > 4,
                status: DeploymentStatus { ready: count, conditions: conditions.into(), ..DeploymentStatus::default() },
            })),
            2 => Object::EndpointSlice(Arc::new(EndpointSlice {
                service: meta.name, ports: Vec::new(),
                endpoints: vec![Endpoint {
                    pod: meta.name, ip: [10, 0, 0, count as u8].into(), node: None, zone: Some(meta.namespace),
                    ready: count > 4, serving: true, terminating: false,
                }],
                meta,
            })),
            _ => Object::Namespace(Arc::new(crate::model::config::Namespace { meta })),
        }
    }
}

fn record() -> impl Strategy<Value = Record> {
    let pod_ref =
        || (name(), name(), any::<u64>()).prop_map(|(namespace, name, uid)| PodRef { namespace, name, uid: Uid(uid) });
    let change = prop_oneof![Just(Change::Created), Just(Change::Modified), Just(Change::Deleted)];
    let object = prop_oneof![pod().prop_map(|pod| Object::Pod(Arc::new(pod))), other_object()];
    let outcome = prop_oneof![
        name().prop_map(|node| Outcome::Scheduled { node }),
        text().prop_map(|message| Outcome::Unschedulable { message }),
        text().prop_map(|message| Outcome::Error { message }),
    ];
    let edge = prop_oneof![Just(StageEdge::Begin), Just(StageEdge::End), text().prop_map(StageEdge::Failed)];
    let verdict = prop_oneof![
        (name(), proptest::collection::vec(text(), 0..3))
            .prop_map(|(plugin, reasons)| Verdict::Rejected { plugin, reasons }),
        (any::<i64>(), name()).prop_map(|(total, name)| Verdict::Scored { total, scores: vec![(name, 1, total)] }),
        Just(Verdict::NotTried),
    ];
    let diagnosis = (name(), verdict, text()).prop_map(|(node, verdict, remedy)| {
        let (nodes, weights) = (vec![NodeVerdict { node, verdict }], vec![(node, 2)]);
        Arc::new(Diagnosis { nodes, weights, remedies: vec![remedy] })
    });
    prop_oneof![
        (text(), source()).prop_map(|(text, source)| Record::Action { text, by: CausedBy { source } }),
        (text(), any::<bool>(), source()).prop_map(|(text, undone, source)| Record::Fault {
            text,
            undone,
            by: CausedBy { source }
        }),
        (change, object).prop_map(|(change, object)| Record::Written(change, object)),
        (meta(), text(), time()).prop_map(|(meta, message, at)| {
            let involved = ObjectReference {
                kind: Kind::Pod,
                namespace: meta.namespace,
                name: meta.name,
                uid: meta.uid,
                field_path: meta.name,
            };
            Record::Event(Arc::new(Event {
                meta: Meta { namespace: meta.namespace, name: meta.name, ..Meta::default() },
                involved,
                kind: EventType::Warning,
                reason: meta.name,
                message,
                count: 3,
                first: at,
                last: at,
                component: Name::new("kubelet"),
                host: meta.name,
            }))
        }),
        (pod_ref(), any::<u32>(), outcome, proptest::option::of(diagnosis))
            .prop_map(|(pod, attempt, outcome, diagnosis)| Record::Attempt { pod, attempt, outcome, diagnosis }),
        (pod_ref(), name(), 0..8usize, edge).prop_map(|(pod, container, stage, edge)| Record::Stage {
            pod,
            container,
            stage: Stage::ALL[stage],
            edge
        }),
        (pod_ref(), name(), any::<i32>(), time()).prop_map(|(pod, container, exit_code, after)| Record::Exited {
            pod,
            container,
            exit_code,
            reason: container,
            after: after.since(Time::ZERO)
        }),
        (pod_ref(), name(), any::<bool>(), text()).prop_map(|(pod, container, success, message)| Record::Probed {
            pod,
            container,
            purpose: Purpose::Liveness,
            success,
            message
        }),
        (name(), name(), text()).prop_map(|(namespace, by, text)| Record::Decided {
            object: Key::new(Kind::Job, namespace, by),
            by,
            text
        }),
        (name(), name(), time(), any::<bool>()).prop_map(|(node, method, took, failed)| Record::Called {
            node,
            method,
            took: took.since(Time::ZERO),
            failed
        }),
        (name(), text()).prop_map(|(node, what)| Record::NodeFault { node, what }),
        text().prop_map(|text| Record::Invariant { text }),
    ]
}

fn footer() -> Footer {
    Footer {
        end: Time::from_secs(9),
        reason: "until".to_owned(),
        events: 12,
        digest: u64::MAX - 1,
        expectations: vec![Expectation {
            details: vec!["a pod moved".to_owned()],
            name: "n".to_owned(),
            text: "pods.size() == 1".to_owned(),
            broken: vec![(Time::from_secs(1), None), (Time::ZERO, Some(Time::from_secs(1)))],
            source: Some(Source { file: 0, line: 3 }),
            share: Some(crate::trace::Share { least: 1, most: 99, held_here: true }),
            ..Expectation::default()
        }],
        invariants: vec!["broken".to_owned()],
    }
}

fn header() -> Header {
    Header {
        name: "a \"name\"".to_owned(),
        seed: u64::MAX,
        kubernetes: "1.36".to_owned(),
        epoch: 1_767_225_600,
        sources: vec![SourceFile { name: "web.yaml".to_owned(), text: "kind: Pod\n".to_owned() }],
        passed_over: vec![("Ingress".to_owned(), 2)],
        not_modelled: vec![("Pod".to_owned(), "spec.dnsPolicy".to_owned(), 1)],
        ..Header::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_is_read_back(records in proptest::collection::vec((time(), any::<u32>(), record()), 0..8)) {
        let entries: Vec<Entry> = records
            .into_iter()
            .enumerate()
            .map(|(at, (time, cause, what))| {
                Entry { id: Cause::from_raw(at as u32 + 1), cause: Cause::from_raw(cause), time, what }
            })
            .collect();
        let text = write(&header(), &entries, &footer());
        let (read_header, read_entries, read_footer) = read(&text).expect("what we wrote can be read");
        prop_assert_eq!(&read_header, &header());
        prop_assert_eq!(&read_entries, &entries);
        prop_assert_eq!(&read_footer, &footer());
        prop_assert_eq!(write(&read_header, &read_entries, &read_footer), text);
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_line(at in 0usize..4000, byte in any::<u8>()) {
        let entry = Entry {
            id: Cause::from_raw(1),
            cause: Cause::NONE,
            time: Time::ZERO,
            what: Record::Written(Change::Created, Object::Pod(Arc::new(Pod::default()))),
        };
        let mut bytes = write(&header(), &[entry], &footer()).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        // It may still be sound; it must not panic, and an error names the file.
        if let Ok(text) = String::from_utf8(bytes)
            && let Err(error) = read(&text) {
                prop_assert!(error.starts_with("trace.jsonl:"), "{}", error);
            }
    }
}

fn check_error(change: impl Fn(&str) -> String, expected: &str) {
    let entry = Entry {
        id: Cause::from_raw(1),
        cause: Cause::NONE,
        time: Time::ZERO,
        what: Record::Written(Change::Created, Object::Pod(Arc::new(Pod::default()))),
    };
    let text = write(&header(), &[entry], &footer());
    assert_eq!(read(&change(&text)).expect_err("the trace is broken"), expected);
}

#[test]
fn errors_name_file_line_and_what_is_wrong() {
    check_error(
        |_| String::new(),
        "trace.jsonl:1: is not a trace: the first line should begin with {\"format\":\"simlet-trace\"",
    );
    check_error(
        |_| "kind: Pod\n".to_owned(),
        "trace.jsonl:1: is not a trace: the first line should begin with {\"format\":\"simlet-trace\"",
    );
    check_error(
        |text| text.replacen("\"version\":1", "\"version\":9", 1),
        "trace.jsonl:1: is a trace of version 9, and this simlet reads version 1; run the scenario again to make a new one",
    );
    check_error(
        |text| text.replace("\"phase\":\"Pending\"", "\"phase\":\"Pend\""),
        "trace.jsonl:3: `Pend` is not a phase",
    );
    check_error(
        |text| text.replace("\"pod\":{\"spec\":1", "\"pod\":{\"spec\":2"),
        "trace.jsonl:3: there is no spec 2 above this line",
    );
    check_error(
        |text| text.lines().take(3).map(|line| format!("{line}\n")).collect(),
        "trace.jsonl:3: the trace ends here without a line with \"end\"; the run that wrote it was cut short",
    );
    check_error(
        |text| text.replace("\"uid\":0", "\"uid\":-1"),
        "trace.jsonl:3: invalid value: integer `-1`, expected u64, at column 176",
    );
}

#[test]
fn an_error_of_the_file_is_kept_and_told_at_the_end() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let writer = Writer::new(Full, &header());
    assert_eq!(writer.finish(&footer()).err().map(|error| error.to_string()), Some("the disk is full".to_owned()));
}

#[test]
fn a_line_reads_like_kubernetes() {
    let pod = Pod {
        meta: Meta { namespace: Name::new("shop"), name: Name::new("web-1"), uid: Uid(5), ..Meta::default() },
        node: Some(Name::new("worker-1")),
        ..Pod::default()
    };
    let entry = Entry {
        id: Cause::from_raw(7),
        cause: Cause::from_raw(6),
        time: Time::from_secs(3),
        what: Record::Written(Change::Modified, Object::Pod(Arc::new(pod))),
    };
    let text = write(&header(), &[entry], &footer());
    insta::assert_snapshot!(text.lines().nth(2).unwrap_or_default(), @r#"{"id":7,"cause":6,"time":3000000000,"record":"written","change":"modified","object":{"kind":"Pod","namespace":"shop","name":"web-1","uid":5,"resource_version":0,"created":0,"pod":{"spec":1,"node":"worker-1","phase":"Pending"}}}"#);
}
