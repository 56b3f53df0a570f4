//! Nodes over time: ready or not, with the spans of faults; many nodes are put together by zone.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::kernel::Time;
use crate::trace::Footer;

use super::super::journal::{Journal, NodeLife};
use super::super::series::{NodeClass, node_faults, node_spans, nodes_in_order};
use super::super::style::{count, cut};
use super::{
    Area, BAD, CALM_GOOD, Drawn, Frame, RGBColor, SOFT, bar, font, legend, line, soft, text, time_axis, titled,
};

/// More rows than this can't be read.
const ROWS: usize = 60;

pub(super) fn height(journal: &Journal) -> u32 {
    let rows = journal.nodes.len().clamp(1, ROWS) as u32;
    150 + rows * if rows > 30 { 13 } else { 19 }
}

/// Nodes that share a row.
struct Row<'a> {
    name: String,
    nodes: Vec<&'a NodeLife>,
}

fn rows(journal: &Journal) -> Vec<Row<'_>> {
    let nodes = nodes_in_order(journal);
    let share = nodes.len().div_ceil(ROWS).max(1);
    let row = |nodes: &[&'_ NodeLife]| match nodes {
        [node] => node.name.to_string(),
        [first, .., last] => format!("{} … {}", first.name, last.name),
        [] => String::new(),
    };
    nodes.chunks(share).map(|nodes| Row { name: row(nodes), nodes: nodes.to_vec() }).collect()
}

pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, journal: &Journal, footer: &Footer) -> Drawn {
    let end = footer.end.max(Time::from_secs(1));
    let rows = rows(journal);
    let shared = rows.iter().any(|row| row.nodes.len() > 1);
    let mut below = count(journal.nodes.len(), "node");
    if shared {
        below.push_str(&format!(", {} in a row; a row is red as far as its nodes are", rows[0].nodes.len()));
    }
    let area = titled(area, "Nodes over time", &below)?;
    let (width, height) = area.dim_in_pixel();
    let absent = RGBColor(0xd5, 0xda, 0xe0);
    let not_ready = RGBColor(0xe8, 0x8c, 0x30);
    let entries = [
        ("Ready".to_owned(), CALM_GOOD),
        ("NotReady".to_owned(), not_ready),
        ("not there".to_owned(), absent),
        ("under a fault".to_owned(), BAD),
    ];
    legend(&area, (26, 12), width as i32 - 24, &entries)?;
    let frame = Frame { left: 190, top: 36, right: width as i32 - 28, bottom: height as i32 - 34 };
    time_axis(&area, frame, end.as_secs_f64())?;
    let pitch = f64::from(frame.bottom - frame.top) / rows.len().max(1) as f64;
    let x = |time: Time| frame.x(time.as_secs_f64() / end.as_secs_f64());
    let mut last_zone = None;
    for (at, row) in rows.iter().enumerate() {
        let top = frame.top + (pitch * at as f64) as i32;
        let bottom = frame.top + (pitch * (at + 1) as f64) as i32;
        let zone = row.nodes.first().map(|node| journal.zone(node.name));
        if at > 0 && zone != last_zone {
            line(&area, (24, top), (frame.right, top), SOFT)?;
        }
        last_zone = zone;
        let size = if pitch < 16.0 { 10 } else { 12 };
        let name = cut(&row.name, 26);
        text(&area, &name, (frame.left - 8, (top + bottom) / 2), font(size), HPos::Right, VPos::Center)?;
        let (upper, lower) = (top + 2, bottom - 2);
        let each = f64::from(lower - upper) / row.nodes.len() as f64;
        for (index, node) in row.nodes.iter().enumerate() {
            let from_y = upper + (each * index as f64) as i32;
            let to_y = (upper + (each * (index + 1) as f64) as i32).max(from_y + 1);
            for (from, until, class) in node_spans(node, end) {
                let color = match class {
                    NodeClass::Ready => CALM_GOOD,
                    NodeClass::NotReady => not_ready,
                    NodeClass::Absent => absent,
                };
                bar(&area, (x(from), from_y), (x(until).max(x(from) + 1), to_y), color.filled())?;
            }
            for (from, until, _) in node_faults(node, end) {
                let height = ((to_y - from_y) / 3).max(1);
                bar(&area, (x(from), to_y - height), (x(until).max(x(from) + 2), to_y), BAD.filled())?;
            }
        }
    }
    // What was done, named above its moment where there is room.
    let mut free = -100;
    for fault in journal.faults.iter().filter(|fault| !fault.undone) {
        let at = x(fault.time);
        line(&area, (at, frame.top - 6), (at, frame.bottom), BAD)?;
        let words = cut(&fault.text, 40);
        let (wide, _) = area.estimate_text_size(&words, &soft(11)).map_err(super::error)?;
        let left = (at + 4).min(frame.right - wide as i32);
        if left > free {
            text(&area, &words, (left, frame.top - 4), soft(11), HPos::Left, VPos::Bottom)?;
            free = left + wide as i32 + 10;
        }
    }
    Ok(())
}
