//! `simlet bench-scheduler`: how fast does the scheduler decide, in the workloads that Kubernetes measures its own with?
//!
//! Kubernetes: test/integration/scheduler_perf. `config` reads a `performance-config.yaml`, `template` renders its templates,
//! `objects` makes objects of them, `bench` is the API server with the scheduler behind it, `ops` carries out the opcodes.

mod bench;
mod config;
mod objects;
mod ops;
mod template;

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;

use super::{Outcome, error, files, terminal};
use config::{Case, Workload};
use ops::{Measured, Run};

/// Run workloads of Kubernetes' scheduler_perf as they are: pods scheduled a second of CPU time, beside the file's threshold
///
/// FILE is a `performance-config.yaml`. The CPU time is that of the API server and the scheduler together, on one thread.
/// Exits 1 if a threshold is missed; what needs something that simlet does not have is named and passed over.
#[derive(Debug, Args)]
pub struct BenchScheduler {
    /// One or several performance-config.yaml
    #[arg(required = true)]
    files: Vec<String>,
    /// Only workloads whose `case/workload` contains this; may be given several times
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Only workloads with these labels, without those after a minus: performance,-short
    #[arg(long, value_name = "LABELS", allow_hyphen_values = true)]
    label: Option<String>,
    /// Name the workloads instead of running them
    #[arg(long)]
    list: bool,
}

impl BenchScheduler {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let mut outcome = Outcome::Fine;
        let mut ran = 0;
        for file in &self.files {
            let source = files::read(file).map_err(error)?.into_iter().next();
            let source = source.ok_or_else(|| error(format!("{file}: nothing to read")))?;
            let cases = config::read(&source)?;
            let folder = Path::new(file).parent().unwrap_or(Path::new(""));
            terminal::print(&format!("{file}\n"));
            for case in &cases {
                for workload in case.workloads.iter().filter(|workload| self.wants(case, workload)) {
                    ran += 1;
                    let name = format!("{}/{}", case.name, workload.name);
                    if self.list {
                        terminal::print(&format!("  {name}  [{}]\n", workload.labels.join(", ")));
                        continue;
                    }
                    let line = match Run::new(folder, case, workload).and_then(Run::carry_out) {
                        Ok(measured) => {
                            let (line, reached) = show(&name, workload, &measured);
                            if !reached {
                                outcome = Outcome::Failed;
                            }
                            line
                        }
                        Err(ops::Stopped::NotSimulated(what)) => format!("  {name}\n      passed over: {what}\n"),
                        Err(ops::Stopped::Failed(what)) => {
                            outcome = Outcome::Failed;
                            format!("  {name}\n      FAILED: {what}\n")
                        }
                        Err(ops::Stopped::BadInput(what)) => return Err(error(format!("{file}: {name}: {what}"))),
                    };
                    terminal::print(&line);
                }
            }
        }
        if ran == 0 {
            return Err(error("no workload is so called, or has these labels; --list names them"));
        }
        Ok(outcome)
    }

    fn wants(&self, case: &Case, workload: &Workload) -> bool {
        let name = format!("{}/{}", case.name, workload.name);
        let named = self.workload.is_empty() || self.workload.iter().any(|wanted| name.contains(wanted.as_str()));
        let labels: Vec<&str> = case.labels.iter().chain(&workload.labels).map(String::as_str).collect();
        let labelled = self.label.as_deref().unwrap_or_default().split(',').filter(|label| !label.is_empty());
        let mut labelled = labelled.map(|label| match label.trim().strip_prefix('-') {
            Some(not) => !labels.contains(&not),
            None => labels.contains(&label.trim()),
        });
        named && labelled.all(|fits| fits)
    }
}

/// The lines of one workload, and whether it reached its threshold.
fn show(name: &str, workload: &Workload, measured: &Measured) -> (String, bool) {
    let mut text = format!("  {name}\n");
    let mut reached = true;
    if measured.spans.is_empty() {
        text.push_str("      nothing is measured\n");
    }
    for span in &measured.spans {
        let seconds = span.cpu.as_secs_f64();
        let rate = if seconds > 0.0 { span.pods as f64 / seconds } else { 0.0 };
        let name = if span.name.is_empty() { String::new() } else { format!("{}: ", span.name) };
        let _ = write!(text, "      {name}{} pods in {seconds:.3} s of CPU: {} pods/s", span.pods, whole(rate));
        match workload.threshold() {
            Some(threshold) => {
                let holds = rate > threshold;
                reached &= holds;
                let mark = if holds { "✓" } else { "✗" };
                let _ = write!(text, "   {mark} threshold {threshold} ({:.0}×)", rate / threshold);
            }
            None => text.push_str("   no threshold"),
        }
        text.push('\n');
    }
    for note in &measured.notes {
        let _ = writeln!(text, "      note: {note}");
    }
    (text, reached)
}

/// `47,600`: three figures count.
fn whole(rate: f64) -> String {
    let mut number = rate as u64;
    let mut unit = 1;
    while number >= 1000 {
        number /= 10;
        unit *= 10;
    }
    let digits = (number * unit).to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
