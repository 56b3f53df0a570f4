//! What does a pod's whole life cost: created, scheduled, pulled, run, reported, ended, collected?
//!
//! `cargo bench --bench lifecycle` measures 100 nodes and 10,000 pods over an hour; with `-- --full` it runs 1,000 nodes
//! and 100,000 pods over 10 hours once, and with `-- --long` ten times the pods through the 100 nodes, which must
//! not take more memory.

mod support;

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use simlet::client::{Action, Verb};
use simlet::cluster::{Cluster, Config};
use simlet::kernel::{Distribution, Duration, Streams, Time};
use simlet::model::{Kind, Name, Object, Text};

use support::{asked, say, used};

#[derive(Clone, Copy)]
struct Size {
    nodes: u32,
    pods: u32,
    hours: u64,
}

const QUICK: Size = Size { nodes: 100, pods: 10_000, hours: 1 };
const FULL: Size = Size { nodes: 1_000, pods: 100_000, hours: 10 };
const LONG: Size = Size { nodes: 100, pods: 100_000, hours: 10 };

/// The work to come: when the next pod is due, and what it is.
struct Work {
    config: Config,
    templates: Vec<Object>,
    size: Size,
}

fn work(size: Size) -> Work {
    let mut text = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: lifecycle}}\ncluster:\n  nodes: [{{count: {}, capacity: {{cpu: \
         \"64\", memory: 256Gi, pods: 110}}}}]\nbehaviors: [{{match: {{image: \"*\"}}, exit: {{after: {{exponential: 20m}}, \
         code: 0}}}}]\n",
        size.nodes
    );
    for cpu in ["500m", "1", "2", "4"] {
        let spec = format!(
            "{{restartPolicy: Never, containers: [{{name: main, image: \"registry.example.com/work:1\", resources: {{requests: \
             {{cpu: {cpu}, memory: 1Gi}}}}}}]}}"
        );
        let name = format!("work-{cpu}");
        for _ in 0..3 {
            text.push_str(&format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-{}}}\nspec: {spec}\n",
                text.len()
            ));
        }
        text.push_str(&format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {{ttlSecondsAfterFinished: 600, template: \
             {{spec: {spec}}}}}\n"
        ));
    }
    let scenario = support::scenario(&text);
    let templates = scenario.applied.iter().flat_map(|(_, objects)| objects.iter().cloned()).collect();
    Work { config: scenario.config, templates, size }
}

/// Each pod is made when it is due; afterwards all end by themselves.
fn run(work: &Work) -> Cluster {
    let mut cluster = support::cluster(work.config.clone());
    let length = Duration::from_secs(work.size.hours * 3600);
    let between = Distribution::Exponential { mean: length / u64::from(work.size.pods) };
    let mut arrivals = Streams::new(7).stream("bench", "arrivals");
    // The nodes get ready first.
    let mut at = Time::from_secs(60);
    for number in 0..work.size.pods {
        at += arrivals.draw(&between);
        cluster.run_until(at);
        let mut object = work.templates[number as usize % work.templates.len()].clone();
        object.meta_mut().name = Name::from(format!("work-{number}"));
        let verb = Verb::Apply(Arc::new([object]));
        cluster.act(Action { text: Text::default(), source: None, verb });
    }
    cluster.run_until(at + Duration::from_secs(2 * 3600));
    cluster.check_all();
    assert_eq!(cluster.broken_invariants(), Vec::<String>::new());
    cluster
}

fn once(size: Size) {
    let work = work(size);
    let before = used();
    let cluster = run(&work);
    let after = used();
    let cpu = after.cpu_seconds - before.cpu_seconds;
    let ended =
        cluster.store().iter(Kind::Pod).filter(|pod| pod.as_pod().is_some_and(|pod| pod.status.phase.is_terminal()));
    let (pods, events) = (f64::from(size.pods), cluster.events());
    say(&format!(
        "{} nodes, {} pods: {cpu:.2} CPU s, {:.0} pods/CPU s, {events} events ({:.1} a pod, {:.0} ns each), peak {:.0} MB, {:.2} KB a \
         pod, {} ended pods kept, digest {:016x}",
        size.nodes,
        size.pods,
        pods / cpu,
        events as f64 / pods,
        cpu * 1e9 / events as f64,
        after.peak_kib as f64 / 1024.0,
        (after.peak_kib - before.resident_kib) as f64 / pods,
        ended.count(),
        cluster.digest(),
    ));
}

fn lifecycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lifecycle");
    group.throughput(Throughput::Elements(u64::from(QUICK.pods))).sample_size(10);
    let work = work(QUICK);
    group.bench_function("10,000 pods on 100 nodes", |bencher| {
        bencher.iter_batched(|| (), |()| run(&work), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, lifecycle);

fn main() {
    match () {
        () if asked("--full") => once(FULL),
        () if asked("--long") => once(LONG),
        () if asked("--once") => once(QUICK),
        () => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
