//! Programs that read text and write a part of it, and what `printf` and `echo -e` make of theirs.

use std::time::Duration as Length;

use super::super::files::{Entry, Trouble};
use super::{Shell, base};

impl Shell {
    pub(super) async fn ends_of(&self, name: &str, words: &[&str]) -> i32 {
        let mut count = 10usize;
        let (mut follows, mut files) = (false, Vec::new());
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "-f" | "-F" => follows = true,
                "-n" | "-c" => count = words.next().and_then(|count| count.parse().ok()).unwrap_or(count),
                word if word.starts_with('-') && word.len() > 1 => {
                    follows |= word.contains('f');
                    let digits: String = word.chars().filter(char::is_ascii_digit).collect();
                    count = digits.parse().unwrap_or(count);
                }
                file => files.push(file),
            }
        }
        let content = match files.first() {
            None => Ok(self.input.rest().await),
            Some(&"/dev/null") => Ok(Vec::new()),
            Some(file) => self.world.files().read(&self.path(file)).map_err(|why| (file.to_string(), why)),
        };
        let content = match content {
            Ok(content) => content,
            Err((file, why)) => return self.fails(&format!("{name}: can't open '{file}': {why}"), 1).await,
        };
        let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
        let from = if name == "tail" { lines.len().saturating_sub(count) } else { 0 };
        let shown = lines.iter().skip(from).take(count).copied().collect::<Vec<&[u8]>>().concat();
        self.say(shown).await;
        let Some(file) = files.first().filter(|_| follows && name == "tail") else { return 0 };
        let path = self.path(file);
        let mut seen = content.len();
        loop {
            tokio::time::sleep(Length::from_millis(500)).await;
            let now = self.world.files().read(&path).unwrap_or_default();
            if let Some(new) = now.get(seen..) {
                self.say(new.to_vec()).await;
            }
            seen = now.len();
        }
    }

    pub(super) async fn filter(&self, name: &str, words: &[&str]) -> i32 {
        let flags: String =
            words.iter().filter(|w| w.starts_with('-') && w.len() > 1).flat_map(|w| w.chars().skip(1)).collect();
        let mut operands: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
        let own = match name {
            "grep" => usize::from(!operands.is_empty()),
            "tr" => operands.len(),
            "cut" | "tee" => operands.len(),
            _ => 0,
        };
        let files = operands.split_off(own);
        let mut content = Vec::new();
        if files.is_empty() {
            content = self.input.rest().await;
        }
        for file in &files {
            let read = self.world.files().read(&self.path(file));
            match read {
                Ok(bytes) => content.extend(bytes),
                Err(why) => return self.fails(&format!("{name}: {file}: {why}"), 2).await,
            }
        }
        let text = String::from_utf8_lossy(&content).into_owned();
        match name {
            "wc" => {
                let (lines, words) = (text.matches('\n').count(), text.split_whitespace().count());
                let shown = match flags.chars().next() {
                    Some('l') => lines.to_string(),
                    Some('w') => words.to_string(),
                    Some('c') => content.len().to_string(),
                    _ => format!("{lines:>9} {words:>9} {:>9}", content.len()),
                };
                self.line(shown).await
            }
            "sort" => {
                let mut lines: Vec<&str> = text.lines().collect();
                if flags.contains('n') {
                    lines.sort_by_key(|line| line.trim().parse::<i64>().unwrap_or(0));
                } else {
                    lines.sort_unstable();
                }
                if flags.contains('u') {
                    lines.dedup();
                }
                if flags.contains('r') {
                    lines.reverse();
                }
                self.say(lines.iter().map(|line| format!("{line}\n")).collect::<String>()).await;
                0
            }
            "tee" => {
                for file in operands {
                    let _lost = self.world.files().write(&self.path(file), &content, flags.contains('a'));
                }
                self.say(content).await;
                0
            }
            "tr" => {
                let set = |text: &str| -> Vec<char> {
                    let text = unescaped(text);
                    match text.chars().collect::<Vec<char>>().as_slice() {
                        [from, '-', to] => (*from..=*to).collect(),
                        other => other.to_vec(),
                    }
                };
                let (from, to) = (set(operands.first().unwrap_or(&"")), set(operands.get(1).unwrap_or(&"")));
                let shown: String = text
                    .chars()
                    .filter_map(|c| match from.iter().position(|other| *other == c) {
                        Some(_) if flags.contains('d') => None,
                        Some(at) => to.get(at).or(to.last()).copied().or(Some(c)),
                        None => Some(c),
                    })
                    .collect();
                self.say(shown).await;
                0
            }
            "cut" => {
                let after = |flag: &str| {
                    let at = words.iter().position(|word| word.starts_with(flag))?;
                    let inline = words.get(at)?.strip_prefix(flag)?;
                    if inline.is_empty() { words.get(at + 1).copied() } else { Some(inline) }
                };
                let delimiter = after("-d").unwrap_or("\t");
                let field = after("-f").and_then(|field| field.parse::<usize>().ok()).unwrap_or(1).max(1);
                let shown: String = text
                    .lines()
                    .map(|line| format!("{}\n", line.split(delimiter).nth(field - 1).unwrap_or(line)))
                    .collect();
                self.say(shown).await;
                0
            }
            _ => {
                let pattern = operands.first().copied().unwrap_or("");
                let found: Vec<&str> = text
                    .lines()
                    .filter(|line| is_match(pattern, line, flags.contains('i')) != flags.contains('v'))
                    .collect();
                if flags.contains('c') {
                    self.line(found.len().to_string()).await;
                } else if !flags.contains('q') {
                    self.say(found.iter().map(|line| format!("{line}\n")).collect::<String>()).await;
                }
                i32::from(found.is_empty())
            }
        }
    }

    pub(super) async fn find(&self, operands: &[&str], words: &[&str]) -> i32 {
        let root = operands.first().copied().unwrap_or(".");
        let name = words.iter().position(|word| *word == "-name").and_then(|at| words.get(at + 1));
        let mut waiting = vec![root.to_owned()];
        let mut text = String::new();
        while let Some(path) = waiting.pop() {
            let whole = self.path(&path);
            let kind = self.world.files().kind(&whole);
            let Some(kind) = kind else {
                return self.fails(&format!("find: {path}: {}", Trouble::NotFound), 1).await;
            };
            if name.is_none_or(|pattern| crate::model::glob::matches(pattern, base(&path))) {
                text.push_str(&format!("{path}\n"));
            }
            if kind == Entry::Folder && text.len() < 1 << 20 {
                let names = self.world.files().list(&whole);
                let names = names.unwrap_or_default();
                waiting.extend(names.iter().rev().map(|name| format!("{}/{name}", path.trim_end_matches('/'))));
            }
        }
        self.say(text).await;
        0
    }
}

/// What `printf` writes.
pub(super) fn formatted(format: &str, values: &[&str]) -> String {
    let format = unescaped(format);
    let mut values = values.iter().copied().peekable();
    let mut text = String::new();
    loop {
        let had = values.peek().is_some();
        let mut rest = format.as_str();
        while let Some(at) = rest.find('%') {
            text.push_str(rest.get(..at).unwrap_or(""));
            let after = rest.get(at + 1..).unwrap_or("");
            let end = after.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(after.len());
            let kind = after.get(end..).and_then(|kind| kind.chars().next());
            match kind {
                Some('%') => text.push('%'),
                Some('b') => text.push_str(&unescaped(values.next().unwrap_or(""))),
                Some('d' | 'i' | 'u') => {
                    let number = values.next().and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
                    text.push_str(&number.to_string());
                }
                _ => text.push_str(values.next().unwrap_or("")),
            }
            rest = after.get(end + kind.map_or(0, char::len_utf8)..).unwrap_or("");
        }
        text.push_str(rest);
        // The format is used again while there are values that it takes.
        if !had || values.peek().is_none() || !format.contains('%') {
            break;
        }
    }
    text
}

/// Text with `\n`, `\t`, `\r` and `\\` as the characters that they stand for.
pub(super) fn unescaped(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            whole.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => whole.push('\n'),
            Some('t') => whole.push('\t'),
            Some('r') => whole.push('\r'),
            Some('\\') => whole.push('\\'),
            Some(other) => {
                whole.push('\\');
                whole.push(other);
            }
            None => whole.push('\\'),
        }
    }
    whole
}

/// A pattern of `^`, `$`, `.*` and plain text.
fn is_match(pattern: &str, line: &str, ignores_case: bool) -> bool {
    let (pattern, line) = if ignores_case {
        (pattern.to_lowercase(), line.to_lowercase())
    } else {
        (pattern.to_owned(), line.to_owned())
    };
    let (start, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern.as_str()),
    };
    let (end, pattern) = match pattern.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let glob = pattern.replace(".*", "*");
    let glob = format!("{}{glob}{}", if start { "" } else { "*" }, if end { "" } else { "*" });
    crate::model::glob::matches(&glob, &line)
}
