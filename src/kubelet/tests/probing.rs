//! Probes and what follows from them.

use std::sync::Arc;

use super::world::{Program, World, check, container, pod};
use super::{Observe, StartKind};
use crate::kernel::Duration;
use crate::model::Container;
use crate::model::pod::{Handler, Probe};
use crate::protocol::probe::Purpose;

pub fn probe(period: u64, failures: u32) -> Option<Arc<Probe>> {
    Some(Arc::new(Probe {
        handler: Handler::Exec { command: vec!["true".into()] },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(period),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: failures,
        termination_grace: None,
    }))
}

/// A world with one pod whose probes follow this script.
fn world(containers: Container, probes: Vec<(Purpose, Vec<(u64, bool)>)>) -> World {
    let mut world = World::new();
    // Later than any period, so that the start of the kubelet spreads nothing.
    world.programs.insert("main", Program { probes, ..Program::default() });
    world.at(20_000, move |world| world.create(pod("p", vec![containers], |_| {})));
    world
}

#[test]
fn a_failing_liveness_probe_restarts_the_container_at_once() {
    let liveness = Container { liveness: probe(5, 3), ..container("main") };
    let mut world = world(liveness, vec![(Purpose::Liveness, vec![(0, true), (12_000, false)])]);
    world.run(80_000);
    check(
        world.said(&["event p Warning", "event p Normal Killing", "Stop", "Start", "status p R"])[..9].to_vec(),
        "StartContainer p/main#0
         status p Running PIR main=running!
         event p Warning Unhealthy: Liveness probe failed: no x1
         event p Warning Unhealthy: Liveness probe failed: no x2
         event p Warning Unhealthy: Liveness probe failed: no x3
         event p Normal Killing: Container main failed liveness probe, will be restarted x1
         StopContainer p/main#0 30
         StartContainer p/main#1
         status p Running PIR main=running!#1",
    );
    let failures = world.times("Unhealthy");
    // The worker ticks each 5 s from the end of the volumes' wait.
    assert_eq!(failures[..3], [35_303, 40_303, 45_303]);
    assert!(world.times("StartContainer")[1] < 45_400, "the restart does not wait for a relist");
}

#[test]
fn back_off_grows_with_each_kill_though_it_is_not_waited_for() {
    let liveness = Container { liveness: probe(5, 3), ..container("main") };
    let mut world = world(liveness, vec![(Purpose::Liveness, vec![(0, true), (12_000, false)])]);
    world.run(280_000);
    let starts = world.times("StartContainer");
    let gaps: Vec<u64> = starts.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
    assert!(gaps[..4].iter().all(|gap| (24..27).contains(gap)), "{gaps:?}");
    assert!((55..95).contains(&gaps[4]), "after the fifth kill it waits 40 s: {gaps:?}");
}

#[test]
fn readiness_is_probed_at_the_start_and_then_each_period() {
    let readiness = Container { readiness: probe(10, 2), ..container("main") };
    let script = vec![(0, false), (6_000, true), (18_000, false), (32_000, true)];
    let mut world = world(readiness, vec![(Purpose::Readiness, script)]);
    world.run(100_000);
    let first = world.times("Unhealthy")[0];
    assert!((20_450..20_520).contains(&first), "at once: {first}");
    let states: Vec<String> = world.said(&["status p R"]);
    check(
        states,
        "status p Running PI main=running
         status p Running PIR main=running!
         status p Running PI main=running
         status p Running PIR main=running!",
    );
}

#[test]
fn the_result_that_a_container_begins_with_leads_to_a_second_probe_at_the_next_relist() {
    let readiness = Container { readiness: probe(10, 3), ..container("main") };
    let mut world = world(readiness, vec![(Purpose::Readiness, vec![(0, false)])]);
    world.run(45_000);
    let failures = world.times("Unhealthy");
    let [first, second, third] = failures[..3] else { panic!("{failures:?}") };
    assert!(second - first < 1_200, "with the sync after the next relist: {failures:?}");
    assert_eq!(third - second, 10_000, "from there each period: {failures:?}");
}

#[test]
fn a_startup_probe_holds_back_the_others() {
    let gated = Container { startup: probe(2, 10), readiness: probe(5, 1), liveness: probe(5, 1), ..container("main") };
    let script =
        vec![(Purpose::Startup, vec![(0, false), (9_000, true)]), (Purpose::Liveness, vec![(0, false), (9_000, true)])];
    let mut world = world(gated, script);
    world.run(60_000);
    assert!(world.times("Liveness").is_empty());
    assert_eq!(world.times("StartContainer").len(), 1);
    let ready = world.times("PIR main=running!")[0];
    assert!((29_450..32_400).contains(&ready), "at the first tick after 9 s: {ready}");
}

#[test]
fn a_startup_probe_that_never_succeeds_kills_after_its_threshold() {
    let gated = Container { startup: probe(2, 5), ..container("main") };
    let mut world = world(gated, vec![(Purpose::Startup, vec![(0, false)])]);
    world.run(60_000);
    let kills = world.times("failed startup probe, will be restarted");
    let starts = world.times("StartContainer");
    assert!((29_000..31_500).contains(&kills[0]), "{kills:?}");
    assert!(starts[1] - kills[0] < 200, "at once: {starts:?} {kills:?}");
}

#[test]
fn a_pod_with_succeeding_probes_leaves_no_event_in_the_queue() {
    let probed = Container { startup: probe(1, 5), readiness: probe(1, 3), liveness: probe(1, 3), ..container("main") };
    let mut world = world(probed, Vec::new());
    world.run(300_000);
    let messages = world.messages;
    world.run(3_600_000);
    assert_eq!(world.messages, messages);
    assert_eq!(world.said(&["status"]).last().map(String::as_str), Some("status p Running PIR main=running!"));
}

#[test]
fn a_kubelet_that_restarts_keeps_ready_pods_ready_and_counts_restarts_on() {
    let mut world = world(Container { readiness: probe(5, 1), ..container("main") }, Vec::new());
    world.programs.insert("crash", Program { runs: vec![(2000, 1)], ..Program::default() });
    world.at(20_000, |world| world.create(pod("c", vec![container("crash")], |_| {})));
    world.at(60_000, World::stop_kubelet);
    world.at(80_000, World::restart_kubelet);
    world.run(79_000);
    let before = world.log.len();
    world.run(83_000);
    world.log.drain(..before);
    assert!(world.said(&["status p", "Stop", "Run"]).is_empty(), "{:?}", world.log);
    let starts = world.said(&["StartContainer"]);
    assert_eq!(starts, ["StartContainer c/crash#3"], "its back-off begins anew");
    assert!(world.said(&["event n1 Normal Starting"]).len() == 1);
}

#[test]
fn a_polling_kubelet_and_a_sleeping_one_do_the_same_at_the_same_time() {
    use crate::kernel::Streams;
    for seed in 0..200 {
        let run = |observe| {
            let mut rng = Streams::new(seed).stream("test", "schedule");
            let mut world = World::with(observe, StartKind::WasRunning, seed);
            // What happens during a relist is seen by it or by the next one, as the lists come; so these take no time.
            world.list_millis = 0;
            let pods = 1 + rng.below(4);
            for number in 0..pods {
                let names = ["a", "b", "c", "d"];
                let name = names[number as usize];
                let mut flips = |from: bool| {
                    let mut at = 0;
                    let mut script = vec![(0, from)];
                    for _ in 0..rng.below(5) {
                        at += rng.below(30_000);
                        script.push((at, script.len() % 2 == usize::from(!from)));
                    }
                    script
                };
                let probes = vec![
                    (Purpose::Readiness, flips(true)),
                    (Purpose::Liveness, flips(true)),
                    (Purpose::Startup, vec![(0, false), (3_000, true)]),
                ];
                let runs = match rng.below(3) {
                    0 => Vec::new(),
                    1 => vec![(rng.below(40_000), 1), (rng.below(40_000), 0)],
                    _ => vec![(rng.below(60_000), 0)],
                };
                let on_sigterm = (rng.below(3) > 0).then(|| (rng.below(5_000), 0));
                world.programs.insert(name, Program { runs, on_sigterm, probes, ..Program::default() });
                let mut one = container(name);
                if rng.below(2) == 0 {
                    one.readiness = probe(1 + rng.below(7), 1 + rng.below(3) as u32);
                }
                if rng.below(2) == 0 {
                    one.liveness = probe(1 + rng.below(7), 1 + rng.below(3) as u32);
                }
                if rng.below(3) == 0 {
                    one.startup = probe(1 + rng.below(3), 30);
                }
                let policy = rng.below(3);
                let at = rng.below(40_000);
                world.at(at, move |world| {
                    world.create(pod(name, vec![one], |spec| {
                        spec.restart_policy = match policy {
                            0 => crate::model::pod::RestartPolicy::Never,
                            1 => crate::model::pod::RestartPolicy::OnFailure,
                            _ => crate::model::pod::RestartPolicy::Always,
                        };
                    }));
                });
                if rng.below(2) == 0 {
                    let delete = at + 1 + rng.below(100_000);
                    world.at(delete, move |world| world.delete(name, 3));
                }
            }
            world.run(200_000);
            // What happens at one moment has no order of its own: latencies here are round numbers.
            world.log.sort();
            world.log
        };
        let (polling, sleeping) = (run(Observe::Polling), run(Observe::Sleeping));
        for (at, (one, other)) in polling.iter().zip(&sleeping).enumerate() {
            let before = polling[at.saturating_sub(6)..at].iter().map(|(at, text)| format!("{at:?} {text}\n"));
            assert_eq!(one, other, "seed {seed}, polling then sleeping, after\n{}", before.collect::<String>());
        }
        assert_eq!(polling.len(), sleeping.len(), "seed {seed}");
    }
}
