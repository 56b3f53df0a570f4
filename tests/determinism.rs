//! Same binary, same scenario, same seed: the same bytes in every output, twice, and on one thread or two.

use std::fs;
use std::path::Path;

use rayon::prelude::*;
use simlet::cli;

/// Every scenario of the checkout, by file name.
fn scenarios() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<String> = fs::read_dir(&folder)
        .expect("scenarios/ can be read")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert!(files.len() >= 8, "there are only {} scenarios", files.len());
    files
}

fn outputs(file: &String) -> Vec<(String, Vec<u8>)> {
    cli::outputs_of(file).unwrap_or_else(|problems| panic!("{file}: {problems}"))
}

#[test]
fn every_scenario_gives_the_same_bytes_twice_and_on_one_or_two_threads() {
    let files = scenarios();
    let in_pool = |threads: usize| -> Vec<Vec<(String, Vec<u8>)>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(|| files.par_iter().map(outputs).collect())
    };
    let (once, again) = (in_pool(1), in_pool(2));
    for ((file, first), second) in files.iter().zip(&once).zip(&again) {
        assert!(first.len() >= 8, "{file} has only {} outputs", first.len());
        for ((name, bytes), (other_name, other)) in first.iter().zip(second) {
            assert_eq!(name, other_name, "{file}");
            assert!(bytes == other, "{file}: {name} differs between two runs");
        }
    }
}
