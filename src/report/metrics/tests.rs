use super::super::sample::zone_outage;
use super::{Tally, metrics};
use crate::trace::Sink;

#[test]
fn the_page_is_openmetrics_with_the_names_of_real_components() {
    let sample = zone_outage(1);
    let mut tally = Tally::new();
    sample.entries.iter().for_each(|entry| tally.take(entry));
    let text = metrics(&sample.header, &sample.journal(), &tally, &sample.footer);
    assert!(text.ends_with("# EOF\n"));
    let mut families: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default();
            assert!(!families.contains(&name), "{name} comes twice");
            families.push(name);
        } else if !line.starts_with('#') {
            let family = families.last().expect("a sample belongs to a family");
            assert!(line.starts_with(family), "{line} stands under {family}");
            assert!(line.ends_with(" 1767227700.000"), "{line} has no time");
        }
    }
    let shown: Vec<&str> = text
        .lines()
        .filter(|line| {
            line.contains("attempts_total")
                || line.contains("deployment=\"checkout\"")
                || line.contains("node=\"worker-eu-b-0\",condition")
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 14 1767227700.000
    scheduler_schedule_attempts_total{profile="default-scheduler",result="unschedulable"} 1 1767227700.000
    kube_node_status_condition{node="worker-eu-b-0",condition="Ready",status="true"} 1 1767227700.000
    kube_node_status_condition{node="worker-eu-b-0",condition="Ready",status="false"} 0 1767227700.000
    kube_node_status_condition{node="worker-eu-b-0",condition="Ready",status="unknown"} 0 1767227700.000
    kube_deployment_spec_replicas{namespace="shop",deployment="checkout"} 5 1767227700.000
    kube_deployment_status_replicas_ready{namespace="shop",deployment="checkout"} 5 1767227700.000
    kube_deployment_status_replicas_available{namespace="shop",deployment="checkout"} 5 1767227700.000
    "#);
}
