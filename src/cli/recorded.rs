//! A run with all that reports need: made now from files, or read back from where `run --out` wrote it.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::manifest::{Epoch, Source};
use crate::report::{self, Journal, Tally};
use crate::scenario::{self, LoadOptions, Options, Scenario};
use crate::trace::{Entry, Footer, Header, Reader, Sink, Writer};

use super::files::{self, Disk};
use super::{Outcome, error, outputs, terminal};

/// A finished run.
pub struct Recorded {
    pub header: Header,
    pub journal: Journal,
    pub footer: Footer,
}

/// A sink that several hold.
#[derive(Default)]
pub struct Shared<S>(Arc<Mutex<S>>);

impl<S> Shared<S> {
    pub fn new(sink: S) -> Shared<S> {
        Shared(Arc::new(Mutex::new(sink)))
    }

    /// Another holder of the same.
    pub fn share(&self) -> Shared<S> {
        Shared(Arc::clone(&self.0))
    }

    /// What was collected, if nobody else holds it any more.
    pub fn into_inner(self) -> Option<S> {
        let mutex = Arc::into_inner(self.0)?;
        Some(mutex.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl<S: Sink> Sink for Shared<S> {
    fn take(&mut self, entry: &Entry) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take(entry);
    }
}

/// Hands every record to both.
pub struct Both<A, B>(pub A, pub B);

impl<A: Sink, B: Sink> Sink for Both<A, B> {
    fn take(&mut self, entry: &Entry) {
        self.0.take(entry);
        self.1.take(entry);
    }
}

/// Loads what the arguments name.
///
/// # Errors
/// All problems, rendered.
pub fn load(arguments: &[String], nodes: Option<u32>) -> Result<Scenario, String> {
    let mut sources: Vec<Source> = Vec::new();
    for argument in arguments {
        sources.extend(files::read(argument).map_err(error)?);
    }
    load_sources(sources, nodes)
}

/// Loads sources.
///
/// # Errors
/// All problems, rendered.
pub fn load_sources(sources: Vec<Source>, nodes: Option<u32>) -> Result<Scenario, String> {
    let options = LoadOptions { nodes, colour: terminal::colour_on_stderr(), ..LoadOptions::default() };
    let loaded = scenario::load(sources, &Disk, &options)?;
    terminal::complain(&loaded.warnings);
    Ok(loaded.scenario)
}

/// The header of a run of `scenario` that `command` makes again.
pub fn header_of(scenario: &Scenario, seed: u64, command: String) -> Header {
    Header { seed, command, ..scenario.header.clone() }
}

/// Runs a scenario; every record goes into a journal.
pub fn run(scenario: &Scenario, options: &Options, command: String) -> Recorded {
    let seed = options.seed.unwrap_or(scenario.seed);
    into_memory(header_of(scenario, seed, command), |sink| scenario::run(scenario, options, sink))
}

/// Runs with all that a folder is to hold: the trace streamed into it, then the rest. The trace has its name only once it is
/// whole.
///
/// # Errors
/// What can't be written.
pub fn into_folder(
    folder: &Path,
    header: Header,
    epoch: Epoch,
    run: impl FnOnce(Box<dyn Sink>) -> scenario::End,
) -> Result<Recorded, String> {
    let say = |problem: std::io::Error| error(format!("{}: {problem}", folder.display()));
    fs::create_dir_all(folder).map_err(say)?;
    let (half, whole) = (folder.join("trace.part"), folder.join("trace.jsonl"));
    let file = File::create(&half).map_err(say)?;
    let writer = Shared::new(Writer::new(BufWriter::new(file), &header));
    let journal = Shared::new(Journal::new());
    let tally = Shared::new(Tally::new());
    let end = run(Box::new(Both(journal.share(), Both(writer.share(), tally.share()))));
    let mut written = outputs::final_objects(end.cluster.store(), epoch);
    drop(end.cluster);
    let recorded = Recorded { header, journal: journal.into_inner().unwrap_or_default(), footer: end.footer };
    if let Some(writer) = writer.into_inner() {
        writer.finish(&recorded.footer).map_err(say)?;
    }
    fs::rename(&half, &whole).map_err(say)?;
    written.extend(outputs::render(
        &recorded.header,
        &recorded.journal,
        &tally.into_inner().unwrap_or_default(),
        &recorded.footer,
    )?);
    for (name, bytes) in written {
        files::write(&folder.join(name), &bytes).map_err(error)?;
    }
    Ok(recorded)
}

/// Runs; every record goes into a journal.
pub fn into_memory(header: Header, run: impl FnOnce(Box<dyn Sink>) -> scenario::End) -> Recorded {
    let journal = Shared::new(Journal::new());
    let end = run(Box::new(journal.share()));
    // The cluster holds the other share.
    drop(end.cluster);
    Recorded { header, journal: journal.into_inner().unwrap_or_default(), footer: end.footer }
}

/// Tells the story of a run and where its reports are.
pub fn tell(recorded: &Recorded, folder: Option<&Path>, wall: std::time::Duration) {
    let style = terminal::style(wall);
    terminal::print(&report::story(&recorded.header, &recorded.journal, &recorded.footer, &style));
    if let Some(folder) = folder {
        let folder = folder.display();
        terminal::print(&format!(
            "  report {folder}/report.html · trace {folder}/trace.jsonl · plots {folder}/*.svg\n"
        ));
    }
}

/// How a run ended.
pub fn verdict(recorded: &Recorded) -> Outcome {
    if !recorded.footer.invariants.is_empty() {
        Outcome::Broken
    } else if recorded.footer.expectations.iter().any(|expectation| !expectation.held) {
        Outcome::Failed
    } else {
        Outcome::Fine
    }
}

/// The run that a user means: a folder that `run --out` wrote, a trace file, or a scenario or manifest to be run now.
///
/// # Errors
/// Why there is none.
pub fn open(argument: &str, seed: Option<u64>, explain: bool) -> Result<Recorded, String> {
    match trace_file(argument) {
        Some(file) => {
            let name = file.display().to_string();
            let opened = File::open(&file).map_err(|problem| error(format!("{name}: {problem}")))?;
            let reader = Reader::new(BufReader::new(opened), &name).map_err(error)?;
            let mut journal = Journal::new();
            let (header, footer) = reader.read_all(&mut journal).map_err(error)?;
            Ok(Recorded { header, journal, footer })
        }
        None => {
            let scenario = load(&[argument.to_owned()], None)?;
            let seed_flag = seed.map_or(String::new(), |seed| format!(" --seed {seed}"));
            let command = format!("simlet run {argument}{seed_flag}");
            Ok(run(&scenario, &Options { seed, explain, ..Options::default() }, command))
        }
    }
}

/// The trace that an argument names.
fn trace_file(argument: &str) -> Option<PathBuf> {
    let path = Path::new(argument);
    let inside = path.join("trace.jsonl");
    if inside.is_file() {
        return Some(inside);
    }
    (path.extension().is_some_and(|extension| extension == "jsonl")).then(|| path.to_path_buf())
}
