//! The openb trace: what its files hold, and what schedulers make of it.

use std::path::PathBuf;

use simlet::scenario::openb::{
    Fill, Filled, Gpus, Trace, TraceNode, TracePod, fill, read_expected, read_nodes, read_pods, scheduler_of,
};
use simlet::scheduler::Config;

fn read(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/traces/alibaba-openb").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn nodes(name: &str) -> Vec<TraceNode> {
    let file = format!("openb_node_list_{name}.csv");
    read_nodes(&file, &read(&file)).unwrap_or_else(|problem| panic!("{problem}"))
}

fn pods(name: &str) -> Vec<TracePod> {
    let file = format!("openb_pod_list_{name}.csv");
    read_pods(&file, &read(&file)).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn the_nodes_are_those_that_the_trace_tells_of() {
    let sums = |nodes: &[TraceNode]| {
        let sum = |of: fn(&TraceNode) -> i64| nodes.iter().map(of).sum::<i64>();
        (nodes.len(), sum(|node| node.gpus), sum(|node| node.cpu_milli) / 1000, sum(|node| node.memory_mib) / 1024)
    };
    assert_eq!(sums(&nodes("gpu_node")), (1213, 6212, 107_018, 492_020));
    assert_eq!(sums(&nodes("all_node")), (1523, 6212, 125_514, 597_684));
}

#[test]
fn every_list_of_pods_is_read() {
    let lists = [
        ("default", 8152),
        ("cpu050", 7439),
        ("cpu200", 8832),
        ("gpushare40", 8152),
        ("gpushare100", 8152),
        ("gpuspec33", 8152),
        ("multigpu20", 8324),
        ("multigpu50", 9061),
    ];
    assert_eq!(lists.map(|(name, _)| (name, pods(name).len())), lists);
    let pods = pods("default");
    assert_eq!(pods.iter().map(TracePod::milli).sum::<i64>() / 100, 60_868);
    assert_eq!(pods.iter().filter(|pod| pod.scheduled.is_none()).count(), 897);
    let shared = pods.iter().filter(|pod| pod.gpus == 1 && pod.gpu_milli < 1000).count();
    assert_eq!((shared * 1000 + pods.len() / 2) / pods.len(), 378, "37.8 % ask for a part of a GPU");
}

/// The experiment up to 100 % of the GPUs.
fn play(scheduler: Config, gpus: Gpus) -> Filled {
    let trace = Trace { nodes: nodes("gpu_node"), pods: pods("default") };
    fill(&Fill { trace: &trace, gpus, scheduler: Config { client_qps: 0, ..scheduler }, seed: 42, percent: 100 })
}

#[test]
fn the_default_scheduler_allocates_more_than_the_papers_random_one_and_not_everything() {
    let filled = play(Config::default(), Gpus::Milli);
    let file = "expected/gpu-allocation-percent.csv";
    let expected = read_expected(file, &read(file), "openb_pod_list_default").unwrap_or_default();
    let (point, allocated, fitting) = filled.allocated.last().copied().unwrap_or_default();
    assert_eq!(point, 100);
    let random = expected["01-Random"][&100];
    assert!((random..99.0).contains(&allocated), "{allocated} beside {random}");
    assert!(fitting < allocated, "{fitting} of {allocated} fits on cards");
}

#[test]
fn whole_cards_are_taken_by_shares() {
    let (milli, whole) = (play(Config::default(), Gpus::Milli), play(Config::default(), Gpus::Whole));
    assert!(whole.placed < milli.placed, "{} < {}", whole.placed, milli.placed);
    let (_, allocated, fitting) = whole.allocated.last().copied().unwrap_or_default();
    assert_eq!(allocated, fitting, "what has a card of its own fits on it");
}

#[test]
fn the_experiment_is_the_same_each_time_and_another_with_another_scheduler() {
    let text = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- pluginConfig:\n  \
                - {name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}\n";
    let packing = scheduler_of(&simlet::manifest::Source::new("scheduler.yaml", text)).expect("it can be read");
    let (one, other) = (play(packing.clone(), Gpus::Milli), play(packing, Gpus::Milli));
    assert_eq!(one, other);
    assert_ne!(one.digest, play(Config::default(), Gpus::Milli).digest);
}
