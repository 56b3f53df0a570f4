//! What the tests of whole runs share: texts as files, a run with everything that it says.

#![allow(dead_code, reason = "each test that runs whole worlds uses its own part of these")]

use std::sync::{Arc, Mutex};

use simlet::manifest::Source;
use simlet::scenario::{self, Files, LoadOptions, Options, Scenario};
use simlet::trace::{Entry, Footer, Record, Sink};

/// The scenarios of these tests name no files.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str, _: &str) -> Result<Vec<Source>, String> {
        Err(format!("{path}: there are no files here"))
    }
}

/// Loads a scenario from its text.
pub fn scenario(text: &str) -> Scenario {
    let loaded = scenario::load(vec![Source::new("scenario.yaml", text)], &NoFiles, &LoadOptions::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).scenario
}

/// What a run said: every record as text, and its footer.
pub struct Said {
    pub records: Vec<String>,
    pub footer: Footer,
}

/// Keeps records as texts.
#[derive(Clone, Default)]
pub struct Keep(Arc<Mutex<Vec<String>>>);

impl Sink for Keep {
    fn take(&mut self, entry: &Entry) {
        // Ids and causes differ between two runs that poll more or less; what happened when does not.
        let text = match &entry.what {
            Record::Written(change, object) => {
                let mut object = object.clone();
                object.meta_mut().resource_version = 0;
                format!("{} {change:?} {object:?}", entry.time.as_nanos())
            }
            what => format!("{} {what:?}", entry.time.as_nanos()),
        };
        self.0.lock().expect("nobody panicked").push(text);
    }
}

/// Runs a scenario and keeps what it says.
pub fn run(scenario: &Scenario, options: &Options) -> Said {
    let keep = Keep::default();
    let end = scenario::run(scenario, options, Box::new(keep.clone()));
    let records = std::mem::take(&mut *keep.0.lock().expect("nobody panicked"));
    assert_eq!(end.footer.invariants, Vec::<String>::new(), "an invariant was broken");
    Said { records, footer: end.footer }
}
