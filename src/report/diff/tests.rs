use super::super::Style;
use super::*;
use crate::model::Source;
use crate::trace::SourceFile;
use crate::trace::placement::{Allowed, Room};

const BEFORE: &str = "kind: Deployment\nmetadata: {name: web}\nspec:\n  nodeSelector: {pool: general}\n  replicas: 3\n---\nkind: Service\n";

/// A run over `text` that placed `web` on these nodes.
fn side(name: &str, text: &str, on: &[(&str, u32)], pending: u32) -> Side {
    let mut placement = Placement::default();
    for (node, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
        let used = on.iter().find(|(name, _)| *name == node).map_or(0, |(_, count)| i64::from(*count));
        let room = Room { zone: zone.to_owned(), cpu: [used * 500, 4000], memory: [0, 1 << 30], pods: [used, 110] };
        placement.nodes.insert(node.to_owned(), room);
    }
    let placed = placement.workloads.entry("Deployment default/web".to_owned()).or_default();
    placed.nodes = on.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
    if pending > 0 {
        placed.pending.insert("Insufficient cpu".to_owned(), pending);
    }
    placed.source = Some(Source { file: 0, line: 1 });
    let sources = vec![SourceFile { name: "shop.yaml".to_owned(), text: text.to_owned() }];
    Side { name: name.to_owned(), header: Header { sources, ..Header::default() }, placement, ..Side::default() }
}

fn moved() -> Diff {
    let after = BEFORE.replace("  nodeSelector: {pool: general}\n", "");
    let before = side("main", BEFORE, &[("n1", 2), ("n2", 1)], 0);
    Diff::of(before, side("HEAD", &after, &[("n1", 1), ("n3", 1)], 1), By::Node, &Tolerance::default())
}

#[test]
fn a_terminal_shows_what_differs_its_cause_and_the_sum() {
    insta::assert_snapshot!(terminal(&moved(), &Style::PLAIN), @r#"
    main → HEAD

      Deployment web   shop.yaml:1
        ~ 1 moved  n1 → n3
        ! 1 pending: Insufficient cpu (was on n2)
          spread   a 3 → 1, b 0 → 1
          cause    shop.yaml:4 nodeSelector: {pool: general} removed

      zone   nodes   pods    cpu asked for   memory asked for
      a      2       3 → 1   19 % → 6 %      0 %
      b      1       0 → 1   0 % → 13 %      0 %
      node
      n1             2 → 1   25 % → 13 %     0 %
      n2             1 → 0   13 % → 0 %      0 %
      n3             0 → 1   0 % → 13 %      0 %

    Plan: 1 moved, 1 new pending.
    beyond the tolerance: 1 of 3 pods are elsewhere, new or gone, 0 tolerated
    beyond the tolerance: 1 new pending, 0 tolerated
    "#);
}

#[test]
fn a_comment_on_a_pull_request_has_a_row_a_workload() {
    insta::assert_snapshot!(markdown(&moved()), @r#"
    ### ❌ Placement: 1 moved, 1 new pending

    `main` → `HEAD`

    **Beyond the tolerance:** 1 of 3 pods are elsewhere, new or gone, 0 tolerated

    **Beyond the tolerance:** 1 new pending, 0 tolerated

    | workload | what | spread | cause |
    | --- | --- | --- | --- |
    | Deployment web `shop.yaml:1` | 1 moved  n1 → n3<br>1 pending: Insufficient cpu (was on n2) | a 3 → 1, b 0 → 1 | `shop.yaml:4 nodeSelector: {pool: general} removed` |

    <details><summary>How full zones and nodes are</summary>

    | | nodes | pods | cpu asked for | memory asked for |
    | --- | --- | --- | --- | --- |
    | **a** | 2 | 3 → 1 | 19 % → 6 % | 0 % |
    | **b** | 1 | 0 → 1 | 0 % → 13 % | 0 % |
    | n1 |  | 2 → 1 | 25 % → 13 % | 0 % |
    | n2 |  | 1 → 0 | 13 % → 0 % | 0 % |
    | n3 |  | 0 → 1 | 0 % → 13 % | 0 % |

    </details>
    "#);
}

#[test]
fn an_annotation_stands_at_the_line_that_differs_and_one_tells_of_the_whole() {
    let text = github(&moved());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "::error file=shop.yaml,line=4,title=placement of Deployment web::1 moved  n1 → n3%0A1 pending: Insufficient cpu (was on n2)%0Aspread: a 3 → 1, b 0 → 1%0Acause: shop.yaml:4 nodeSelector: {pool: general} removed"
    );
    assert!(lines[1].starts_with("::error title=placement main → HEAD::1 moved, 1 new pending.%0Azone a: 2 nodes, "));
    assert_eq!(lines.len(), 2);
}

#[test]
fn every_form_shows_the_same_facts() {
    let mut diff = moved();
    let starts = |p99| Some(Starts { count: 3, p50: Duration::from_secs(2), p99: Duration::from_secs(p99) });
    (diff.before.starts, diff.after.starts) = (starts(3), starts(4));
    diff.after.warnings.insert(Name::new("FailedScheduling"), 3);
    diff.comparison
        .preempted
        .insert(("Deployment default/batch".to_owned(), "Deployment default/web".to_owned()), [0, 2]);
    let plain = terminal(&diff, &Style { width: 400, ..Style::PLAIN });
    // In a table of Markdown the parts of a line stand in cells, and marks are left out.
    let forms =
        [("terminal", plain), ("markdown", markdown(&diff)), ("github", github(&diff)), ("junit", junit(&diff))];
    for fact in [
        "1 moved  n1 → n3",
        "1 pending: Insufficient cpu (was on n2)",
        "a 3 → 1, b 0 → 1",
        "shop.yaml:4 nodeSelector: {pool: general} removed",
        "0 → 2 of Deployment batch by Deployment web",
        "p50 2s → 2s   p99 3s → 4s (+33 %)",
        "FailedScheduling 0 → 3",
        "19 % → 6 %",
        "25 % → 13 %",
        "1 moved, 1 new pending",
        "1 new pending, 0 tolerated",
    ] {
        for (form, text) in &forms {
            // GitHub's annotations write a percent sign as %25.
            let text = text.replace("%25", "%").replace("&gt;", ">");
            assert!(text.contains(fact), "{form} lacks {fact:?}:\n{text}");
        }
    }
}

#[test]
fn junit_fails_beyond_the_tolerance_only() {
    assert!(junit(&moved()).contains("failures=\"2\""), "{}", junit(&moved()));
    let tolerance = Tolerance { changed: Allowed::Count(5), pending: 1 };
    let diff = moved();
    let tolerated = Diff::of(diff.before, diff.after, By::Node, &tolerance);
    assert!(tolerated.is_tolerated() && junit(&tolerated).contains("failures=\"0\""));
    assert!(github(&tolerated).starts_with("::notice"));
}

fn causes(before: &str, after: &str, line: u32) -> String {
    let header = |text: &str| Header {
        sources: vec![SourceFile { name: "f".to_owned(), text: text.to_owned() }],
        ..Header::default()
    };
    let after = header(after);
    let found = cause::of(Some(Source { file: 0, line }), &cause::hunks(&header(before), &after), &after);
    match found.as_slice() {
        [] => "none".to_owned(),
        causes => causes.iter().map(Cause::text).collect::<Vec<_>>().join("; "),
    }
}

#[test]
fn the_cause_is_a_line_of_the_workloads_own_document_if_there_is_one() {
    let before = "a: 1\n---\nb: 1\nc: 1\n---\nd: 1\n";
    assert_eq!(causes(before, "a: 2\n---\nb: 1\nc: 2\n---\nd: 1\n", 3), "f:4 c: 1 → c: 2");
    assert_eq!(causes(before, "a: 2\n---\nb: 1\nc: 1\n---\nd: 1\n", 3), "f:1 a: 1 → a: 2");
    assert_eq!(causes(before, "a: 1\n---\nb: 1\nc: 1\nx: 3\n---\nd: 1\n", 3), "f:5 x: 3 added");
    assert_eq!(causes(before, "a: 1\n---\nb: 1\n---\nd: 1\n", 3), "f:4 c: 1 removed");
    assert_eq!(causes("x: {cpu: 1, b: 2}", "x: {cpu: 5, b: 2}", 1), "f:1 cpu: 1 → cpu: 5");
    // All lines that differ, each with its own number.
    assert_eq!(causes(before, "a: 2\n---\nb: 2\nc: 2\n---\nd: 1\n", 3), "f:3 b: 1 → b: 2; f:4 c: 1 → c: 2");
    assert_eq!(causes(before, "a: 2\n---\nb: 1\nc: 1\n---\nd: 3\n", 3), "f:1 a: 1 → a: 2; f:6 d: 1 → d: 3");
    assert_eq!(causes(before, "a: 1\n---\nb: 1\nx: 1\nc: 3\n---\nd: 1\n", 3), "f:4 x: 1 added; f:5 c: 1 → c: 3");
    let long: String = (0..20).map(|line| format!("k{line}: 1\n")).collect();
    assert_eq!(causes("", &long, 1), "f:1 k0: 1 … (20 lines) added");
    assert_eq!(causes(before, before, 3), "none");
    assert_eq!(causes(before, &before.replace("b: 1", "# hm\nb: 1"), 3), "none");
}
