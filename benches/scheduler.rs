//! How many pods a second of CPU does the scheduler place on 5,000 nodes?
//!
//! The first group is the whole scheduler with its queue, events and bindings; the others are its decisions alone, each made
//! on what the ones before left.

#[path = "support/decisions.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod decisions;

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use decisions::cluster::{Cluster, spec};
use decisions::{cases, worker};
use simlet::kernel::{Distribution, Duration, Time};
use simlet::model::workload::ReplicaSet;
use simlet::model::{Kind, Labels, Meta, Name, Object, OwnerReference, Selector, Uid};
use simlet::protocol::api::WatchEvent;
use simlet::scheduler::Config;

const NODES: usize = 5000;
const PODS: usize = 10_000;

/// 5,000 nodes in 3 zones, and the pods in the scheduler's inbox.
fn prepared(specs: usize, deployment: bool) -> Cluster {
    let config =
        Config { client_qps: 0, cycle_time: Distribution::Constant(Duration::from_micros(100)), ..Config::default() };
    let mut cluster = Cluster::new(config);
    cluster.keep_log = false;
    for number in 0..NODES {
        cluster.add_node(worker(number));
    }
    cluster.run_until(Time::from_secs(1));
    if deployment {
        cluster.labels = Labels::new([(Name::new("app"), Name::new("web"))]);
        let selector = Selector::from_labels(&cluster.labels);
        let meta = Meta::named("default", "web");
        let set = Arc::new(ReplicaSet { meta, selector, ..ReplicaSet::default() });
        cluster.tell(WatchEvent::Added(Object::ReplicaSet(set)));
        cluster.owner =
            Some(OwnerReference { kind: Kind::ReplicaSet, name: Name::new("web"), uid: Uid(1), block_deletion: true });
    }
    let specs: Vec<_> = (0..specs).map(|number| Arc::new(spec(100 + number as i64))).collect();
    for number in 0..PODS {
        cluster.add_pod(&format!("pod-{number}"), &specs[number % specs.len()]);
    }
    cluster
}

fn place(mut cluster: Cluster) -> Cluster {
    cluster.run_until(Time::from_secs(60));
    assert_eq!(cluster.bound, PODS, "every pod was placed");
    cluster
}

fn pods_on_5000_nodes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 pods on 5,000 nodes");
    group.throughput(Throughput::Elements(PODS as u64)).sample_size(10);
    let cases = [("one spec", 1, false), ("100 specs", 100, false), ("one Deployment", 1, true)];
    for (name, specs, deployment) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| prepared(specs, deployment), place, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn decisions_on_5000_nodes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decisions on 5,000 nodes");
    group.sample_size(10);
    for case in cases() {
        let pods = case.pods_on(NODES);
        group.throughput(Throughput::Elements(pods as u64));
        group.bench_function(case.name, |bencher| {
            bencher.iter_batched(|| case.cluster(NODES), |bare| bare.decide(&case.spec, pods), BatchSize::PerIteration);
        });
    }
    if let Some(plain) = cases().first() {
        let pods = plain.pods_on(NODES);
        group.throughput(Throughput::Elements(pods as u64));
        group.bench_function("plain pods, one worker", |bencher| {
            let prepared = || plain.cluster(NODES).with_one_worker();
            bencher.iter_batched(prepared, |bare| bare.decide(&plain.spec, pods), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, pods_on_5000_nodes, decisions_on_5000_nodes);
criterion_main!(benches);
