//! A text that a user gave us, under the name they know it by: decoding of its bytes, and where an offset is.
//!
//! Decoding follows kubectl: UTF-8, with or without byte-order mark; UTF-16 with one; what is not UTF-8 becomes U+FFFD.

use std::ops::Range;
use std::sync::OnceLock;

/// A named text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name as the user gave it.
    pub name: String,
    /// Found in a folder rather than named: what is no Kubernetes object at all is passed over instead of refused.
    pub from_folder: bool,
    /// A dump of a cluster, perhaps of another version: fields and versions that 1.36 does not have are no errors.
    pub is_dump: bool,
    text: String,
    not_utf8: Option<usize>,
    lines: OnceLock<Vec<usize>>,
}

/// A place in a text for people: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1. Lines end with LF, CRLF or a lone CR.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Source {
    /// A text that already is one.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        let mut text: String = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Source { name: name.into(), from_folder: false, is_dump: false, text, not_utf8: None, lines: OnceLock::new() }
    }

    /// The bytes of a file. Bytes that are no text become U+FFFD, and `not_utf8` says where the first was.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Source {
        let utf16 = |order: fn([u8; 2]) -> u16| {
            let units = bytes.get(2..).unwrap_or_default().chunks_exact(2);
            let units = units.filter_map(|pair| Some(order(pair.try_into().ok()?)));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
        };
        if bytes.starts_with(&[0xff, 0xfe]) {
            return Source::new(name, utf16(u16::from_le_bytes));
        }
        if bytes.starts_with(&[0xfe, 0xff]) {
            return Source::new(name, utf16(u16::from_be_bytes));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Source::new(name, text),
            Err(error) => {
                let bom = if error.as_bytes().starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
                let first = error.utf8_error().valid_up_to().saturating_sub(bom);
                let mut source = Source::new(name, String::from_utf8_lossy(error.as_bytes()));
                source.not_utf8 = Some(first);
                source
            }
        }
    }

    /// The same source, found in a folder.
    #[must_use]
    pub fn found_in_folder(mut self) -> Source {
        self.from_folder = true;
        self
    }

    /// The same source, as a dump of a cluster.
    #[must_use]
    pub fn as_dump(mut self) -> Source {
        self.is_dump = true;
        self
    }

    /// The text, without byte-order mark. All offsets count its bytes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The offset of the first byte that was not UTF-8.
    pub fn not_utf8(&self) -> Option<usize> {
        self.not_utf8
    }

    /// Line and column of a byte offset; an offset past the end is at the end.
    pub fn place(&self, offset: usize) -> Place {
        let offset = self.floor(offset);
        let lines = self.lines();
        let line = lines.partition_point(|&start| start <= offset);
        let start = line.checked_sub(1).and_then(|idx| lines.get(idx)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).unwrap_or_default().chars().count() + 1;
        Place { line, column }
    }

    /// The byte range of a line, counted from 1, without its line end.
    pub fn line(&self, line: usize) -> Range<usize> {
        let lines = self.lines();
        let start = line.checked_sub(1).and_then(|idx| lines.get(idx)).copied().unwrap_or(self.text.len());
        let end = lines.get(line).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        start..start + text.trim_end_matches(['\n', '\r']).len()
    }

    /// The nearest character boundary at or before an offset.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// A range cut to the text and to character boundaries.
    pub fn clamp(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.floor(range.start);
        start..self.floor(range.end).max(start)
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let bytes = self.text.as_bytes();
            let mut starts = vec![0];
            for (idx, &byte) in bytes.iter().enumerate() {
                if byte == b'\n' || (byte == b'\r' && bytes.get(idx + 1) != Some(&b'\n')) {
                    starts.push(idx + 1);
                }
            }
            starts
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], text: &str, offset: usize, line: usize, column: usize) {
        let source = Source::from_bytes("f", bytes.to_vec());
        assert_eq!(source.text(), text);
        assert_eq!(source.place(offset), Place { line, column });
    }

    #[test]
    fn byte_order_marks_choose_the_encoding_and_vanish() {
        check(b"\xef\xbb\xbfa: 1", "a: 1", 0, 1, 1);
        check(b"\xff\xfea\0:\0 \x001\0", "a: 1", 3, 1, 4);
        check(b"\xfe\xff\0a\0:", "a:", 1, 1, 2);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_remembered() {
        check(b"a\xe9b", "a\u{fffd}b", 4, 1, 3);
        assert_eq!(Source::from_bytes("f", b"ab\xe9".to_vec()).not_utf8(), Some(2));
        assert_eq!(Source::from_bytes("f", b"ab".to_vec()).not_utf8(), None);
    }

    #[test]
    fn every_kind_of_line_end_counts() {
        check(b"a\r\nb\rc\nd", "a\r\nb\rc\nd", 7, 4, 1);
        check("ä\nöü".as_bytes(), "ä\nöü", 5, 2, 2);
        check(b"a", "a", 99, 1, 2);
    }
}
