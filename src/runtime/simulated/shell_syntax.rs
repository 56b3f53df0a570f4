//! The grammar of the tiny shell: text to commands. Anything outside it is not a script.
//!
//! Words keep their variables. What quotes have taken the meaning of is marked ([`shell_words`](super::shell_words)).

use super::shell_words::{BACKQUOTE, DOLLAR, QUOTED, marked};

/// Commands one after another: how each follows the one before, whether its status is negated, and its pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<(Joint, bool, Vec<Command>)>);

/// What decides whether a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    Always,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Words after removing quotes and redirections, and the files that output goes to.
    Simple {
        words: Vec<String>,
        writes: Vec<String>,
    },
    Group(List),
    Subshell(List),
    Background(Box<Command>),
    If {
        branches: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    While {
        until: bool,
        condition: List,
        body: List,
    },
    For {
        variable: String,
        /// The words, where they are written out.
        words: Vec<String>,
        times: u32,
        body: List,
    },
}

impl List {
    /// The list of one simple command whose words are not expanded.
    pub fn of_marked_words(words: &[&str]) -> List {
        List::of_words(
            words
                .iter()
                .map(|word| if word.contains(['$', '`']) { marked(word) } else { (*word).to_owned() })
                .collect(),
        )
    }

    /// The list of one simple command.
    pub fn of_words(words: Vec<String>) -> List {
        List(vec![(Joint::Always, false, vec![Command::Simple { words, writes: Vec::new() }])])
    }
}

/// Reads a script; `None` if it is outside the grammar.
pub fn parse(script: &str) -> Option<List> {
    let tokens = tokens(script)?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let list = parser.list()?;
    parser.tokens.is_empty().then_some(list)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word; `quoted` words are never keywords.
    Word { text: String, quoted: bool },
    /// `;` `&` `&&` `|` `||` `(` `)` `;;`
    Operator(&'static str),
    /// `> file`, `2>&1`: true if it writes.
    Redirect { writes: bool, file: bool },
}

fn tokens(script: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        if let Some(operator) =
            ["&&", "||", ";;", ";", "&", "|", "(", ")", "\n"].iter().find(|op| rest.starts_with(**op))
        {
            tokens.push(Token::Operator(if *operator == "\n" { ";" } else { operator }));
            rest = &rest[operator.len()..];
        } else if let Some(after) = rest.strip_prefix("\\\n") {
            rest = after;
        } else if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if first == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some((redirect, after)) = redirect(rest) {
            tokens.push(redirect);
            rest = after;
        } else {
            let (text, quoted, after) = word(rest)?;
            tokens.push(Token::Word { text, quoted });
            rest = after;
        }
    }
    Some(tokens)
}

fn redirect(text: &str) -> Option<(Token, &str)> {
    let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let writes = after_digits.starts_with('>');
    let after = after_digits.strip_prefix(">>").or_else(|| after_digits.strip_prefix(['>', '<']))?;
    if after.starts_with(['<', '(']) {
        return None;
    }
    match after.strip_prefix('&') {
        Some(descriptor) => {
            let after = descriptor.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
            Some((Token::Redirect { writes, file: false }, after))
        }
        None => Some((Token::Redirect { writes, file: true }, after)),
    }
}

fn word(text: &str) -> Option<(String, bool, &str)> {
    let literal = |c: char| match c {
        '$' => DOLLAR,
        '`' => BACKQUOTE,
        c => c,
    };
    let mut word = String::new();
    let mut quoted = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let tail = &rest[first.len_utf8()..];
        match first {
            '\'' => {
                let (inside, after) = tail.split_once('\'')?;
                word.extend(inside.chars().map(literal));
                quoted = true;
                rest = after;
            }
            '"' => {
                let end = closing_quote(tail)?;
                unescape(&tail[..end], &mut word);
                quoted = true;
                rest = &tail[end + 1..];
            }
            '\\' => {
                let escaped = tail.chars().next()?;
                word.push(literal(escaped));
                rest = &tail[escaped.len_utf8()..];
            }
            '$' if tail.starts_with('(') => {
                let end = closing_parenthesis(tail)?;
                word.push('$');
                word.push_str(&tail[..=end]);
                rest = &tail[end + 1..];
            }
            '`' => {
                let (inside, after) = tail.split_once('`')?;
                word.push('`');
                word.push_str(inside);
                word.push('`');
                rest = after;
            }
            _ if first.is_whitespace() || matches!(first, ';' | '&' | '|' | '(' | ')' | '>' | '<') => break,
            _ => {
                word.push(first);
                rest = tail;
            }
        }
    }
    if quoted && (word.is_empty() || word.contains(['$', '`'])) {
        word.insert(0, QUOTED);
    }
    // Here-documents and process substitution begin like nothing that is known.
    (rest.len() < text.len()).then_some((word, quoted, rest))
}

/// What stands between double quotes: a backslash takes the meaning of few characters.
fn unescape(inside: &str, word: &mut String) {
    let mut escaped = false;
    for c in inside.chars() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '$' if escaped => word.push(DOLLAR),
            '`' if escaped => word.push(BACKQUOTE),
            '"' | '\\' if escaped => word.push(c),
            '\n' if escaped => {}
            c => {
                if escaped {
                    word.push('\\');
                }
                word.push(c);
            }
        }
        escaped = false;
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(at),
        _ => None,
    })
}

fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut open = 0u32;
    text.char_indices().find_map(|(at, c)| match c {
        '(' => {
            open += 1;
            None
        }
        ')' => {
            open -= 1;
            (open == 0).then_some(at)
        }
        _ => None,
    })
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: u32,
}

/// Deeper nesting is no script that anybody writes, and must not use up the stack.
const MAX_DEPTH: u32 = 32;

const CLOSERS: [&str; 7] = ["then", "do", "done", "fi", "else", "elif", "}"];

impl Parser<'_> {
    fn list(&mut self) -> Option<List> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut list = List::default();
        let mut joint = Joint::Always;
        loop {
            while joint == Joint::Always && self.operator(";") {}
            if self.at_end() {
                self.depth -= 1;
                return (joint == Joint::Always).then_some(list);
            }
            let negated = self.keyword("!");
            let mut pipeline = vec![self.command()?];
            while self.operator("|") {
                pipeline.push(self.command()?);
            }
            if self.operator("&") {
                let command = if let [_] = pipeline.as_slice() {
                    pipeline.remove(0)
                } else {
                    Command::Group(List(vec![(Joint::Always, false, std::mem::take(&mut pipeline))]))
                };
                pipeline = vec![Command::Background(Box::new(command))];
                list.0.push((joint, negated, pipeline));
                joint = Joint::Always;
                continue;
            }
            list.0.push((joint, negated, pipeline));
            joint = if self.operator("&&") {
                Joint::And
            } else if self.operator("||") {
                Joint::Or
            } else if self.operator(";") || self.at_end() {
                Joint::Always
            } else {
                return None;
            };
            // A line may end after `&&` and `||`.
            while joint != Joint::Always && self.operator(";") {}
        }
    }

    /// Nothing more of this list: the script's end, `)`, or a word that closes the construct around it.
    fn at_end(&self) -> bool {
        match self.tokens.first() {
            None | Some(Token::Operator(")")) => true,
            Some(Token::Word { text, quoted: false }) => CLOSERS.contains(&text.as_str()),
            _ => false,
        }
    }

    fn command(&mut self) -> Option<Command> {
        let command = if self.operator("(") {
            let list = self.list()?;
            self.operator(")").then_some(Command::Subshell(list))?
        } else if self.keyword("{") {
            let list = self.list()?;
            self.keyword("}").then_some(Command::Group(list))?
        } else if self.keyword("if") {
            self.conditional()?
        } else if self.keyword("while") {
            self.repetition(false)?
        } else if self.keyword("until") {
            self.repetition(true)?
        } else if self.keyword("for") {
            self.iteration()?
        } else {
            return self.simple();
        };
        // A redirection of the whole construct changes nothing here.
        while let [Token::Redirect { file, .. }, rest @ ..] = self.tokens {
            self.tokens = if *file { rest.get(1..)? } else { rest };
        }
        Some(command)
    }

    fn conditional(&mut self) -> Option<Command> {
        let mut branches = Vec::new();
        loop {
            let condition = self.list()?;
            if !self.keyword("then") {
                return None;
            }
            branches.push((condition, self.list()?));
            if self.keyword("elif") {
                continue;
            }
            let otherwise = if self.keyword("else") { Some(self.list()?) } else { None };
            return self.keyword("fi").then_some(Command::If { branches, otherwise });
        }
    }

    fn repetition(&mut self, until: bool) -> Option<Command> {
        let condition = self.list()?;
        Some(Command::While { until, condition, body: self.body()? })
    }

    fn iteration(&mut self) -> Option<Command> {
        let [Token::Word { text: variable, .. }, rest @ ..] = self.tokens else {
            return None;
        };
        let variable = variable.clone();
        self.tokens = rest;
        if !self.keyword("in") {
            return None;
        }
        let (mut words, mut times) = (Vec::new(), 0u32);
        while let [Token::Word { text, .. }, rest @ ..] = self.tokens {
            let count = words_in(text)?;
            times = times.saturating_add(count);
            if count == 1 {
                words.push(text.clone());
            }
            self.tokens = rest;
        }
        if words.len() != times as usize {
            words.clear();
        }
        Some(Command::For { variable, words, times, body: self.body()? })
    }

    fn body(&mut self) -> Option<List> {
        while self.operator(";") {}
        if !self.keyword("do") {
            return None;
        }
        let body = self.list()?;
        self.keyword("done").then_some(body)
    }

    fn simple(&mut self) -> Option<Command> {
        let (mut words, mut writes) = (Vec::new(), Vec::new());
        let before = self.tokens.len();
        loop {
            match self.tokens {
                [Token::Word { text, .. }, rest @ ..] => {
                    words.push(text.clone());
                    self.tokens = rest;
                }
                [Token::Redirect { writes: to, file: true }, Token::Word { text, .. }, rest @ ..] => {
                    if *to {
                        writes.push(text.clone());
                    }
                    self.tokens = rest;
                }
                [Token::Redirect { file: false, .. }, rest @ ..] => self.tokens = rest,
                _ => break,
            }
        }
        (self.tokens.len() < before).then_some(Command::Simple { words, writes })
    }

    fn operator(&mut self, operator: &str) -> bool {
        match self.tokens {
            [Token::Operator(found), rest @ ..] if *found == operator => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        match self.tokens {
            [Token::Word { text, quoted: false }, rest @ ..] if text == keyword => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

/// How many words a word of a `for` list becomes.
fn words_in(text: &str) -> Option<u32> {
    let count = |from: i64, to: i64| u32::try_from(from.abs_diff(to).checked_add(1)?).ok();
    if let Some((from, to)) =
        text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).and_then(|text| text.split_once(".."))
    {
        return count(from.parse().ok()?, to.parse().ok()?);
    }
    if let Some(inside) = text.strip_prefix("$(").and_then(|text| text.strip_suffix(')')) {
        let words: Vec<&str> = inside.split_whitespace().collect();
        return match words.as_slice() {
            ["seq", to] => Some(to.parse::<u32>().ok()?),
            ["seq", from, to] => {
                let (from, to) = (from.parse::<i64>().ok()?, to.parse::<i64>().ok()?);
                if from > to { Some(0) } else { count(from, to) }
            }
            _ => None,
        };
    }
    (!text.contains(['$', '`', '*'])).then_some(1)
}
