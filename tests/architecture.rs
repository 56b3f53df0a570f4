//! The modules' dependencies go one way, as the design draws them, and the parts never import one another.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by layer, from the bottom. A room may use the layers below its own. Rooms of a layer may not use each other,
/// but where the second list of the pair says so.
const LAYERS: &[&[(&str, &[&str])]] = &[
    &[("kernel", &[])],
    &[("model", &[])],
    // A trace records what was said, so it knows the words.
    &[("protocol", &[]), ("trace", &["protocol"])],
    &[
        ("manifest", &[]),
        ("apiserver", &[]),
        ("scheduler", &[]),
        ("controllers", &[]),
        ("kubelet", &[]),
        ("runtime", &[]),
        ("registry", &[]),
        ("client", &[]),
    ],
    &[("cluster", &[])],
    &[("scenario", &[]), ("report", &[])],
    &[("cli", &[])],
];

#[test]
fn every_room_uses_only_the_layers_below_it() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for (level, rooms) in LAYERS.iter().enumerate() {
        for (room, beside) in *rooms {
            let below = LAYERS[..level].iter().flat_map(|rooms| rooms.iter().map(|(name, _)| *name));
            let allowed: BTreeSet<&str> = below.chain(beside.iter().copied()).chain([*room]).collect();
            for file in sources(&src().join(room)) {
                read += 1;
                let text = fs::read_to_string(&file).expect("a source file can be read");
                for (number, used) in rooms_used(&text) {
                    if !allowed.contains(used.as_str()) {
                        wrong.push(format!("{}:{number} ({room}) uses {used}", file.display()));
                    }
                }
            }
        }
    }
    assert!(read > 50, "only {read} files were found");
    assert!(wrong.is_empty(), "dependencies that go the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_a_room_of_the_design() {
    let known: BTreeSet<&str> = LAYERS.iter().flat_map(|rooms| rooms.iter().map(|(name, _)| *name)).collect();
    for entry in fs::read_dir(src()).expect("src can be read") {
        let path = entry.expect("an entry of src").path();
        if path.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            assert!(known.contains(name.as_str()), "src/{name} has no place in the design");
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The rooms that a file names by `crate::room` or in a `use crate::{a::…, b::…}`, with their lines. Comments do not count.
fn rooms_used(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    for (index, line) in code.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if rest.starts_with('{') {
                let group = code[index..].join("\n");
                let group = &group[group.find("crate::{").map_or(0, |start| start + "crate::{".len())..];
                used.extend(heads_of_group(group).into_iter().map(|name| (index + 1, name)));
            } else {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                used.push((index + 1, name));
            }
        }
    }
    used
}

/// The first names in a braced group: `a` and `b` of `a::x, b::{c, d}}`.
fn heads_of_group(text: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut head, mut taking) = (0, String::new(), true);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(std::mem::take(&mut head));
                taking = true;
            }
            ':' | ' ' if depth == 0 && !head.is_empty() => taking = false,
            c if depth == 0 && taking && (c.is_alphanumeric() || c == '_') => head.push(c),
            _ => {}
        }
    }
    heads.push(head);
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn names_are_found_in_every_form_of_a_path() {
    let text = "use crate::model::Pod;\n// crate::cli\nuse crate::{kernel::Time, trace::{A, B}};\nlet x = crate::client::go();";
    let names: Vec<String> = rooms_used(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["model", "kernel", "trace", "client"]);
}
