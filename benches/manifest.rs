//! How fast are Kubernetes files read? Dumps of real clusters, many times over, as YAML and as JSON, to checked objects.

use std::fs;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use simlet::manifest::{Source, load};

fn dump(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/dumps").join(file);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("the shared corpora are missing: {}: {error}", path.display()))
}

fn throughput(criterion: &mut Criterion) {
    let yaml = format!("{}\n---\n", dump("openshift-insights/nodes-pods.yaml")).repeat(4);
    let json = dump("kurl-three-nodes/cluster.json");
    let minified = serde_json::from_str::<Value>(&json).expect("the dump is JSON").to_string();
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    for (name, text) in [("yaml", yaml), ("json", json.repeat(4)), ("json-minified", minified.repeat(4))] {
        let sources = [Source::new(name, text)];
        assert!(!load(&sources).has_errors(), "{name}");
        group.throughput(Throughput::Bytes(sources[0].text().len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| load(&sources).objects.len());
        });
    }
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
