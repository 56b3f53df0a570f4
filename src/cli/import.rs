//! `simlet import`: traces of others.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rayon::prelude::*;

use crate::kernel::Duration;
use crate::manifest::{Epoch, Source, print};
use crate::report::plot::{Format, Line, Lines, Plot};
use crate::report::style::length;
use crate::scenario::openb::{self, Expected, Fill, Filled, Gpus, LOAD_POINTS, Replayed, Trace};
use crate::scenario::simkube;
use crate::scheduler::Config;

use super::{Outcome, error, files, terminal};

/// Read the trace of another cluster: openb, or a recording by SimKube
///
/// A recording by SimKube (JSON) becomes a scenario in the folder --out, for `simlet run`.
///
/// Of openb, Alibaba's GPU cluster, it is shown at once what schedulers make of it, beside the published results where they
/// lie in the folder (expected/). By default it is the experiment of the paper that came with the trace: pods in random order, none
/// of which leaves, until 130 % of the GPUs were asked for. With --out it becomes a scenario, too, with its nodes and pods
/// as Kubernetes objects.
#[derive(Debug, Args)]
pub struct Import {
    /// The folder with openb_node_list_*.csv and openb_pod_list_*.csv, or a JSON file of SimKube's
    trace: PathBuf,
    /// Which list of pods: default, multigpu50, …
    #[arg(long, default_value = "default", value_name = "NAME")]
    pods: String,
    /// Which list of nodes: gpu_node or all_node [default: gpu_node, with --replay all_node]
    #[arg(long, value_name = "NAME")]
    nodes: Option<String>,
    /// Schedulers to compare: default, most-allocated, or KubeSchedulerConfiguration files
    #[arg(long, value_name = "POLICY", num_args = 1.., default_values = ["default", "most-allocated"])]
    policy: Vec<String>,
    /// How GPUs become resources of nodes and pods
    #[arg(long, value_enum, default_value_t = GpuForm::Milli)]
    gpus: GpuForm,
    /// The seeds to draw pods with, such as 42..51 (both included)
    #[arg(long, value_parser = super::test::seeds, value_name = "FROM..TO", default_value = "42..42")]
    seeds: (u64, u64),
    /// Until so many percent of the GPUs were asked for
    #[arg(long, default_value_t = 130)]
    percent: u32,
    /// Let pods come and go at the times of the trace instead
    #[arg(long)]
    replay: bool,
    /// Write tables, a plot and the scenario into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GpuForm {
    /// alibabacloud.com/gpu-milli, thousandths of a node's cards together
    Milli,
    /// nvidia.com/gpu, whole cards; a share takes one
    Whole,
}

impl GpuForm {
    fn gpus(self) -> Gpus {
        match self {
            GpuForm::Milli => Gpus::Milli,
            GpuForm::Whole => Gpus::Whole,
        }
    }

    fn resource(self) -> &'static str {
        match self {
            GpuForm::Milli => "alibabacloud.com/gpu-milli",
            GpuForm::Whole => "nvidia.com/gpu",
        }
    }
}

/// A scheduler to compare.
struct Policy {
    name: String,
    /// Its KubeSchedulerConfiguration; None: what kube-scheduler does without one.
    source: Option<Source>,
    config: Config,
}

impl Import {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub fn carry_out(self) -> Result<Outcome, String> {
        if self.trace.is_file() {
            return self.simkube();
        }
        let nodes = self.nodes.clone().unwrap_or_else(|| if self.replay { "all_node" } else { "gpu_node" }.to_owned());
        let (nodes_file, pods_file) =
            (format!("openb_node_list_{nodes}.csv"), format!("openb_pod_list_{}.csv", self.pods));
        if !self.trace.join(&nodes_file).is_file() {
            let folder = self.trace.display();
            return Err(error(format!("{folder}: no {nodes_file} is here; known are traces of the openb cluster")));
        }
        let trace = Trace {
            nodes: openb::read_nodes(&nodes_file, &self.text(&nodes_file)?).map_err(error)?,
            pods: openb::read_pods(&pods_file, &self.text(&pods_file)?).map_err(error)?,
        };
        let policies = self.policies()?;
        let cards: i64 = trace.nodes.iter().map(|node| node.gpus).sum();
        let title = format!(
            "openb: {} pods of {pods_file}, {} nodes with {cards} GPUs as {}",
            trace.pods.len(),
            trace.nodes.len(),
            self.gpus.resource()
        );
        terminal::print(&format!("{title}\n\n"));
        let mut written = self.scenario(&trace, &policies, &title);
        if self.replay {
            written.push(("waits.md".to_owned(), self.replay(&trace, &policies)?.into_bytes()));
        } else {
            written.extend(self.fill(&trace, &policies, &title)?);
        }
        if let Some(out) = &self.out {
            for (name, bytes) in &written {
                files::write(&out.join(name), bytes).map_err(error)?;
            }
            let names: Vec<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
            terminal::print(&format!("written to {}: {}\n", out.display(), names.join(", ")));
        }
        Ok(Outcome::Fine)
    }

    /// A recording by SimKube as a scenario.
    fn simkube(&self) -> Result<Outcome, String> {
        let Some(out) = &self.out else { return Err(error("a recording becomes a scenario: say where with --out")) };
        let name = self.trace.to_string_lossy();
        let sources = files::read(&name).map_err(error)?;
        let text = sources.first().map_or("", Source::text);
        let written = simkube::convert(&name, text).map_err(error)?;
        for (name, text) in &written {
            files::write(&out.join(name), text.as_bytes()).map_err(error)?;
        }
        let scenario = out.join("scenario.yaml");
        terminal::print(&format!("{} files written; next: simlet run {}\n", written.len(), scenario.display()));
        Ok(Outcome::Fine)
    }

    fn text(&self, file: &str) -> Result<String, String> {
        let sources = files::read(&self.trace.join(file).to_string_lossy()).map_err(error)?;
        Ok(sources.first().map(|source| source.text().to_owned()).unwrap_or_default())
    }

    fn policies(&self) -> Result<Vec<Policy>, String> {
        let mut policies = Vec::new();
        for name in &self.policy {
            let source = match name.as_str() {
                "default" => None,
                "most-allocated" => Some(Source::new("scheduler.yaml", most_allocated(self.gpus.resource()))),
                file => files::read(file).map_err(error)?.into_iter().next(),
            };
            let config = match &source {
                None => Config { client_qps: 0, ..Config::default() },
                Some(source) => openb::scheduler_of(source)?,
            };
            let name = Path::new(name).file_stem().map_or(name.clone(), |stem| stem.to_string_lossy().into_owned());
            policies.push(Policy { name, source, config });
        }
        Ok(policies)
    }

    /// The trace as a scenario, with a scheduler's configuration for each policy that has one.
    fn scenario(&self, trace: &Trace, policies: &[Policy], title: &str) -> Vec<(String, Vec<u8>)> {
        if self.out.is_none() {
            return Vec::new();
        }
        let (nodes, pods) = openb::objects(&trace.nodes, &trace.pods, self.gpus.gpus());
        let epoch = Epoch::default();
        let mut written = vec![
            ("nodes.yaml".to_owned(), print::yaml(&nodes, epoch).into_bytes()),
            ("pods.yaml".to_owned(), print::yaml(&pods, epoch).into_bytes()),
        ];
        let mut scheduler = String::new();
        for policy in policies {
            if let Some(source) = &policy.source {
                let name = format!("scheduler-{}.yaml", policy.name);
                scheduler.push_str(&format!("  # scheduler: {{config: {name}}}\n"));
                written.push((name, source.text().as_bytes().to_vec()));
            }
        }
        let text = format!(
            "# {title}\napiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: openb-{}}}\nuntil: 10m\ncluster:\n  \
             nodes: [{{from: nodes.yaml}}]\n{scheduler}manifests: [pods.yaml]\n",
            self.pods
        );
        written.push(("scenario.yaml".to_owned(), text.into_bytes()));
        written
    }

    /// The paper's experiment, all seeds at once.
    fn fill(&self, trace: &Trace, policies: &[Policy], title: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let seeds: Vec<u64> = (self.seeds.0..=self.seeds.1).collect();
        let mut all: Vec<(&str, Vec<Filled>)> = Vec::new();
        for policy in policies {
            let filled: Vec<(Filled, Duration)> = seeds
                .par_iter()
                .map(|&seed| {
                    let before = terminal::cpu_time();
                    let scheduler = policy.config.clone();
                    let what = Fill { trace, gpus: self.gpus.gpus(), scheduler, seed, percent: self.percent };
                    let filled = openb::fill(&what);
                    (filled, since(before))
                })
                .collect();
            let mut times: Vec<Duration> = filled.iter().map(|(_, cpu)| *cpu).collect();
            times.sort_unstable();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let pods = filled.first().map_or(0, |(filled, _)| filled.pods);
            terminal::complain(&format!("{}: {pods} pods in {} of CPU time a run\n", policy.name, seconds(median)));
            all.push((&policy.name, filled.into_iter().map(|(filled, _)| filled).collect()));
        }
        let expected_file = self.trace.join("expected/gpu-allocation-percent.csv");
        let expected = match std::fs::read_to_string(&expected_file) {
            Ok(text) => {
                let name = expected_file.to_string_lossy();
                openb::read_expected(&name, &text, &format!("openb_pod_list_{}", self.pods)).map_err(error)?
            }
            Err(_) => Expected::new(),
        };
        let table = table_of(&all, &expected, self.percent);
        let below = format!(
            "GPUs allocated, in percent of all, when so many percent were asked for; mean of {}. \"On cards\" leaves out \
             pods whose share fits the node's sum but none of its cards, which Kubernetes cannot see.",
            if seeds.len() == 1 {
                format!("seed {}", self.seeds.0)
            } else {
                format!("seeds {}..{}", self.seeds.0, self.seeds.1)
            }
        );
        let ends = ends_of(&all);
        terminal::print(&format!("{below}\n\n{table}\n{ends}"));
        let drawn = Plot::Lines(&plot_of(&all, &expected, self.percent, title)).draw(Format::Svg).map_err(error)?;
        let text = format!("# GPU allocation of the openb trace\n\n{title}.\n\n{below}\n\n{table}\n{ends}");
        Ok(vec![("allocation.md".to_owned(), text.into_bytes()), ("allocation.svg".to_owned(), drawn)])
    }

    fn replay(&self, trace: &Trace, policies: &[Policy]) -> Result<String, String> {
        let mut rows = vec![
            ["scheduler", "placed", "never placed", "waited at once", "wait p90", "p99", "longest", "GPUs at most"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let mut first = true;
        for policy in policies {
            let before = terminal::cpu_time();
            let replayed =
                openb::replay(trace, self.gpus.gpus(), policy.config.clone(), self.seeds.0).map_err(error)?;
            terminal::complain(&format!("{}: {} of CPU time\n", policy.name, seconds(since(before))));
            let Replayed { pods, waits, trace_waits, peak_percent, .. } = &replayed;
            if std::mem::take(&mut first) {
                rows.push(wait_row("as in the trace", *pods, trace_waits, None));
            }
            rows.push(wait_row(&policy.name, *pods, waits, Some(*peak_percent)));
        }
        let table = markdown(&rows);
        terminal::print(&format!("{table}\n"));
        Ok(table)
    }
}

fn since(before: Duration) -> Duration {
    Duration::from_nanos(terminal::cpu_time().as_nanos().saturating_sub(before.as_nanos()))
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A KubeSchedulerConfiguration that packs.
fn most_allocated(gpu: &str) -> String {
    format!(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: default-scheduler\n  \
         pluginConfig:\n  - name: NodeResourcesFit\n    args:\n      scoringStrategy:\n        type: MostAllocated\n        resources:\n        \
         - {{name: cpu, weight: 1}}\n        - {{name: memory, weight: 1}}\n        - {{name: {gpu}, weight: 1}}\n"
    )
}

/// The mean over all seeds at a load point, as Kubernetes counts and on cards.
fn mean_at(filled: &[Filled], at: u32) -> Option<(f64, f64)> {
    let at_point = |one: &Filled| one.allocated.iter().find(|(point, ..)| *point == at).copied();
    let points: Vec<(u32, f64, f64)> = filled.iter().map(at_point).collect::<Option<_>>()?;
    let count = points.len().max(1) as f64;
    let sum = points.iter().fold((0.0, 0.0), |sum, (_, all, cards)| (sum.0 + all, sum.1 + cards));
    Some((sum.0 / count, sum.1 / count))
}

/// The name of one of the paper's policies without its number.
fn plain(policy: &str) -> &str {
    policy.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('-')
}

fn table_of(all: &[(&str, Vec<Filled>)], expected: &Expected, percent: u32) -> String {
    let mut header = vec!["arrived".to_owned()];
    for (name, _) in all {
        header.extend([(*name).to_owned(), "on cards".to_owned()]);
    }
    header.extend(expected.keys().map(|policy| format!("{} (paper)", plain(policy))));
    let mut rows = vec![header];
    for point in LOAD_POINTS.into_iter().filter(|point| *point <= percent) {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let mut row = vec![format!("{point} %")];
        for (_, filled) in all {
            let mean = mean_at(filled, point);
            row.extend([shown(mean.map(|mean| mean.0)), shown(mean.map(|mean| mean.1))]);
        }
        row.extend(expected.values().map(|points| shown(points.get(&point).copied())));
        rows.push(row);
    }
    markdown(&rows)
}

/// How each policy ended.
fn ends_of(all: &[(&str, Vec<Filled>)]) -> String {
    let mut text = String::new();
    for (name, filled) in all {
        let count = filled.len().max(1) as f64;
        let mean = |of: fn(&Filled) -> f64| filled.iter().map(of).sum::<f64>() / count;
        let (pods, placed) = (mean(|one| one.pods as f64), mean(|one| one.placed as f64));
        let cpu = mean(|one| one.cpu_percent);
        let digest = filled.first().map_or(0, |one| one.digest);
        text.push_str(&format!(
            "- {name}: {placed:.0} of {pods:.0} pods placed, CPU {cpu:.1} % allocated; digest {digest:016x}\n"
        ));
    }
    text
}

fn plot_of(all: &[(&str, Vec<Filled>)], expected: &Expected, percent: u32, title: &str) -> Lines {
    let points: Vec<u32> = LOAD_POINTS.into_iter().filter(|point| *point <= percent).collect();
    let mut lines = Vec::new();
    for (name, filled) in all {
        let mut curve = |name: String, of: fn((f64, f64)) -> f64| {
            let at = |&point: &u32| mean_at(filled, point).map(|mean| (f64::from(point), of(mean)));
            lines.push(Line { name, points: points.iter().filter_map(at).collect(), is_reference: false });
        };
        curve((*name).to_owned(), |mean| mean.0);
        curve(format!("{name}, on cards"), |mean| mean.1);
    }
    for (policy, values) in expected {
        let points = values.iter().map(|(point, value)| (f64::from(*point), *value)).collect();
        lines.push(Line { name: format!("{} (paper)", plain(policy)), points, is_reference: true });
    }
    let least = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(100.0, f64::min);
    let least = f64::max((least / 10.0).floor() * 10.0, 0.0);
    Lines {
        title: "GPU allocation over arriving load".to_owned(),
        below: title.to_owned(),
        x: "GPUs asked for, in percent of all".to_owned(),
        y: "GPUs allocated, in percent of all".to_owned(),
        x_range: (50.0, f64::from(percent.max(51))),
        y_range: (least, 100.0),
        log: false,
        x_ticks: (50..=percent).step_by(10).map(f64::from).collect(),
        y_ticks: (0..=20).map(|step| f64::from(step) * 5.0).filter(|tick| *tick >= least).collect(),
        lines,
    }
}

fn wait_row(name: &str, pods: usize, waits: &[Duration], peak: Option<f64>) -> Vec<String> {
    let at = |percent: usize| {
        let rank = (waits.len() * percent).div_ceil(100).max(1) - 1;
        length(waits.get(rank).copied().unwrap_or_default())
    };
    let at_once = waits.iter().filter(|wait| wait.as_secs() == 0).count();
    vec![
        name.to_owned(),
        waits.len().to_string(),
        pods.saturating_sub(waits.len()).to_string(),
        at_once.to_string(),
        at(90),
        at(99),
        at(100),
        peak.map_or_else(|| "-".to_owned(), |peak| format!("{peak:.1} %")),
    ]
}

/// A table in Markdown, its columns aligned so that it reads as plain text, too. The first row is the header.
fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        text.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        if index == 0 {
            let rule: Vec<String> = widths.iter().map(|width| format!("{}:", "-".repeat(width - 1))).collect();
            text.push_str(&format!("| {} |\n", rule.join(" | ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_markdown_that_is_aligned() {
        let rows = [["a", "long name"], ["12 %", "3"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(markdown(&rows), "|    a | long name |\n| ---: | --------: |\n| 12 % |         3 |\n");
    }

    #[test]
    fn the_papers_policies_are_shown_without_their_numbers() {
        assert_eq!(["01-Random", "06-FGD", "BestFit"].map(plain), ["Random", "FGD", "BestFit"]);
    }
}
