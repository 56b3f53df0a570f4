//! How the tiny shell expands words: variables, and what `$(cat …)` and `$(echo …)` say.
//!
//! Characters that mean nothing any more are marked by the grammar, so that a `$` between single quotes stays one.

/// A `$` that is only a `$`.
pub const DOLLAR: char = '\u{1}';
/// A backquote that is only one.
pub const BACKQUOTE: char = '\u{2}';
/// Stands before a word that was quoted somewhere: it stays one word, also where nothing is left of it.
pub const QUOTED: char = '\u{3}';

/// What words are made from.
pub trait Known {
    /// The value of a variable; None if nothing is known of it.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file; None if it is not known.
    fn read(&self, path: &str) -> Option<String>;
}

/// The words that a word of a script becomes. None if that depends on what is not known.
pub fn expand(word: &str, known: &dyn Known) -> Option<Vec<String>> {
    let (quoted, text) = match word.strip_prefix(QUOTED) {
        Some(text) => (true, text),
        None => (false, word),
    };
    if !text.contains(['$', '`']) {
        return Some(vec![unmarked(text)]);
    }
    let text = value(text, known)?;
    if quoted {
        return Some(vec![unmarked(&text)]);
    }
    Some(text.split_whitespace().map(unmarked).collect())
}

/// The text without marks.
pub fn unmarked(text: &str) -> String {
    text.chars()
        .filter(|c| *c != QUOTED)
        .map(|c| match c {
            DOLLAR => '$',
            BACKQUOTE => '`',
            c => c,
        })
        .collect()
}

/// A text in which nothing is expanded.
pub fn marked(text: &str) -> String {
    let each = text.chars().map(|c| match c {
        '$' => DOLLAR,
        '`' => BACKQUOTE,
        c => c,
    });
    std::iter::once(QUOTED).chain(each).collect()
}

/// The text with all of its variables and commands replaced; marks stay.
fn value(text: &str, known: &dyn Known) -> Option<String> {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '`']) {
        made.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if rest[at..].starts_with('`') {
            let (inside, after) = after.split_once('`')?;
            made.push_str(&marked_value(output(inside, known)?));
            rest = after;
        } else if let Some(after) = after.strip_prefix("((") {
            let (inside, after) = after.split_once("))")?;
            made.push_str(&arithmetic(inside, known)?.to_string());
            rest = after;
        } else if let Some(after) = after.strip_prefix('(') {
            let end = closing(after, '(', ')')?;
            made.push_str(&marked_value(output(&after[..end], known)?));
            rest = &after[end + 1..];
        } else if let Some(after) = after.strip_prefix('{') {
            let end = closing(after, '{', '}')?;
            made.push_str(&parameter(&after[..end], known)?);
            rest = &after[end + 1..];
        } else {
            let length = name_length(after);
            let (name, after) = after.split_at(length);
            match name {
                // `$?`, `$1` and their like are not known; at a word's end it is a dollar.
                "" if after.is_empty() || after.starts_with([' ', '"']) => made.push(DOLLAR),
                "" => return None,
                name => made.push_str(&marked_value(known.variable(name)?)),
            }
            rest = after;
        }
    }
    made.push_str(rest);
    Some(made)
}

/// Sums, differences, products: `i + 1`.
fn arithmetic(inside: &str, known: &dyn Known) -> Option<i64> {
    let operand = |text: &str| {
        let text = text.trim().trim_start_matches('$');
        text.parse::<i64>().ok().or_else(|| known.variable(text)?.parse().ok())
    };
    let Some(at) = inside.rfind(['+', '-', '*']) else { return operand(inside) };
    let (left, right) = (arithmetic(&inside[..at], known)?, operand(&inside[at + 1..])?);
    match &inside[at..=at] {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        // Before sums, so only where there is nothing else.
        _ if inside[..at].contains(['+', '-']) => None,
        _ => left.checked_mul(right),
    }
}

/// `NAME`, `NAME:-default` and `NAME-default`.
fn parameter(inside: &str, known: &dyn Known) -> Option<String> {
    let (name, operator) = inside.split_at(name_length(inside));
    let found = known.variable(name);
    if name.is_empty() {
        return None;
    }
    match (operator, operator.strip_prefix(":-"), operator.strip_prefix('-')) {
        ("", ..) => found.map(marked_value),
        (_, Some(default), _) => match found.filter(|found| !found.is_empty()) {
            Some(found) => Some(marked_value(found)),
            None => value(default, known),
        },
        (_, _, Some(default)) => match found {
            Some(found) => Some(marked_value(found)),
            None => value(default, known),
        },
        _ => None,
    }
}

/// What a command says whose output is known.
fn output(command: &str, known: &dyn Known) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let plain = |word: &&str| {
        let word = word.trim_matches(['"', '\'']);
        value(word, known).map(|word| unmarked(&word))
    };
    let said = match words.as_slice() {
        ["cat", paths @ ..] if !paths.is_empty() => {
            paths.iter().map(|path| known.read(&plain(path)?)).collect::<Option<Vec<_>>>()?.concat()
        }
        ["<", path] => known.read(&plain(path)?)?,
        ["echo", words @ ..] => words.iter().map(plain).collect::<Option<Vec<_>>>()?.join(" "),
        ["printenv", name] => known.variable(name)?,
        ["hostname"] => known.variable("HOSTNAME")?,
        _ => return None,
    };
    Some(said.trim_end_matches('\n').to_owned())
}

/// A value is not expanded again.
fn marked_value(value: String) -> String {
    if value.contains(['$', '`']) { value.replace('$', "\u{1}").replace('`', "\u{2}") } else { value }
}

/// How much of the text is a variable's name.
pub fn name_length(text: &str) -> usize {
    let is_name = |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    text.char_indices().find(|one| !is_name(*one)).map_or(text.len(), |(at, _)| at)
}

/// Where what is open at the text's beginning is closed.
fn closing(text: &str, opens: char, closes: char) -> Option<usize> {
    let mut open = 1u32;
    text.char_indices().find_map(|(at, c)| {
        if c == opens {
            open += 1;
        } else if c == closes {
            open -= 1;
        }
        (open == 0).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Known for Two {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "A").then(|| "one two".to_owned())
        }

        fn read(&self, path: &str) -> Option<String> {
            (path == "/f").then(|| "text\n".to_owned())
        }
    }

    #[test]
    fn words_become_what_a_shell_makes_of_them() {
        for (word, expected) in [
            ("plain", Some(vec!["plain"])),
            ("$A", Some(vec!["one", "two"])),
            ("\u{3}${A}!", Some(vec!["one two!"])),
            ("${B:-$A}", Some(vec!["one", "two"])),
            ("${B-}", Some(vec![])),
            ("\u{3}${B-}", Some(vec![""])),
            ("$B", None),
            ("$?", None),
            ("$(cat /f)s", Some(vec!["texts"])),
            ("`echo $A`", Some(vec!["one", "two"])),
            ("$(cat /g)", None),
            ("$((1 + 2 - 5))", Some(vec!["-2"])),
            ("$((2 * 3))", Some(vec!["6"])),
            ("$((1 + 2 * 3))", None),
            ("$((A + 1))", None),
            ("\u{1}A", Some(vec!["$A"])),
            ("${A", None),
        ] {
            let expanded = expand(word, &Two);
            let expanded = expanded.as_ref().map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(expanded, expected, "{word}");
        }
    }
}
