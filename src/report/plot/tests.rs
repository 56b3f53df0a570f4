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
