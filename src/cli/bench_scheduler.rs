//! `simlet bench-scheduler`: how fast does it schedule?

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::scenario::scheduler_perf::{self, Filter, Measured, Outcome as Ended, TestCase, Workload};

use super::{Disk, Outcome, error, files, terminal};

/// Run the scheduler's own performance tests, from their files as they are
///
/// The files are those of Kubernetes' test/integration/scheduler_perf. Scheduler and API server run as there, without
/// kubelets. Measured is how many pods are scheduled in a second of CPU time, of both together; the file's threshold, in pods a second of
/// the real ones, stands beside it. Exits 1 if a workload could not be run to its end.
#[derive(Debug, Args)]
pub struct BenchScheduler {
    /// performance-config.yaml files
    #[arg(required = true)]
    files: Vec<String>,
    /// Only workloads of this name; or regular expressions with `/` between them, as for Go's -bench
    #[arg(long, value_name = "NAME", num_args = 1..)]
    workload: Vec<String>,
    /// Only workloads with these labels, and (with a minus) without those, such as performance,-short
    #[arg(long, value_name = "LABELS", value_delimiter = ',', allow_hyphen_values = true)]
    labels: Vec<String>,
    /// Show the workloads instead of running them
    #[arg(long)]
    list: bool,
    /// Exit 1 if a workload is not above its threshold
    #[arg(long)]
    check: bool,
    /// How to show the results
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    /// The seed of all random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
}

/// A file that was read.
struct Opened {
    name: String,
    cases: Vec<TestCase>,
}

impl BenchScheduler {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let opened = self.open()?;
        let all: Vec<(&Opened, &TestCase, &Workload)> = opened
            .iter()
            .flat_map(|file| file.cases.iter().map(move |case| (file, case)))
            .flat_map(|(file, case)| case.workloads.iter().map(move |workload| (file, case, workload)))
            .collect();
        let filter = Filter { names: self.workload.clone(), labels: self.labels.clone() };
        let workloads: Vec<&Workload> = all.iter().map(|(_, _, workload)| *workload).collect();
        let picked = filter.pick(&workloads).map_err(error)?;
        let chosen: Vec<_> = all.iter().zip(picked).filter(|(_, picked)| *picked).map(|(one, _)| *one).collect();
        if chosen.is_empty() {
            return Err(error("no workload has these labels"));
        }
        if self.list {
            terminal::print(&self.listed(&chosen));
            return Ok(Outcome::Fine);
        }
        let mut count = Count::default();
        let mut results = Vec::new();
        let mut file_before = None;
        for (file, case, workload) in chosen {
            let ended = scheduler_perf::run(case, workload, &file.name, &Disk, self.seed, &mut terminal::cpu_time);
            count.add(workload, &ended);
            if self.output == Form::Json {
                results.push(as_json(&file.name, workload, &ended));
                continue;
            }
            if file_before != Some(&file.name) {
                let gap = if file_before.is_some() { "\n" } else { "" };
                terminal::print(&format!("{gap}{}\n\n{HEADER}\n", file.name));
                file_before = Some(&file.name);
            }
            terminal::print(&line(workload, &ended));
        }
        match self.output {
            Form::Json => terminal::print(&format!("{:#}\n", Value::Array(results))),
            Form::Table => terminal::print(&format!("\n{}\n", count.text())),
        }
        let fails = count.failed > 0 || (self.check && count.below > 0);
        Ok(if fails { Outcome::Failed } else { Outcome::Fine })
    }

    fn open(&self) -> Result<Vec<Opened>, String> {
        let mut opened = Vec::new();
        let mut problems = String::new();
        for name in &self.files {
            if PathBuf::from(name).is_dir() {
                return Err(error(format!("{name}: a folder; name the performance-config.yaml in it")));
            }
            for source in files::read(name).map_err(error)? {
                match scheduler_perf::load(&source, terminal::colour_on_stderr()) {
                    Ok(cases) => opened.push(Opened { name: name.clone(), cases }),
                    Err(text) => problems.push_str(&text),
                }
            }
        }
        if problems.is_empty() { Ok(opened) } else { Err(problems) }
    }

    fn listed(&self, chosen: &[(&Opened, &TestCase, &Workload)]) -> String {
        if self.output == Form::Json {
            let entries = chosen.iter().map(|(file, _, workload)| {
                json!({"file": file.name, "workload": workload.name, "labels": workload.labels,
                       "threshold": workload.threshold.as_ref().map(|threshold| threshold.value)})
            });
            return format!("{:#}\n", entries.collect::<Value>());
        }
        let mut text = String::new();
        for (_, _, workload) in chosen {
            let threshold = workload.threshold.as_ref().map_or_else(String::new, |threshold| number(threshold.value));
            let labels = workload.labels.join(",");
            text.push_str(format!("{threshold:>6}  {}  {labels}", workload.name).trim_end());
            text.push('\n');
        }
        text
    }
}

const HEADER: &str = "  pods/CPU s  threshold        ×    pods   nodes  workload";

/// A line of the table, with what is to be said of it below.
fn line(workload: &Workload, ended: &Ended) -> String {
    let mut text = String::new();
    let mut notes: Vec<String> = Vec::new();
    let threshold = workload.threshold.as_ref();
    let mark = threshold.map_or_else(|| "-".to_owned(), |threshold| number(threshold.value));
    match ended {
        Ended::Measured(measured) => {
            let rate = measured.rate();
            let shown = rate.map_or_else(|| "too short".to_owned(), number);
            let ratio = rate.zip(compared(workload)).map(|(rate, threshold)| rate / threshold);
            let ratio = ratio
                .map_or_else(String::new, |ratio| if ratio < 10.0 { format!("{ratio:.1}") } else { number(ratio) });
            let (pods, nodes) = (measured.pods, measured.nodes);
            text.push_str(&format!("{shown:>12} {mark:>10} {ratio:>8} {pods:>7} {nodes:>7}  {}\n", workload.name));
            notes.extend(measured.remarks.iter().cloned());
        }
        Ended::NotSimulated(what) => {
            text.push_str(&format!("{:>12} {mark:>10} {:>24}  {}\n", "-", "", workload.name));
            notes.extend(what.iter().map(|what| format!("not run: {what}")));
        }
        Ended::Failed(why) => {
            text.push_str(&format!("{:>12} {mark:>10} {:>24}  {}\n", "FAILED", "", workload.name));
            notes.push(why.trim_end().to_owned());
        }
    }
    if let Some(metric) = threshold.and_then(|threshold| threshold.other_metric.as_ref()) {
        notes.push(format!("the threshold is one of {metric}, which is not measured"));
    }
    for note in notes {
        for note in note.lines() {
            text.push_str(&format!("{:14}{note}\n", ""));
        }
    }
    text
}

/// The threshold, if it is one of what is measured.
fn compared(workload: &Workload) -> Option<f64> {
    workload.threshold.as_ref().filter(|threshold| threshold.other_metric.is_none()).map(|threshold| threshold.value)
}

fn as_json(file: &str, workload: &Workload, ended: &Ended) -> Value {
    let threshold = workload.threshold.as_ref().map(|threshold| threshold.value);
    let mut entry = json!({"file": file, "workload": workload.name, "labels": workload.labels, "threshold": threshold});
    let more = match ended {
        Ended::Measured(Measured { nodes, pods, attempts, events, cpu, simulated, digest, remarks }) => json!({
            "result": "measured",
            "podsPerCpuSecond": rate_of(ended),
            "pods": pods,
            "nodes": nodes,
            "cpuSeconds": cpu.as_secs_f64(),
            "attempts": attempts,
            "events": events,
            "podsPerSimulatedSecond": simulated,
            "digest": format!("{digest:016x}"),
            "remarks": remarks,
        }),
        Ended::NotSimulated(what) => json!({"result": "notSimulated", "remarks": what}),
        Ended::Failed(why) => json!({"result": "failed", "remarks": [why]}),
    };
    if let (Value::Object(entry), Value::Object(more)) = (&mut entry, more) {
        entry.extend(more);
    }
    entry
}

fn rate_of(ended: &Ended) -> Option<f64> {
    match ended {
        Ended::Measured(measured) => measured.rate(),
        Ended::NotSimulated(_) | Ended::Failed(_) => None,
    }
}

/// How many workloads ended how.
#[derive(Debug, Default)]
struct Count {
    all: usize,
    above: usize,
    below: usize,
    not_simulated: usize,
    failed: usize,
}

impl Count {
    fn add(&mut self, workload: &Workload, ended: &Ended) {
        self.all += 1;
        match ended {
            Ended::NotSimulated(_) => self.not_simulated += 1,
            Ended::Failed(_) => self.failed += 1,
            Ended::Measured(measured) => match compared(workload).zip(measured.rate()) {
                Some((threshold, rate)) if rate > threshold => self.above += 1,
                Some(_) => self.below += 1,
                None => {}
            },
        }
    }

    fn text(&self) -> String {
        let mut parts = vec![format!("{} above their threshold", self.above)];
        for (count, what) in [(self.below, "below it"), (self.not_simulated, "not simulated"), (self.failed, "FAILED")]
        {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let plural = if self.all == 1 { "workload" } else { "workloads" };
        format!("{} {plural} · {}", self.all, parts.join(" · "))
    }
}

/// `12,345`; below 100 with what is behind the point.
fn number(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
