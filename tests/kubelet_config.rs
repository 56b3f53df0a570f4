//! KubeletConfiguration files are taken and refused as the kubelet of 1.36 does, and become its settings.

use std::path::PathBuf;

use simlet::kernel::Duration;
use simlet::manifest::{Problem, Source};
use simlet::model::{Bytes, MilliCpu};
use simlet::scenario::kubelet_config::{self, Read};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/configs/kubelet")
}

fn read(texts: &[(&str, &str)]) -> (Read, Vec<String>) {
    let sources: Vec<Source> = texts.iter().map(|(name, text)| Source::new(*name, *text)).collect();
    let read = kubelet_config::read(&sources.iter().collect::<Vec<_>>());
    let line = |(index, problem): &(usize, Problem)| {
        let place = sources[*index].place(problem.at.start);
        let warning = if problem.is_error() { "" } else { "warning: " };
        let colon = if problem.field.is_empty() { "" } else { ": " };
        let name = &sources[*index].name;
        format!("{name}:{}:{}: {warning}{}{colon}{}", place.line, place.column, problem.field, problem.kind)
    };
    let lines = read.problems.iter().map(line).collect();
    (read, lines)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn settings(file: &str) -> simlet::kubelet::KubeletConfiguration {
    let (read, problems) = read(&[(file, &text(file))]);
    read.settings.unwrap_or_else(|| panic!("{file} is refused: {problems:#?}"))
}

/// The files that no kubelet starts with: a template that nobody rendered, cuttings with an ellipsis or without the lines
/// between documents, an apiVersion that is gone.
fn is_none(file: &str) -> bool {
    let text = text(file);
    text.contains("{{")
        || text.contains("v1alpha1\nkind: KubeletConfiguration")
        || text.contains("\n  ...")
        || text.contains("kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\n\napiVersion")
}

#[test]
fn files_of_others_are_taken_unchanged() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .expect("../shared/data/configs/kubelet is missing")
        .map(|entry| entry.expect("the folder can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.ends_with(".md"))
        .collect();
    files.sort();
    assert!(files.len() > 20, "only {} files", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let (read, problems) = read(&[(file, &text(file))]);
        if read.settings.is_some() == is_none(file) {
            wrong.push(format!("{file}: taken: {}, {problems:#?}", read.settings.is_some()));
        }
        if read.settings.is_none() && problems.is_empty() {
            wrong.push(format!("{file} is refused without a word"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn kubernetes_own_defaults_are_ours() {
    assert_eq!(settings("kubernetes-scheme-after-v1beta1.yaml"), settings("kubernetes-scheme-before-v1beta1.yaml"));
}

#[test]
fn what_a_cloud_writes_for_its_nodes_becomes_settings() {
    let eks = settings("eks-custom-max-pods-expression-expected-kubelet-config.json");
    assert_eq!((eks.max_pods, eks.serialize_image_pulls), (44, false));
    assert_eq!((eks.kube_reserved.cpu, eks.kube_reserved.memory), (MilliCpu(70), Bytes(739 << 20)));
    assert_eq!(eks.eviction.thresholds.len(), 3);
    let shutdown = settings("eks-kubelet-config-set-empty-expected-kubelet-config.json");
    assert_eq!(shutdown.shutdown_grace_periods.len(), 2);
    assert_eq!(settings("argo-workflows-e2e.yaml").image_minimum_gc_age, Duration::from_secs(3600));
}

#[test]
fn a_drop_in_is_laid_over_the_file() {
    let whole = "eks-kubelet-config-set-empty-expected-kubelet-config.json";
    let over = "eks-mime-userdata-merge-expected-kubelet-config-drop-in.json";
    let (read, problems) = read(&[(whole, &text(whole)), (over, &text(over))]);
    assert_eq!(problems, [] as [String; 0]);
    let both = read.settings.expect("both together are valid");
    assert_eq!((both.max_pods, both.system_reserved.cpu), (58, MilliCpu(150)));
    assert_eq!(both.kube_reserved.memory, Bytes(893 << 20));
}

#[test]
fn problems_stand_where_they_are_in_the_file_that_they_are_in() {
    let whole = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: -3\nmaxPod: 4\nfeatureGates:\n  NodeSwop: true\n";
    let over = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nevictionHard:\n  memory.available: 1x\nsyncFrequency: 5\n";
    let (read, problems) = read(&[("kubelet.yaml", whole), ("10.conf", over)]);
    assert!(read.settings.is_none());
    insta::assert_snapshot!(problems.join("\n"), @r"
    kubelet.yaml:3:10: maxPods: invalid configuration: maxPods (--max-pods) -3 must not be a negative number
    kubelet.yaml:4:1: maxPod: unknown field `maxPod`
    kubelet.yaml:6:13: featureGates[NodeSwop]: unrecognized feature gate: NodeSwop
    10.conf:4:21: evictionHard[memory.available]: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
    10.conf:5:16: syncFrequency: a number (5) where a string is expected
    ");
}

#[test]
fn fields_without_effect_are_listed() {
    let text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 20\nclusterDNS: [10.0.0.10]\nlogging: {verbosity: 3}\nevictionHard: {memory.available: 1Gi}\nfeatureGates: {RotateKubeletServerCertificate: true}\n";
    let (read, _) = read(&[("kubelet.yaml", text)]);
    assert_eq!(read.without_effect, ["clusterDNS", "logging.verbosity", "featureGates.RotateKubeletServerCertificate"]);
}
