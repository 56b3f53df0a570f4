//! Containers' log files in CRI's format: `time stream tag text`, one line each.
//!
//! Kubernetes: pkg/kubelet/kuberuntime/logs/logs.go reads them. As with containerd, a line is written once it is whole, and
//! one longer than 16 KiB in parts.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shell::Stream;

/// A container's log. Clones are the same log.
#[derive(Clone)]
pub(super) struct Log {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    /// What of a line has come on each stream.
    out: Vec<u8>,
    err: Vec<u8>,
}

/// The longest line in one part.
const LONGEST_LINE: usize = 16 << 10;

impl Log {
    /// The log at `path`, not opened yet.
    pub fn new(path: PathBuf) -> Log {
        Log { path, state: Arc::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file, anew if it was open: after a rotation there is a new one.
    pub fn open(&self) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.state().file = Some(file);
        Ok(())
    }

    /// Writes what a container wrote now. A file that can't be written loses it, as with a real runtime.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut state = self.state();
        let State { file, out, err } = &mut *state;
        let waiting = if stream == Stream::Out { out } else { err };
        waiting.extend_from_slice(bytes);
        let lines = lines(&jiff::Timestamp::now().to_string(), stream, waiting);
        if let Some(file) = file {
            let _lost = file.write_all(&lines);
        }
    }

    /// Writes what is left of lines without an end, and closes the file.
    pub fn finish(&self) {
        for stream in [Stream::Out, Stream::Err] {
            let is_empty = {
                let state = self.state();
                if stream == Stream::Out { state.out.is_empty() } else { state.err.is_empty() }
            };
            if !is_empty {
                self.write(stream, b"\n");
            }
        }
        self.state().file = None;
    }
}

/// Takes the whole lines from `waiting`.
fn lines(time: &str, stream: Stream, waiting: &mut Vec<u8>) -> Vec<u8> {
    let name = if stream == Stream::Out { "stdout" } else { "stderr" };
    let mut written = Vec::new();
    let mut add = |tag: &str, text: &[u8]| {
        written.extend_from_slice(format!("{time} {name} {tag} ").as_bytes());
        written.extend_from_slice(text);
        written.push(b'\n');
    };
    let mut taken = 0;
    loop {
        let rest = waiting.get(taken..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        match end {
            Some(end) if end <= LONGEST_LINE => {
                add("F", rest.get(..end).unwrap_or_default());
                taken += end + 1;
            }
            _ if rest.len() > LONGEST_LINE => {
                add("P", rest.get(..LONGEST_LINE).unwrap_or_default());
                taken += LONGEST_LINE;
            }
            _ => break,
        }
    }
    waiting.drain(..taken);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_time_and_waits_for_its_end() {
        let mut waiting = b"a\n\nb".to_vec();
        assert_eq!(lines("T", Stream::Out, &mut waiting), b"T stdout F a\nT stdout F \n");
        assert_eq!(waiting, b"b");
        waiting.extend(b"c\n");
        assert_eq!(lines("T", Stream::Err, &mut waiting), b"T stderr F bc\n");
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_parts() {
        let mut waiting = vec![b'x'; LONGEST_LINE + 2];
        let part = lines("T", Stream::Out, &mut waiting);
        assert!(part.starts_with(b"T stdout P xx") && part.len() == LONGEST_LINE + "T stdout P \n".len());
        waiting.push(b'\n');
        assert_eq!(lines("T", Stream::Out, &mut waiting), b"T stdout F xx\n");
    }
}
