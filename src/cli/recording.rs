//! The recording of a live run, a file that needs no other: what was run, all that came from outside, and how it ended. A line of
//! JSON each; the format is described in docs/live.md.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::{Message, recording as line};
use crate::kernel::{Arrival, Duration, Time};
use crate::kubelet::config::Host;
use crate::manifest::Source;
use crate::model::{Bytes, MilliCpu, Name};
use crate::protocol::cri::DnsConfig;
use crate::scenario::{self, Files, LoadOptions, Options, RealNode, Scenario};
use crate::trace::Footer;

use super::{error, terminal};

#[cfg(feature = "cri")]
mod write;
#[cfg(feature = "cri")]
pub use write::{Recorded, Recorder, Wishes};

/// The first line: all that a run depends on, but for what came from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// `recording`.
    simlet: String,
    version: u32,
    /// The version of simlet that made it: another one may walk other states.
    made_by: String,
    pub command: String,
    seed: Option<u64>,
    /// In nanoseconds.
    until: Option<u64>,
    endless: bool,
    /// In nanoseconds since 1970.
    pub epoch: i64,
    /// How many nodes the default cluster has, with how many thousandths of a CPU and bytes of memory.
    default_nodes: u32,
    default_size: (i64, i64),
    pub machine: Machine,
    pub real: Vec<Real>,
    inputs: Vec<Text>,
    files: Vec<Named>,
}

/// A real node, and what its runtime said of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Real {
    pub name: String,
    pub runtime_version: String,
}

/// What the real nodes' kubelets know of the machine below them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The folder of the run's logs and volumes.
    pub root: String,
    /// Of its resolv.conf.
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
    /// Its /etc/hosts.
    pub hosts: String,
}

/// A file's text.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Text {
    name: String,
    text: String,
    from_folder: bool,
}

/// What a scenario got for a file that it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Named {
    path: String,
    beside: String,
    texts: Vec<Text>,
}

/// The last line: how the run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Closing {
    end: Ended,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ended {
    /// In nanoseconds.
    at: u64,
    events: u64,
    digest: u64,
}

impl Opening {
    fn load_with(&self, inputs: Vec<Source>, files: &dyn Files) -> Result<Scenario, String> {
        let options = LoadOptions {
            nodes: Some(self.default_nodes),
            size: Some((MilliCpu(self.default_size.0), Bytes(self.default_size.1))),
            colour: terminal::colour_on_stderr(),
        };
        let loaded = scenario::load(inputs, files, &options)?;
        terminal::complain(&loaded.warnings);
        Ok(loaded.scenario)
    }

    /// The scenario that was run.
    fn scenario(&self) -> Result<Scenario, String> {
        let inputs = self.inputs.iter().map(Text::source).collect();
        let mut scenario = self.load_with(inputs, &Recalling(&self.files))?;
        self.make_real(&mut scenario);
        Ok(scenario)
    }

    /// Makes the nodes real that are.
    pub fn make_real(&self, scenario: &mut Scenario) {
        let names = |texts: &[String]| texts.iter().map(|text| Name::new(text)).collect::<Vec<_>>();
        let machine = &self.machine;
        let host = Arc::new(Host {
            root_dir: Name::new(&machine.root),
            dns: DnsConfig {
                servers: names(&machine.servers),
                searches: names(&machine.searches),
                options: names(&machine.options),
            },
            hosts: crate::model::Text::new(&machine.hosts),
            ..Host::default()
        });
        let real = |real: &Real| RealNode {
            name: real.name.clone(),
            runtime_version: real.runtime_version.clone(),
            log_root: Name::from(format!("{}/logs", machine.root)),
            host: Arc::clone(&host),
        };
        let real: Vec<RealNode> = self.real.iter().map(real).collect();
        scenario.make_real(&real, self.epoch);
    }

    /// How it was run.
    pub fn options(&self) -> Options {
        let until = self.until.map(Duration::from_nanos);
        Options { seed: self.seed, until, endless: self.endless, ..Options::default() }
    }

    /// The seed that counts.
    pub fn seed(&self, scenario: &Scenario) -> u64 {
        self.seed.unwrap_or(scenario.seed)
    }
}

impl Text {
    fn source(&self) -> Source {
        let source = Source::new(self.name.clone(), self.text.clone());
        if self.from_folder { source.found_in_folder() } else { source }
    }
}

/// The files of a recording.
struct Recalling<'f>(&'f [Named]);

impl Files for Recalling<'_> {
    fn read(&self, path: &str, beside: &str) -> Result<Vec<Source>, String> {
        let found = self.0.iter().find(|named| named.path == path && named.beside == beside);
        let named = found.ok_or_else(|| format!("{path}: not in the recording"))?;
        Ok(named.texts.iter().map(Text::source).collect())
    }
}

/// A recording that was read.
pub struct Recording {
    pub opening: Opening,
    pub scenario: Scenario,
    pub arrivals: Vec<Arrival<Message>>,
    end: Option<Ended>,
}

impl Recording {
    /// Reads a recording; of a folder the one in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Recording, String> {
        let inside = path.join("recording.jsonl");
        let path = if path.is_dir() { inside.as_path() } else { path };
        let shown = path.display().to_string();
        let file = File::open(path).map_err(|problem| error(format!("{shown}: {problem}")))?;
        let mut lines = BufReader::new(file).lines();
        let not_ours = || error(format!("{shown}: not a recording of `simlet live`"));
        let first = lines.next().and_then(Result::ok).ok_or_else(not_ours)?;
        let opening: Opening = serde_json::from_str(&first).map_err(|_| not_ours())?;
        if opening.simlet != "recording" {
            return Err(not_ours());
        }
        if opening.version != 1 || opening.made_by != env!("CARGO_PKG_VERSION") {
            let ours = env!("CARGO_PKG_VERSION");
            let theirs = &opening.made_by;
            terminal::complain(&format!(
                "warning: {shown} was made by simlet {theirs}; {ours} may walk other states\n"
            ));
        }
        let scenario = opening.scenario()?;
        let (mut arrivals, mut end) = (Vec::new(), None);
        for (index, text) in lines.enumerate() {
            let at = |problem: String| error(format!("{shown}:{}: {problem}", index + 2));
            let text = text.map_err(|problem| at(problem.to_string()))?;
            // The last line of a run that was killed may be cut.
            let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else { break };
            if value.get("end").is_some() {
                let closing: Closing = serde_json::from_value(value).map_err(|problem| at(problem.to_string()))?;
                end = Some(closing.end);
                break;
            }
            arrivals.push(line::read(&value).map_err(at)?);
        }
        Ok(Recording { opening, scenario, arrivals, end })
    }

    /// How it was run. What was killed ends with the last that came from outside.
    pub fn options(&self) -> Options {
        let options = self.opening.options();
        match (&self.end, self.arrivals.last()) {
            (None, Some(last)) => Options { until: Some(last.time.since(Time::ZERO)), endless: false, ..options },
            (None, None) => Options { until: Some(Duration::ZERO), endless: false, ..options },
            _ => options,
        }
    }

    /// What is different from the live run; None if it was the same.
    pub fn difference(&self, footer: &Footer) -> Option<String> {
        let end = self.end.as_ref()?;
        let here = (footer.end.as_nanos(), footer.events, footer.digest);
        (here != (end.at, end.events, end.digest)).then(|| {
            format!(
                "the replay went another way than the live run: digest {:016x} after {} events, there {:016x} after {}",
                footer.digest, footer.events, end.digest, end.events
            )
        })
    }
}
