//! Probes and hooks: what is answered, in which words, and until when it holds.

use super::*;
use crate::model::pod::{ContainerPort, Handler, PortRef, Probe, Protocol};
use crate::protocol::probe::{Holds, Outcome, Purpose};
use crate::runtime::simulated::behavior::{Answer as Given, End, Ends, ProbeAnswers, ProbeKind};

fn http(path: &str) -> Handler {
    Handler::HttpGet {
        path: path.into(),
        port: PortRef::Name("web".into()),
        host: Name::default(),
        https: false,
        headers: Vec::new(),
    }
}

fn tcp() -> Handler {
    Handler::TcpSocket { port: PortRef::Number(9000), host: Name::default() }
}

fn exec(words: &[&str]) -> Handler {
    Handler::Exec { command: words.iter().copied().map(Text::new).collect() }
}

fn spec(handler: Handler) -> Spec {
    let probe = Probe {
        handler,
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace: None,
    };
    let port = ContainerPort {
        name: "web".into(),
        port: 8080,
        host_port: 0,
        host_ip: Name::default(),
        protocol: Protocol::Tcp,
    };
    Spec { readiness: Some(Arc::new(probe)), ports: vec![port], ..Spec::default() }
}

/// Probes once, now, and plays until the answer: outcome, what it took, until when it holds.
fn ask(world: &mut World, id: ContainerId, spec: &Spec, purpose: Purpose, timeout: u64) -> (String, Duration, Holds) {
    let (begun, before) = (world.now, world.probes.len());
    world.hear(probe_request(before as u64, id, purpose, spec, timeout));
    while world.probes.len() == before {
        let next = *world.queue.first_key_value().expect("the probe is answered").0;
        world.play_to(next.0);
    }
    let (at, answer) = world.probes[before].clone();
    let text = match answer.outcome {
        Outcome::Success => "ok".to_owned(),
        Outcome::Warning(text) => format!("warning: {text}"),
        Outcome::Failure(text) => format!("failure: {text}"),
        Outcome::Error(text) => format!("error: {text}"),
    };
    (text, at.since(begun), answer.holds)
}

/// The answer to a readiness probe `seconds` after the container's start.
fn check(behavior: Behavior, handler: Handler, seconds: u64, expected: &str) {
    let mut world = World::new(all(behavior));
    let id = world.start(container(&[]));
    world.play(seconds * 1000);
    let (text, ..) = ask(&mut world, id, &spec(handler.clone()), Purpose::Readiness, 2);
    assert_eq!(text, expected, "{handler:?} after {seconds} s");
}

#[test]
fn probes_fail_in_kubernetes_own_words() {
    let startup = || Behavior { startup: Some(constant(5)), ..Behavior::default() };
    let hangs = || Behavior { hangs: Some(constant(3)), ..Behavior::default() };
    let lists = |probe, given| Behavior {
        probes: vec![ProbeAnswers { probe, answers: vec![(Duration::from_secs(2), given)] }],
        ..Behavior::default()
    };
    let grpc = || Handler::Grpc { port: 7000, service: Name::default() };
    let refused = "dial tcp 10.244.1.2:8080: connect: connection refused";
    let no_answer = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let get = "failure: Get \"http://10.244.1.2:8080/healthz\":";
    for (behavior, handler, seconds, expected) in [
        (Behavior::default(), http("/healthz"), 0, "ok"),
        (startup(), http("/healthz"), 4, format!("{get} {refused}").as_str()),
        (startup(), http("/healthz"), 5, "ok"),
        (hangs(), http("/healthz"), 2, "ok"),
        (hangs(), http("healthz"), 3, format!("{get} {no_answer}").as_str()),
        (
            lists(ProbeKind::Http("/healthz".into()), Given::Status(503)),
            http("/healthz"),
            2,
            "failure: HTTP probe failed with statuscode: 503",
        ),
        (lists(ProbeKind::Http("/healthz".into()), Given::Status(503)), http("/healthz"), 1, "ok"),
        (lists(ProbeKind::Http("/healthz".into()), Given::Status(503)), http("/ready"), 2, "ok"),
        (lists(ProbeKind::Http(Name::default()), Given::Status(302)), http("/x"), 2, "ok"),
        (startup(), tcp(), 0, "failure: dial tcp 10.244.1.2:9000: connect: connection refused"),
        (hangs(), tcp(), 3, "failure: dial tcp 10.244.1.2:9000: i/o timeout"),
        (
            lists(ProbeKind::Tcp(9000), Given::Fails),
            tcp(),
            2,
            "failure: dial tcp 10.244.1.2:9000: connect: connection refused",
        ),
        (lists(ProbeKind::Tcp(1), Given::Fails), tcp(), 2, "ok"),
        (startup(), exec(&["check"]), 0, "failure: "),
        (hangs(), exec(&["check", "-v"]), 3, "failure: command timed out: \"check -v\" timed out after 2s"),
        (
            Behavior::default(),
            exec(&["sh", "-c", "sleep 3"]),
            0,
            "failure: command timed out: \"sh -c sleep 3\" timed out after 2s",
        ),
        (Behavior::default(), exec(&["sh", "-c", "exit 1"]), 0, "failure: "),
        (Behavior::default(), exec(&["check"]), 0, "ok"),
        (lists(ProbeKind::Exec, Given::Fails), exec(&["check"]), 2, "failure: "),
        (
            startup(),
            grpc(),
            0,
            "failure: timeout: failed to connect service \"10.244.1.2:7000\" within 2s: context deadline exceeded",
        ),
        (hangs(), grpc(), 3, "failure: timeout: health rpc did not complete within 2s"),
        (
            lists(ProbeKind::Grpc, Given::Fails),
            grpc(),
            2,
            "failure: service unhealthy (responded with \"NOT_SERVING\")",
        ),
    ] {
        check(behavior, handler, seconds, expected);
    }
}

#[test]
fn a_missing_answer_takes_the_whole_timeout() {
    let mut world = World::new(all(Behavior { hangs: Some(constant(0)), ..Behavior::default() }));
    let id = world.start(container(&[]));
    for handler in [http("/"), tcp(), exec(&["x"])] {
        let (_, took, _) = ask(&mut world, id, &spec(handler), Purpose::Readiness, 3);
        assert_eq!(took, Duration::from_secs(3));
    }
}

#[test]
fn files_of_a_script_decide_exec_probes() {
    let mut world = World::new(vec![]);
    let id = world.start(container(&["sh", "-c", "touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600"]));
    let started = world.now;
    let cat = spec(exec(&["cat", "/tmp/healthy"]));
    let (text, _, holds) = ask(&mut world, id, &cat, Purpose::Readiness, 1);
    assert_eq!((text.as_str(), holds), ("ok", Holds::Until(started + Duration::from_secs(30))));
    world.play(30_000);
    let (text, _, holds) = ask(&mut world, id, &cat, Purpose::Readiness, 1);
    assert_eq!((text.as_str(), holds), ("failure: ", Holds::UntilChanged));
}

#[test]
fn hooks_take_their_time_and_say_how_they_failed() {
    let mut world = World::new(vec![]);
    let id = world.start(container(&["nginx"]));
    let mut hook = |handler: Handler| {
        let spec = Spec { post_start: Some(Arc::new(handler)), ..spec(tcp()) };
        let (text, took, _) = ask(&mut world, id, &spec, Purpose::PostStart, 0);
        format!("{text} after {took}")
    };
    assert_eq!(hook(exec(&["sh", "-c", "sleep 5"])), "ok after 5.045s");
    assert_eq!(
        hook(exec(&["sh", "-c", "sleep 2; exit 1"])),
        "failure: command 'sh -c sleep 2; exit 1' exited with 1:  after 2.045s"
    );
    assert_eq!(hook(Handler::Sleep(Duration::from_secs(6))), "ok after 6s");
    assert_eq!(hook(http("/drain")), "ok after 1ms");
    assert_eq!(hook(tcp()), "failure: invalid handler after 0s");
}

#[test]
fn exec_probes_need_the_runtime_and_network_probes_do_not() {
    let mut world = World::new(vec![]);
    let id = world.start(container(&[]));
    world.fault(Fault::Stopped);
    let (text, _, holds) = ask(&mut world, id, &spec(exec(&["x"])), Purpose::Readiness, 1);
    assert!(text.starts_with("error: rpc error: code = Unavailable") && holds == Holds::Once, "{text}");
    assert_eq!(ask(&mut world, id, &spec(tcp()), Purpose::Readiness, 1).0, "ok");
    world.fault(Fault::Restored);
    assert_eq!(ask(&mut world, id, &spec(exec(&["x"])), Purpose::Readiness, 1).0, "ok");
    assert_eq!(world.changes.len(), 1, "back; nobody had asked before it stopped");
    world.fault(Fault::Hung);
    let (text, took, holds) = ask(&mut world, id, &spec(exec(&["x"])), Purpose::Readiness, 1);
    assert_eq!((took, holds), (Duration::from_secs(121), Holds::Once), "{text}");
    assert_eq!(world.changes.len(), 2);
}

#[test]
fn those_who_probed_hear_of_changes_and_nobody_else() {
    let mut world = World::new(vec![]);
    let (quiet, probed) = {
        let (one, two) = (world.sandbox(1), world.sandbox(2));
        (world.start_in(one, container(&[])), world.start_in(two, container(&[])))
    };
    ask(&mut world, probed, &spec(tcp()), Purpose::Readiness, 1);
    let hang =
        |hangs| Fault::Hang { namespace: Name::default(), pod: Name::default(), container: "main".into(), hangs };
    world.fault(hang(true));
    assert!(ask(&mut world, probed, &spec(tcp()), Purpose::Readiness, 1).0.ends_with("i/o timeout"));
    world.fault(hang(false));
    for id in [quiet, probed] {
        world.ask(Call::StopContainer { container: id, timeout: Duration::from_secs(1) }).unwrap();
    }
    assert_eq!(world.changes.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [probed; 3]);
}

/// A kubelet that polls each 100 ms and one that believes `Holds` and `Changed` know the same at every moment.
fn check_holds(behavior: Behavior, command: &[&str], handler: Handler, seconds: u64) {
    let mut world = World::new(all(behavior));
    let id = world.start(container(command));
    let spec = spec(handler.clone());
    let mut believed: Option<(String, Holds, usize)> = None;
    for tick in 0..seconds * 10 {
        if tick == 70 {
            let names = (Name::default(), Name::default(), Name::default());
            world.fault(Fault::Hang { namespace: names.0, pod: names.1, container: names.2, hangs: true });
        }
        if tick == 90 {
            let names = (Name::default(), Name::default(), Name::default());
            world.fault(Fault::Hang { namespace: names.0, pod: names.1, container: names.2, hangs: false });
        }
        world.play(0);
        let now = world.now;
        // A look without taking time: the answer as it would come.
        let (before, probes) = (world.changes.len(), world.probes.len());
        world.hear(probe_request(0, id, Purpose::Readiness, &spec, 1));
        let mut answers = world.queue.values().filter_map(|heard| match heard {
            Heard::Said(Out::Probe(answer), _) => Some((**answer).clone()),
            _ => None,
        });
        let polled = answers.next_back().expect("the probe is answered").clone();
        world.queue.retain(|_, heard| !matches!(heard, Heard::Said(Out::Probe(_), _)));
        assert_eq!((world.changes.len(), world.probes.len()), (before, probes));
        let polled = (format!("{:?}", polled.outcome), polled.holds);
        let still = believed.as_ref().filter(|(_, holds, changes)| {
            *changes == world.changes.len()
                && match holds {
                    Holds::Once => false,
                    Holds::Until(until) => now < *until,
                    Holds::UntilChanged => true,
                }
        });
        match still {
            Some((text, ..)) => assert_eq!(*text, polled.0, "{handler:?} {command:?} at {now:?}"),
            None => believed = Some((polled.0, polled.1, world.changes.len())),
        }
        world.play(100);
    }
}

proptest::proptest! {
    #[test]
    fn answers_hold_as_long_as_they_say(
        startup in proptest::option::of(0u64..8),
        hangs in proptest::option::of(0u64..25),
        exits in proptest::option::of(1u64..25),
        changes in proptest::collection::vec((0u64..25, 0u8..4), 0..5),
        kind in 0u8..4,
    ) {
        let given = |kind: u8| match kind {
            0 => Given::Ok,
            1 => Given::Fails,
            2 => Given::Hangs,
            _ => Given::Status(503),
        };
        let mut answers: Vec<(Duration, Given)> =
            changes.iter().map(|(at, kind)| (Duration::from_millis(at * 1003), given(*kind))).collect();
        answers.sort_by_key(|(at, _)| *at);
        let (probe, handler) = match kind {
            0 => (ProbeKind::Http(Name::default()), http("/")),
            1 => (ProbeKind::Tcp(0), tcp()),
            2 => (ProbeKind::Exec, exec(&["x"])),
            _ => (ProbeKind::Grpc, Handler::Grpc { port: 1, service: Name::default() }),
        };
        let end = exits.map(|after| End::Exit { after: constant(after), code: 1, probability: 1.0 });
        let behavior = Behavior {
            startup: startup.map(constant),
            hangs: hangs.map(constant),
            ends: end.map(Ends::each),
            probes: vec![ProbeAnswers { probe, answers }],
            ..Behavior::default()
        };
        check_holds(behavior, &[], handler, 27);
    }
}

#[test]
fn answers_from_files_hold_as_long_as_they_say() {
    for script in [
        "touch /ok; sleep 5; rm /ok; sleep 5; touch /ok; sleep 100",
        "(sleep 3; touch /ok) & sleep 12; rm /ok; sleep 1",
        "sleep 100",
    ] {
        for probe in ["cat /ok", "test -f /ok", "[ ! -f /ok ]"] {
            check_holds(Behavior::default(), &["sh", "-c", script], exec(&["sh", "-c", probe]), 20);
        }
    }
}
