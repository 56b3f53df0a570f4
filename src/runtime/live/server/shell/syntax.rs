//! The grammar of the shell in a served container: text to commands, as POSIX's `sh` reads them. Here-documents, `case` and
//! functions are left out; a script with them is not read.

/// Commands one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List(pub Vec<Item>);

/// A pipeline and what decides whether it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub joint: Joint,
    /// `!` before it.
    pub negated: bool,
    pub stages: Vec<Stage>,
    /// `&` after it.
    pub background: bool,
}

/// What decides whether a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    Always,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A command with its redirections.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub command: Command,
    pub redirects: Vec<Redirect>,
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Simple { values: Vec<(String, Word)>, words: Vec<Word> },
    Group(List),
    Subshell(List),
    If { branches: Vec<(List, List)>, otherwise: Option<List> },
    While { until: bool, condition: List, body: List },
    For { name: String, words: Vec<Word>, body: List },
}

/// `2>file`, `>>file`, `<file`, `2>&1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    pub descriptor: u8,
    pub target: Target,
}

/// Where a redirection leads.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Into { file: Word, append: bool },
    From { file: Word },
    Same(u8),
}

/// A word before it is expanded.
pub type Word = Vec<Part>;

/// A part of a word.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// As it stands; the word exists even if it is empty.
    Quoted(String),
    /// `$name`, `${name}`, `${name:-otherwise}`.
    Value { name: String, otherwise: Option<String>, quoted: bool },
    /// `$(script)`.
    Output { script: List, quoted: bool },
    /// `$((sum))`.
    Sum(String),
}

/// Reads a script; none if it is outside the grammar.
pub fn parse(script: &str) -> Option<List> {
    let characters: Vec<char> = script.chars().collect();
    let mut reader = Reader { characters: &characters, at: 0, depth: 0 };
    let list = reader.list()?;
    (reader.at == characters.len()).then_some(list)
}

/// Deeper nesting is no script that anybody writes, and must not use up the stack.
const MAX_DEPTH: u32 = 32;
const CLOSERS: [&str; 7] = ["then", "do", "done", "fi", "else", "elif", "}"];

struct Reader<'a> {
    characters: &'a [char],
    at: usize,
    depth: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn begins(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(index, c)| self.characters.get(self.at + index) == Some(&c))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.begins(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    /// Skips blanks, continued lines and comments, but no line ends.
    fn blanks(&mut self) {
        while let Some(c) = self.peek() {
            if self.begins("\\\n") {
                self.at += 2;
            } else if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else if c == ' ' || c == '\t' || c == '\r' {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// Skips blanks and line ends.
    fn lines(&mut self) {
        self.blanks();
        while self.take("\n") {
            self.blanks();
        }
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.is_keyword(word);
        if found {
            self.at += word.chars().count();
        }
        found
    }

    fn is_keyword(&self, word: &str) -> bool {
        let next = self.characters.get(self.at + word.chars().count());
        self.begins(word) && next.is_none_or(|c| c.is_whitespace() || ";&|()<>".contains(*c))
    }

    fn at_end(&self) -> bool {
        self.peek().is_none_or(|c| c == ')') || CLOSERS.iter().any(|word| self.is_keyword(word))
    }

    fn list(&mut self) -> Option<List> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut list = List::default();
        let mut joint = Joint::Always;
        loop {
            self.lines();
            while joint == Joint::Always && !self.begins(";;") && self.take(";") {
                self.lines();
            }
            if self.at_end() {
                self.depth -= 1;
                return (joint == Joint::Always).then_some(list);
            }
            let mut negated = false;
            while self.keyword("!") {
                negated = !negated;
                self.blanks();
            }
            let mut stages = vec![self.stage()?];
            self.blanks();
            while !self.begins("||") && self.take("|") {
                self.lines();
                stages.push(self.stage()?);
                self.blanks();
            }
            let background = !self.begins("&&") && self.take("&");
            list.0.push(Item { joint, negated, stages, background });
            joint = if background {
                Joint::Always
            } else if self.take("&&") {
                Joint::And
            } else if self.take("||") {
                Joint::Or
            } else if self.at_end() || self.begins("\n") || (self.begins(";") && !self.begins(";;")) {
                Joint::Always
            } else {
                return None;
            };
        }
    }

    fn stage(&mut self) -> Option<Stage> {
        let mut redirects = Vec::new();
        let command = if self.take("(") {
            let list = self.list()?;
            self.take(")").then_some(Command::Subshell(list))?
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
        } else if self.is_keyword("case") || self.is_keyword("function") {
            return None;
        } else {
            self.simple(&mut redirects)?
        };
        self.blanks();
        while let Some(redirect) = self.redirect() {
            redirects.push(redirect?);
            self.blanks();
        }
        Some(Stage { command, redirects })
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
        self.blanks();
        let name = self.name()?;
        self.lines();
        if !self.keyword("in") {
            return None;
        }
        let mut words = Vec::new();
        self.blanks();
        while self.peek().is_some_and(|c| c != ';' && c != '\n') {
            words.push(self.word()?);
            self.blanks();
        }
        self.take(";");
        self.lines();
        Some(Command::For { name, words, body: self.body()? })
    }

    fn body(&mut self) -> Option<List> {
        if !self.keyword("do") {
            return None;
        }
        let body = self.list()?;
        self.keyword("done").then_some(body)
    }

    fn simple(&mut self, redirects: &mut Vec<Redirect>) -> Option<Command> {
        let (mut values, mut words) = (Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect() {
                redirects.push(redirect?);
                continue;
            }
            if self.peek().is_none_or(|c| "\n;&|)".contains(c)) {
                break;
            }
            if self.begins("(") {
                // A function, or nothing at all.
                return None;
            }
            let start = self.at;
            if words.is_empty()
                && let Some(name) = self.name()
                && self.take("=")
            {
                let blank = self.peek().is_none_or(|c| c.is_whitespace() || ";&|)".contains(c));
                values.push((name, if blank { Word::new() } else { self.word()? }));
                continue;
            }
            self.at = start;
            words.push(self.word()?);
        }
        let empty = words.is_empty() && values.is_empty() && redirects.is_empty();
        (!empty).then_some(Command::Simple { values, words })
    }

    /// The redirection that begins here, if one does; inside, none if it is outside the grammar.
    fn redirect(&mut self) -> Option<Option<Redirect>> {
        let start = self.at;
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        let both = digits.is_empty() && self.begins("&>") && self.take("&");
        let output = self.begins(">");
        if !output && !self.begins("<") {
            self.at = start;
            return None;
        }
        self.at += 1;
        let append = output && self.take(">");
        if self.begins("<") || self.begins("(") || both {
            return Some(None);
        }
        let descriptor = digits.parse().unwrap_or(u8::from(output));
        if self.take("&") {
            let other = self.peek().and_then(|c| c.to_digit(10)).and_then(|digit| u8::try_from(digit).ok());
            self.at += 1;
            return Some(other.map(|other| Redirect { descriptor, target: Target::Same(other) }));
        }
        self.blanks();
        let file = self.word();
        let target = |file| if output { Target::Into { file, append } } else { Target::From { file } };
        Some(file.map(|file| Redirect { descriptor, target: target(file) }))
    }

    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let fits = c == '_' || c.is_ascii_alphabetic() || (!name.is_empty() && c.is_ascii_digit());
            if !fits {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        (!name.is_empty()).then_some(name)
    }

    fn word(&mut self) -> Option<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            match c {
                '\'' => {
                    self.at += 1;
                    let mut text = String::new();
                    while self.peek()? != '\'' {
                        text.push(self.peek()?);
                        self.at += 1;
                    }
                    self.at += 1;
                    word.push(Part::Quoted(text));
                }
                '"' => self.quoted(&mut word)?,
                '\\' => {
                    self.at += 1;
                    word.push(Part::Quoted(self.peek()?.to_string()));
                    self.at += 1;
                }
                '$' => word.push(self.dollar(false)?),
                '`' => word.push(self.backquoted(false)?),
                _ if c.is_whitespace() || ";&|()<>".contains(c) => break,
                _ => {
                    self.at += 1;
                    match word.last_mut() {
                        Some(Part::Text(text)) => text.push(c),
                        _ => word.push(Part::Text(c.to_string())),
                    }
                }
            }
        }
        (!word.is_empty()).then_some(word)
    }

    fn quoted(&mut self, word: &mut Word) -> Option<()> {
        self.at += 1;
        let mut text = String::new();
        word.push(Part::Quoted(String::new()));
        loop {
            match self.peek()? {
                '"' => {
                    self.at += 1;
                    word.push(Part::Quoted(text));
                    return Some(());
                }
                '\\' if self.characters.get(self.at + 1).is_some_and(|c| "$`\"\\\n".contains(*c)) => {
                    let escaped = *self.characters.get(self.at + 1)?;
                    if escaped != '\n' {
                        text.push(escaped);
                    }
                    self.at += 2;
                }
                '$' => {
                    word.push(Part::Quoted(std::mem::take(&mut text)));
                    word.push(self.dollar(true)?);
                }
                '`' => {
                    word.push(Part::Quoted(std::mem::take(&mut text)));
                    word.push(self.backquoted(true)?);
                }
                c => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn backquoted(&mut self, quoted: bool) -> Option<Part> {
        self.at += 1;
        let mut script = String::new();
        while self.peek()? != '`' {
            script.push(self.peek()?);
            self.at += 1;
        }
        self.at += 1;
        Some(Part::Output { script: parse(&script)?, quoted })
    }

    fn dollar(&mut self, quoted: bool) -> Option<Part> {
        self.at += 1;
        if self.take("((") {
            let mut sum = String::new();
            let mut open = 0u32;
            loop {
                match self.peek()? {
                    ')' if open == 0 && self.begins("))") => {
                        self.at += 2;
                        return Some(Part::Sum(sum));
                    }
                    c => {
                        open = match c {
                            '(' => open + 1,
                            ')' => open.checked_sub(1)?,
                            _ => open,
                        };
                        sum.push(c);
                        self.at += 1;
                    }
                }
            }
        }
        if self.take("(") {
            let script = self.list()?;
            return self.take(")").then_some(Part::Output { script, quoted });
        }
        if self.take("{") {
            let name = self.parameter()?;
            let otherwise = if self.take(":-") || self.take("-") {
                let mut text = String::new();
                while self.peek()? != '}' {
                    text.push(self.peek()?);
                    self.at += 1;
                }
                Some(text)
            } else {
                None
            };
            return self.take("}").then_some(Part::Value { name, otherwise, quoted });
        }
        match self.parameter() {
            Some(name) => Some(Part::Value { name, otherwise: None, quoted }),
            None => Some(Part::Quoted("$".to_owned())),
        }
    }

    fn parameter(&mut self) -> Option<String> {
        if let Some(special) = self.peek().filter(|c| "?$#@*!".contains(*c) || c.is_ascii_digit()) {
            self.at += 1;
            return Some(special.to_string());
        }
        self.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_the_grammar_is_not_read_and_nothing_makes_the_reader_fail() {
        let deep = "(".repeat(10_000);
        let bad = [
            "case x in y) ;; esac",
            "f() { :; }",
            "cat <<EOF\nEOF",
            "'",
            "\"",
            "$(",
            "a &&",
            "| b",
            "if true",
            "done",
            "((",
            "${x",
            "$((1",
            "a ) b",
            "<(x)",
            &deep,
        ];
        for script in bad {
            assert_eq!(parse(script), None, "{script}");
        }
        for script in
            ["", " ", "\n# only a comment\n", "a;", "a &", "a\\\n b", "! ! a", "é 'ü' \"$ä\"", "a=1 b=2", ">x"]
        {
            assert!(parse(script).is_some(), "{script}");
        }
    }

    #[test]
    fn quotes_joints_and_redirections_are_told_apart() {
        let list = parse("a 'b c' && d 2>&1 >>x | e || ! f &").expect("a script");
        let joints: Vec<Joint> = list.0.iter().map(|item| item.joint).collect();
        assert_eq!(joints, [Joint::Always, Joint::And, Joint::Or]);
        let second = &list.0[1].stages;
        assert_eq!(second.len(), 2);
        let targets: Vec<bool> =
            second[0].redirects.iter().map(|redirect| matches!(redirect.target, Target::Same(1))).collect();
        assert_eq!(targets, [true, false]);
        assert!(list.0[2].negated && list.0[2].background);
    }
}
