//! What does a day cost in which nothing happens?
//!
//! `cargo bench --bench idle` measures the day of 500 nodes with 15,000 ready pods; with `-- --full` it runs 5,000 nodes
//! and 150,000 pods once and says what their start-up cost.

mod support;

use criterion::{BatchSize, Criterion, criterion_group};
use simlet::client::{Action, Verb};
use simlet::cluster::Cluster;
use simlet::kernel::{Duration, Time};
use simlet::model::{Kind, Text};

use support::{asked, say, used};

#[derive(Clone, Copy)]
struct Size {
    nodes: u32,
    deployments: u32,
    replicas: u32,
}

const QUICK: Size = Size { nodes: 500, deployments: 3, replicas: 5_000 };
const FULL: Size = Size { nodes: 5_000, deployments: 30, replicas: 5_000 };

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cluster whose pods are all ready and in which nothing is left to do.
fn started(size: Size) -> Cluster {
    let mut text = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: idle}}\ncluster: {{nodes: [{{count: {}, zones: [a, b, c], \
         capacity: {{cpu: \"32\", memory: 128Gi, pods: 110}}}}]}}\n",
        size.nodes
    );
    for number in 0..size.deployments {
        text.push_str(&format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web-{number}}}\nspec: {{replicas: {}, selector: \
             {{matchLabels: {{app: web-{number}}}}}, template: {{metadata: {{labels: {{app: web-{number}}}}}, spec: {{containers: \
             [{{name: server, image: \"registry.example.com/web:1\", readinessProbe: {{httpGet: {{path: /, port: 80}}, \
             periodSeconds: 10}}, resources: {{requests: {{cpu: 200m, memory: 256Mi}}}}}}]}}}}}}\n",
            size.replicas
        ));
    }
    let scenario = support::scenario(&text);
    let mut cluster = support::cluster(scenario.config.clone());
    for (text, objects) in &scenario.applied {
        let verb = Verb::Apply(std::sync::Arc::clone(objects));
        cluster.act(Action { text: Text::new(text), source: None, verb });
    }
    let wanted = (size.deployments * size.replicas) as usize;
    let mut at = Time::ZERO;
    while ready(&cluster) < wanted {
        assert!(at < Time::ZERO + DAY, "{} of {wanted} pods are ready", ready(&cluster));
        at += Duration::from_secs(300);
        cluster.run_until(at);
    }
    // Timers of the start-up and the Events' aggregation end within the hour.
    cluster.run_until(at + Duration::from_secs(3600));
    cluster
}

fn ready(cluster: &Cluster) -> usize {
    cluster.store().iter(Kind::Pod).filter(|pod| pod.as_pod().is_some_and(|pod| pod.is_ready())).count()
}

fn day(mut cluster: Cluster) -> Cluster {
    let until = cluster.now() + DAY;
    cluster.run_until(until);
    cluster
}

fn once(size: Size) {
    let before = used();
    let cluster = started(size);
    let (up, events, at) = (used(), cluster.events(), cluster.now());
    let pods = f64::from(size.deployments * size.replicas);
    say(&format!(
        "{} nodes, {pods} pods: start-up {:.2} CPU s, {:.0} pods/CPU s, {events} events, {} simulated, peak {:.0} MB, {:.2} KB a pod",
        size.nodes,
        up.cpu_seconds - before.cpu_seconds,
        pods / (up.cpu_seconds - before.cpu_seconds),
        at.since(Time::ZERO),
        up.peak_kib as f64 / 1024.0,
        (up.peak_kib - before.resident_kib) as f64 / pods,
    ));
    let cluster = day(cluster);
    say(&format!(
        "the day after: {:.3} CPU s, {} events, digest {:016x}",
        used().cpu_seconds - up.cpu_seconds,
        cluster.events() - events,
        cluster.digest(),
    ));
}

fn idle(criterion: &mut Criterion) {
    let mut cluster = Some(started(QUICK));
    // A cluster can't be cloned, but a day after a quiet day is like it.
    criterion.bench_function("a quiet day of 15,000 pods on 500 nodes", |bencher| {
        bencher.iter_batched(|| (), |()| cluster = cluster.take().map(day), BatchSize::PerIteration);
    });
}

criterion_group! { name = benches; config = Criterion::default().sample_size(10); targets = idle }

fn main() {
    match () {
        () if asked("--full") => once(FULL),
        () if asked("--once") => once(QUICK),
        () => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
