//! Stories of made-up runs.

use super::super::Style;
use super::super::journal::Journal;
use super::super::sample::{Sample, zone_outage};
use super::story;
use crate::trace::Sink;

fn tell(sample: &Sample) -> String {
    story(&sample.header, &sample.journal(), &sample.footer, &Style::PLAIN)
}

#[test]
fn a_zone_outage_is_told_with_its_causes() {
    insta::assert_snapshot!(tell(&zone_outage(1)),  @r#"
    zone-outage   3 nodes · 3 zones · 15 pods · seed 7 · Kubernetes 1.36

        +0:00    4 workloads applied             3 Deployments, 1 Job
        +0:16    8 of 8 pods ready               p50 9.4s  p99 16.1s  slowest:
                                                 search-7f9c-000 (pull 10.6s)
        +1:01    job/report complete             in 1m, 3 pods succeeded
                                                 zone-outage.yaml:70
        +1:30  ! search-7f9c-001 exits with 1    4 times until +2:58, after 4.2s
        +1:30    endpoints search 3 → 2
        +4:25    endpoints search 2 → 3
        +6:00  ! zone eu-a lost power            4 pods  zone-outage.yaml:45
        +6:52  ! node worker-eu-a-0 NotReady     Kubelet stopped posting node
                                                 status; 52s after zone eu-a lost
                                                 power
        +6:52    node worker-eu-a-0 tainted NoExecute  unreachable
        +6:52    3 services lose endpoints       checkout 3 → 1, catalog 2 → 1,
                                                 search 3 → 2; zone eu-a lost power
                                                 at +6:00
       +11:52  ! 4 pods evicted                  tolerationSeconds 300 after each
                                                 taint
       +11:52  ! 4 replacements created          3 scheduled, 1 pending:
                                                 Insufficient cpu
       +11:52  ! pod search-7f9c-001r unschedulable
                                                 0/3 nodes are available: 2
                                                 Insufficient cpu, 1 node(s) had
                                                 untolerated taint
                                                 {node.kubernetes.io/unreachable: }
                                                 zone-outage.yaml:60
       +12:18    2 services regain endpoints     checkout 1 → 3, catalog 1 → 2;
                                                 until +12:32
       +12:32    3 of 4 pods ready               p50 39.9s  p99 40.8s  slowest:
                                                 catalog-7f9c-000r (pull 38.2s)
       +21:00    zone eu-a lost power ends       4 pods  zone-outage.yaml:45
       +21:30    node worker-eu-a-0 Ready again  30s after the end of zone eu-a lost
                                                 power
       +21:30    node worker-eu-a-0 free of NoExecute  unreachable
       +21:40    kubectl scale deployment/checkout --replicas=5
                                                 3 → 5 replicas  zone-outage.yaml:48
       +21:42    2 of 2 pods ready               p50 2.1s  p99 2.1s  slowest:
                                                 checkout-7f9c-003 (ready 1.5s)
       +23:20    kubectl set image deployment/catalog server=catalog:v3-typo
                                                 a roll-out begins
                                                 zone-outage.yaml:50
       +23:22  ! image catalog:v3-typo can't be pulled  1 pod: not found
       +33:20  ! deployment/catalog exceeded its progress deadline
                                                 ReplicaSet "catalog-7f9c" has timed
                                                 out progressing.
                                                 zone-outage.yaml:30
        35:00    9 of 11 pods ready, 2 pending

        Pending search-7f9c-001r
            0/3 nodes are available: 2 Insufficient cpu, 1 node(s) had untolerated
            taint {node.kubernetes.io/unreachable: }
        ImagePullBackOff catalog-7f9c-new
            Back-off pulling image "catalog:v3-typo"

      expectations   1 held, 1 failed
        held    all start: within 2m pods("app=checkout").filter(p,
                    p.ready).size() == 3
                after 14.2s
        FAILED  always, after 2m endpoints("checkout").ready >= 2
                broken from +6:52 to +12:29, worst 1 ready for 5m37s
                at zone-outage.yaml:61
                next: simlet why pod/checkout-7f9c-000 --at 6m53s

      not simulated: 2 Ingress, 1 NetworkPolicy

      digest 5f2c91d0a1b2c3d4, the same on any machine                   3.4k events
    "#);
}

#[test]
fn thirty_nodes_read_like_three() {
    let text = tell(&zone_outage(10));
    insta::assert_snapshot!(text,  @r#"
    zone-outage   30 nodes · 3 zones · 75 pods · seed 7 · Kubernetes 1.36

        +0:00    4 workloads applied             3 Deployments, 1 Job
        +0:30    53 of 53 pods ready             p50 10.4s  p99 30.7s  slowest:
                                                 search-7f9c-017 (pull 26.5s)
        +1:01    job/report complete             in 1m, 3 pods succeeded
                                                 zone-outage.yaml:70
        +1:30  ! search-7f9c-001 exits with 1    4 times until +2:58, after 4.2s
        +1:30    endpoints search 30 → 29
        +4:25    endpoints search 29 → 30
        +6:00  ! zone eu-a lost power            10 nodes, 19 pods
                                                 zone-outage.yaml:45
        +6:52  ! 10 nodes NotReady               Kubelet stopped posting node
                                                 status; 52s after zone eu-a lost
                                                 power
        +6:52    10 nodes tainted NoExecute      unreachable, until +8:22: a node in
                                                 10s
        +6:52    3 services lose endpoints       checkout 3 → 1, search 30 → 20,
                                                 catalog 20 → 13; zone eu-a lost
                                                 power at +6:00
       +11:52  ! 19 pods evicted                 until +13:22: tolerationSeconds 300
                                                 after each taint
       +11:52  ! 19 replacements created         until +13:22: 15 scheduled, 4
                                                 pending: Insufficient cpu
       +12:02  ! 4 pods of catalog unschedulable
                                                 0/30 nodes are available: 20
                                                 Insufficient cpu, 10 node(s) had
                                                 untolerated taint
                                                 {node.kubernetes.io/unreachable: }
                                                 zone-outage.yaml:40
       +12:21    3 services regain endpoints     search 20 → 30, checkout 1 → 3,
                                                 catalog 13 → 16; until +13:56
       +13:56    15 of 19 pods ready             p50 34.5s  p99 44.6s  slowest:
                                                 search-7f9c-001r (pull 42s)
       +21:00    zone eu-a lost power ends       10 nodes, 19 pods
                                                 zone-outage.yaml:45
       +21:30    10 nodes Ready again            30s after the end of zone eu-a lost
                                                 power
       +21:30    10 nodes free of NoExecute      unreachable
       +21:40    kubectl scale deployment/checkout --replicas=5
                                                 3 → 5 replicas  zone-outage.yaml:48
       +21:42    2 of 2 pods ready               p50 2.1s  p99 2.1s  slowest:
                                                 checkout-7f9c-003 (ready 1.5s)
       +23:20    kubectl set image deployment/catalog server=catalog:v3-typo
                                                 a roll-out begins
                                                 zone-outage.yaml:50
       +23:22  ! image catalog:v3-typo can't be pulled  1 pod: not found
       +33:20  ! deployment/catalog exceeded its progress deadline
                                                 ReplicaSet "catalog-7f9c" has timed
                                                 out progressing.
                                                 zone-outage.yaml:30
        35:00    51 of 56 pods ready, 5 pending

        Pending 4 pods of catalog
            0/30 nodes are available: 20 Insufficient cpu, 10 node(s) had
            untolerated taint {node.kubernetes.io/unreachable: }
        ImagePullBackOff catalog-7f9c-new
            Back-off pulling image "catalog:v3-typo"

      expectations   1 held, 1 failed
        held    all start: within 2m pods("app=checkout").filter(p,
                    p.ready).size() == 3
                after 14.2s
        FAILED  always, after 2m endpoints("checkout").ready >= 2
                broken from +6:52 to +12:29, worst 1 ready for 5m37s
                at zone-outage.yaml:61
                next: simlet why pod/checkout-7f9c-000 --at 6m53s

      not simulated: 2 Ingress, 1 NetworkPolicy

      digest 5f2c91d0a1b2c3d4, the same on any machine                  16.9k events
    "#);
    let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
    assert!(widest.chars().count() <= 80, "{widest}");
}

#[test]
fn a_trace_that_was_read_back_tells_the_same_story() {
    let sample = zone_outage(3);
    let mut writer = crate::trace::Writer::new(Vec::new(), &sample.header);
    for entry in &sample.entries {
        writer.take(entry);
    }
    let file = writer.finish(&sample.footer).expect("a vector takes everything");
    let mut journal = Journal::new();
    let reader = crate::trace::Reader::new(file.as_slice(), "trace.jsonl").expect("it is a trace");
    let (header, footer) = reader.read_all(&mut journal).expect("it is whole");
    assert_eq!(story(&header, &journal, &footer, &Style::PLAIN), tell(&sample));
    let page = |header, journal, footer| super::super::html(header, journal, footer).expect("it can be drawn");
    assert!(page(&header, &journal, &footer) == page(&sample.header, &sample.journal(), &sample.footer));
}
