//! Files as they are in a git revision.

use std::path::Path;
use std::process::Command;

use crate::manifest::Source;
use crate::manifest::load::files_of_folder;
use crate::scenario::Files;

/// A revision, or what is checked out with all that is not committed.
#[derive(Debug)]
pub enum Revision {
    Commit(String),
    WorkTree,
}

/// True for `main..HEAD`, where there is no such file.
pub fn is_range(text: &str) -> bool {
    text.contains("..") && !text.starts_with('.') && !text.contains("/..") && !Path::new(text).exists()
}

/// The two revisions of `A..B`; without B: what is checked out.
///
/// # Errors
/// A revision that git does not know, in git's words.
pub fn range(text: &str) -> Result<(Revision, Revision), String> {
    let (before, after) = text.split_once("..").unwrap_or((text, ""));
    let revision = |name: &str| match name {
        "" => Ok(Revision::WorkTree),
        name => git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])
            .map(|_| Revision::Commit(name.to_owned()))
            .map_err(|_| format!("git knows no revision `{name}`")),
    };
    Ok((revision(before)?, revision(after)?))
}

impl Revision {
    /// As the user named it.
    pub fn name(&self) -> &str {
        match self {
            Revision::Commit(name) => name,
            Revision::WorkTree => "(work tree)",
        }
    }

    fn read_file(&self, commit: &str, path: &str) -> Result<Source, String> {
        let bytes = git(&["show", &format!("{commit}:./{path}")])
            .map_err(|_| format!("{path}: no such file or folder in {commit}"))?;
        Ok(Source::from_bytes(path, bytes))
    }
}

impl Files for Revision {
    fn read(&self, path: &str, beside: &str) -> Result<Vec<Source>, String> {
        let commit = match self {
            Revision::WorkTree => return super::Disk.read(path, beside),
            Revision::Commit(commit) => commit,
        };
        let folder = Path::new(beside).parent().unwrap_or(Path::new(""));
        let path = plain(&folder.join(path));
        // A folder lists files below it; a file lists itself.
        let listed = git(&["ls-tree", "-r", "--name-only", "-z", commit, "--", &path])?;
        let listed = String::from_utf8_lossy(&listed);
        let found: Vec<String> = listed.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if found.as_slice() == [path.clone()] || found.is_empty() {
            return self.read_file(commit, &path).map(|source| vec![source]);
        }
        let files = files_of_folder(found);
        if files.is_empty() {
            return Err(format!("{path}: no .yaml, .yml or .json file in this folder in {commit}"));
        }
        files.iter().map(|file| self.read_file(commit, file).map(Source::found_in_folder)).collect()
    }
}

/// The path without `.` and `..`, with `/` between its parts.
fn plain(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            std::path::Component::ParentDir => parts.push(".."),
            std::path::Component::Normal(name) => parts.extend(name.to_str()),
            _ => {}
        }
    }
    parts.join("/")
}

/// What git prints.
fn git(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("git").args(arguments).output().map_err(|error| format!("git: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
