//! How words are expanded: values, output of commands, sums, `{1..5}`; unquoted ones are split at blanks. Patterns of file
//! names stay as they are.

use std::sync::{Arc, Mutex, PoisonError};

use super::syntax::{Part, Word};
use super::{Flow, Shell, Sink};

/// Whether these are just this word.
pub(super) fn is_just(words: &[Word], text: &str) -> bool {
    matches!(words, [word] if matches!(word.as_slice(), [Part::Text(only)] if only == text))
}

/// A word in the making: what is there of it, and whether it exists even if it is empty.
#[derive(Default)]
struct Fields {
    done: Vec<String>,
    text: String,
    exists: bool,
}

impl Fields {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
        self.exists = true;
    }

    /// Adds what is split at blanks.
    fn split(&mut self, text: &str) {
        for (number, piece) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            if number > 0 {
                self.end();
            }
            if !piece.is_empty() {
                self.add(piece);
            }
        }
    }

    fn end(&mut self) {
        if self.exists || !self.text.is_empty() {
            self.done.push(std::mem::take(&mut self.text));
        }
        self.exists = false;
    }
}

impl Shell {
    /// The words after expansion.
    pub(super) async fn expand(&mut self, words: &[Word]) -> Vec<String> {
        let mut all = Vec::with_capacity(words.len());
        for word in words {
            if let [Part::Text(text)] = word.as_slice()
                && let Some(range) = range(text)
            {
                all.extend(range);
                continue;
            }
            if let [Part::Value { name, quoted: true, .. }] = without_empty(word).as_slice()
                && name == "@"
            {
                all.extend(self.arguments.iter().cloned());
                continue;
            }
            let mut fields = Fields::default();
            self.parts(word, &mut fields).await;
            fields.end();
            all.extend(fields.done);
        }
        all
    }

    /// A word of which no blank makes two.
    pub(super) async fn one_word(&mut self, word: &Word) -> String {
        let mut fields = Fields::default();
        self.parts(word, &mut fields).await;
        fields.end();
        fields.done.join(" ")
    }

    async fn parts(&mut self, word: &Word, fields: &mut Fields) {
        for part in word {
            match part {
                Part::Text(text) | Part::Quoted(text) => fields.add(text),
                Part::Value { name, otherwise, quoted } => {
                    let value = self.value(name).filter(|value| !value.is_empty() || otherwise.is_none());
                    let value = value.or_else(|| otherwise.clone()).unwrap_or_default();
                    if *quoted { fields.add(&value) } else { fields.split(&value) }
                }
                Part::Output { script, quoted } => {
                    let buffer = Arc::new(Mutex::new(Vec::new()));
                    let mut child = self.child();
                    child.out = Sink::Buffer(Arc::clone(&buffer));
                    if let Flow::Status(code) | Flow::Exit(code) = child.list(script).await {
                        self.status = code;
                    }
                    let bytes = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
                    let text = String::from_utf8_lossy(&bytes);
                    let text = text.trim_end_matches('\n');
                    if *quoted { fields.add(text) } else { fields.split(text) }
                }
                Part::Sum(text) => {
                    let value = sum(text, &|name| self.value(name));
                    fields.add(&value.unwrap_or(0).to_string());
                }
            }
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some("1".to_owned()),
            "!" => Some("2".to_owned()),
            "#" => Some(self.arguments.len().saturating_sub(1).to_string()),
            "@" | "*" => Some(self.arguments.get(1..).unwrap_or_default().join(" ")),
            "0" => Some(self.arguments.first().unwrap_or(&self.name).clone()),
            _ => match name.parse::<usize>() {
                Ok(number) => self.arguments.get(number).cloned(),
                Err(_) => self.values.get(name).cloned(),
            },
        }
    }
}

fn without_empty(word: &Word) -> Vec<&Part> {
    word.iter().filter(|part| !matches!(part, Part::Quoted(text) if text.is_empty())).collect()
}

/// `{1..5}`.
fn range(text: &str) -> Option<Vec<String>> {
    let (from, to) = text.strip_prefix('{')?.strip_suffix('}')?.split_once("..")?;
    let (from, to) = (from.parse::<i32>().ok()?, to.parse::<i32>().ok()?);
    if from.abs_diff(to) > 100_000 {
        return None;
    }
    Some(if from <= to {
        (from..=to).map(|number| number.to_string()).collect()
    } else {
        (to..=from).rev().map(|number| number.to_string()).collect()
    })
}

/// The value of a sum such as `i + 2 * (3 - 1)`; none if it is no sum.
fn sum(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Option<i64> {
    let mut reader = Sum { rest: text, value, depth: 0 };
    let result = reader.comparison()?;
    reader.rest.trim().is_empty().then_some(result)
}

struct Sum<'a> {
    rest: &'a str,
    value: &'a dyn Fn(&str) -> Option<String>,
    depth: u32,
}

impl Sum<'_> {
    fn take(&mut self, operator: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(operator) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn comparison(&mut self) -> Option<i64> {
        let left = self.addition()?;
        for (operator, holds) in [
            ("==", i64::eq as fn(&i64, &i64) -> bool),
            ("!=", i64::ne),
            ("<=", i64::le),
            (">=", i64::ge),
            ("<", i64::lt),
            (">", i64::gt),
        ] {
            if self.take(operator) {
                let right = self.addition()?;
                return Some(i64::from(holds(&left, &right)));
            }
        }
        Some(left)
    }

    fn addition(&mut self) -> Option<i64> {
        let mut total = self.product()?;
        loop {
            if self.take("+") {
                total = total.wrapping_add(self.product()?);
            } else if self.take("-") {
                total = total.wrapping_sub(self.product()?);
            } else {
                return Some(total);
            }
        }
    }

    fn product(&mut self) -> Option<i64> {
        let mut total = self.factor()?;
        loop {
            if self.take("*") {
                total = total.wrapping_mul(self.factor()?);
            } else if self.take("/") {
                total = total.checked_div(self.factor()?)?;
            } else if self.take("%") {
                total = total.checked_rem(self.factor()?)?;
            } else {
                return Some(total);
            }
        }
    }

    fn factor(&mut self) -> Option<i64> {
        self.depth += 1;
        if self.depth > 64 {
            return None;
        }
        if self.take("-") {
            return Some(self.factor()?.wrapping_neg());
        }
        if self.take("(") {
            let inner = self.comparison()?;
            return self.take(")").then_some(inner);
        }
        self.take("$");
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.depth -= 1;
        match word.chars().next()? {
            first if first.is_ascii_digit() => word.parse().ok(),
            _ => Some((self.value)(word).and_then(|value| value.trim().parse().ok()).unwrap_or(0)),
        }
    }
}
