//! Go's text/template as the objects' files use it: actions with `.Index` and `.Count`, numbers, and the functions of
//! scheduler_perf, with parentheses and pipes. No variables, no control structures.
//!
//! Kubernetes: test/integration/scheduler_perf/create.go (getSpecFromTextTemplateFile), test/utils/… template functions.

use std::fmt;
use std::fmt::Write as _;

/// What a template is rendered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The object's number, from 0.
    pub(super) index: i64,
    /// How many there are.
    pub(super) count: i64,
}

/// Why a template can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// From 1.
    pub(super) line: usize,
    pub(super) message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// True if the text has an action.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Renders a text.
pub(super) fn render(text: &str, place: Place) -> Result<String, Invalid> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut trim = false;
    while let Some(start) = rest.find("{{") {
        let line = text.len() - rest.len() + start;
        let line = text.get(..line).unwrap_or_default().matches('\n').count() + 1;
        let say = |message: String| Invalid { line, message };
        let (before, action) = (rest.get(..start).unwrap_or_default(), rest.get(start + 2..).unwrap_or_default());
        let before = if trim { before.trim_start() } else { before };
        let end = action.find("}}").ok_or_else(|| say("an action that does not end with }}".to_owned()))?;
        let mut inner = action.get(..end).unwrap_or_default();
        rest = action.get(end + 2..).unwrap_or_default();
        if let Some(trimmed) = inner.strip_prefix("- ") {
            out.push_str(before.trim_end());
            inner = trimmed;
        } else {
            out.push_str(before);
        }
        trim = inner.ends_with(" -");
        let inner = inner.strip_suffix(" -").unwrap_or(inner).trim();
        if inner.starts_with("/*") && inner.ends_with("*/") {
            continue;
        }
        let tokens = tokens(inner).map_err(say)?;
        let mut parser = Parser { tokens: &tokens, at: 0, place, depth: 0 };
        let value = parser.pipeline().map_err(say)?;
        if let Some(token) = parser.peek() {
            return Err(say(format!("unexpected {token} in {{{{{inner}}}}}")));
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "{value}");
    }
    out.push_str(if trim { rest.trim_start() } else { rest });
    Ok(out)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(Number),
    Field(String),
    Word(String),
    Open,
    Close,
    Pipe,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Number(number) => write!(f, "{number}"),
            Token::Field(name) => write!(f, ".{name}"),
            Token::Word(word) => f.write_str(word),
            Token::Open => f.write_str("("),
            Token::Close => f.write_str(")"),
            Token::Pipe => f.write_str("|"),
        }
    }
}

/// A value. Prints as Go's `%v` does for the sizes that occur.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Int(i64),
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(number) => write!(f, "{number}"),
            Number::Float(number) => write!(f, "{number}"),
        }
    }
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Float(number) => number,
        }
    }

    /// Go's conversion to an integer: towards zero.
    fn int(self) -> i64 {
        match self {
            Number::Int(number) => number,
            Number::Float(number) => number as i64,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word_end = |text: &str| {
            text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '-' | '+')).unwrap_or(text.len())
        };
        let (token, length) = match first {
            c if c.is_whitespace() => {
                rest = rest.trim_start();
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '|' => (Token::Pipe, 1),
            _ => {
                let length = word_end(rest);
                let word = rest.get(..length).unwrap_or_default();
                if word.is_empty() {
                    return Err(format!("unexpected {first:?} in an action"));
                }
                let number = word.parse().map(Number::Int).or_else(|_| word.parse().map(Number::Float));
                let token = match (number, word.strip_prefix('.')) {
                    (Ok(number), _) => Token::Number(number),
                    (_, Some(field)) => Token::Field(field.to_owned()),
                    _ => Token::Word(word.to_owned()),
                };
                (token, length)
            }
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(tokens)
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    place: Place,
    /// Open parentheses.
    depth: usize,
}

/// Deeper parentheses are refused: they are read by recursion.
const MAX_DEPTH: usize = 100;

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// `command | command`: the value of each is the last argument of the next.
    fn pipeline(&mut self) -> Result<Number, String> {
        let mut value = self.command(None)?;
        while self.peek() == Some(&Token::Pipe) {
            self.at += 1;
            value = self.command(Some(value))?;
        }
        Ok(value)
    }

    fn command(&mut self, last: Option<Number>) -> Result<Number, String> {
        if let Some(Token::Word(name)) = self.peek() {
            let name = name.clone();
            self.at += 1;
            let mut arguments = Vec::new();
            while !matches!(self.peek(), None | Some(Token::Close | Token::Pipe)) {
                arguments.push(self.operand()?);
            }
            arguments.extend(last);
            return call(&name, &arguments);
        }
        match last {
            None => self.operand(),
            Some(_) => Err("a pipe leads into a function".to_owned()),
        }
    }

    fn operand(&mut self) -> Result<Number, String> {
        let token = self.peek().cloned();
        self.at += 1;
        match token {
            Some(Token::Number(number)) => Ok(number),
            Some(Token::Field(name)) => match name.as_str() {
                "Index" => Ok(Number::Int(self.place.index)),
                "Count" => Ok(Number::Int(self.place.count)),
                _ => Err(format!("can't evaluate field {name}; there are .Index and .Count")),
            },
            Some(Token::Word(name)) => call(&name, &[]),
            Some(Token::Open) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(format!("parentheses nest deeper than {MAX_DEPTH}"));
                }
                let value = self.pipeline()?;
                self.depth -= 1;
                if self.peek() != Some(&Token::Close) {
                    return Err("a parenthesis that is not closed".to_owned());
                }
                self.at += 1;
                Ok(value)
            }
            Some(token) => Err(format!("unexpected {token}")),
            None => Err("missing value for command".to_owned()),
        }
    }
}

/// The functions; those on integers convert their arguments first, as there.
fn call(name: &str, arguments: &[Number]) -> Result<Number, String> {
    let floats = arguments.iter().map(|number| number.float());
    let ints = arguments.iter().map(|number| number.int());
    let two = || match arguments {
        [one, other] => Ok((*one, *other)),
        _ => Err(format!("wrong number of args for {name}: want 2 got {}", arguments.len())),
    };
    Ok(match name {
        "AddInt" => Number::Int(ints.fold(0, i64::wrapping_add)),
        "AddFloat" => Number::Float(floats.fold(0.0, |sum, number| sum + number)),
        "MultiplyInt" => Number::Int(ints.fold(1, i64::wrapping_mul)),
        "MultiplyFloat" => Number::Float(floats.fold(1.0, |product, number| product * number)),
        "SubtractInt" => two().map(|(one, other)| Number::Int(one.int().wrapping_sub(other.int())))?,
        "SubtractFloat" => two().map(|(one, other)| Number::Float(one.float() - other.float()))?,
        "DivideFloat" => two().map(|(one, other)| Number::Float(one.float() / other.float()))?,
        "DivideInt" | "Mod" => {
            let (one, other) = two()?;
            let result =
                if name == "Mod" { one.int().checked_rem(other.int()) } else { one.int().checked_div(other.int()) };
            Number::Int(result.ok_or_else(|| format!("{name}: integer divide by zero"))?)
        }
        _ => return Err(format!("function {name:?} not defined")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: Result<&str, &str>) {
        let rendered = render(text, Place { index: 27, count: 300 });
        assert_eq!(rendered.as_deref().map_err(|invalid| invalid.to_string()), wanted.map_err(str::to_owned));
    }

    #[test]
    fn actions_are_replaced_by_their_values() {
        check("a-{{.Index}}-{{ .Count }}: {{ Mod .Index 12 }}", Ok("a-27-300: 3"));
        check("{{DivideInt 30000 .Count}}Mi", Ok("100Mi"));
        check("{{DivideInt .Index 10}} {{DivideFloat .Index 4}} {{AddFloat 1 1.5}}", Ok("2 6.75 2.5"));
        check(
            "{{AddInt 1 2 3}} {{SubtractInt 1 .Index}} {{MultiplyInt 2 3 4}} {{MultiplyFloat 2 0.25}}",
            Ok("6 -26 24 0.5"),
        );
        check("no action, {one brace}", Ok("no action, {one brace}"));
    }

    #[test]
    fn parentheses_and_pipes_nest_calls() {
        check("{{AddInt (Mod .Index 10) (MultiplyInt 2 .Count)}}", Ok("607"));
        check("{{.Index | AddInt 3 | DivideInt 90}}", Ok("3"));
    }

    #[test]
    fn trim_marks_and_comments_are_gos() {
        check("a {{- .Index -}}\n  b", Ok("a27b"));
        check("a{{/* why */}}b", Ok("ab"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check("a\n{{.Name}}", Err("line 2: can't evaluate field Name; there are .Index and .Count"));
        check("{{Sqrt 2}}", Err("line 1: function \"Sqrt\" not defined"));
        check("{{Mod .Index 0}}", Err("line 1: Mod: integer divide by zero"));
        check("{{Mod .Index}}", Err("line 1: wrong number of args for Mod: want 2 got 1"));
        check("{{.Index", Err("line 1: an action that does not end with }}"));
        check("{{}}", Err("line 1: missing value for command"));
        check("{{.Index .Count}}", Err("line 1: unexpected .Count in {{.Index .Count}}"));
        check("{{(.Index}}", Err("line 1: a parenthesis that is not closed"));
        let deep = format!("{{{{{}1}}}}", "(".repeat(100_000));
        check(&deep, Err("line 1: parentheses nest deeper than 100"));
    }
}
