//! What must hold in every small world: nothing over-committed, every pod ends somewhere explained, the same run on every
//! thread, and sleeping as good as polling.

mod runs;

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use simlet::kernel::Duration;
use simlet::model::{ContainerState, Kind, Object, Phase, Pod, condition};
use simlet::scenario::{self, Options};

use runs::{Keep, run, scenario};

/// A random small world as a user would write it.
#[derive(Clone, Debug)]
struct SmallWorld {
    nodes: u32,
    cpu: u32,
    workloads: Vec<Workload>,
    faults: Vec<Fault>,
    seed: u64,
}

#[derive(Clone, Debug)]
struct Workload {
    kind: &'static str,
    replicas: u32,
    cpu_milli: u32,
    probes: bool,
    behavior: &'static str,
    zone_spread: bool,
}

#[derive(Clone, Debug)]
struct Fault {
    at: u32,
    what: String,
    lasts: u32,
}

const BEHAVIORS: &[&str] = &[
    "startup: 3s",
    "startup: {p50: 2s, p99: 9s}",
    "exit: {after: {p50: 20s, p99: 90s}, code: 1, probability: 0.5}",
    "exit: {after: 5s, code: 1}",
    "exit: {after: 40s, code: 0}",
    "onTerm: ignore",
    "memory: {start: 30Mi, growth: 20Mi/min}",
    "probes: [{http: /, answers: [{from: 0s, status: 200}, {from: 70s, status: 500}, {from: 100s, status: 200}]}]",
    "hangs: {after: {p50: 60s, p99: 200s}}",
];

fn any_workload() -> impl Strategy<Value = Workload> {
    let kinds = prop::sample::select(vec!["Deployment", "StatefulSet", "DaemonSet", "Job"]);
    (kinds, 1..5u32, 50..1500u32, any::<bool>(), prop::sample::select(BEHAVIORS), any::<bool>()).prop_map(
        |(kind, replicas, cpu_milli, probes, behavior, zone_spread)| Workload {
            kind,
            replicas,
            cpu_milli,
            probes,
            behavior,
            zone_spread,
        },
    )
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let what = prop_oneof![
        (0..3u32).prop_map(|n| format!("{{node: node-{n}, power: off}}")),
        (0..3u32).prop_map(|n| format!("{{node: node-{n}, kubelet: stopped}}")),
        (0..3u32).prop_map(|n| format!("{{node: node-{n}, network: cut}}")),
        (0..3u32).prop_map(|n| format!("{{node: node-{n}, runtime: stopped}}")),
        Just("{registry: registry.example.com, down: true}".to_owned()),
        Just("{registry: registry.example.com, bandwidth: 1Mi/s}".to_owned()),
        Just("{pods: {selector: app=w0, mode: one}, exit: 3}".to_owned()),
    ];
    (0..300u32, what, 10..400u32).prop_map(|(at, what, lasts)| Fault { at, what, lasts })
}

fn any_world() -> impl Strategy<Value = SmallWorld> {
    (
        1..4u32,
        1..5u32,
        prop::collection::vec(any_workload(), 1..4),
        prop::collection::vec(any_fault(), 0..3),
        any::<u64>(),
    )
        .prop_map(|(nodes, cpu, workloads, faults, seed)| SmallWorld {
            nodes,
            cpu,
            workloads,
            faults,
            seed: seed >> 1,
        })
}

impl SmallWorld {
    fn text(&self) -> String {
        let mut text = format!(
            "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: small}}\nseed: {}\nuntil: 15m\ncluster:\n  nodes: \
             [{{count: {}, name: \"node-{{index}}\", zones: [a, b], capacity: {{cpu: \"{}\", memory: 4Gi}}}}]\n  registries: \
             [{{host: registry.example.com, bandwidth: 50Mi/s}}]\nbehaviors:\n",
            self.seed, self.nodes, self.cpu
        );
        for (index, workload) in self.workloads.iter().enumerate() {
            writeln!(text, "  - {{match: {{labels: {{app: w{index}}}}}, {}}}", workload.behavior).expect("a string");
        }
        text.push_str("timeline:\n");
        for fault in &self.faults {
            let lasts = if fault.what.contains("exit") { String::new() } else { format!(", for: {}s", fault.lasts) };
            writeln!(text, "  - {{at: {}s, fault: {}{lasts}}}", fault.at, fault.what).expect("a string");
        }
        for (index, workload) in self.workloads.iter().enumerate() {
            text.push_str(&workload.text(index));
        }
        text
    }
}

impl Workload {
    fn text(&self, index: usize) -> String {
        let probe = "readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 3}, \
                     livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 7}, ";
        let probe = if self.probes { probe } else { "" };
        let spread = format!(
            "topologySpreadConstraints: [{{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: \
             ScheduleAnyway, labelSelector: {{matchLabels: {{app: w{index}}}}}}}], "
        );
        let spread = if self.zone_spread { spread.as_str() } else { "" };
        let (api, head, policy) = match self.kind {
            "Job" => (
                "batch/v1",
                format!("completions: {}, parallelism: 2, backoffLimit: 2", self.replicas),
                "restartPolicy: Never, ",
            ),
            "DaemonSet" => ("apps/v1", format!("selector: {{matchLabels: {{app: w{index}}}}}"), ""),
            _ => ("apps/v1", format!("replicas: {}, selector: {{matchLabels: {{app: w{index}}}}}", self.replicas), ""),
        };
        let service = if self.kind == "StatefulSet" { "serviceName: s, " } else { "" };
        format!(
            "---\napiVersion: {api}\nkind: {}\nmetadata: {{name: w{index}}}\nspec: {{{head}, {service}template: {{metadata: \
             {{labels: {{app: w{index}}}}}, spec: {{{policy}{spread}terminationGracePeriodSeconds: 5, containers: [{{name: c, image: \
             \"registry.example.com/w{index}:1\", {probe}resources: {{requests: {{cpu: {}m}}, limits: {{memory: 100Mi}}}}}}]}}}}}}\n",
            self.kind, self.cpu_milli
        )
    }
}

/// Why a pod is where it is, or None if nothing says so.
fn explanation(pod: &Pod) -> Option<String> {
    let status = &pod.status;
    if pod.is_ready() || status.phase.is_terminal() {
        return Some(status.phase.as_str().to_owned());
    }
    if pod.is_terminating() {
        return Some("is being deleted".to_owned());
    }
    if pod.node.is_none() {
        let scheduled = condition::find(&status.conditions, "PodScheduled")?;
        return (!scheduled.message.is_empty()).then(|| scheduled.message.to_string());
    }
    for container in status.containers.iter().chain(&status.init_containers) {
        match &container.state {
            ContainerState::Waiting { reason, .. } if !reason.is_empty() => return Some(reason.to_string()),
            ContainerState::Terminated(ended) => return Some(ended.reason.to_string()),
            ContainerState::Running { .. } if !container.ready => return Some("runs, not ready".to_owned()),
            _ => {}
        }
    }
    condition::find(&status.conditions, "Ready")
        .map(|ready| ready.reason.to_string())
        .filter(|reason| !reason.is_empty())
}

/// The same worlds each time, so that a change is judged by what it changes; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look
/// at others.
#[expect(clippy::disallowed_methods, reason = "a person asks for more worlds")]
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(36) } else { asked.rng_seed };
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 24 },
        rng_seed,
        ..asked
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_pod_ends_somewhere_explained_and_no_invariant_breaks(world in any_world()) {
        let scenario = scenario(&world.text());
        let end = scenario::run(&scenario, &Options::default(), Box::new(Keep::default()));
        prop_assert_eq!(&end.footer.invariants, &Vec::<String>::new());
        for object in end.cluster.store().iter(Kind::Pod) {
            let Object::Pod(pod) = object else { continue };
            prop_assert!(explanation(pod).is_some(), "nothing explains {}: {:?}", pod.meta.name, pod.status);
            let placed = pod.node.is_some() || pod.status.phase == Phase::Pending;
            prop_assert!(placed || pod.status.phase == Phase::Failed, "{}: {:?}", pod.meta.name, pod.status);
        }
    }

    #[test]
    fn a_run_walks_the_same_states_on_every_thread(world in any_world()) {
        let text = world.text();
        let here = run(&scenario(&text), &Options::default());
        #[expect(clippy::disallowed_methods, reason = "that another thread changes nothing is the point")]
        let elsewhere = std::thread::spawn(move || run(&scenario(&text), &Options::default())).join().expect("it ended");
        prop_assert_eq!(here.footer.digest, elsewhere.footer.digest);
        prop_assert_eq!(here.records, elsewhere.records);
    }

    #[test]
    fn sleeping_says_the_same_as_polling_to_the_nanosecond(world in any_world()) {
        // Not equal yet: a kubelet that starts while its runtime is away.
        let any = |what: &str| world.faults.iter().any(|fault| fault.what.contains(what));
        prop_assume!(!any("runtime") || !(any("kubelet") || any("power")));
        let difference = difference(&world);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
}

/// Runs a world with sleeping kubelets and with polling ones: the first record that differs, with those before it.
fn difference(world: &SmallWorld) -> Option<String> {
    let scenario = scenario(&world.text());
    let sleeping = run(&scenario, &Options::default());
    let polling = run(&scenario, &Options { polling: true, ..Options::default() });
    let length = sleeping.records.len().max(polling.records.len());
    if let Some(at) = (0..length).find(|&at| sleeping.records.get(at) != polling.records.get(at)) {
        let around = |records: &[String]| records[at.saturating_sub(12)..(at + 4).min(records.len())].join("\n");
        let (sleeping, polling) = (around(&sleeping.records), around(&polling.records));
        return Some(format!("record {at}\nsleeping:\n{sleeping}\n\npolling:\n{polling}\n{}", world.text()));
    }
    let fewer = sleeping.footer.events < polling.footer.events;
    (!fewer).then(|| format!("{} events, polling {}", sleeping.footer.events, polling.footer.events))
}

/// Worlds in which sleeping once said something else than polling.
#[test]
fn these_worlds_look_the_same_to_kubelets_that_sleep_and_that_poll() {
    let workload = |kind, replicas, behavior| Workload {
        kind,
        replicas,
        cpu_milli: 50,
        probes: true,
        behavior: BEHAVIORS[behavior],
        zone_spread: false,
    };
    let world = |workload, faults, seed| SmallWorld { nodes: 1, cpu: 1, workloads: vec![workload], faults, seed };
    let stopped = || vec![Fault { at: 35, what: "{node: node-0, runtime: stopped}".to_owned(), lasts: 33 }];
    let off = vec![Fault { at: 3, what: "{node: node-1, power: off}".to_owned(), lasts: 10 }];
    let rebooted = Workload { probes: false, ..workload("Deployment", 2, 0) };
    let runtime = vec![Fault { at: 15, what: "{node: node-0, runtime: stopped}".to_owned(), lasts: 21 }];
    let unprobed = Workload { probes: false, ..workload("StatefulSet", 1, 3) };
    for world in [
        world(unprobed, Vec::new(), 7_857_144_116_926_027_640),
        world(workload("Deployment", 4, 2), runtime, 3),
        SmallWorld { nodes: 2, ..world(rebooted, off, 7_794_160_181_972_156_358) },
        world(workload("Job", 2, 8), stopped(), 2_490_515_534_284_697_079),
        world(workload("Deployment", 1, 7), Vec::new(), 1),
        world(workload("Deployment", 2, 7), stopped(), 2),
    ] {
        let difference = difference(&world);
        assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
}

#[test]
fn an_idle_cluster_schedules_no_events() {
    let text = "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {name: idle}\nuntil: 25h\n---\napiVersion: apps/v1\nkind: \
                Deployment\nmetadata: {name: w}\nspec: {replicas: 9, selector: {matchLabels: {app: w}}, template: {metadata: \
                {labels: {app: w}}, spec: {containers: [{name: c, image: \"registry.example.com/w:1\", readinessProbe: {httpGet: \
                {path: /, port: 80}, periodSeconds: 10}, livenessProbe: {httpGet: {path: /, port: 80}}}]}}}\n";
    let scenario = scenario(text);
    let after = |hours: u64| {
        let options = Options { until: Some(Duration::from_secs(hours * 3600)), ..Options::default() };
        scenario::run(&scenario, &options, Box::new(Keep::default())).footer.events
    };
    assert_eq!(after(1), after(25), "a day in which nothing happens");
}
