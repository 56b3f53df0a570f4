//! The lines of the input that differ between two runs, and which of them explain a workload.

use crate::model::Source;
use crate::trace::{Header, SourceFile};

/// A line that explains a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The file, as the user named it.
    pub file: String,
    /// From 1, in the later of the two files.
    pub line: usize,
    /// `nodeSelector: {pool: general} removed`.
    pub what: String,
}

impl Cause {
    /// `shop.yaml:22 nodeSelector: {pool: general} removed`.
    pub fn text(&self) -> String {
        format!("{}:{} {}", self.file, self.line, self.what)
    }
}

/// Lines that were replaced by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Index of the file in the later run; None: it is gone, and the lines are those of the earlier run.
    file: Option<usize>,
    name: String,
    /// The first line, from 1.
    line: usize,
    before: Vec<String>,
    after: Vec<String>,
}

/// Of a hunk with more lines only the first is told of, and how many there are.
const LINES_OF_A_HUNK: usize = 8;

impl Hunk {
    /// What each of its lines comes to: lines of the same field stand for each other.
    fn causes(&self) -> Vec<Cause> {
        let telling = |lines: &[String]| -> Vec<(usize, String)> {
            let lines = lines.iter().enumerate().filter(|(_, line)| !is_comment(line));
            lines.map(|(at, line)| (at, line.trim().trim_start_matches("- ").to_owned())).collect()
        };
        let (before, mut after) = (telling(&self.before), telling(&self.after));
        if before.len().max(after.len()) > LINES_OF_A_HUNK {
            return vec![self.summary(&before, &after)];
        }
        let mut causes: Vec<(usize, String)> = Vec::new();
        let pairwise = before.len() == after.len();
        for (place, (at, was)) in before.iter().enumerate() {
            let twin = match pairwise {
                true => Some(0),
                false => after.iter().position(|(_, is)| field(is) == field(was)),
            };
            let at = self.after.len().min(*at);
            match twin.map(|twin| after.remove(twin)) {
                Some((at, is)) => causes.push((at, differing(was, &is).unwrap_or_else(|| format!("{was} → {is}")))),
                None => causes.push((at.min(place), format!("{was} removed"))),
            }
        }
        causes.extend(after.into_iter().map(|(at, is)| (at, format!("{is} added"))));
        causes.sort_by_key(|(at, _)| *at);
        causes.into_iter().map(|(at, what)| Cause { file: self.name.clone(), line: self.line + at, what }).collect()
    }

    fn summary(&self, before: &[(usize, String)], after: &[(usize, String)]) -> Cause {
        let lines = |lines: &[(usize, String)]| format!("{} … ({} lines)", lines[0].1, lines.len());
        let what = match (before.is_empty(), after.is_empty()) {
            (false, true) => format!("{} removed", lines(before)),
            (true, false) => format!("{} added", lines(after)),
            _ => format!("{} → {}", lines(before), lines(after)),
        };
        Cause { file: self.name.clone(), line: self.line, what }
    }
}

/// The name of a line's field: `cpu` of `cpu: 500m`.
fn field(line: &str) -> &str {
    line.split(':').next().unwrap_or(line)
}

/// Of two lines in YAML's flow style the parts that differ: `cpu: 1 → cpu: 5`.
fn differing(was: &str, is: &str) -> Option<String> {
    let parts = |text: &str| {
        text.split(['{', '}', ','])
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
    };
    let (was, is) = (parts(was), parts(is));
    if was.len() != is.len() || was.len() < 2 {
        return None;
    }
    let mut pairs = was.iter().zip(&is).filter(|(was, is)| was != is);
    let (was, is) = pairs.next()?;
    let more = if pairs.next().is_some() { ", …" } else { "" };
    Some(format!("{was} → {is}{more}"))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// All lines that differ between the files of two runs. Comments and empty lines count as nothing.
pub(super) fn hunks(before: &Header, after: &Header) -> Vec<Hunk> {
    let mut hunks = Vec::new();
    if before.sources.is_empty() {
        return hunks; // The file of a baseline does not say what it came of.
    }
    let mut paired = vec![false; before.sources.len()];
    for (index, file) in after.sources.iter().enumerate() {
        let same = before.sources.iter().position(|old| old.name == file.name);
        // Files of other names stand for each other if both runs were given as many.
        let same = same.or_else(|| (before.sources.len() == after.sources.len()).then_some(index));
        let old = same.filter(|same| !paired[*same]);
        if let Some(old) = old {
            paired[old] = true;
        }
        let old_text = old.and_then(|old| before.sources.get(old)).map_or("", |old| old.text.as_str());
        compare(old_text, file, Some(index), &mut hunks);
    }
    for (old, _) in before.sources.iter().zip(&paired).filter(|(_, paired)| !**paired) {
        let lines: Vec<String> = old.text.lines().map(str::to_owned).collect();
        hunks.push(Hunk { file: None, name: old.name.clone(), line: 1, before: lines, after: Vec::new() });
    }
    hunks
}

/// The lines that explain why the workload at `source` has changed: those of its own document that differ, else all that
/// differ anywhere.
pub(super) fn of(source: Option<Source>, hunks: &[Hunk], after: &Header) -> Vec<Cause> {
    let own = source.and_then(|source| {
        let text = &after.sources.get(source.file as usize)?.text;
        let (from, to) = document(text, source.line as usize);
        let is_own = |hunk: &&Hunk| hunk.file == Some(source.file as usize) && (from..=to).contains(&hunk.line);
        let causes: Vec<Cause> = hunks.iter().filter(is_own).flat_map(Hunk::causes).collect();
        (!causes.is_empty()).then_some(causes)
    });
    own.unwrap_or_else(|| hunks.iter().flat_map(Hunk::causes).collect())
}

/// The lines of the document in which `line` is.
fn document(text: &str, line: usize) -> (usize, usize) {
    let (mut from, mut to) = (1, usize::MAX);
    for (number, content) in (1..).zip(text.lines()) {
        if content.starts_with("---") {
            if number <= line {
                from = number;
            } else {
                to = number;
                break;
            }
        }
    }
    (from, to)
}

/// Beyond so many pairs of lines the differing middle of two files is one hunk.
const COMPARED: usize = 4_000_000;

fn compare(before: &str, after: &SourceFile, file: Option<usize>, hunks: &mut Vec<Hunk>) {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.text.lines().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut add = |at: usize, before: &[&str], after_lines: &[&str]| {
        if before.iter().chain(after_lines).all(|line| is_comment(line)) {
            return;
        }
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let (before, lines) = (owned(before), owned(after_lines));
        hunks.push(Hunk { file, name: after.name.clone(), line: head + at + 1, before, after: lines });
    };
    if old.is_empty() || new.is_empty() || old.len() * new.len() > COMPARED {
        if !(old.is_empty() && new.is_empty()) {
            add(0, old, new);
        }
        return;
    }
    // The longest common subsequence of lines, from the end.
    let width = new.len() + 1;
    let mut longest = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = if old[i] == new[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut from_i, mut from_j) = (0, 0);
    loop {
        let same = i < old.len() && j < new.len() && old[i] == new[j];
        let over = i == old.len() && j == new.len();
        if (same || over) && (i > from_i || j > from_j) {
            add(from_j, &old[from_i..i], &new[from_j..j]);
        }
        if over {
            break;
        }
        if same {
            (i, j) = (i + 1, j + 1);
            (from_i, from_j) = (i, j);
        } else if j == new.len() || i < old.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
}
