//! The timeline: nodes as rows, pods as bars in their colours, faults as bands. Many pods are put together.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::model::Name;
use crate::trace::Footer;

use super::super::journal::{Journal, PodLife};
use super::super::plot::time_ticks;
use super::super::series::{NodeClass, PodClass, classes, node_faults, node_spans, nodes_in_order};
use super::super::style::{count, cut, moment};
use super::escape;

/// More bars than this make a page slow.
const BARS: usize = 5_000;
/// More rows than this make it long.
const ROWS: usize = 400;
const LEFT: f64 = 170.0;
const WIDTH: f64 = 1064.0;

fn color(class: PodClass) -> &'static str {
    match class {
        PodClass::Ready => "#2f9e5b",
        PodClass::Running => "#3b74c9",
        PodClass::Pending => "#e0a030",
        PodClass::Succeeded => "#9fb5a6",
        PodClass::Failed => "#d03b3b",
    }
}

pub(super) fn write(text: &mut String, journal: &Journal, footer: &Footer) {
    let end = footer.end.max(Time::from_secs(1));
    let x = |time: Time| LEFT + time.min(end).as_secs_f64() / end.as_secs_f64() * (WIDTH - LEFT - 24.0);
    text.push_str("<h2 id=\"timeline\">Timeline</h2>\n<p class=\"legend\">");
    for class in PodClass::ALL {
        let _ = write!(text, "<span><i style=\"background:{}\"></i>{}</span>", color(class), class.as_str());
    }
    text.push_str("<span><i style=\"background:#e88c30\"></i>node NotReady</span><span><i style=\"background:#d03b3b;opacity:.35\"></i>fault</span></p>\n");
    let mut of_node: FxHashMap<Name, Vec<&PodLife>> = FxHashMap::default();
    for pod in journal.pods.values() {
        of_node.entry(pod.last.node.unwrap_or_default()).or_default().push(pod);
    }
    let bars: usize = journal.pods.values().map(|pod| classes(pod).len()).sum();
    let nodes = nodes_in_order(journal);
    let single = bars <= BARS && nodes.len() <= ROWS;
    if !single {
        let _ = writeln!(
            text,
            "<p class=\"soft\">{} on {}: a row shows its nodes, without their pods; trace.perfetto.json has them all.</p>",
            count(journal.pods.len(), "pod"),
            count(nodes.len(), "node")
        );
    }
    let mut body = String::new();
    let mut y = 24.0;
    let share = nodes.len().div_ceil(ROWS).max(1);
    for chunk in nodes.chunks(share) {
        let Some(first) = chunk.first() else { continue };
        let lanes =
            if single { lanes(of_node.get(&first.name).map_or(&[][..], Vec::as_slice), end) } else { Vec::new() };
        let height = 7.0 + lanes.len() as f64 * 5.0;
        let name = if chunk.len() == 1 {
            first.name.to_string()
        } else {
            format!("{} and {} more", first.name, chunk.len() - 1)
        };
        let _ = write!(
            body,
            "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 7.0,
            escape(&cut(&name, 26))
        );
        // Nodes of one row lie over each other: what is wrong with one shows.
        for node in chunk {
            for (from, until, class) in node_spans(node, end) {
                let color = match class {
                    NodeClass::Ready => "#63b684",
                    NodeClass::NotReady => "#e88c30",
                    NodeClass::Absent => "#8893a0",
                };
                if class == NodeClass::Ready && node.name != first.name {
                    continue;
                }
                rect(&mut body, (x(from), y, x(until) - x(from), 5.0), color, "");
            }
            for (from, until, what) in node_faults(node, end) {
                let _ = write!(
                    body,
                    "<rect x=\"{:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\" fill=\"#d03b3b\" opacity=\".25\"><title>{} {} {} to {}</title></rect>",
                    x(from),
                    y - 2.0,
                    (x(until) - x(from)).max(1.0),
                    height + 2.0,
                    escape(node.name.as_str()),
                    escape(&what),
                    moment(from),
                    moment(until)
                );
            }
        }
        draw_lanes(&mut body, journal, &lanes, y + 7.0, end, &x);
        y += height + 4.0;
    }
    if single && let Some(pods) = of_node.get(&Name::default()) {
        let lanes = lanes(pods, end);
        let _ =
            write!(body, "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">without a node</text>", LEFT - 8.0, y + 7.0);
        draw_lanes(&mut body, journal, &lanes, y, end, &x);
        y += lanes.len() as f64 * 5.0 + 4.0;
    }
    let mut axis = String::new();
    for (seconds, label) in time_ticks(end.as_secs_f64(), 10) {
        let at = x(Time::from_secs(seconds as u64));
        let _ = write!(
            axis,
            "<text x=\"{at:.0}\" y=\"14\" text-anchor=\"middle\">{label}</text><path d=\"M{at:.1} 19V{y:.0}\" stroke=\"#8893a0\" stroke-width=\".4\" opacity=\".5\"/>"
        );
    }
    let mut marks = String::new();
    for fault in &journal.faults {
        let at = x(fault.time);
        let ends = if fault.undone { " ends" } else { "" };
        let _ = write!(
            marks,
            "<path d=\"M{at:.1} 19V{y:.0}\" stroke=\"#d03b3b\" stroke-dasharray=\"4 3\"><title>{} {}{ends}</title></path>",
            moment(fault.time),
            escape(&fault.text)
        );
    }
    let _ = writeln!(
        text,
        "<div class=\"timeline\"><svg viewBox=\"0 0 {WIDTH} {:.0}\" data-left=\"{LEFT}\">{axis}{body}{marks}</svg></div>\n<p class=\"soft\">Drag to zoom, double click for all of it. For more, open trace.perfetto.json in Perfetto.</p>",
        y + 4.0
    );
}

fn rect(text: &mut String, (x, y, width, height): (f64, f64, f64, f64), color: &str, title: &str) {
    let _ = write!(
        text,
        "<rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{height}\" fill=\"{color}\"",
        width.max(0.6)
    );
    if title.is_empty() {
        text.push_str("/>");
    } else {
        let _ = write!(text, "><title>{title}</title></rect>");
    }
}

/// Pods in lanes in which none overlap, first come first served.
fn lanes<'a>(pods: &[&'a PodLife], end: Time) -> Vec<Vec<&'a PodLife>> {
    let mut lanes: Vec<(Time, Vec<&'a PodLife>)> = Vec::new();
    for pod in pods.iter().copied() {
        let until = pod.gone.unwrap_or(end);
        match lanes.iter_mut().find(|(free, _)| *free <= pod.created) {
            Some((free, lane)) => {
                *free = until;
                lane.push(pod);
            }
            None => lanes.push((until, vec![pod])),
        }
    }
    lanes.into_iter().map(|(_, lane)| lane).collect()
}

fn draw_lanes(
    text: &mut String,
    journal: &Journal,
    lanes: &[Vec<&PodLife>],
    top: f64,
    end: Time,
    x: &impl Fn(Time) -> f64,
) {
    for (at, lane) in lanes.iter().enumerate() {
        let y = top + at as f64 * 5.0;
        for pod in lane {
            let gone = pod.gone.unwrap_or(end);
            let name = escape(&journal.name_of(pod));
            let _ = write!(text, "<g><title>{name} {}</title>", escape(&pod.status_word()));
            let classes = classes(pod);
            for (at, (from, class)) in classes.iter().enumerate() {
                let until = classes.get(at + 1).map_or(gone, |(time, _)| *time);
                rect(text, (x(*from), y, x(until) - x(*from), 4.0), color(*class), "");
            }
            text.push_str("</g>");
        }
    }
}
