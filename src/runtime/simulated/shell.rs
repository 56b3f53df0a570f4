//! A tiny shell: what `sh -c` scripts such as `touch /tmp/ok; sleep 30; exit 1` do over time, worked out when they start.
//!
//! It understands `sleep`, `exit`, `true`, `false`, `:`, `wait`, `trap … TERM`, `exec`, `break`, `continue`, tests of files
//! (`[ -f x ]`, `cat x`, `touch`, `rm`, `echo > x`), commands that end at once with 0 ([`QUICK`]), `;`, `&&`, `||`, `!`, `|`,
//! `&`, `( )`, `{ }`, `if`, `while`, `until`, `for` over plain words, `{1..5}` and `$(seq …)`, `grep` for a plain text, and
//! variables: the container's, and those that it assigns. A script with anything else is not understood, nor is one in which
//! something depends on a variable of which nothing is known. Commands take no time but for their sleeping.
//!
//! Files of mounted volumes are what they were when the script began, those of folders what earlier programs left. One that is not of a volume, and that the script
//! neither makes nor removes, is there for `cat` and absent for `[ -f ]`.

use std::collections::BTreeMap;

use crate::kernel::Duration;
use crate::model::Text;

use super::shell_syntax::{Command, Joint, List, parse};
use super::shell_words::{self, Known, expand, name_length, unmarked};

/// What is around a script.
pub trait Around: Known {
    /// Whether a file is there when the script begins; None if nothing is known of it.
    fn file(&self, path: &str) -> Option<bool>;
}

/// Commands that are taken to end at once with 0.
pub const QUICK: [&str; 22] = [
    ":", "cd", "chmod", "chown", "cp", "date", "echo", "env", "export", "hostname", "id", "ln", "ls", "mkdir", "mv",
    "printenv", "printf", "pwd", "set", "true", "umask", "whoami",
];

/// What to take an unknown command for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The whole script counts as not understood.
    Refuse,
    /// It runs for ever.
    RunsForever,
}

/// What a script does, by time since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// When it ends and with which code. `None`: never.
    pub end: Option<(Duration, i32)>,
    files: Vec<FileChange>,
    traps: Vec<(Duration, Trap)>,
    /// What it waits for in the foreground: a trap's handler runs when that has ended, at once if it is `wait`.
    foreground: Vec<Foreground>,
    /// From here on the foreground repeats itself with this length.
    cycle: Option<(Duration, Duration)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileChange {
    at: Duration,
    path: Text,
    there: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trap {
    Ignore,
    Handler(List),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Foreground {
    from: Duration,
    to: Duration,
    wait: bool,
}

/// What SIGTERM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigterm {
    Ignored,
    ExitsAfter(Duration, i32),
}

/// Works out what a container's or probe's `command` with `args` does, if it is a shell's or one of the commands that the
/// shell knows.
pub fn run(command: &[Text], unknown: Unknown, around: &dyn Around) -> Option<Run> {
    let words: Vec<&str> = command.iter().map(Text::as_str).collect();
    let list = match script_text(&words)? {
        Some(script) => parse(script)?,
        None => List::of_marked_words(&words),
    };
    let mut machine = Machine { unknown, ..Machine::new(around) };
    let ended = match machine.list(&list) {
        Ok(Flow::Status(code) | Flow::Exit(code)) => Some((machine.now, code)),
        Ok(Flow::Forever) => None,
        Ok(Flow::Break | Flow::Continue) => Some((machine.now, 0)),
        Err(NotUnderstood) => return None,
    };
    machine.run.end = ended;
    machine.run.files.sort_by_key(|change| change.at);
    Some(machine.run)
}

/// The script of a shell's command; Some(None) for the command of no shell, None for a shell's without a script.
fn script_text<'a>(words: &[&'a str]) -> Option<Option<&'a str>> {
    let (&program, rest) = words.split_first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    if !matches!(name, "sh" | "bash" | "ash" | "dash") {
        return Some(None);
    }
    // `-c` may come with other flags, as in `-ec`; `--` and the script's own arguments follow.
    let mut flags = rest.iter();
    loop {
        let flag = flags.next()?;
        if flag.starts_with('-') && flag.ends_with('c') && !flag.starts_with("--") {
            break;
        }
        if !flag.starts_with('-') {
            return None;
        }
    }
    let script = flags.find(|word| **word != "--")?;
    Some(Some(script))
}

impl Run {
    /// Whether a file is there `at` this time since the start; `None` if the script has nothing to do with it.
    pub fn file(&self, path: &str, at: Duration) -> Option<bool> {
        let mut changes = self.files.iter().filter(|change| change.path.as_str() == path).peekable();
        let before = !changes.peek()?.there;
        Some(changes.take_while(|change| change.at <= at).last().map_or(before, |change| change.there))
    }

    /// What it has made (true) and removed `at` this time since the start.
    pub fn files(&self, at: Duration) -> impl Iterator<Item = (Text, bool)> {
        self.files.iter().filter(move |change| change.at <= at).map(|change| (change.path.clone(), change.there))
    }

    /// When a file changes next after `at`.
    pub fn next_file_change(&self, at: Duration) -> Option<Duration> {
        self.files.iter().map(|change| change.at).find(|&change| change > at)
    }

    /// What a SIGTERM `at` this time since the start does. A shell in a container is the init process of its PID namespace:
    /// without a trap the kernel drops the signal.
    pub fn on_sigterm(&self, at: Duration) -> OnSigterm {
        let Some((_, Trap::Handler(handler))) = self.traps.iter().take_while(|(from, _)| *from <= at).last() else {
            return OnSigterm::Ignored;
        };
        let place = match self.cycle {
            Some((from, length)) if at > from && !length.is_zero() => {
                from + Duration::from_nanos((at.as_nanos() - from.as_nanos()) % length.as_nanos())
            }
            _ => at,
        };
        let foreground = self.foreground.iter().find(|busy| busy.from <= place && place < busy.to);
        let interrupts_wait = foreground.is_some_and(|busy| busy.wait);
        let delay = match foreground {
            Some(busy) if !busy.wait && busy.to == Duration::MAX => return OnSigterm::Ignored,
            Some(busy) if !busy.wait => busy.to.saturating_sub(place),
            _ => Duration::ZERO,
        };
        let around = At { run: self, at };
        let mut machine = Machine { unknown: Unknown::RunsForever, ..Machine::new(&around) };
        match machine.list(handler) {
            Ok(Flow::Exit(code)) => OnSigterm::ExitsAfter(delay + machine.now, code),
            // The handler returns and `wait` ends with 128 + SIGTERM: the script's usual last command.
            Ok(Flow::Status(_)) if interrupts_wait => OnSigterm::ExitsAfter(delay + machine.now, 143),
            _ => OnSigterm::Ignored,
        }
    }
}

/// A script's own files at some time since its start.
struct At<'a> {
    run: &'a Run,
    at: Duration,
}

impl Known for At<'_> {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &str) -> Option<String> {
        None
    }
}

impl Around for At<'_> {
    fn file(&self, path: &str) -> Option<bool> {
        self.run.file(path, self.at)
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Status(i32),
    Exit(i32),
    Break,
    Continue,
    Forever,
}

struct NotUnderstood;

struct Machine<'a> {
    now: Duration,
    unknown: Unknown,
    outer: &'a dyn Around,
    /// What the script has assigned; None: nobody knows what.
    variables: BTreeMap<String, Option<String>>,
    run: Run,
    /// When the last job in the background ends; `MAX`: never.
    jobs_end: Duration,
    steps: u32,
}

/// A script of so many commands counts as running for ever.
const MAX_STEPS: u32 = 5_000;

impl Known for Machine<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        match self.variables.get(name) {
            Some(assigned) => assigned.clone(),
            None => self.outer.variable(name),
        }
    }

    /// Files that the script writes have contents that nobody knows.
    fn read(&self, path: &str) -> Option<String> {
        let is_own = self.run.files.iter().any(|change| change.path.as_str() == path);
        if is_own { None } else { self.outer.read(path) }
    }
}

impl<'a> Machine<'a> {
    fn new(outer: &'a dyn Around) -> Machine<'a> {
        Machine {
            now: Duration::ZERO,
            unknown: Unknown::Refuse,
            outer,
            variables: BTreeMap::new(),
            run: Run::default(),
            jobs_end: Duration::ZERO,
            steps: 0,
        }
    }

    fn list(&mut self, list: &List) -> Result<Flow, NotUnderstood> {
        let mut status = 0;
        for (joint, negated, pipeline) in &list.0 {
            match joint {
                Joint::Always => {}
                Joint::And if status != 0 => continue,
                Joint::Or if status == 0 => continue,
                Joint::And | Joint::Or => {}
            }
            match self.pipeline(pipeline)? {
                Flow::Status(code) => status = if *negated { i32::from(code == 0) } else { code },
                other => return Ok(other),
            }
        }
        Ok(Flow::Status(status))
    }

    /// The commands of a pipeline run side by side; its status is the last one's.
    fn pipeline(&mut self, commands: &[Command]) -> Result<Flow, NotUnderstood> {
        let [command] = commands else {
            let start = self.now;
            let mut end = start;
            let mut flow = Flow::Status(0);
            let mut forever = false;
            for command in commands {
                self.now = start;
                flow = self.command(command)?;
                forever |= flow == Flow::Forever;
                end = end.max(self.now);
            }
            self.now = end;
            // Each part is a process of its own: its `exit` ends only that.
            let code = if let Flow::Status(code) | Flow::Exit(code) = flow { code } else { 0 };
            return Ok(if forever { Flow::Forever } else { Flow::Status(code) });
        };
        self.command(command)
    }

    fn command(&mut self, command: &Command) -> Result<Flow, NotUnderstood> {
        if self.is_exhausted() {
            return Ok(Flow::Forever);
        }
        match command {
            Command::Simple { words, writes } => {
                for path in writes {
                    if let Some([path]) = expand(path, self).as_deref() {
                        self.change(path, true);
                    }
                }
                self.simple(words)
            }
            Command::Group(list) => self.list(list),
            Command::Subshell(list) => Ok(match self.list(list)? {
                Flow::Exit(code) => Flow::Status(code),
                other => other,
            }),
            Command::Background(command) => {
                let start = self.now;
                let foreground = self.run.foreground.len();
                let flow = self.command(command)?;
                self.run.foreground.truncate(foreground);
                self.run.cycle = None;
                self.jobs_end = self.jobs_end.max(if flow == Flow::Forever { Duration::MAX } else { self.now });
                self.now = start;
                Ok(Flow::Status(0))
            }
            Command::If { branches, otherwise } => {
                for (condition, body) in branches {
                    match self.list(condition)? {
                        Flow::Status(0) => return self.list(body),
                        Flow::Status(_) => {}
                        other => return Ok(other),
                    }
                }
                otherwise.as_ref().map_or(Ok(Flow::Status(0)), |body| self.list(body))
            }
            Command::While { until, condition, body } => self.while_loop(*until, condition, body),
            Command::For { variable, words, times, body } => {
                let mut status = 0;
                for turn in 0..*times as usize {
                    if self.is_exhausted() {
                        return Ok(Flow::Forever);
                    }
                    self.variables.insert(variable.clone(), words.get(turn).map(|word| unmarked(word)));
                    match self.list(body)? {
                        Flow::Status(code) => status = code,
                        Flow::Continue => {}
                        Flow::Break => break,
                        other => return Ok(other),
                    }
                }
                Ok(Flow::Status(status))
            }
        }
    }

    /// Counts a step.
    fn is_exhausted(&mut self) -> bool {
        self.steps += 1;
        self.steps > MAX_STEPS
    }

    fn while_loop(&mut self, until: bool, condition: &List, body: &List) -> Result<Flow, NotUnderstood> {
        let mut status = 0;
        loop {
            if self.is_exhausted() {
                return Ok(Flow::Forever);
            }
            let start = self.now;
            let (changes, variables) = (self.run.files.len(), self.variables.clone());
            match self.list(condition)? {
                Flow::Status(code) if (code == 0) != until => {}
                Flow::Status(_) => return Ok(Flow::Status(status)),
                other => return Ok(other),
            }
            match self.list(body)? {
                Flow::Status(code) => status = code,
                Flow::Continue => {}
                Flow::Break => return Ok(Flow::Status(0)),
                other => return Ok(other),
            }
            // Nothing that a command can see changed, nor will: every further round is like this one.
            let same = self.run.files.len() == changes && self.variables == variables;
            if same && self.run.files.iter().all(|change| change.at <= start) {
                self.run.cycle = Some((start, self.now.saturating_sub(start)));
                return Ok(Flow::Forever);
            }
        }
    }

    /// A command as it is written.
    fn simple(&mut self, words: &[String]) -> Result<Flow, NotUnderstood> {
        let assignments = words.iter().take_while(|word| assignment(word).is_some()).count();
        let (assigned, words) = words.split_at(assignments);
        self.assign(assigned);
        let base = words.first().map(|name| name.rsplit('/').next().unwrap_or(name));
        match base {
            None => return Ok(Flow::Status(0)),
            Some("export") => self.assign(&words[1..]),
            Some("unset") => {
                for name in &words[1..] {
                    self.variables.insert(name.clone(), None);
                }
                return Ok(Flow::Status(0));
            }
            Some(_) => {}
        }
        if base.is_some_and(|name| QUICK.contains(&name)) {
            return Ok(Flow::Status(0));
        }
        let mut expanded = Vec::with_capacity(words.len());
        for word in words {
            match expand(word, self) {
                Some(words) => expanded.extend(words),
                None => return self.not_known(),
            }
        }
        self.program(&expanded)
    }

    fn assign(&mut self, words: &[String]) {
        for (name, value) in words.iter().filter_map(|word| assignment(word)) {
            let value = expand(&format!("{}{value}", shell_words::QUOTED), self);
            self.variables.insert(name.to_owned(), value.map(|words| words.concat()));
        }
    }

    /// A command with its words expanded.
    fn program(&mut self, words: &[String]) -> Result<Flow, NotUnderstood> {
        let Some((name, args)) = words.split_first() else {
            return Ok(Flow::Status(0));
        };
        let name = name.rsplit('/').next().unwrap_or(name);
        match name {
            name if QUICK.contains(&name) => Ok(Flow::Status(0)),
            "false" => Ok(Flow::Status(1)),
            "exec" if args.is_empty() => Ok(Flow::Status(0)),
            // A second `exec` is no program.
            "exec" if args[0] == "exec" => self.not_known(),
            "exec" => Ok(match self.program(args)? {
                Flow::Status(code) => Flow::Exit(code),
                other => other,
            }),
            "break" => Ok(Flow::Break),
            "continue" => Ok(Flow::Continue),
            "wait" => Ok(self.wait_for_jobs()),
            "trap" => Ok(self.trap(args)),
            "exit" | "return" => match args {
                [] => Ok(Flow::Exit(0)),
                [code, ..] => Ok(Flow::Exit(code.parse::<i32>().map_err(|_| NotUnderstood)? & 255)),
            },
            "sleep" => self.sleep(args),
            "touch" | "rm" => {
                for path in args.iter().filter(|word| !word.starts_with('-')) {
                    self.change(path, name == "touch");
                }
                Ok(Flow::Status(0))
            }
            "cat" => {
                let all_there = args.iter().filter(|path| *path != "-").all(|path| self.file(path).unwrap_or(true));
                Ok(Flow::Status(i32::from(!all_there)))
            }
            "grep" => self.grep(args),
            "test" => self.test(args),
            "[" => match args.split_last() {
                Some((last, args)) if last == "]" => self.test(args),
                _ => Err(NotUnderstood),
            },
            _ => self.not_known(),
        }
    }

    fn not_known(&self) -> Result<Flow, NotUnderstood> {
        match self.unknown {
            Unknown::Refuse => Err(NotUnderstood),
            Unknown::RunsForever => Ok(Flow::Forever),
        }
    }

    fn sleep(&mut self, args: &[String]) -> Result<Flow, NotUnderstood> {
        if args.is_empty() {
            return Err(NotUnderstood);
        }
        let from = self.now;
        let mut length = Duration::ZERO;
        for arg in args {
            if matches!(arg.as_str(), "infinity" | "inf") {
                self.run.foreground.push(Foreground { from, to: Duration::MAX, wait: false });
                return Ok(Flow::Forever);
            }
            length += sleep_length(arg).ok_or(NotUnderstood)?;
        }
        self.now += length;
        self.run.foreground.push(Foreground { from, to: self.now, wait: false });
        Ok(Flow::Status(0))
    }

    fn wait_for_jobs(&mut self) -> Flow {
        let from = self.now;
        self.run.foreground.push(Foreground { from, to: self.jobs_end.max(from), wait: true });
        if self.jobs_end == Duration::MAX {
            return Flow::Forever;
        }
        self.now = self.jobs_end.max(from);
        Flow::Status(0)
    }

    fn trap(&mut self, args: &[String]) -> Flow {
        let [handler, signals @ ..] = args else {
            return Flow::Status(0);
        };
        if signals.iter().any(|signal| matches!(signal.as_str(), "TERM" | "SIGTERM" | "15")) {
            let trap = match handler.as_str() {
                "" => Some(Trap::Ignore),
                // Back to the default, which for the init process of a PID namespace is the same.
                "-" => Some(Trap::Ignore),
                handler => parse(&unmarked(handler)).map(Trap::Handler),
            };
            self.run.traps.extend(trap.map(|trap| (self.now, trap)));
        }
        Flow::Status(0)
    }

    fn test(&self, args: &[String]) -> Result<Flow, NotUnderstood> {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let negations = words.iter().take_while(|word| **word == "!").count();
        let holds = match &words[negations..] {
            ["-f" | "-e" | "-s" | "-r" | "-d", path] => self.file(path).unwrap_or(false),
            [left, "=" | "==", right] => left == right,
            [left, "!=", right] => left != right,
            ["-n", word] => !word.is_empty(),
            ["-z", word] => word.is_empty(),
            [left, operator, right] => {
                let number = |word: &str| word.parse::<i64>().map_err(|_| NotUnderstood);
                let order = number(left)?.cmp(&number(right)?);
                match *operator {
                    "-eq" => order.is_eq(),
                    "-ne" => order.is_ne(),
                    "-lt" => order.is_lt(),
                    "-le" => order.is_le(),
                    "-gt" => order.is_gt(),
                    "-ge" => order.is_ge(),
                    _ => return Err(NotUnderstood),
                }
            }
            [word] => !word.is_empty(),
            _ => return Err(NotUnderstood),
        };
        Ok(Flow::Status(i32::from(holds == (negations % 2 == 1))))
    }

    /// Whether a file that is known has a line with this text, which must be no pattern.
    fn grep(&self, args: &[String]) -> Result<Flow, NotUnderstood> {
        let words: Vec<&str> = args.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        let flags = args.iter().filter(|word| word.starts_with('-'));
        let [text, path] = words.as_slice() else { return self.not_known() };
        let is_plain = !text.contains(['^', '$', '.', '*', '[', '\\', '+', '?', '|']);
        if !is_plain || flags.clone().any(|flag| !matches!(flag.as_str(), "-q" | "-F" | "-s")) {
            return self.not_known();
        }
        match (self.file(path), self.read(path)) {
            (Some(false), _) => Ok(Flow::Status(2)),
            (_, Some(content)) => Ok(Flow::Status(i32::from(!content.lines().any(|line| line.contains(text))))),
            _ => self.not_known(),
        }
    }

    fn change(&mut self, path: &str, there: bool) {
        let mut changes = self.run.files.iter().filter(|change| change.path.as_str() == path && change.at <= self.now);
        // What is so already is no change: a loop that writes a file each round is still the same each round.
        let known = changes.next_back().map(|change| change.there).or_else(|| self.outer.file(path));
        let unchanged = known == Some(there);
        if !path.starts_with("/dev/") && !unchanged {
            self.run.files.push(FileChange { at: self.now, path: Text::new(path), there });
        }
    }

    /// As the script knows it now: changes may lie in its future, where a background job makes them.
    fn file(&self, path: &str) -> Option<bool> {
        let changes = self.run.files.iter().filter(|change| change.path.as_str() == path);
        let last = changes.clone().filter(|change| change.at <= self.now).max_by_key(|change| change.at);
        let before = || changes.clone().min_by_key(|change| change.at).map(|change| !change.there);
        last.map(|change| change.there).or_else(|| self.outer.file(path)).or_else(before)
    }
}

/// The name and the value of `NAME=value`.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let plain = word.strip_prefix(shell_words::QUOTED).unwrap_or(word);
    let (name, value) = plain.split_once('=')?;
    (!name.is_empty() && name_length(name) == name.len()).then_some((name, value))
}

/// `5`, `0.5`, `1.5m`, `1h`, `1d`.
fn sleep_length(text: &str) -> Option<Duration> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3600),
        (at, 'd') => (&text[..at], 86400),
        _ => (text, 1),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Some(Duration::parse_go(&format!("{number}s"))? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is known of what is around a script.
    #[derive(Clone, Copy, Debug)]
    struct Nothing;

    impl Known for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn read(&self, _: &str) -> Option<String> {
            None
        }
    }

    impl Around for Nothing {
        fn file(&self, _: &str) -> Option<bool> {
            None
        }
    }

    fn shell(script: &str) -> Option<Run> {
        let command: Vec<Text> = ["sh", "-c", script].into_iter().map(Text::new).collect();
        run(&command, Unknown::Refuse, &Nothing)
    }

    fn seconds(tenths: u64) -> Duration {
        Duration::from_millis(tenths * 100)
    }

    /// The end as `seconds:code`, `for ever` or `not understood`.
    fn end(run: Option<Run>) -> String {
        match run {
            None => "not understood".to_owned(),
            Some(Run { end: None, .. }) => "for ever".to_owned(),
            Some(Run { end: Some((at, code)), .. }) => format!("{at}:{code}"),
        }
    }

    #[test]
    fn scripts_end_when_and_as_they_say() {
        for (script, expected) in [
            ("echo hi && sleep 3600", "1h0m0s:0"),
            ("sleep 3; exit 1", "3s:1"),
            ("sleep 1.5m", "1m30s:0"),
            ("sleep 0.5 1", "1.5s:0"),
            ("sleep infinity", "for ever"),
            ("false && sleep 5; exit 4", "0s:4"),
            ("false || sleep 5", "5s:0"),
            ("! false && sleep 2", "2s:0"),
            ("true; false", "0s:1"),
            ("while true; do echo hi; sleep 10;done", "for ever"),
            ("while :; do sleep 1; break; done; exit 9", "1s:9"),
            ("for i in 1 2 3; do echo $i; sleep 2; done", "6s:0"),
            ("for i in {1..5}; do sleep 1; done", "5s:0"),
            ("for i in $(seq 1 4); do sleep 1; done; exit 2", "4s:2"),
            ("for i in 9 8; do\n  sleep 1\ndone\nexit 3 # done", "2s:3"),
            ("if false; then sleep 9; elif true; then sleep 1; else exit 1; fi", "1s:0"),
            ("(sleep 2; exit 7); exit 1", "2s:1"),
            ("{ sleep 1; exit 7; }; exit 1", "1s:7"),
            ("sleep 5 & wait; exit 6", "5s:6"),
            ("sleep 5 & exit 6", "0s:6"),
            ("sleep 100000 & wait", "27h46m40s:0"),
            ("sleep 3 | sleep 4", "4s:0"),
            ("exec sleep 4; exit 9", "4s:0"),
            ("(sleep 2; touch /go) & until [ -f /go ]; do sleep 0.5; done; exit 5", "2s:5"),
            ("echo 'a; exit 3' \"b && c\" > /dev/termination-log; exit 300", "0s:44"),
            ("sleep 10 && echo Sleep expired > /dev/termination-log", "10s:0"),
            ("while true; do exit 2; done", "0s:2"),
            ("until [ -f /never ]; do sleep 2; done", "for ever"),
            ("while true; do :; done", "for ever"),
            ("while true; do date > /log; sleep 1; done", "for ever"),
            ("nginx -g 'daemon off;'", "not understood"),
            ("until nslookup myservice; do echo waiting; sleep 2; done", "not understood"),
            ("sleep $N", "not understood"),
            ("sleep soon", "not understood"),
            ("echo 'open", "not understood"),
            ("if true; then", "not understood"),
            ("done", "not understood"),
            ("( ( ( (", "not understood"),
            ("cat << EOF", "not understood"),
            ("cat <(ls)", "not understood"),
            ("sleep 1 >>", "not understood"),
            ("", "0s:0"),
        ] {
            assert_eq!(end(shell(script)), expected, "{script}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_script_makes_trouble(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "sleep 1", "exit 2", "while", "until", "do", "done", "if", "then", "elif", "else", "fi", "for i in",
                    "{1..99999999}", "$(seq 9)", "(", ")", "{", "}", ";", "&", "&&", "||", "|", "!", "wait", "true", "false",
                    "trap 'exit 3' TERM", "[ -f x ]", "touch x", "rm x", "echo > y", "'", "\"", "\\", "$(", "#", "break", "é",
                ]),
                0..30,
            ),
            at in 0u64..100,
        ) {
            let script = words.join(" ");
            for unknown in [Unknown::Refuse, Unknown::RunsForever] {
                let command: Vec<Text> = ["sh", "-c", &script].into_iter().map(Text::new).collect();
                if let Some(run) = run(&command, unknown, &Nothing) {
                    run.on_sigterm(seconds(at));
                    run.file("x", seconds(at));
                }
            }
        }

        #[test]
        fn no_text_makes_trouble(script: String) {
            shell(&script);
        }
    }

    struct Mounted;

    impl Known for Mounted {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "CODE").then(|| "7".to_owned())
        }

        fn read(&self, path: &str) -> Option<String> {
            (path == "/etc/config/mode").then(|| "slow\n".to_owned())
        }
    }

    impl Around for Mounted {
        fn file(&self, path: &str) -> Option<bool> {
            path.starts_with("/etc/config/").then(|| path == "/etc/config/mode")
        }
    }

    #[test]
    fn scripts_see_variables_and_the_files_of_volumes() {
        for (script, expected) in [
            ("echo $CODE; cat /etc/config/mode; exit 3", "0s:3"),
            ("exit $CODE", "0s:7"),
            ("exit '$CODE'", "not understood"),
            ("exit ${LATER:-4}", "0s:4"),
            ("exit $LATER", "not understood"),
            ("N=5; sleep $N; exit \"$N\"", "5s:5"),
            ("N=5 M=$N; export K=$M; sleep ${K}", "5s:0"),
            ("for n in 1 2 3; do sleep $n; done", "6s:0"),
            ("cat /etc/config/none || exit 9", "0s:9"),
            ("[ -f /etc/config/mode ] && exit 2", "0s:2"),
            ("if [ \"$(cat /etc/config/mode)\" = slow ]; then sleep 30; fi", "30s:0"),
            ("grep -q slow /etc/config/mode || exit 1; exit 5", "0s:5"),
            ("grep -q fast /etc/config/mode || exit 1; exit 5", "0s:1"),
            ("[ -z \"$EMPTY\" ]", "not understood"),
            ("EMPTY=; [ -z \"$EMPTY\" ] && exit 6", "0s:6"),
            ("[ $CODE -gt 6 ] && exit 8", "0s:8"),
            ("while [ \"$DONE\" != yes ]; do sleep 1; done", "not understood"),
            ("i=0; while [ $i -lt 3 ]; do sleep 1; i=$((i+1)); done; exit 4", "3s:4"),
            ("DONE=no; while [ \"$DONE\" != yes ]; do sleep 1; DONE=yes; done", "1s:0"),
            ("echo \"costs \\$5\"; exit 1", "0s:1"),
        ] {
            let command: Vec<Text> = ["sh", "-c", script].into_iter().map(Text::new).collect();
            assert_eq!(end(run(&command, Unknown::Refuse, &Mounted)), expected, "{script}");
        }
    }

    #[test]
    fn plain_commands_are_understood_without_a_shell() {
        for (command, expected) in [
            (vec!["sleep", "5"], "5s:0"),
            (vec!["/bin/echo", "$(SPECIAL_LEVEL_KEY)"], "0s:0"),
            (vec!["false"], "0s:1"),
            (vec!["/bin/sh", "-ec", "--", "sleep 1"], "1s:0"),
            (vec!["bash", "/script.sh"], "not understood"),
            (vec!["perl", "-e", "1"], "not understood"),
            (vec![], "not understood"),
        ] {
            let words: Vec<Text> = command.iter().copied().map(Text::new).collect();
            assert_eq!(end(run(&words, Unknown::Refuse, &Nothing)), expected, "{command:?}");
        }
        let server: Vec<Text> = ["sh", "-c", "sleep 2; nginx"].into_iter().map(Text::new).collect();
        assert_eq!(end(run(&server, Unknown::RunsForever, &Nothing)), "for ever");
    }

    #[test]
    fn sigterm_meets_the_trap_that_is_set() {
        for (script, at, expected) in [
            ("sleep 3600", 50, OnSigterm::Ignored),
            ("trap '' TERM; sleep 100000", 50, OnSigterm::Ignored),
            ("trap 'exit 0' TERM; sleep 100000 & wait", 50, OnSigterm::ExitsAfter(seconds(0), 0)),
            ("trap 'sleep 4; exit 3' TERM; sleep 100000 & wait", 50, OnSigterm::ExitsAfter(seconds(40), 3)),
            ("trap 'echo bye' TERM; sleep 100000 & wait", 50, OnSigterm::ExitsAfter(seconds(0), 143)),
            ("trap 'exit 0' TERM; sleep 10", 40, OnSigterm::ExitsAfter(seconds(60), 0)),
            ("trap 'exit 1' SIGTERM; while true; do sleep 10; done", 234, OnSigterm::ExitsAfter(seconds(66), 1)),
            ("sleep 5; trap 'exit 0' TERM; sleep 9 & wait", 20, OnSigterm::Ignored),
            ("trap 'exit 0' INT; sleep 9 & wait", 20, OnSigterm::Ignored),
        ] {
            assert_eq!(shell(script).unwrap().on_sigterm(seconds(at)), expected, "{script}");
        }
    }

    #[test]
    fn files_come_and_go_and_exec_probes_see_them() {
        let program = shell("touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600").unwrap();
        let probe = |at: u64| {
            let around = At { run: &program, at: seconds(at) };
            let command: Vec<Text> = ["cat", "/tmp/healthy"].into_iter().map(Text::new).collect();
            end(run(&command, Unknown::Refuse, &around))
        };
        assert_eq!((probe(0).as_str(), probe(299).as_str(), probe(300).as_str()), ("0s:0", "0s:0", "0s:1"));
        assert_eq!(program.next_file_change(seconds(10)), Some(seconds(300)));
        assert_eq!(program.file("/etc/passwd", seconds(10)), None);
    }
}
