//! A run with all that reports need: made now from files, or read back from where `run --out` wrote it.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::manifest::{Epoch, Source};
use crate::report::{self, Journal, Tally, recording};
use crate::scenario::{self, LoadOptions, Loaded, Measured, Options, Scenario};
use crate::trace::{Entry, Footer, Header, Reader, Sink, Writer};

use super::files::{self, Disk};
use super::{Outcome, error, outputs, terminal};

/// A finished run.
pub struct Recorded {
    pub header: Header,
    pub journal: Journal,
    pub footer: Footer,
    /// What was held against the scenario's baselines of placements; empty for a run that is read back.
    pub placements: Vec<Measured>,
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
    let loaded = load_files(arguments, nodes)?;
    terminal::complain(&loaded.warnings);
    Ok(loaded.scenario)
}

fn load_files(arguments: &[String], nodes: Option<u32>) -> Result<Loaded, String> {
    let mut sources: Vec<Source> = Vec::new();
    for argument in arguments {
        sources.extend(files::read(argument).map_err(error)?);
    }
    load_quietly(sources, &Disk, nodes)
}

/// Loads sources.
///
/// # Errors
/// All problems, rendered.
pub fn load_sources(sources: Vec<Source>, nodes: Option<u32>) -> Result<Scenario, String> {
    load_from(sources, &Disk, nodes)
}

/// Loads sources; the files that they name come from `files`.
///
/// # Errors
/// All problems, rendered.
pub fn load_from(sources: Vec<Source>, files: &dyn scenario::Files, nodes: Option<u32>) -> Result<Scenario, String> {
    let loaded = load_quietly(sources, files, nodes)?;
    terminal::complain(&loaded.warnings);
    Ok(loaded.scenario)
}

/// The warnings are not told yet.
fn load_quietly(sources: Vec<Source>, files: &dyn scenario::Files, nodes: Option<u32>) -> Result<Loaded, String> {
    let options = LoadOptions { nodes, colour: terminal::colour_on_stderr(), ..LoadOptions::default() };
    scenario::load(sources, files, &options)
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
    let mut written = outputs::final_objects(&end.cluster, epoch);
    drop(end.cluster);
    let (footer, placements) = (end.footer, end.placements);
    let recorded = Recorded { header, journal: journal.into_inner().unwrap_or_default(), footer, placements };
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
    let (footer, placements) = (end.footer, end.placements);
    Recorded { header, journal: journal.into_inner().unwrap_or_default(), footer, placements }
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

/// Takes records and keeps none.
pub struct Nowhere;

impl Sink for Nowhere {
    fn take(&mut self, _: &Entry) {}
}

/// What a run that is made now is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub seed: Option<u64>,
    pub explain: bool,
    pub calls: bool,
    /// Warnings about the files were told already.
    pub quiet: bool,
}

/// The run that a user means: a folder that `run --out` wrote, a trace file, or a scenario or manifest to be run now.
///
/// # Errors
/// Why there is none.
pub fn open(argument: &str, seed: Option<u64>, explain: bool) -> Result<Recorded, String> {
    open_as(argument, &Wanted { seed, explain, ..Wanted::default() })
}

/// As [`open`], with more to want.
///
/// # Errors
/// Why there is none.
pub fn open_as(argument: &str, wanted: &Wanted) -> Result<Recorded, String> {
    open_with(argument, wanted, Nowhere)
}

/// As [`open_as`]; every record goes to `also`, too.
///
/// # Errors
/// Why there is none.
pub fn open_with(argument: &str, wanted: &Wanted, also: impl Sink + 'static) -> Result<Recorded, String> {
    let Wanted { seed, explain, calls, quiet } = *wanted;
    match trace_file(argument) {
        Some(file) => read_back(&file, also),
        None => {
            let loaded = load_files(&[argument.to_owned()], None)?;
            if !quiet {
                terminal::complain(&loaded.warnings);
            }
            let scenario = loaded.scenario;
            let seed_flag = seed.map_or(String::new(), |seed| format!(" --seed {seed}"));
            let command = format!("simlet run {argument}{seed_flag}");
            let header = header_of(&scenario, seed.unwrap_or(scenario.seed), command);
            let options = Options { seed, explain, calls, ..Options::default() };
            Ok(into_memory(header, |journal| scenario::run(&scenario, &options, Box::new(Both(journal, also)))))
        }
    }
}

/// Reads a trace back; every record goes to `also`, too.
///
/// # Errors
/// Why it can't be read.
pub fn read_back(file: &Path, also: impl Sink + 'static) -> Result<Recorded, String> {
    let name = file.display().to_string();
    let opened = File::open(file).map_err(|problem| error(format!("{name}: {problem}")))?;
    let reader = Reader::new(BufReader::new(opened), &name).map_err(error)?;
    let mut both = Both(Journal::new(), also);
    let (header, footer) = reader.read_all(&mut both).map_err(error)?;
    Ok(Recorded { header, journal: both.0, footer, placements: Vec::new() })
}

/// The trace that an argument names.
pub fn trace_file(argument: &str) -> Option<PathBuf> {
    let path = Path::new(argument);
    let inside = path.join("trace.jsonl");
    if inside.is_file() {
        return Some(inside);
    }
    (path.extension().is_some_and(|extension| extension == "jsonl")).then(|| path.to_path_buf())
}

/// True for what was run already.
pub fn is_recorded(argument: &str) -> bool {
    trace_file(argument).is_some()
}

/// The runs in a folder of runs, by name; none if it is something else.
///
/// # Errors
/// Why the folder can't be read.
pub fn runs_in(argument: &str) -> Result<Vec<String>, String> {
    let folder = Path::new(argument);
    if is_recorded(argument) || !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder).map_err(|problem| format!("{argument}: {problem}"))? {
        let path = entry.map_err(|problem| format!("{argument}: {problem}"))?.path();
        if path.join("trace.jsonl").is_file() {
            runs.push(path.to_string_lossy().into_owned());
        }
    }
    runs.sort();
    Ok(runs)
}

/// The recording of a real cluster that these files are together; None if the first is something else.
///
/// # Errors
/// Why it can't be read.
pub fn recording(arguments: &[String]) -> Result<Option<recording::History>, String> {
    let mut texts: Vec<(&str, String)> = Vec::new();
    for argument in arguments {
        let text = if Path::new(argument).is_file() { text_of(argument)? } else { None };
        match text.filter(|text| recording::is_recording(text)) {
            Some(text) => texts.push((argument, text)),
            None => match texts.first() {
                None => return Ok(None),
                Some((first, _)) => return Err(error(format!("{argument}: no recording, but {first} is one"))),
            },
        }
    }
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    recording::read_all(&files).map(Some).map_err(error)
}

/// The text of a file that may be a recording, unpacked; None for a trace of ours and for what is no text.
fn text_of(argument: &str) -> Result<Option<String>, String> {
    let say = |problem: std::io::Error| error(format!("{argument}: {problem}"));
    let mut file = File::open(argument).map_err(say)?;
    let mut begin = [0; 2];
    let count = file.read(&mut begin).map_err(say)?;
    if count == 0 {
        return Err(error(format!("{argument}: the file is empty")));
    }
    let whole = begin.get(..count).unwrap_or_default().chain(file);
    let mut bytes = Vec::new();
    match begin {
        [0x1f, 0x8b] => flate2::read::MultiGzDecoder::new(whole).read_to_end(&mut bytes).map_err(say)?,
        // With a mark of its encoding, as Windows writes files.
        [0xef, 0xbb] | [0xff, 0xfe] | [0xfe, 0xff] => BufReader::new(whole).read_to_end(&mut bytes).map_err(say)?,
        // JSON, or YAML.
        [byte, _] if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => {
            BufReader::new(whole).read_to_end(&mut bytes).map_err(say)?
        }
        _ => return Ok(None),
    };
    let utf_16 = |word: fn([u8; 2]) -> u16| {
        let words: Vec<u16> = bytes.as_chunks::<2>().0.iter().skip(1).map(|pair| word(*pair)).collect();
        String::from_utf16_lossy(&words)
    };
    let text = match begin {
        [0xff, 0xfe] => utf_16(u16::from_le_bytes),
        [0xfe, 0xff] => utf_16(u16::from_be_bytes),
        _ => String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned(),
    };
    Ok(Some(text))
}
