//! How near a simulation with a calibrated profile comes to the machine that it was calibrated on: the measurement behind
//! `reports/live-vs-simulated.md`. It takes a quarter of an hour, so it runs only when asked:
//!
//! `cargo test --release --features cri --test live -- --ignored --nocapture live_and_simulated`

use std::fs;
use std::path::Path;

use crate::machine::{Machine, Registry, Said};

/// Live runs; every second one is measured, the others are what the simulation is held against.
const RUNS: usize = 6;
/// The images that the scenario pulls, by what they hold beside busybox, in MiB.
const SIZES: [usize; 12] = [1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32];

/// simlet's words, when it ended well.
fn fine(machine: &Machine, arguments: &[&str]) -> String {
    let said = Said::from(machine.simlet(arguments).output().expect("simlet runs"));
    assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
    said.out
}

/// Removes all images that were pulled.
fn forget_images(machine: &Machine) {
    let keep = ["localhost/busybox:1", "localhost/pause:1"];
    let list = machine.ctr(&["images", "list"]);
    let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let kept: Vec<&str> = rows.iter().filter(|row| keep.contains(&row[0])).map(|row| row[2]).collect();
    for row in rows.iter().filter(|row| !kept.contains(&row[2])) {
        machine.ctr(&["images", "remove", "--sync", row[0]]);
    }
}

#[test]
#[ignore = "takes a quarter of an hour, and needs a machine that has nothing else to do"]
fn live_and_simulated_runs_of_one_scenario_agree_within_the_tolerance() {
    let machine = Machine::start(22);
    let registry = Registry::start(&machine);
    registry.push(&machine, "busybox:1", 0);
    for size in SIZES {
        registry.push(&machine, &format!("app{size}:1"), size);
    }
    let scenario = include_str!("measured.yaml").replace("localhost:5000", &format!("localhost:{}", registry.port));
    machine.write("live.yaml", &scenario);
    machine.write("simulated.yaml", &scenario.replace("runtime: containerd", "runtime: profile.yaml"));
    let address = machine.address();
    for run in 0..RUNS {
        forget_images(&machine);
        let folder = format!("{}/{run}", ["measured", "beside"][run % 2]);
        fs::create_dir_all(machine.folder.join(&folder)).expect("a folder for the run");
        fine(&machine, &["live", "live.yaml", "--runtime", &address, "--out", &folder]);
        machine.check_nothing_is_left();
        eprintln!("live run {} of {RUNS}", run + 1);
    }
    let measured: Vec<String> = (0..RUNS).step_by(2).map(|run| format!("measured/{run}")).collect();
    let mut calibrate = vec!["calibrate", "-o", "profile.yaml"];
    calibrate.extend(measured.iter().map(String::as_str));
    let profile = fine(&machine, &calibrate);
    let compare = ["compare", "simulated.yaml", "beside", "--seeds", "10", "-o", "live-vs-simulated.svg"];
    let said = fine(&machine, &compare);
    eprintln!("{profile}\n{said}");
    let markdown = fine(&machine, &["compare", "simulated.yaml", "beside", "--seeds", "10", "--format", "markdown"]);
    let usual = fine(&machine, &["compare", "live.yaml", "beside", "--seeds", "10", "--format", "markdown"]);
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-vs-simulated");
    fs::create_dir_all(&results).expect("a folder for the results");
    for (name, text) in [("calibrated.md", markdown), ("uncalibrated.md", usual), ("profile.txt", profile)] {
        fs::write(results.join(name), text).expect("a result");
    }
    for name in ["live-vs-simulated.svg", "profile.yaml"] {
        fs::copy(machine.folder.join(name), results.join(name)).expect("a result");
    }
    eprintln!("results in {}", results.display());
    assert!(!said.contains("apart:"), "stages are apart");
}
