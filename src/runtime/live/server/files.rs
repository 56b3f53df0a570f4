//! The files that a served container sees: a handful that every image has, those that a runtime makes (`/etc/resolv.conf`,
//! `/proc/self/status`), what its programs wrote, and what is mounted.
//!
//! Mounted files are read from the host, never from outside the mount. What a container writes reaches the host only in
//! folders that a kubelet made for its pod (emptyDir, the termination log); elsewhere it stays in the container, so that
//! a simulated program can't harm the machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container's files.
#[derive(Debug, Default)]
pub(super) struct Files {
    layer: BTreeMap<String, Entry>,
    mounts: Vec<Mount>,
    /// The root file system.
    read_only: bool,
    /// Paths that can't be written to, and ones that can't be used at all.
    read_only_paths: Vec<String>,
    masked_paths: Vec<String>,
}

/// What lies in the container's own layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(Vec<u8>),
    Folder,
    /// It was there and was removed.
    Gone,
}

/// A part of the host's files in the container.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub path: String,
    pub host: PathBuf,
    pub read_only: bool,
    /// Mounts in it that may be written to all the same: `read_only` is not recursive.
    pub writable_inside: Vec<String>,
    /// What is written reaches the host.
    pub writes_through: bool,
}

/// Why a file can't be used, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("No such file or directory")]
    NotFound,
    #[error("Not a directory")]
    NotAFolder,
    #[error("Is a directory")]
    IsAFolder,
    #[error("Read-only file system")]
    ReadOnly,
    #[error("Permission denied")]
    Denied,
    #[error("File exists")]
    Exists,
    #[error("Directory not empty")]
    NotEmpty,
    #[error("No space left on device")]
    Full,
}

/// So much of a file is read, and so much may be in one.
const BIGGEST_FILE: usize = 4 << 20;
/// A container has no more files of its own than this.
const MOST_FILES: usize = 20_000;

/// Folders that images have.
const FOLDERS: [&str; 24] = [
    "/",
    "/bin",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/mnt",
    "/opt",
    "/proc",
    "/proc/1",
    "/proc/self",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/local",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/run",
];

/// An absolute path without `.`, `..` and doubled slashes.
pub(super) fn normal(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { folder };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => path.get(..at).unwrap_or("/"),
    }
}

/// Whether `path` is `folder` or in it.
fn is_in(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Files {
    /// The files of a new container: `made` are those that the image or the runtime put there.
    pub fn new(made: impl IntoIterator<Item = (String, Vec<u8>)>, mounts: Vec<Mount>) -> Files {
        let mut files = Files { mounts, ..Files::default() };
        for folder in FOLDERS {
            files.layer.insert(folder.to_owned(), Entry::Folder);
        }
        for (path, content) in made {
            // A mount covers what the image has.
            if files.mount_of(&path).is_none() {
                files.put(&path, content);
            }
        }
        files
    }

    /// Says what can't be written to or not be seen.
    pub fn protect(&mut self, read_only: bool, read_only_paths: &[String], masked_paths: &[String]) {
        let whole = |paths: &[String]| paths.iter().map(|path| normal("/", path)).collect();
        self.read_only = read_only;
        self.read_only_paths = whole(read_only_paths);
        self.masked_paths = whole(masked_paths);
    }

    fn put(&mut self, path: &str, content: Vec<u8>) {
        let mut folder = parent(path).to_owned();
        while folder != "/" {
            self.layer.entry(folder.clone()).or_insert(Entry::Folder);
            folder = parent(&folder).to_owned();
        }
        self.layer.insert(path.to_owned(), Entry::File(content));
    }

    /// Whether the path is masked: there, but of no use.
    pub fn is_masked(&self, path: &str) -> bool {
        self.masked_paths.iter().any(|masked| is_in(path, masked))
    }

    fn mount_of(&self, path: &str) -> Option<&Mount> {
        let inside = self.mounts.iter().filter(|mount| is_in(path, &mount.path));
        inside.max_by_key(|mount| mount.path.len())
    }

    /// Where a path lies on the host: none if nothing is mounted there or if it leads out of the mount.
    fn on_host(&self, path: &str) -> Option<(PathBuf, &Mount)> {
        let mount = self.mount_of(path)?;
        let rest = path.strip_prefix(mount.path.trim_end_matches('/'))?.trim_start_matches('/');
        let root = std::fs::canonicalize(&mount.host).ok()?;
        let target = if rest.is_empty() { root.clone() } else { root.join(rest) };
        // Links lead only to what is mounted; of a file that is to be made, its folder counts.
        let found = match std::fs::canonicalize(&target) {
            Ok(found) => found,
            // A link to nothing may lead anywhere.
            Err(_) if std::fs::symlink_metadata(&target).is_ok() => return None,
            Err(_) => std::fs::canonicalize(target.parent()?).ok()?.join(target.file_name()?),
        };
        found.starts_with(&root).then_some((found, mount))
    }

    fn host_kind(&self, path: &str) -> Option<Entry> {
        let (host, _) = self.on_host(path)?;
        let there = std::fs::metadata(host).ok()?;
        Some(if there.is_dir() { Entry::Folder } else { Entry::File(Vec::new()) })
    }

    /// A file or a folder; a file's content is not filled in.
    pub fn kind(&self, path: &str) -> Option<Entry> {
        match self.layer.get(path) {
            Some(Entry::Gone) => None,
            Some(Entry::Folder) => Some(Entry::Folder),
            Some(Entry::File(_)) => Some(Entry::File(Vec::new())),
            None => self.host_kind(path).or_else(|| self.holds_mounts(path).then_some(Entry::Folder)),
        }
    }

    /// A folder that is there because something is mounted in it.
    fn holds_mounts(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| is_in(&mount.path, path))
    }

    /// A file's content.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        use std::io::Read;
        if self.is_masked(path) {
            return if path.starts_with("/proc/") { Ok(Vec::new()) } else { Err(Trouble::Denied) };
        }
        match (self.kind(path), self.layer.get(path)) {
            (None, _) => Err(Trouble::NotFound),
            (Some(Entry::Folder), _) => Err(Trouble::IsAFolder),
            (Some(_), Some(Entry::File(content))) => Ok(content.clone()),
            (Some(_), _) => {
                let (host, _) = self.on_host(path).ok_or(Trouble::NotFound)?;
                // A pipe or a device would never end.
                if !host.is_file() {
                    return Err(Trouble::Denied);
                }
                let mut bytes = Vec::new();
                let file = std::fs::File::open(host).map_err(|error| trouble(&error))?;
                file.take(BIGGEST_FILE as u64).read_to_end(&mut bytes).map_err(|error| trouble(&error))?;
                Ok(bytes)
            }
        }
    }

    /// The names in a folder, sorted.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Trouble> {
        if self.is_masked(path) {
            return Ok(Vec::new());
        }
        match self.kind(path) {
            None => return Err(Trouble::NotFound),
            Some(Entry::Folder) => {}
            Some(_) => return Err(Trouble::NotAFolder),
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some((host, _)) = self.on_host(path)
            && let Ok(entries) = std::fs::read_dir(host)
        {
            names.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
        let inside = |other: &str| {
            let rest = other.strip_prefix(path.trim_end_matches('/'))?.strip_prefix('/')?;
            let name = rest.split('/').next()?;
            (!name.is_empty()).then(|| name.to_owned())
        };
        for (other, entry) in &self.layer {
            match (inside(other), entry) {
                (Some(name), Entry::Gone) if parent(other) == path => {
                    names.remove(&name);
                }
                (Some(_), Entry::Gone) | (None, _) => {}
                (Some(name), _) => {
                    names.insert(name);
                }
            }
        }
        names.extend(self.mounts.iter().filter_map(|mount| inside(&mount.path)));
        Ok(names.into_iter().collect())
    }

    /// Whether something may be written there; where it lies on the host, if it is to get there.
    fn writable(&self, path: &str) -> Result<Option<PathBuf>, Trouble> {
        if self.is_masked(path) {
            return Err(Trouble::Denied);
        }
        if self.read_only_paths.iter().any(|folder| is_in(path, folder)) {
            return Err(Trouble::ReadOnly);
        }
        match self.mount_of(path) {
            Some(mount) if mount.read_only => {
                let inside = mount.writable_inside.iter().any(|inner| is_in(path, inner));
                if inside { Ok(None) } else { Err(Trouble::ReadOnly) }
            }
            Some(mount) if mount.writes_through => {
                self.on_host(path).map(|(host, _)| Some(host)).ok_or(Trouble::NotFound)
            }
            Some(_) => Ok(None),
            None if path.starts_with("/dev/") => Ok(None),
            None if path.starts_with("/proc/") || path.starts_with("/sys/") => Err(Trouble::Denied),
            None if self.read_only => Err(Trouble::ReadOnly),
            None => Ok(None),
        }
    }

    /// Writes a file anew, or at its end.
    pub fn write(&mut self, path: &str, content: &[u8], append: bool) -> Result<(), Trouble> {
        use std::io::Write;
        if matches!(path, "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty") {
            return Ok(());
        }
        if self.kind(path) == Some(Entry::Folder) {
            return Err(Trouble::IsAFolder);
        }
        match self.kind(parent(path)) {
            Some(Entry::Folder) => {}
            Some(_) => return Err(Trouble::NotAFolder),
            None => return Err(Trouble::NotFound),
        }
        if let Some(host) = self.writable(path)? {
            let mut options = std::fs::OpenOptions::new();
            let file = options.create(true).write(true).append(append).truncate(!append).open(host);
            return file.and_then(|mut file| file.write_all(content)).map_err(|error| trouble(&error));
        }
        let mut whole = if append { self.read(path).unwrap_or_default() } else { Vec::new() };
        if whole.len() + content.len() > BIGGEST_FILE || self.layer.len() >= MOST_FILES {
            return Err(Trouble::Full);
        }
        whole.extend_from_slice(content);
        self.layer.insert(path.to_owned(), Entry::File(whole));
        Ok(())
    }

    /// Makes a folder.
    pub fn make_folder(&mut self, path: &str) -> Result<(), Trouble> {
        if self.kind(path).is_some() {
            return Err(Trouble::Exists);
        }
        if self.kind(parent(path)) != Some(Entry::Folder) {
            return Err(Trouble::NotFound);
        }
        if self.layer.len() >= MOST_FILES {
            return Err(Trouble::Full);
        }
        match self.writable(path)? {
            Some(host) => std::fs::create_dir(host).map_err(|error| trouble(&error))?,
            None => {
                self.layer.insert(path.to_owned(), Entry::Folder);
            }
        }
        Ok(())
    }

    /// Removes a file, or a folder with all that is in it.
    pub fn remove(&mut self, path: &str, recursive: bool) -> Result<(), Trouble> {
        let kind = self.kind(path).ok_or(Trouble::NotFound)?;
        if path == "/" || self.mounts.iter().any(|mount| mount.path == path) {
            return Err(Trouble::Denied);
        }
        if kind == Entry::Folder {
            let names = self.list(path)?;
            if !recursive && !names.is_empty() {
                return Err(Trouble::NotEmpty);
            }
            for name in names {
                self.remove(&format!("{}/{name}", path.trim_end_matches('/')), true)?;
            }
        }
        match self.writable(path)? {
            Some(host) => {
                let removed =
                    if kind == Entry::Folder { std::fs::remove_dir(host) } else { std::fs::remove_file(host) };
                removed.map_err(|error| trouble(&error))
            }
            None => {
                self.layer.insert(path.to_owned(), Entry::Gone);
                Ok(())
            }
        }
    }
}

fn trouble(error: &std::io::Error) -> Trouble {
    match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::NotFound,
        std::io::ErrorKind::NotADirectory => Trouble::NotAFolder,
        std::io::ErrorKind::IsADirectory => Trouble::IsAFolder,
        std::io::ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
        std::io::ErrorKind::AlreadyExists => Trouble::Exists,
        std::io::ErrorKind::DirectoryNotEmpty => Trouble::NotEmpty,
        std::io::ErrorKind::StorageFull => Trouble::Full,
        _ => Trouble::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file, a link to it and a link out; and the files of a container that has it at `/data`.
    fn world(name: &str, read_only: bool, writes_through: bool) -> (PathBuf, Files) {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/simlet-files/{name}"));
        let _left = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("mounted/deep")).expect("a folder");
        std::fs::write(root.join("mounted/a"), "good\n").expect("a file");
        std::fs::write(root.join("secret"), "bad\n").expect("a file");
        std::os::unix::fs::symlink("a", root.join("mounted/link")).expect("a link");
        std::os::unix::fs::symlink("../secret", root.join("mounted/out")).expect("a link");
        let host = root.join("mounted");
        let mount = Mount { path: "/data".to_owned(), host, read_only, writable_inside: Vec::new(), writes_through };
        (root, Files::new([("/etc/hostname".to_owned(), b"web\n".to_vec())], vec![mount]))
    }

    #[test]
    fn only_what_is_mounted_is_read_and_links_do_not_lead_out_of_it() {
        let (_, files) = world("read", false, false);
        let text = |path: &str| files.read(&normal("/", path)).map(|bytes| String::from_utf8(bytes).expect("text"));
        assert_eq!(text("data/a").as_deref(), Ok("good\n"));
        assert_eq!(text("/data/link").as_deref(), Ok("good\n"));
        assert_eq!(text("/etc/hostname").as_deref(), Ok("web\n"));
        for (path, why) in [
            ("/data/out", Trouble::NotFound),
            ("/data/../secret", Trouble::NotFound),
            ("/data", Trouble::IsAFolder),
            ("/database", Trouble::NotFound),
        ] {
            assert_eq!(text(path), Err(why), "{path}");
        }
        assert_eq!(files.list("/data"), Ok(["a", "deep", "link", "out"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_is_written_reaches_the_host_only_where_it_may() {
        let (root, mut kept) = world("kept", false, false);
        kept.write("/data/new", b"1", false).expect("written");
        kept.remove("/data/a", false).expect("removed");
        assert_eq!((kept.read("/data/new"), kept.read("/data/a")), (Ok(b"1".to_vec()), Err(Trouble::NotFound)));
        assert!(root.join("mounted/a").exists() && !root.join("mounted/new").exists());
        let (root, mut through) = world("through", false, true);
        through.write("/data/new", b"1", false).expect("written");
        through.write("/data/new", b"2", true).expect("written");
        assert_eq!(std::fs::read(root.join("mounted/new")).expect("a file"), b"12");
        assert_eq!(through.write("/data/out", b"x", false), Err(Trouble::NotFound));
        assert_eq!(std::fs::read(root.join("secret")).expect("a file"), b"bad\n");
        let (_, mut read_only) = world("read-only", true, true);
        assert_eq!(read_only.write("/data/new", b"1", false), Err(Trouble::ReadOnly));
        read_only.protect(true, &["/run".to_owned()], &["/bin/ls".to_owned()]);
        assert_eq!(read_only.write("/tmp/x", b"1", false), Err(Trouble::ReadOnly));
        assert!(read_only.is_masked("/bin/ls"));
    }

    #[test]
    fn folders_are_made_listed_and_removed() {
        let mut files = Files::new([], Vec::new());
        assert_eq!(files.write("/tmp/a/b", b"", false), Err(Trouble::NotFound));
        files.make_folder("/tmp/a").expect("made");
        files.write("/tmp/a/b", b"x", false).expect("written");
        assert_eq!(files.make_folder("/tmp/a"), Err(Trouble::Exists));
        assert_eq!(files.remove("/tmp/a", false), Err(Trouble::NotEmpty));
        files.remove("/tmp/a", true).expect("removed");
        assert_eq!((files.kind("/tmp/a"), files.list("/tmp")), (None, Ok(Vec::new())));
        assert_eq!(normal("/tmp", "../a//./b/.."), "/a");
        assert_eq!(normal("/", "../../.."), "/");
    }
}
