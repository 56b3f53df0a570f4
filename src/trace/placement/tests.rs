use super::*;

/// `web=n1,n1,n2,-` : a pod of `web` without a node for each `-`.
fn placement(text: &str) -> Placement {
    let mut placement = Placement::default();
    for (node, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")] {
        let room = Room { zone: zone.to_owned(), ..Room::default() };
        placement.nodes.insert(node.to_owned(), room);
    }
    for part in text.split_whitespace() {
        let (workload, places) = part.split_once('=').expect("workload=places");
        let placed = placement.workloads.entry(workload.to_owned()).or_default();
        for place in places.split(',').filter(|place| !place.is_empty()) {
            let map = if place == "-" { &mut placed.pending } else { &mut placed.nodes };
            *map.entry(if place == "-" { "Insufficient cpu" } else { place }.to_owned()).or_default() += 1;
        }
    }
    placement
}

fn check(before: &str, after: &str, by: By, expected: &str) {
    let found = Comparison::of(&placement(before), &placement(after), by);
    let lines: Vec<String> = found
        .workloads
        .iter()
        .flat_map(|changed| {
            changed.lines().into_iter().map(|(mark, line)| format!("{} {mark} {line}", changed.workload))
        })
        .collect();
    assert_eq!(lines.join("; "), expected, "{before} and {after}");
}

#[test]
fn pods_that_stay_are_not_mentioned() {
    check("web=n1,n1,n2 db=n3", "web=n2,n1,n1 db=n3", By::Node, "");
}

#[test]
fn a_pod_that_moved_stayed_in_its_zone_where_it_can_have() {
    check("web=n1,n3", "web=n2,n4", By::Node, "web ~ 1 moved  n1 → n2; web ~ 1 moved  n3 → n4");
    check("web=n1,n3", "web=n2,n4", By::Zone, "");
    check("web=n1,n2", "web=n3,n1", By::Zone, "web ~ 1 moved  a → b");
}

#[test]
fn pods_lose_their_node_or_get_one() {
    check("web=n1,n2", "web=n1,-", By::Node, "web ! 1 pending: Insufficient cpu (was on n2)");
    check("web=n1,-", "web=n1,n3", By::Node, "web + 1 on n3, was pending");
    check("web=n1", "web=n1,-", By::Node, "web ! 1 pending: Insufficient cpu (1 new)");
}

#[test]
fn many_moves_are_told_by_zone() {
    let before = "web=n1,n1,n2,n2,n2,n3";
    let moves = Comparison::of(&placement(before), &placement("web=n4,n4,n4,n1,n1,n1"), By::Node);
    assert_eq!(moves.moved(), 4);
    let all: Vec<String> = moves.workloads[0].lines().into_iter().map(|(_, line)| line).collect();
    assert_eq!(all, ["1 moved  n2 → n1", "2 moved  n2 → n4", "1 moved  n3 → n4"]);
    let changed = Changed { told_one_by_one: 2, ..moves.workloads[0].clone() };
    let all: Vec<String> = changed.lines().into_iter().map(|(_, line)| line).collect();
    assert_eq!(all, ["1 moved within a", "2 moved  a → b", "1 moved within b"]);
}

#[test]
fn pods_come_and_go() {
    check("web=n1", "web=n1,n2 job=n4", By::Node, "job + 1 new on n4; web + 1 new on n2");
    check("web=n1,n2,-", "web=n1", By::Node, "web - 1 gone, was pending; web - 1 gone from n2");
}

#[test]
fn what_is_beyond_the_tolerance_is_said_in_numbers() {
    let beyond = |before: &str, after: &str, changed: &str, pending: u32| {
        let tolerance = Tolerance { changed: Allowed::parse(changed).expect("a share"), pending };
        Comparison::of(&placement(before), &placement(after), By::Node).beyond(&tolerance).join("; ")
    };
    assert_eq!(beyond("web=n1,n2", "web=n1,n3", "0", 0), "1 of 2 pods are elsewhere, new or gone, 0 tolerated");
    assert_eq!(beyond("web=n1,n2", "web=n1,n3", "50%", 0), "");
    assert_eq!(beyond("web=n1,n2", "web=n1,-", "100%", 0), "1 new pending, 0 tolerated");
    assert_eq!(beyond("web=n1,n2", "web=n1,-", "100%", 1), "");
}

#[test]
fn the_file_of_a_placement_reads_back_and_has_a_line_a_workload() {
    let mut placement = placement("web=n1,n1,- db=n3");
    placement.add_preemption("Pod d/low".to_owned(), "Pod d/high".to_owned());
    let file = placement.to_file();
    assert!(file.contains("\n    \"web\": {\"nodes\":{\"n1\":2},\"pending\":{\"Insufficient cpu\":1}}"), "{file}");
    assert_eq!(Placement::from_file(&file), Ok(placement));
    assert!(Placement::from_file("{}").is_err());
    assert!(Placement::from_file(&file.replace("Placement", "Scenario")).is_err());
}

#[test]
fn a_reason_has_no_numbers_of_nodes() {
    let mut pod = Pod::default();
    assert_eq!(reason(&pod), "not tried");
    let message = "0/30 nodes are available: 18 Insufficient cpu, 9 node(s) had untolerated taint {a: b}, 3 Insufficient \
                   memory. no new claims to deallocate, preemption: 0/30 nodes are available: 30 No preemption victims found for incoming pod.";
    condition::set(
        &mut pod.status.conditions,
        crate::kernel::Time::ZERO,
        crate::model::Name::new("PodScheduled"),
        ConditionStatus::False,
        crate::model::Name::new("Unschedulable"),
        crate::model::Text::new(message),
    );
    assert_eq!(reason(&pod), "Insufficient cpu, Insufficient memory, node(s) had untolerated taint {a: b}");
}
