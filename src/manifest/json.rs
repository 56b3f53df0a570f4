//! JSON to a tree with places. Accepts JSON and nothing else: what fails is given to the YAML reader, as kubectl does,
//! which then says what is wrong. Written here because no fast reader tells where a value stood.

use std::borrow::Cow;
use std::ops::Range;

use super::tree::{Entries, Key, MAX_DEPTH, Node, Value};

/// Not JSON, or nested too deep.
#[derive(Debug)]
pub(super) struct NotJson;

/// Reads one value from `text[from..]`. Answers the value and the offset after it and the blanks that follow.
/// The places of doubled keys go to `doubled`.
pub(super) fn read<'a>(
    text: &'a str,
    from: usize,
    doubled: &mut Vec<(String, Range<usize>)>,
) -> Result<(Node<'a>, usize), NotJson> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: from, doubled };
    reader.blanks();
    let node = reader.value(0)?;
    reader.blanks();
    Ok((node, reader.at))
}

struct Reader<'a, 'd> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    doubled: &'d mut Vec<(String, Range<usize>)>,
}

impl<'a> Reader<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, NotJson> {
        let start = self.at;
        let value = match self.peek().ok_or(NotJson)? {
            b'{' if depth < MAX_DEPTH => self.object(depth + 1)?,
            b'[' if depth < MAX_DEPTH => self.array(depth + 1)?,
            b'"' => Value::String(self.string()?),
            b't' => self.word("true", Value::Bool(true))?,
            b'f' => self.word("false", Value::Bool(false))?,
            b'n' => self.word("null", Value::Null)?,
            _ => self.number()?,
        };
        Ok(Node { value, span: start..self.at })
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NotJson> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, NotJson> {
        self.at += 1;
        let mut entries = Entries::default();
        self.blanks();
        if self.eat(b'}') {
            return Ok(Value::Map(entries.into_vec()));
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(NotJson);
            }
            let key = Key { name: self.string()?, span: start..self.at };
            self.blanks();
            if !self.eat(b':') {
                return Err(NotJson);
            }
            self.blanks();
            let node = self.value(depth)?;
            let (name, span) = (key.name.clone(), key.span.clone());
            if entries.insert(key, node) {
                self.doubled.push((name.into_owned(), span));
            }
            self.blanks();
            if self.eat(b'}') {
                return Ok(Value::Map(entries.into_vec()));
            }
            if !self.eat(b',') {
                return Err(NotJson);
            }
            self.blanks();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.eat(b']') {
            return Ok(Value::Seq(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.blanks();
            if self.eat(b']') {
                return Ok(Value::Seq(items));
            }
            if !self.eat(b',') {
                return Err(NotJson);
            }
            self.blanks();
        }
    }

    fn number(&mut self) -> Result<Value<'a>, NotJson> {
        let start = self.at;
        self.eat(b'-');
        let whole = self.digits();
        let leading_zero = whole > 1 && self.bytes.get(self.at - whole) == Some(&b'0');
        if whole == 0 || leading_zero {
            return Err(NotJson);
        }
        let mut float = false;
        if self.eat(b'.') {
            float = true;
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        if self.eat(b'e') || self.eat(b'E') {
            float = true;
            let _ = self.eat(b'-') || self.eat(b'+');
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        let text = self.text.get(start..self.at).ok_or(NotJson)?;
        if !float && let Ok(value) = text.parse() {
            return Ok(Value::Int(value));
        }
        let value: f64 = text.parse().map_err(|_| NotJson)?;
        if value.is_finite() { Ok(Value::Float(value)) } else { Err(NotJson) }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// The bytes up to the next quote, backslash or control character.
    fn plain(&mut self) -> Result<&'a str, NotJson> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).ok_or(NotJson)?;
        self.at += length;
        self.text.get(start..self.at).ok_or(NotJson)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.at += 1;
        let first = self.plain()?;
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(first));
        }
        let mut text = first.to_owned();
        loop {
            if self.eat(b'"') {
                return Ok(Cow::Owned(text));
            }
            if !self.eat(b'\\') {
                return Err(NotJson);
            }
            text.push(self.escape()?);
            text.push_str(self.plain()?);
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let byte = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex()?;
                let high = (0xd800..0xdc00).contains(&unit);
                let escape_follows = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
                if high && escape_follows {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = back;
                }
                char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(NotJson),
        })
    }

    fn hex(&mut self) -> Result<u32, NotJson> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(NotJson)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotJson);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| NotJson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(node: &Node<'_>) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => (*f).into(),
            Value::String(s) => s.as_ref().into(),
            Value::Seq(items) => items.iter().map(plain).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(k, n)| (k.name.to_string(), plain(n))).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }

    /// The reader agrees with serde_json on whether it is JSON, and on what it says.
    fn check(text: &str) {
        let ours = read(text, 0, &mut Vec::new()).ok().filter(|(_, end)| *end == text.len());
        let theirs = serde_json::from_str::<serde_json::Value>(text).ok();
        assert_eq!(ours.map(|(node, _)| plain(&node)), theirs, "{text}");
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it() {
        for text in [
            r#"{"a": [1, -2, 3.5, 1e3, true, false, null, "x"], "b": {}, "c": []}"#,
            r#""\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00""#,
            "{\"a\":1,}",
            "[1,]",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[1e]",
            "{a: 1}",
            "{\"a\" 1}",
            "\"\n\"",
            "\"open",
            "[nul]",
            "",
            "{} {}",
            "\"\\x\"",
            "[123456789012345678901234567890]",
            "[1e999]",
        ] {
            check(text);
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = r#" {"a": {"b": [1, "x"]}}"#;
        let (node, end) = read(text, 0, &mut Vec::new()).expect("JSON");
        assert_eq!(end, text.len());
        assert_eq!(text.get(node.place("a.b[1]")), Some("\"x\""));
        assert_eq!(text.get(node.place("a.b")), Some("\"b\""));
        assert_eq!(text.get(node.place("a.c")), Some("\"a\""));
    }

    #[test]
    fn a_deep_file_is_left_to_the_other_reader() {
        let deep = "[".repeat(100_000);
        assert!(read(&deep, 0, &mut Vec::new()).is_err());
    }
}
