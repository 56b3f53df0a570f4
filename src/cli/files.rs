//! Files and folders: what a user names becomes sources; what a run makes is written whole or not at all.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::manifest::Source;
use crate::manifest::load::files_of_folder;
use crate::scenario::Files;

/// The file system.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &str, beside: &str) -> Result<Vec<Source>, String> {
        let folder = Path::new(beside).parent().unwrap_or(Path::new(""));
        read(&folder.join(path).to_string_lossy())
    }
}

/// The sources of one argument: a file, all Kubernetes files of a folder, or `-` for standard input.
///
/// # Errors
/// Why it can't be read.
pub fn read(argument: &str) -> Result<Vec<Source>, String> {
    if argument == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
        return Ok(vec![Source::from_bytes("-", bytes)]);
    }
    let path = Path::new(argument);
    if path.is_dir() {
        let mut listing = Vec::new();
        list(path, &mut listing).map_err(|error| format!("{argument}: {error}"))?;
        let files = files_of_folder(listing);
        if files.is_empty() {
            return Err(format!("{argument}: no .yaml, .yml or .json file in this folder"));
        }
        return files.iter().map(|file| read_file(file).map(Source::found_in_folder)).collect();
    }
    read_file(argument).map(|source| vec![source])
}

fn read_file(file: &str) -> Result<Source, String> {
    let bytes = fs::read(file).map_err(|error| format!("{file}: {}", plain(&error)))?;
    Ok(Source::from_bytes(file, bytes))
}

/// The text of a file that need not be there.
pub fn read_text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// An error of the file system in words, without the operating system's number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// All files below a folder, with `/` between the parts of their paths.
fn list(folder: &Path, into: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, into)?;
        } else {
            into.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

/// The scenarios below the arguments: files that are named, and in folders those that hold a scenario.
///
/// # Errors
/// Why an argument can't be read.
pub fn scenarios(arguments: &[String]) -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    for argument in arguments {
        let named = !Path::new(argument).is_dir();
        for source in read(argument)? {
            let is_scenario = source.text().contains("simlet.dev/") && source.text().contains("kind: Scenario");
            if named || is_scenario {
                found.push(source);
            }
        }
    }
    Ok(found)
}

/// Writes a file through a temporary one beside it, so that nobody ever sees half of it.
///
/// # Errors
/// Why it can't be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let say = |error: io::Error| format!("{}: {}", path.display(), plain(&error));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(say)?;
    }
    let half: PathBuf = path.with_extension("part");
    fs::write(&half, bytes).map_err(say)?;
    fs::rename(&half, path).map_err(say)
}
