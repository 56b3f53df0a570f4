//! What does a scheduling decision cost as the cluster grows? Prints a table and draws `reports/decision-cost.svg`.

#[path = "support/decisions.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod decisions;
#[allow(dead_code, reason = "shared with the other benchmarks")]
mod support;

use decisions::cases;
use simlet::report::plot::{Format, Line, Lines, Plot};
use support::{asked, say, used};

const SIZES: [usize; 7] = [100, 300, 1000, 2000, 5000, 10_000, 20_000];
/// Each is measured anew until this many seconds of CPU time were spent on decisions: the clock ticks in hundredths.
const SECONDS: f64 = 0.4;

fn main() {
    // `cargo test` builds and starts benchmarks, too.
    if asked("--test") {
        return;
    }
    let mut lines = Vec::new();
    say("microseconds of CPU time a decision");
    say(&format!("{:>24} {}", "nodes", SIZES.map(|size| format!("{size:>8}")).join("")));
    for case in cases() {
        let mut points = Vec::new();
        for size in SIZES {
            let pods = case.pods_on(size);
            let (mut seconds, mut decisions) = (0.0, 0);
            while seconds < SECONDS {
                let cluster = case.cluster(size);
                let before = used().cpu_seconds;
                let decided = cluster.decide(&case.spec, pods);
                seconds += used().cpu_seconds - before;
                drop(decided);
                decisions += pods;
            }
            points.push((size as f64, seconds * 1e6 / decisions as f64));
        }
        say(&format!(
            "{:>24} {}",
            case.name,
            points.iter().map(|(_, cost)| format!("{cost:>8.1}")).collect::<String>()
        ));
        lines.push(Line { name: case.name.to_owned(), points, is_reference: false });
    }
    let lines = Lines {
        title: "Cost of a scheduling decision".to_owned(),
        below: "each made on what the ones before left; no queue, no API; all default plug-ins".to_owned(),
        x: "nodes, logarithmic".to_owned(),
        y: "microseconds of CPU time, logarithmic".to_owned(),
        x_range: (100.0, 20_000.0),
        y_range: (1.0, 1000.0),
        log: true,
        x_ticks: SIZES.map(|size| size as f64).to_vec(),
        y_ticks: vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0],
        lines,
    };
    let drawn = Plot::Lines(&lines).draw(Format::Svg).expect("the plot can be drawn");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/reports/decision-cost.svg");
    std::fs::write(file, drawn).expect("the plot can be written");
    say("drawn: reports/decision-cost.svg");
}
