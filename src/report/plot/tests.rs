//! Plots are drawn, and drawn the same again.

use super::super::latency::Latency;
use super::super::sample::{Sample, zone_outage};
use super::*;

fn check(sample: &Sample, expected: &[&str]) {
    let journal = sample.journal();
    let files = plots(&sample.header, &journal, &sample.footer).expect("the plots can be drawn");
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected);
    for (name, bytes) in &files {
        if name.ends_with(".png") {
            assert!(bytes.starts_with(b"\x89PNG"), "{name}");
        } else {
            let text = std::str::from_utf8(bytes).expect("SVG is UTF-8");
            assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{name}");
        }
    }
    assert!(files == plots(&sample.header, &journal, &sample.footer).expect("again"), "the same bytes again");
}

#[test]
fn a_run_is_drawn_the_same_each_time() {
    let all =
        ["latency.svg", "latency.png", "stages.svg", "stages.png", "pods.svg", "pods.png", "nodes.svg", "nodes.png"];
    check(&zone_outage(1), &all);
    check(&zone_outage(10), &all);
}

#[test]
fn a_run_without_pods_has_no_plot_of_their_start() {
    let world = super::super::sample::World::new("empty");
    check(&world.finish(0), &["pods.svg", "pods.png", "nodes.svg", "nodes.png"]);
}

#[test]
fn several_runs_are_named_on_one_picture() {
    let series: Vec<Series> = [1, 3, 10]
        .map(|scale| Series { name: format!("{scale} times"), latency: Latency::of(&zone_outage(scale).journal()) })
        .to_vec();
    for plot in [Plot::Cdf(&series), Plot::Stages(&series)] {
        let text = String::from_utf8(plot.draw(Format::Svg).expect("it can be drawn")).expect("SVG is UTF-8");
        for each in &series {
            assert!(text.contains(&each.name), "{}", each.name);
        }
    }
}

/// Writes the pictures to a folder, to be looked at: `SIMLET_LOOK=dir cargo test --lib look_at -- --ignored`.
#[test]
#[ignore = "for eyes"]
#[expect(clippy::disallowed_methods, reason = "a test for eyes is told where to write")]
fn look_at_the_plots() {
    let to = std::env::var("SIMLET_LOOK").expect("SIMLET_LOOK names a folder");
    let sample = zone_outage(10);
    let journal = sample.journal();
    for (name, bytes) in plots(&sample.header, &journal, &sample.footer).expect("the plots can be drawn") {
        std::fs::write(format!("{to}/{name}"), bytes).expect("the folder can be written");
    }
    let series: Vec<Series> = [1, 3, 10]
        .map(|scale| Series { name: format!("{scale} times"), latency: Latency::of(&zone_outage(scale).journal()) })
        .to_vec();
    for (name, plot) in [("compared", Plot::Cdf(&series)), ("compared-stages", Plot::Stages(&series))] {
        let bytes = plot.draw(Format::Png).expect("it can be drawn");
        std::fs::write(format!("{to}/{name}.png"), bytes).expect("the folder can be written");
    }
    let journal = zone_outage(100).journal();
    let footer = Footer { end: crate::kernel::Time::from_secs(2100), ..Footer::default() };
    let bytes = Plot::Nodes(&journal, &footer).draw(Format::Png).expect("it can be drawn");
    std::fs::write(format!("{to}/many-nodes.png"), bytes).expect("the folder can be written");
}
