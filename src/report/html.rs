//! `report.html`: the whole run in one file that needs no network, on a screen (light or dark) and on paper.

mod decisions;
mod timeline;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::kernel::{Duration, Time};
use crate::model::{Name, Object, Source};
use crate::trace::{Expectation, Footer, Header};

use super::conformance;
use super::journal::{Journal, PodLife, WorkloadLife};
use super::latency::{self, Latency, percentile};
use super::plot::{Format, Plot, PlotError, Series};
use super::story::{self, Line, evidence, title};
use super::style::{clock, count, length, moment};

/// Input files are shown up to this many bytes in all.
const INPUT_LIMIT: usize = 600_000;
/// More lines of the story than this are not read by anybody.
const STORY_LIMIT: usize = 2_000;

/// The file.
pub fn html(header: &Header, journal: &Journal, footer: &Footer) -> Result<String, PlotError> {
    let page = Page { header, journal, footer };
    let mut text = String::with_capacity(1 << 18);
    let name = escape(&header.name);
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{name}, simlet</title>\n<style>\n{}</style></head>\n<body>\n",
        include_str!("html/report.css")
    );
    page.head(&mut text);
    page.expectations(&mut text);
    page.story(&mut text);
    timeline::write(&mut text, journal, footer);
    page.latency(&mut text)?;
    page.availability(&mut text);
    page.scheduling(&mut text);
    page.modelled(&mut text);
    page.input(&mut text);
    let _ = write!(text, "<script>\n{}</script>\n</body></html>\n", include_str!("html/report.js"));
    Ok(text)
}

/// Text for HTML, in and outside of attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Page<'a> {
    header: &'a Header,
    journal: &'a Journal,
    footer: &'a Footer,
}

impl Page<'_> {
    /// A link to a line of the input.
    fn place(&self, source: Option<Source>) -> String {
        match source {
            Some(source) => format!(
                "<a class=\"mono\" href=\"#f{}-{}\">{}</a>",
                source.file,
                source.line,
                escape(&self.header.place(source))
            ),
            None => String::new(),
        }
    }

    fn head(&self, text: &mut String) {
        let (header, footer) = (self.header, self.footer);
        let failed = footer.expectations.iter().filter(|each| !each.held).count();
        let verdict = match (footer.expectations.len(), failed) {
            (0, _) => String::new(),
            (all, 0) => format!("<span class=\"badge good\">{all} held</span>"),
            (_, failed) => format!("<span class=\"badge bad\">{failed} failed</span>"),
        };
        let command = escape(&header.command);
        let _ = write!(
            text,
            "<h1>{}{verdict}</h1>\n<p class=\"soft\">{}</p>\n<p>{} · ends at {} ({}) · {}</p>\n<div class=\"command\"><code>{command}</code><button data-copy=\"{command}\">copy</button></div>\n<p class=\"soft\">{} events · digest <code>{:016x}</code>, the same on any machine</p>\n",
            escape(&header.name),
            escape(&header.description),
            escape(&story::summary(header, self.journal)),
            clock(footer.end),
            escape(&footer.reason),
            story::final_state(self.journal),
            super::style::thousands(footer.events),
            footer.digest,
        );
        text.push_str("<nav>");
        for (id, words) in [
            ("expectations", "Expectations"),
            ("story", "Story"),
            ("timeline", "Timeline"),
            ("latency", "Latency"),
            ("availability", "Availability"),
            ("scheduling", "Scheduling"),
            ("modelled", "What was modelled"),
            ("input", "Input"),
        ] {
            let _ = write!(text, "<a href=\"#{id}\">{words}</a>");
        }
        text.push_str("</nav>\n");
        for warning in &header.warnings {
            let _ = writeln!(text, "<p class=\"warn\">warning: {}</p>", escape(warning));
        }
        for invariant in &footer.invariants {
            let _ = writeln!(text, "<p class=\"bad\">simlet broke an invariant of its own: {}</p>", escape(invariant));
        }
    }

    fn expectations(&self, text: &mut String) {
        text.push_str("<h2 id=\"expectations\">Expectations</h2>\n");
        if self.footer.expectations.is_empty() {
            text.push_str("<p class=\"soft\">None were written.</p>\n");
        }
        let failed_first = |expectation: &&Expectation| expectation.held;
        let mut all: Vec<&Expectation> = self.footer.expectations.iter().collect();
        all.sort_by_key(failed_first);
        for expectation in all {
            let (class, word) = if expectation.held { ("good", "held") } else { ("bad", "failed") };
            let _ = write!(
                text,
                "<div><b class=\"{class}\">{word}</b> <code>{}</code> {}",
                escape(&title(expectation)),
                self.place(expectation.source)
            );
            let lines = evidence(self.header, self.footer, expectation);
            for line in lines.iter().filter(|line| !line.starts_with("at ")) {
                let _ = write!(text, "<br><span class=\"soft\">{}</span>", escape(line));
            }
            let end = self.footer.end.as_secs_f64().max(1e-9);
            let color = if expectation.held || !expectation.broken.is_empty() { "#2f9e5b" } else { "#d03b3b" };
            let _ = write!(
                text,
                "<svg class=\"strip\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\"><rect width=\"1000\" height=\"10\" fill=\"{color}\"/>"
            );
            for (from, until) in &expectation.broken {
                let (from, until) = (from.as_secs_f64() / end, until.unwrap_or(self.footer.end).as_secs_f64() / end);
                let _ = write!(
                    text,
                    "<rect x=\"{:.1}\" width=\"{:.1}\" height=\"10\" fill=\"#d03b3b\"/>",
                    from * 1000.0,
                    ((until - from) * 1000.0).max(2.0)
                );
            }
            text.push_str("</svg></div>\n");
        }
    }

    fn story(&self, text: &mut String) {
        text.push_str("<h2 id=\"story\">Story</h2>\n<p><input id=\"filter\" placeholder=\"filter by object, node, word\" size=\"34\"> <span id=\"shown\" class=\"soft\"></span></p>\n<table class=\"story\">\n");
        let lines = story::lines(self.header, self.journal, self.footer);
        for (at, line) in lines.iter().take(STORY_LIMIT).enumerate() {
            self.story_line(text, at, line);
        }
        text.push_str("</table>\n");
        if lines.len() > STORY_LIMIT {
            let _ = writeln!(text, "<p class=\"soft\">and {} more</p>", lines.len() - STORY_LIMIT);
        }
        let _ = writeln!(text, "<p>{} {}</p>", moment(self.footer.end), story::final_state(self.journal));
        let mut groups: BTreeMap<(Name, String, String), Vec<&PodLife>> = BTreeMap::new();
        for pod in self.journal.final_pods() {
            if let Some((state, reason)) = story::unwell_reason(pod) {
                groups.entry((self.journal.family(pod), state, reason)).or_default().push(pod);
            }
        }
        if !groups.is_empty() {
            text.push_str("<table><tr><th>not well at the end</th><th>pods</th><th>state</th><th>reason</th></tr>\n");
            for ((family, state, reason), pods) in groups.iter().take(100) {
                let _ = writeln!(
                    text,
                    "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"warn\">{}</td><td>{}</td></tr>",
                    escape(family.as_str()),
                    pods.len(),
                    escape(state),
                    escape(reason)
                );
            }
            text.push_str("</table>\n");
        }
    }

    fn story_line(&self, text: &mut String, at: usize, line: &Line) {
        let class = if line.alarm { " class=\"warn\"" } else { "" };
        let _ = write!(
            text,
            "<tr id=\"s{at}\"><td><a href=\"#s{at}\">{}</a></td><td{class}>{}",
            moment(line.time),
            escape(&line.what)
        );
        if line.objects.len() > 1 {
            let shown: Vec<String> = line.objects.iter().take(60).map(|object| escape(object)).collect();
            let more = line.objects.len().saturating_sub(60);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = write!(
                text,
                "<details><summary>{} objects</summary><div class=\"objects\">{}{more}</div></details>",
                line.objects.len(),
                shown.join(", ")
            );
        }
        let _ = writeln!(text, "</td><td>{} {}</td></tr>", escape(&line.why), self.place(line.source.or(line.root)));
    }

    fn latency(&self, text: &mut String) -> Result<(), PlotError> {
        text.push_str("<h2 id=\"latency\">Latency</h2>\n");
        let latency = Latency::of(self.journal);
        if latency.starts.is_empty() {
            text.push_str("<p class=\"soft\">No pod became Ready.</p>\n");
            return Ok(());
        }
        let _ = writeln!(text, "<p>{} became Ready. From creation to Ready:</p>", count(latency.starts.len(), "pod"));
        text.push_str("<table><tr><th>step</th><th class=\"n\">p50</th><th class=\"n\">p90</th><th class=\"n\">p99</th><th class=\"n\">max</th></tr>\n");
        let row = |text: &mut String, name: &str, sorted: &[Duration]| {
            let _ = write!(text, "<tr><td>{name}</td>");
            for percent in [50, 90, 99, 100] {
                let _ = write!(text, "<td class=\"n\">{}</td>", length(percentile(sorted, percent)));
            }
            text.push_str("</tr>\n");
        };
        for step in latency.steps() {
            row(text, step.as_str(), &latency.step(step));
        }
        row(text, "<b>whole start</b>", &latency.totals());
        text.push_str("</table>\n");
        let slow = Duration::from_secs(5);
        let fast = latency
            .starts
            .iter()
            .filter(|start| start.total().saturating_sub(start.steps[latency::Step::Pull as usize]) <= slow)
            .count();
        let _ = writeln!(
            text,
            "<p>Kubernetes' objective is 5 s without pulls at p99: {fast} of {} within it.</p>",
            latency.starts.len()
        );
        let series = [Series { name: self.header.name.clone(), latency }];
        for plot in [Plot::Cdf(&series), Plot::Stages(&series), Plot::Phases(self.journal, self.footer)] {
            let svg = plot.draw(Format::Svg)?;
            let svg = String::from_utf8_lossy(&svg);
            // With a viewBox it shrinks with the page.
            let scaled = svg.split_once('>').map_or(svg.to_string(), |(tag, rest)| {
                if tag.contains("viewBox") {
                    format!("{tag}>{rest}")
                } else {
                    format!("{tag} viewBox=\"0 0 1000 560\">{rest}")
                }
            });
            let _ = writeln!(text, "<div class=\"plot\">{scaled}</div>");
        }
        text.push_str("<h3>Slowest</h3>\n<table><tr><th class=\"n\">start</th><th>pod</th><th>node</th><th>longest step</th></tr>\n");
        for start in series[0].latency.slowest(10) {
            let Some(pod) = self.journal.pods.get(&start.pod) else { continue };
            let _ = writeln!(
                text,
                "<tr><td class=\"n\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                length(start.total()),
                escape(&self.journal.name_of(pod)),
                escape(pod.last.node.unwrap_or_default().as_str()),
                escape(&latency::reason(self.journal, start))
            );
        }
        text.push_str("</table>\n");
        Ok(())
    }

    fn availability(&self, text: &mut String) {
        text.push_str("<h2 id=\"availability\">Availability</h2>\n<p class=\"soft\">Ready replicas (green) against those wanted (line), over the run.</p>\n");
        let serving = |workload: &&WorkloadLife| {
            matches!(workload.last, Object::Deployment(_) | Object::StatefulSet(_) | Object::DaemonSet(_))
        };
        let mut workloads: Vec<&WorkloadLife> = self.journal.top_workloads().into_iter().filter(serving).collect();
        // Those that lacked something longest come first.
        workloads.sort_by_key(|workload| std::cmp::Reverse(self.short_for(workload)));
        for workload in workloads.iter().take(200) {
            let short = self.short_for(workload);
            let now = workload.now();
            let lacking = if short.is_zero() {
                "never short after its start".to_owned()
            } else {
                format!("<span class=\"warn\">short for {}</span>", length(short))
            };
            let name = escape(&workload.display());
            let _ = write!(text, "<div class=\"workload\"><span>{name}</span>");
            self.replicas_svg(text, workload);
            let _ = writeln!(text, "<span>{lacking}; {} of {} at the end</span></div>", now.ready, now.wanted);
        }
        if workloads.len() > 200 {
            let _ = writeln!(text, "<p class=\"soft\">and {} more</p>", workloads.len() - 200);
        }
    }

    /// How long fewer were ready than wanted, after all were for the first time.
    fn short_for(&self, workload: &WorkloadLife) -> Duration {
        let mut sum = Duration::ZERO;
        let mut whole = false;
        for (at, (from, replicas)) in workload.replicas.iter().enumerate() {
            let until = workload.replicas.get(at + 1).map_or(self.footer.end, |(time, _)| *time);
            whole |= replicas.ready >= replicas.wanted;
            if whole && replicas.ready < replicas.wanted {
                sum += until.since(*from);
            }
        }
        sum
    }

    fn replicas_svg(&self, text: &mut String, workload: &WorkloadLife) {
        let end = self.footer.end.as_secs_f64().max(1e-9);
        let most = workload.replicas.iter().map(|(_, each)| each.wanted.max(each.ready)).max().unwrap_or(1).max(1);
        let x = |time: Time| time.as_secs_f64() / end * 1000.0;
        let y = |value: i32| 30.0 - f64::from(value.max(0)) / f64::from(most) * 28.0;
        let (mut ready, mut wanted) = (String::new(), String::new());
        let mut last = (f64::NAN, String::new());
        for (at, (from, replicas)) in workload.replicas.iter().enumerate() {
            let until = workload.replicas.get(at + 1).map_or(self.footer.end, |(time, _)| *time);
            let (left, right) = (x(*from), x(until));
            let heights = format!("{:.1} {:.1}", y(replicas.ready), y(replicas.wanted));
            // What is narrower than a pixel and no other than its neighbour is left out.
            if right - left < 0.3 && at + 1 < workload.replicas.len() && last.1 == heights {
                continue;
            }
            let _ =
                write!(ready, "{}{left:.1} {:.1}H{right:.1}", if at == 0 { "M0 30L" } else { "L" }, y(replicas.ready));
            let _ = write!(wanted, "{}{left:.1} {:.1}H{right:.1}", if at == 0 { "M" } else { "L" }, y(replicas.wanted));
            last = (right, heights);
        }
        let _ = write!(
            text,
            "<svg viewBox=\"0 0 1000 32\" preserveAspectRatio=\"none\"><path d=\"{ready}V30Z\" fill=\"#2f9e5b\" opacity=\".75\"/><path d=\"{wanted}\" fill=\"none\" stroke=\"#5f6b7a\" stroke-width=\"1.5\" vector-effect=\"non-scaling-stroke\"/></svg>"
        );
    }

    fn scheduling(&self, text: &mut String) {
        text.push_str("<h2 id=\"scheduling\">Scheduling</h2>\n");
        let [placed, unschedulable, failed] = self.journal.attempts;
        let _ =
            writeln!(text, "<p>{placed} attempts placed a pod, {unschedulable} found no node, {failed} failed.</p>");
        let mut zones: Vec<Name> = self.journal.nodes.keys().map(|node| self.journal.zone(*node)).collect();
        zones.sort();
        zones.dedup();
        // By zone; by node where there are no zones and few nodes.
        let by_node = zones.len() < 2 && self.journal.nodes.len() <= 24;
        let mut columns = zones;
        if by_node {
            columns = self.journal.nodes.keys().copied().collect();
            columns.sort();
        }
        let mut matrix: BTreeMap<String, BTreeMap<Name, usize>> = BTreeMap::new();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for pod in self.journal.final_pods() {
            let family = match self.journal.top(pod) {
                Some(workload) => workload.display(),
                None => "pods of their own".to_owned(),
            };
            let row = matrix.entry(family).or_default();
            let column = match pod.last.node {
                Some(node) if by_node => node,
                Some(node) => self.journal.zone(node),
                None => Name::new("\u{0}unplaced"),
            };
            *row.entry(column).or_default() += 1;
        }
        for pod in self.journal.pods.values().filter(|pod| pod.attempts > 0) {
            let reason = story::reasons_only(&story::last_message(pod));
            if !reason.is_empty() {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        text.push_str("<p class=\"soft\">Pods at the end, by workload and place.</p><table><tr><th>workload</th>");
        for column in &columns {
            let name = if column.is_empty() { "no zone" } else { column.as_str() };
            let _ = write!(text, "<th class=\"n\">{}</th>", escape(name));
        }
        text.push_str("<th class=\"n\">without a node</th></tr>\n");
        for (family, row) in matrix.iter().take(300) {
            let _ = write!(text, "<tr><td>{}</td>", escape(family));
            for column in columns.iter().copied().chain([Name::new("\u{0}unplaced")]) {
                let number = row.get(&column).map(usize::to_string).unwrap_or_default();
                let _ = write!(text, "<td class=\"n\">{number}</td>");
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</table>\n");
        if !reasons.is_empty() {
            text.push_str("<p class=\"soft\">Why pods found no node, at their last attempt that failed.</p><table><tr><th class=\"n\">pods</th><th>reasons</th></tr>\n");
            let mut reasons: Vec<_> = reasons.into_iter().collect();
            reasons.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
            for (reason, number) in reasons.iter().take(50) {
                let _ = writeln!(text, "<tr><td class=\"n\">{number}</td><td>{}</td></tr>", escape(reason));
            }
            text.push_str("</table>\n");
        }
        decisions::write(text, self.journal);
    }

    fn modelled(&self, text: &mut String) {
        text.push_str("<h2 id=\"modelled\">What was modelled, and what not</h2>\n");
        let _ = writeln!(
            text,
            "<p>The rules are those of Kubernetes {}. Of the objects of this run:</p>\n<ul>",
            escape(&self.header.kubernetes)
        );
        for (kind, number) in &self.header.passed_over {
            let _ = writeln!(text, "<li>{}: passed over, nothing of it was simulated ({number})</li>", escape(kind));
        }
        for (kind, field, number) in &self.header.not_modelled {
            let _ = writeln!(
                text,
                "<li>{} <code>{}</code>: accepted, without effect ({number})</li>",
                escape(kind),
                escape(field)
            );
        }
        if self.header.passed_over.is_empty() && self.header.not_modelled.is_empty() {
            text.push_str("<li>everything that they say was simulated</li>\n");
        }
        text.push_str("</ul>\n");
        text.push_str("<p>Of the parts that they went through:</p>\n<table><tr><th>part</th><th>modelled</th><th>simplified</th><th>not there yet</th></tr>\n");
        for row in conformance::used(self.journal) {
            let cells = [row.part, row.modelled, row.simplified, row.missing].map(escape);
            let _ = writeln!(text, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
        }
        text.push_str("</table>\n");
    }

    fn input(&self, text: &mut String) {
        text.push_str("<h2 id=\"input\">Input</h2>\n");
        let mut left = INPUT_LIMIT;
        for (file, source) in self.header.sources.iter().enumerate() {
            let _ = write!(text, "<details class=\"input\" open><summary>{}</summary><pre>", escape(&source.name));
            for (line, words) in source.text.lines().enumerate() {
                // Each line costs its anchor as well.
                let cost = words.len() + 40;
                if cost > left {
                    let _ = write!(text, "<a>… the rest is left out, for its length</a>");
                    left = 0;
                    break;
                }
                left -= cost;
                let line = line + 1;
                let _ = write!(text, "<a id=\"f{file}-{line}\"><b>{line}</b>{}</a>", escape(words));
            }
            text.push_str("</pre></details>\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, World, zone_outage};
    use super::html;

    fn page(sample: &Sample) -> String {
        html(&sample.header, &sample.journal(), &sample.footer).expect("it can be drawn")
    }

    #[test]
    fn the_file_is_one_without_network_and_its_links_lead_somewhere() {
        let text = page(&zone_outage(3));
        assert!(text.len() < 2_000_000);
        for outside in ["http:", "https:", " src=", "@import", "url("] {
            let found =
                text.match_indices(outside).filter(|(at, _)| !text[*at..].starts_with("http://www.w3.org/2000/svg"));
            assert_eq!(found.count(), 0, "{outside}");
        }
        for (at, _) in text.match_indices("href=\"#") {
            let id = text[at + 7..].split('"').next().unwrap_or_default();
            let line_0 = id.ends_with("-0");
            assert!(line_0 || text.contains(&format!("id=\"{id}\"")), "{id} leads nowhere");
        }
        assert!(text.contains("&quot;quoted&quot; &amp; &lt;tagged&gt;"), "input is escaped");
        assert_eq!(text, page(&zone_outage(3)), "the same bytes again");
    }

    #[test]
    fn a_big_run_stays_below_two_megabytes() {
        let text = page(&zone_outage(700));
        assert!(text.len() < 2_000_000, "{} bytes", text.len());
    }

    #[test]
    fn a_run_in_which_nothing_happened_has_a_page() {
        assert!(page(&World::new("empty").finish(0)).contains("No pod became Ready"));
    }
}
