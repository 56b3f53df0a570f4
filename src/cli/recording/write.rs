//! Writes the recording of a live run while it goes on, with the files that it was started with.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::cluster::{Message, recording as line};
use crate::kernel::{Clock, Duration, Time, Wait, Wall};
use crate::manifest::Source;
use crate::model::{Bytes, MilliCpu};
use crate::scenario::{Files, Scenario};
use crate::trace::Footer;

use super::super::error;
use super::{Closing, Ended, Machine, Named, Opening, Text};

/// How a live run is to go.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub command: String,
    pub seed: Option<u64>,
    pub until: Option<Duration>,
    pub default_nodes: u32,
    /// CPU and memory of this machine.
    pub default_size: (MilliCpu, Bytes),
}

impl Opening {
    /// Loads what is to be run, and remembers its files.
    ///
    /// # Errors
    /// All problems, rendered.
    pub fn load(inputs: Vec<Source>, files: &dyn Files, wishes: Wishes) -> Result<(Opening, Scenario), String> {
        let (cpu, memory) = wishes.default_size;
        let mut opening = Opening {
            simlet: "recording".to_owned(),
            version: 1,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            command: wishes.command,
            seed: wishes.seed,
            until: wishes.until.map(Duration::as_nanos),
            endless: false,
            epoch: 0,
            default_nodes: wishes.default_nodes,
            default_size: (cpu.0, memory.0),
            machine: Machine::default(),
            real: Vec::new(),
            inputs: inputs.iter().map(Text::of).collect(),
            files: Vec::new(),
        };
        let remembering = Remembering { files, named: RefCell::default() };
        let scenario = opening.load_with(inputs, &remembering)?;
        opening.files = remembering.named.into_inner();
        // Plain manifests run until the user ends them.
        opening.endless = !scenario.has_an_end();
        Ok((opening, scenario))
    }
}

impl Text {
    fn of(source: &Source) -> Text {
        Text { name: source.name.clone(), text: source.text().to_owned(), from_folder: source.from_folder }
    }
}

/// Files that are remembered once they were read.
struct Remembering<'f> {
    files: &'f dyn Files,
    named: RefCell<Vec<Named>>,
}

impl Files for Remembering<'_> {
    fn read(&self, path: &str, beside: &str) -> Result<Vec<Source>, String> {
        let sources = self.files.read(path, beside)?;
        let texts = sources.iter().map(Text::of).collect();
        self.named.borrow_mut().push(Named { path: path.to_owned(), beside: beside.to_owned(), texts });
        Ok(sources)
    }
}

/// Writes a recording while the run goes on.
pub struct Recorder {
    to: BufWriter<File>,
    shown: String,
    /// What went wrong first.
    broken: Option<String>,
}

impl Recorder {
    /// Begins the file.
    ///
    /// # Errors
    /// Why it can't be written.
    pub fn begin(path: &Path, opening: &Opening) -> Result<Recorder, String> {
        let shown = path.display().to_string();
        let file = File::create(path).map_err(|problem| error(format!("{shown}: {problem}")))?;
        let mut recorder = Recorder { to: BufWriter::new(file), shown, broken: None };
        recorder.line(&serde_json::to_string(opening).map_err(error)?);
        Ok(recorder)
    }

    fn line(&mut self, text: &str) {
        if let Err(problem) = writeln!(self.to, "{text}")
            && self.broken.is_none()
        {
            self.broken = Some(format!("{}: {problem}", self.shown));
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What went wrong with it at any time.
    pub fn finish(mut self, footer: &Footer) -> Result<(), String> {
        let end = Ended { at: footer.end.as_nanos(), events: footer.events, digest: footer.digest };
        self.line(&serde_json::to_string(&Closing { end }).map_err(error)?);
        if let Err(problem) = self.to.flush() {
            self.broken.get_or_insert(format!("{}: {problem}", self.shown));
        }
        self.broken.map_or(Ok(()), |broken| Err(error(broken)))
    }
}

/// The wall clock of a run that is recorded, if there is a recorder.
pub struct Recorded<'r> {
    pub wall: Wall<Message>,
    pub recorder: Option<&'r mut Recorder>,
}

impl Clock<Message> for Recorded<'_> {
    fn wait(&mut self, now: Time, events: u64, until: Time) -> Wait<Message> {
        let wait = self.wall.wait(now, events, until);
        if matches!(wait, Wait::Outside(_)) {
            let arrivals = self.wall.drain_recording();
            match &mut self.recorder {
                Some(recorder) => arrivals.for_each(|arrival| recorder.line(&line::write(&arrival))),
                None => drop(arrivals),
            }
        }
        wait
    }
}
