//! The volumes of pods on real nodes: their files, in the run's folder; and the last words of containers, read from there.
//!
//! Kubernetes: pkg/volume/{emptydir,hostpath}, pkg/volume/util/atomic_writer.go, and readLastStringFromContainerLogs and
//! getTerminationMessage of pkg/kubelet/kuberuntime/kuberuntime_container.go. Simplified: an emptyDir of medium Memory is a
//! tmpfs only where mounting is permitted, a `sizeLimit` is not enforced.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::model::{Name, Text, Uid};
use crate::protocol::cri::ContainerStatus;
use crate::protocol::volume::{Answer, File, HostPathType, Kind, Request, Volume};

/// The folders of a node's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// `--root-dir`: pods are below `pods/`.
    pub root: PathBuf,
    /// Paths of the host that pods may mount; what is below them, too.
    pub allowed: Vec<PathBuf>,
}

/// The longest last words that are read from a file, and the end of a log that stands for them.
const LONGEST_MESSAGE: u64 = 4096;
/// The longest file of variables that is read.
const LONGEST_ENV_FILE: u64 = 1 << 20;
const LOG_BYTES: u64 = 2048;
const LOG_LINES: usize = 80;

impl Folders {
    /// Does what the kubelet asks; None if it wants no answer.
    pub fn carry_out(&self, request: &Request) -> Option<Answer> {
        match request {
            Request::SetUp { pod, volumes } => {
                for volume in volumes.iter() {
                    if let Err(problem) = self.set_up(volume) {
                        return Some(Answer::Failed { pod: *pod, volume: volume.name, message: problem.into() });
                    }
                }
                Some(Answer::Done { pod: *pod })
            }
            Request::PlaceFiles { pod, files } => {
                for file in files.iter() {
                    let path = Path::new(file.path.as_str());
                    if let Err(problem) = self.own(path).and_then(|()| place(path, file.content.as_bytes(), file.mode))
                    {
                        return Some(Answer::NotPlaced { pod: *pod, message: problem.into() });
                    }
                }
                Some(Answer::Done { pod: *pod })
            }
            Request::Read { pod, path } => {
                let path = Path::new(path.as_str());
                let content = self.own(path).ok().and_then(|()| self.read(path));
                Some(Answer::Content { pod: *pod, content })
            }
            Request::TearDown { pod } => {
                self.tear_down(*pod);
                None
            }
        }
    }

    /// Refuses to write elsewhere than into the run's folder.
    fn own(&self, path: &Path) -> Result<(), String> {
        let inside = path.starts_with(&self.root) && !path.components().any(|part| part.as_os_str() == "..");
        if inside { Ok(()) } else { Err(format!("{} is not in the run's folder", path.display())) }
    }

    /// A text of the run's folder; a link that leads out of it is not followed.
    fn read(&self, path: &Path) -> Option<Text> {
        let (path, root) = (fs::canonicalize(path).ok()?, fs::canonicalize(&self.root).ok()?);
        let is_fit = path.starts_with(root) && fs::metadata(&path).ok()?.len() <= LONGEST_ENV_FILE;
        is_fit.then(|| fs::read(&path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned().into()))?
    }

    fn set_up(&self, volume: &Volume) -> Result<(), String> {
        let path = Path::new(volume.path.as_str());
        match &volume.kind {
            Kind::HostPath(kind) => return self.host_path(path, *kind),
            Kind::EmptyDir { memory, .. } => {
                self.own(path)?;
                let is_new = !path.exists();
                make_folder(path, 0o777)?;
                if *memory && is_new {
                    // Where mounts are not permitted it stays on the disk.
                    let _ = std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(path).status();
                }
            }
            Kind::Files(files) => {
                self.own(path)?;
                write_files(path, files, volume.fs_group)?;
            }
        }
        if let Some(group) = volume.fs_group {
            give_to_group(path, group).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn host_path(&self, path: &Path, kind: HostPathType) -> Result<(), String> {
        let shown = path.display();
        let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let is_allowed =
            |one: &PathBuf| path.starts_with(one) && resolved.starts_with(fs::canonicalize(one).unwrap_or_default());
        if !self.allowed.iter().any(is_allowed) {
            return Err(format!(
                "hostPath {shown} is not allowed in this run: `simlet live --allow-host-path {shown}` allows it"
            ));
        }
        let found = fs::metadata(path).ok().map(|found| found.file_type());
        let fits = |what: &str, fits: bool| {
            if fits { Ok(()) } else { Err(format!("hostPath type check failed: {shown} is not a {what}")) }
        };
        match kind {
            HostPathType::Unset => Ok(()),
            HostPathType::DirectoryOrCreate if found.is_none() => make_folder(path, 0o755),
            HostPathType::DirectoryOrCreate | HostPathType::Directory => {
                fits("directory", found.is_some_and(|found| found.is_dir()))
            }
            HostPathType::FileOrCreate if found.is_none() => place(path, b"", 0o644),
            HostPathType::FileOrCreate | HostPathType::File => fits("file", found.is_some_and(|found| found.is_file())),
            HostPathType::Socket => fits("socket file", found.is_some_and(|found| found.is_socket())),
            HostPathType::CharDevice => fits("character device", found.is_some_and(|found| found.is_char_device())),
            HostPathType::BlockDevice => fits("block device", found.is_some_and(|found| found.is_block_device())),
        }
    }

    /// Removes the folder of a pod.
    fn tear_down(&self, pod: Uid) {
        remove_pod(&self.root.join("pods").join(pod.to_string()));
    }

    /// Removes what a run has left here of which the runtime has nothing any more: else new lines would follow old ones in
    /// the logs of pods that have the same uid in each run.
    pub fn begin_anew(&self) {
        self.remove_all();
        let _ = fs::remove_dir_all(self.root.join("logs"));
    }

    /// Removes the folders of all pods.
    pub fn remove_all(&self) {
        let Ok(pods) = fs::read_dir(self.root.join("pods")) else { return };
        for pod in pods.flatten() {
            remove_pod(&pod.path());
        }
        let _ = fs::remove_dir(self.root.join("pods"));
    }

    /// Puts a container's last words where a runtime's status has none: from its file, or, where that is the policy, from
    /// the end of its log.
    pub fn last_words(&self, status: &mut ContainerStatus, log_directory: Option<&Path>) {
        let summary = &status.summary;
        let folder = self.root.join("pods").join(summary.pod.to_string()).join("containers");
        let file = folder.join(summary.name.as_str()).join(format!("{:08x}", summary.attempt));
        let mut words = end_of(&file, LONGEST_MESSAGE).unwrap_or_default();
        let policy = status.annotations.get(Name::new("io.kubernetes.container.terminationMessagePolicy"));
        let from_log = policy.is_some_and(|policy| policy == *"FallbackToLogsOnError") && status.exit_code != 0;
        if words.is_empty()
            && from_log
            && let Some(logs) = log_directory
        {
            let log = logs.join(summary.name.as_str()).join(format!("{}.log", summary.attempt));
            words = end_of_log(&end_of(&log, LOG_BYTES * 4).unwrap_or_default());
        }
        if !words.is_empty() {
            status.message = Text::new(words);
        }
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<(), String> {
    let say = |error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(path).map_err(say)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(say)
}

fn place(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    let say = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(say)?;
    }
    fs::write(path, content).map_err(say)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(say)
}

/// The link that says which folder holds the files.
const DATA: &str = "..data";

/// Writes these files and removes all others, all at once as Kubernetes' atomic writer does: the files are in a folder of
/// their own, `..data` is a link to it that is replaced by a rename, and what a container sees are links through `..data`.
/// Who has opened or mounted a file of before keeps that one.
fn write_files(folder: &Path, files: &[File], fs_group: Option<i64>) -> Result<(), String> {
    let say = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    make_folder(folder, 0o755)?;
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for file in files {
        let inside = Path::new(file.path.as_str());
        if inside.is_absolute() || inside.components().any(|part| part.as_os_str() == "..") {
            return Err(format!("{}: a file of a volume stays in it", file.path));
        }
        // What fsGroup owns its group can read.
        let lengths = [file.path.len() as u64, file.content.len() as u64, u64::from(file.mode)];
        lengths.iter().for_each(|length| hash.update(&length.to_be_bytes()));
        hash.update(file.path.as_bytes());
        hash.update(&file.content);
    }
    let data = folder.join(DATA);
    let new = format!("..{:016x}", hash.digest());
    let old = fs::read_link(&data).ok();
    if old.as_deref() == Some(Path::new(&new)) {
        return Ok(());
    }
    let inside = folder.join(&new);
    // A half of it may be there from a run that was killed.
    let _ = fs::remove_dir_all(&inside);
    make_folder(&inside, 0o755)?;
    for file in files {
        let mode = if fs_group.is_some() { file.mode | (file.mode & 0o400) >> 3 } else { file.mode };
        place(&inside.join(file.path.as_str()), &file.content, mode)?;
    }
    if let Some(group) = fs_group {
        give_to_group(&inside, group).map_err(|error| say(&inside, &error))?;
    }
    let half = folder.join("..data_tmp");
    let _ = fs::remove_file(&half);
    symlink(&new, &half).and_then(|()| fs::rename(&half, &data)).map_err(|error| say(&data, &error))?;
    // What a container sees: a link for each first part of a path.
    let first = |file: &File| file.path.split('/').next().unwrap_or_default().to_owned();
    let seen: BTreeSet<String> = files.iter().map(first).collect();
    for name in &seen {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(|error| say(&link, &error))?;
        }
    }
    for entry in fs::read_dir(folder).map_err(|error| say(folder, &error))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !seen.contains(&name) {
            let _ = fs::remove_file(entry.path());
        }
    }
    if let Some(old) = old {
        let _ = fs::remove_dir_all(folder.join(old));
    }
    Ok(())
}

fn give_to_group(path: &Path, group: i64) -> io::Result<()> {
    let group = u32::try_from(group).map_err(|_| io::Error::other("not a group"))?;
    std::os::unix::fs::chown(path, None, Some(group))?;
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        // New files in it belong to the group, too.
        fs::set_permissions(path, fs::Permissions::from_mode(found.permissions().mode() | 0o2070))?;
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), i64::from(group))?;
        }
    }
    Ok(())
}

/// A tmpfs among its volumes is unmounted first.
fn remove_pod(folder: &Path) {
    if let Ok(volumes) = fs::read_dir(folder.join("volumes/kubernetes.io~empty-dir")) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for volume in volumes.flatten() {
            let path = volume.path();
            let is_mounted = |line: &str| line.split(' ').nth(1).is_some_and(|place| Path::new(place) == path);
            if mounts.lines().any(is_mounted) {
                let _ = std::process::Command::new("umount").arg(&path).status();
            }
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// The last bytes of a file.
fn end_of(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The last lines of a log in the CRI's format, without time, stream and tag.
fn end_of_log(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let first = lines.len().saturating_sub(LOG_LINES);
    let mut words = lines.get(first..).unwrap_or_default().iter().fold(String::new(), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    });
    let limit = usize::try_from(LOG_BYTES).unwrap_or(usize::MAX);
    while words.len() > limit {
        let rest = words.split_off(words.char_indices().nth(1).map_or(words.len(), |(at, _)| at));
        words = rest;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_volume_are_replaced_all_at_once_and_who_has_one_open_keeps_it() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tmp/volume-of-a-test");
        let _ = fs::remove_dir_all(&folder);
        let file = |path: &str, content: &str| File {
            path: Name::new(path),
            content: content.as_bytes().into(),
            mode: 0o644,
            stand_in: false,
        };
        let read = |path: &str| fs::read_to_string(folder.join(path)).ok();
        write_files(&folder, &[file("a", "1"), file("in/b", "2")], None).unwrap();
        assert_eq!((read("a").as_deref(), read("in/b").as_deref()), (Some("1"), Some("2")));
        let before = fs::read_link(folder.join(DATA)).unwrap();
        let kept = fs::canonicalize(folder.join("a")).map(fs::File::open).unwrap();
        write_files(&folder, &[file("a", "3"), file("c", "4")], None).unwrap();
        assert_eq!((read("a").as_deref(), read("c").as_deref(), read("in/b")), (Some("3"), Some("4"), None));
        assert_eq!(io::read_to_string(kept.unwrap()).unwrap(), "1");
        assert!(!folder.join(&before).exists(), "the files of before are gone");
        assert_eq!(fs::read_link(folder.join("a")).unwrap(), Path::new("..data/a"));
        assert!(write_files(&folder, &[file("../x", "")], None).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_end_of_a_log_stands_for_last_words_without_times_and_streams() {
        let log = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F no such file\n";
        assert_eq!(end_of_log(log), "one\nno such file\n");
        let long: String = (0..100).map(|n| format!("2026-01-01T00:00:00Z stdout F line {n}\n")).collect();
        assert!(end_of_log(&long).starts_with("line 20\n"));
    }
}
