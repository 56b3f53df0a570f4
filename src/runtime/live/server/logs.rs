//! Containers' log files in CRI's format: `time stream tag text`, one line each.
//!
//! Kubernetes: pkg/kubelet/kuberuntime/logs/logs.go reads them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A container's log. Clones are the same log.
#[derive(Clone)]
pub(super) struct Log {
    path: PathBuf,
    file: Arc<Mutex<Option<File>>>,
}

impl Log {
    /// The log at `path`, not opened yet.
    pub fn new(path: PathBuf) -> Log {
        Log { path, file: Arc::new(Mutex::new(None)) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, anew if it was open: after a rotation there is a new one.
    pub fn open(&self) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        *self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(file);
        Ok(())
    }

    /// Writes what a container wrote now. A file that can't be written loses it, as with a real runtime.
    pub fn write(&self, text: &str) {
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(file) = file.as_mut() {
            let lines = formatted(&jiff::Timestamp::now().to_string(), text);
            let _lost = file.write_all(lines.as_bytes());
        }
    }
}

/// The text's lines; one without an end is partial.
fn formatted(time: &str, text: &str) -> String {
    let line = |line: &str| match line.strip_suffix('\n') {
        Some(whole) => format!("{time} stdout F {whole}\n"),
        None => format!("{time} stdout P {line}\n"),
    };
    text.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_time_and_a_line_without_an_end_is_partial() {
        assert_eq!(formatted("T", "a\n\nb"), "T stdout F a\nT stdout F \nT stdout P b\n");
    }
}
