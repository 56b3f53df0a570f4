//! What the programs in a served container do, in real time: the shell and a box of small programs, enough for scripts in
//! manifests, for probes and hooks, and for a person who looks around.
//!
//! Read `syntax` (the grammar), `words` (how words are expanded), then this file (lists, pipes, loops, redirections) and
//! `programs` and `text` (what each program does). A shell is a future: dropping it kills it with all that it started. It writes to
//! [`Sink`]s, reads from an [`Input`], and knows of the machine only what its [`World`] says.

mod programs;
mod syntax;
mod text;
mod words;
pub(super) mod world;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as Length;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::files::normal;
use syntax::{Command, Item, Joint, List, Redirect, Stage, Target};
use world::World;

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Something that was written.
pub(super) type Piece = (Stream, Vec<u8>);

/// Where output goes. Clones go to the same place.
#[derive(Clone)]
pub(super) enum Sink {
    Channel(mpsc::Sender<Piece>, Stream),
    Buffer(Arc<Mutex<Vec<u8>>>),
    File(String),
    Nowhere,
}

/// A pipe takes no more than this from a program that nobody stops.
const LARGEST_BUFFER: usize = 1 << 20;

/// Where input comes from. Clones read the same.
#[derive(Clone, Default)]
pub(super) struct Input {
    source: Arc<tokio::sync::Mutex<Source>>,
    /// It is a terminal's.
    terminal: Option<Size>,
}

/// How large a terminal is. Its client may change it at any time.
#[derive(Clone, Debug, Default)]
pub(super) struct Size(Arc<AtomicU32>);

impl Size {
    pub fn set(&self, rows: u16, columns: u16) {
        self.0.store(u32::from(rows) << 16 | u32::from(columns), Ordering::Relaxed);
    }

    /// Rows and columns; zeros until a client has said.
    pub fn get(&self) -> (u16, u16) {
        let both = self.0.load(Ordering::Relaxed);
        ((both >> 16) as u16, both as u16)
    }
}

#[derive(Default)]
struct Source {
    ready: VecDeque<u8>,
    more: Option<mpsc::UnboundedReceiver<Vec<u8>>>,
}

impl Input {
    /// These bytes, and no more.
    pub fn of(bytes: Vec<u8>) -> Input {
        Input::new(Source { ready: bytes.into(), more: None })
    }

    /// What comes until the sender is gone.
    pub fn from(more: mpsc::UnboundedReceiver<Vec<u8>>) -> Input {
        Input::new(Source { ready: VecDeque::new(), more: Some(more) })
    }

    fn new(source: Source) -> Input {
        Input { source: Arc::new(tokio::sync::Mutex::new(source)), terminal: None }
    }

    /// The same from a terminal, if there is one.
    pub fn of_terminal(self, terminal: Option<Size>) -> Input {
        Input { terminal, ..self }
    }

    /// The next line with its end; the last may have none. None at the end.
    async fn line(&self) -> Option<Vec<u8>> {
        let mut source = self.source.lock().await;
        loop {
            if let Some(at) = source.ready.iter().position(|byte| *byte == b'\n') {
                return Some(source.ready.drain(..=at).collect());
            }
            let more = match &mut source.more {
                Some(more) => more.recv().await,
                None => None,
            };
            match more {
                Some(bytes) => source.ready.extend(bytes),
                None if source.ready.is_empty() => return None,
                None => return Some(source.ready.drain(..).collect()),
            }
        }
    }

    /// All that comes.
    async fn rest(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(line) = self.line().await {
            whole.extend(line);
        }
        whole
    }
}

/// What an unknown program is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Not there: code 127.
    NotFound,
    /// A container's own program: it runs for ever.
    RunsForever,
}

/// How a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub unknown: Unknown,
    /// A person is there: a shell asks for each line.
    pub prompts: bool,
}

/// How something went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Status(i32),
    /// The shell ends.
    Exit(i32),
    Break,
    Continue,
}

type Going<'a> = Pin<Box<dyn Future<Output = Flow> + Send + 'a>>;

/// A shell, or one program.
pub(super) struct Shell {
    world: Arc<World>,
    values: BTreeMap<String, String>,
    folder: String,
    /// Its own name, for messages, and its arguments.
    name: String,
    arguments: Vec<String>,
    status: i32,
    manner: Manner,
    /// `set -e`.
    stops_at_errors: bool,
    input: Input,
    out: Sink,
    err: Sink,
    jobs: JoinSet<i32>,
    depth: u32,
}

/// Deeper nesting of shells in shells is an endless recursion.
const MAX_DEPTH: u32 = 16;

/// Runs a command to its end and tells its code. Dropped, it is killed.
pub(super) async fn run(
    world: Arc<World>,
    words: Vec<String>,
    manner: Manner,
    input: Input,
    out: Sink,
    err: Sink,
) -> i32 {
    let values = world.values.clone();
    let folder = world.folder.clone();
    let mut shell = Shell {
        world,
        values,
        folder,
        name: "sh".to_owned(),
        arguments: Vec::new(),
        status: 0,
        manner,
        stops_at_errors: false,
        input,
        out,
        err,
        jobs: JoinSet::new(),
        depth: 0,
    };
    // One program alone: no shell says what is wrong with it.
    if let Some(first) = words.first()
        && manner.unknown == Unknown::NotFound
        && !shell.is_there(first)
    {
        shell.complain(&format!("exec: \"{first}\": executable file not found in $PATH")).await;
        return 127;
    }
    match shell.program(words).await {
        Flow::Status(code) | Flow::Exit(code) => code,
        Flow::Break | Flow::Continue => 0,
    }
}

/// Whether a container's main command is one that is understood here to its end, so that its exit is known here, too.
pub(super) fn is_understood(words: &[String]) -> bool {
    let Some((program, rest)) = words.split_first() else { return false };
    match base(program) {
        "sh" | "bash" | "ash" | "dash" => match script_of(rest) {
            // A trap's effect is the model's affair.
            Some((script, _)) => syntax::parse(&script).is_some_and(|list| ends_are_known(&list)),
            None => rest.iter().all(|flag| flag.starts_with('-')),
        },
        name => programs::ALL.contains(&name),
    }
}

/// Whether all that a script starts is known here. A trap's effect, and what runs for ever or is not known, is the model's
/// affair: the last command of a script takes the shell's place, and dies of SIGTERM as it likes.
fn ends_are_known(list: &List) -> bool {
    let is_known = |name: &str| {
        let name = base(name);
        programs::ALL.contains(&name) || matches!(name, "exec" | "wait")
    };
    list.0.iter().flat_map(|item| &item.stages).all(|stage| match &stage.command {
        Command::Simple { words, .. } => {
            let names = words.iter().map(|word| match word.as_slice() {
                [syntax::Part::Text(name)] => Some(name.as_str()),
                _ => None,
            });
            match names.collect::<Vec<Option<&str>>>().as_slice() {
                [] => true,
                [Some("exec"), rest @ ..] => rest.first().is_none_or(|name| name.is_some_and(is_known)),
                [name, ..] => name.is_some_and(is_known),
            }
        }
        Command::Group(list) | Command::Subshell(list) => ends_are_known(list),
        Command::If { branches, otherwise } => {
            branches.iter().all(|(condition, body)| ends_are_known(condition) && ends_are_known(body))
                && otherwise.as_ref().is_none_or(ends_are_known)
        }
        Command::While { condition, body, .. } => ends_are_known(condition) && ends_are_known(body),
        Command::For { body, .. } => ends_are_known(body),
    })
}

/// A program's name without its folder.
fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// The script that a shell's arguments hold after `-c` or `-ec`, and what follows it.
fn script_of(arguments: &[String]) -> Option<(String, Vec<String>)> {
    let at =
        arguments.iter().position(|flag| flag.starts_with('-') && !flag.starts_with("--") && flag.ends_with('c'))?;
    let mut rest = arguments.iter().skip(at + 1).skip_while(|word| *word == "--").cloned();
    let script = rest.next()?;
    Some((script, rest.collect()))
}

impl Shell {
    async fn write(&self, sink: &Sink, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match sink {
            Sink::Channel(channel, stream) => {
                // Who listened may be gone.
                let _unheard = channel.send((*stream, bytes)).await;
            }
            Sink::Buffer(buffer) => {
                let full = {
                    let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
                    buffer.extend_from_slice(&bytes);
                    buffer.len() > LARGEST_BUFFER
                };
                if full {
                    // As if it waited for a reader.
                    std::future::pending::<()>().await;
                }
            }
            Sink::File(path) => {
                // A disk that is full loses it.
                let _lost = self.world.files().write(path, &bytes, true);
            }
            Sink::Nowhere => {}
        }
    }

    async fn say(&self, text: impl Into<Vec<u8>>) {
        let sink = self.out.clone();
        self.write(&sink, text.into()).await;
    }

    async fn complain(&self, text: &str) {
        let sink = self.err.clone();
        self.write(&sink, format!("{text}\n").into_bytes()).await;
    }

    /// A shell of its own with the same state.
    fn child(&self) -> Shell {
        Shell {
            world: Arc::clone(&self.world),
            values: self.values.clone(),
            folder: self.folder.clone(),
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            status: self.status,
            manner: self.manner,
            stops_at_errors: self.stops_at_errors,
            input: self.input.clone(),
            out: self.out.clone(),
            err: self.err.clone(),
            jobs: JoinSet::new(),
            depth: self.depth + 1,
        }
    }

    fn path(&self, path: &str) -> String {
        normal(&self.folder, path)
    }

    fn list<'a>(&'a mut self, list: &'a List) -> Going<'a> {
        Box::pin(async move {
            let mut status = 0;
            for (number, Item { joint, negated, stages, background }) in list.0.iter().enumerate() {
                let runs = match joint {
                    Joint::Always => true,
                    Joint::And => status == 0,
                    Joint::Or => status != 0,
                };
                if !runs {
                    continue;
                }
                if *background {
                    self.start_job(stages.clone());
                    status = 0;
                    continue;
                }
                match self.pipeline(stages).await {
                    Flow::Status(code) => status = if *negated { i32::from(code == 0) } else { code },
                    other => return other,
                }
                self.status = status;
                // What follows by `&&` or `||` has looked at it.
                let looked_at = list.0.get(number + 1).is_some_and(|next| next.joint != Joint::Always);
                if self.stops_at_errors && status != 0 && !looked_at && !negated {
                    return Flow::Exit(status);
                }
            }
            Flow::Status(status)
        })
    }

    fn start_job(&mut self, stages: Vec<Stage>) {
        let mut child = self.child();
        child.input = Input::default();
        self.jobs.spawn(async move {
            match child.pipeline(&stages).await {
                Flow::Status(code) | Flow::Exit(code) => code,
                Flow::Break | Flow::Continue => 0,
            }
        });
    }

    /// The stages of a pipe run one after another, each with the output of the one before.
    fn pipeline<'a>(&'a mut self, stages: &'a [Stage]) -> Going<'a> {
        Box::pin(async move {
            let [stage] = stages else {
                let mut input = self.input.clone();
                let mut flow = Flow::Status(0);
                for (number, stage) in stages.iter().enumerate() {
                    let mut child = self.child();
                    child.input = input;
                    let buffer = Arc::new(Mutex::new(Vec::new()));
                    if number + 1 < stages.len() {
                        child.out = Sink::Buffer(Arc::clone(&buffer));
                    }
                    flow = child.stage(stage).await;
                    let bytes = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
                    input = Input::of(bytes);
                }
                // Each is a process of its own: its `exit` ends only that.
                return match flow {
                    Flow::Status(code) | Flow::Exit(code) => Flow::Status(code),
                    Flow::Break | Flow::Continue => Flow::Status(0),
                };
            };
            self.stage(stage).await
        })
    }

    async fn stage(&mut self, stage: &Stage) -> Flow {
        if stage.redirects.is_empty() {
            return self.command(&stage.command).await;
        }
        let kept = (self.input.clone(), self.out.clone(), self.err.clone());
        let mut flow = None;
        for redirect in &stage.redirects {
            if let Err(what) = self.redirect(redirect).await {
                (self.input, self.out, self.err) = kept.clone();
                let text = format!("{}: {what}", self.name);
                self.complain(&text).await;
                flow = Some(Flow::Status(1));
                break;
            }
        }
        let flow = match flow {
            Some(flow) => flow,
            None => self.command(&stage.command).await,
        };
        // `exec > file` alone stays in force.
        let is_exec = matches!(&stage.command, Command::Simple { words, .. } if words::is_just(words, "exec"));
        if !is_exec {
            (self.input, self.out, self.err) = kept;
        }
        flow
    }

    async fn redirect(&mut self, redirect: &Redirect) -> Result<(), String> {
        match &redirect.target {
            Target::Same(other) => {
                let sink = if *other == 2 { self.err.clone() } else { self.out.clone() };
                match redirect.descriptor {
                    1 => self.out = sink,
                    2 => self.err = sink,
                    _ => {}
                }
            }
            Target::Into { file, append } => {
                let name = self.one_word(file).await;
                let path = self.path(&name);
                let sink = match path.as_str() {
                    "/dev/null" => Sink::Nowhere,
                    "/dev/stdout" | "/proc/1/fd/1" | "/proc/self/fd/1" => self.out.clone(),
                    "/dev/stderr" | "/proc/1/fd/2" | "/proc/self/fd/2" => self.err.clone(),
                    _ => {
                        let opened = self.world.files().write(&path, b"", *append);
                        opened.map_err(|why| format!("can't create {name}: {why}"))?;
                        Sink::File(path)
                    }
                };
                match redirect.descriptor {
                    1 => self.out = sink,
                    2 => self.err = sink,
                    _ => {}
                }
            }
            Target::From { file } => {
                let name = self.one_word(file).await;
                let path = self.path(&name);
                self.input = if path == "/dev/null" {
                    Input::default()
                } else {
                    let read = self.world.files().read(&path);
                    Input::of(read.map_err(|why| format!("can't open {name}: {why}"))?)
                };
            }
        }
        Ok(())
    }

    fn command<'a>(&'a mut self, command: &'a Command) -> Going<'a> {
        Box::pin(async move {
            match command {
                Command::Simple { values, words } => {
                    let words = self.expand(words).await;
                    let mut set = Vec::with_capacity(values.len());
                    for (name, word) in values {
                        set.push((name.clone(), self.one_word(word).await));
                    }
                    if words.is_empty() {
                        self.values.extend(set);
                        return Flow::Status(0);
                    }
                    // Values before a command are for it alone.
                    let kept: Vec<(String, Option<String>)> =
                        set.iter().map(|(name, _)| (name.clone(), self.values.get(name).cloned())).collect();
                    self.values.extend(set);
                    let flow = self.program(words).await;
                    for (name, value) in kept {
                        match value {
                            Some(value) => self.values.insert(name, value),
                            None => self.values.remove(&name),
                        };
                    }
                    flow
                }
                Command::Group(list) => self.list(list).await,
                Command::Subshell(list) => {
                    let mut child = self.child();
                    match child.list(list).await {
                        Flow::Exit(code) => Flow::Status(code),
                        other => other,
                    }
                }
                Command::If { branches, otherwise } => {
                    for (condition, body) in branches {
                        match self.list(condition).await {
                            Flow::Status(0) => return self.list(body).await,
                            Flow::Status(_) => {}
                            other => return other,
                        }
                    }
                    match otherwise {
                        Some(body) => self.list(body).await,
                        None => Flow::Status(0),
                    }
                }
                Command::While { until, condition, body } => {
                    let mut status = 0;
                    loop {
                        match self.list(condition).await {
                            Flow::Status(code) if (code == 0) != *until => {}
                            Flow::Status(_) => return Flow::Status(status),
                            other => return other,
                        }
                        match self.list(body).await {
                            Flow::Status(code) => status = code,
                            Flow::Continue => {}
                            Flow::Break => return Flow::Status(0),
                            other => return other,
                        }
                        breathe().await;
                    }
                }
                Command::For { name, words, body } => {
                    let mut status = 0;
                    for word in self.expand(words).await {
                        self.values.insert(name.clone(), word);
                        match self.list(body).await {
                            Flow::Status(code) => status = code,
                            Flow::Continue => {}
                            Flow::Break => return Flow::Status(0),
                            other => return other,
                        }
                        tokio::task::yield_now().await;
                    }
                    Flow::Status(status)
                }
            }
        })
    }

    /// Runs a script: what `sh` does with `-c`, or with what it reads line by line.
    fn shell<'a>(&'a mut self, name: String, arguments: Vec<String>) -> Going<'a> {
        Box::pin(async move {
            let mut child = self.child();
            child.name = name;
            if child.depth > MAX_DEPTH {
                return Flow::Status(2);
            }
            child.stops_at_errors = arguments.iter().any(|flag| flag == "-ec" || flag == "-e");
            if let Some((script, rest)) = script_of(&arguments) {
                child.arguments = rest;
                return Flow::Status(child.script(&script).await);
            }
            if let Some(file) = arguments.iter().find(|word| !word.starts_with('-')) {
                let read = child.world.files().read(&child.path(file));
                return match read {
                    Ok(script) => Flow::Status(child.script(&String::from_utf8_lossy(&script)).await),
                    Err(why) => {
                        let text = format!("{}: can't open '{file}': {why}", child.name);
                        child.complain(&text).await;
                        Flow::Status(2)
                    }
                };
            }
            // Commands come one by one; one that goes on over several lines is collected.
            let mut script = String::new();
            let input = child.input.clone();
            let mut status = 0;
            loop {
                if child.manner.prompts {
                    let sign = if child.world.uid == 0 { '#' } else { '$' };
                    let prompt = if script.is_empty() { format!("{} {sign} ", child.folder) } else { "> ".to_owned() };
                    child.say(prompt).await;
                }
                let Some(line) = input.line().await else { break };
                script.push_str(&String::from_utf8_lossy(&line));
                let Some(list) = syntax::parse(&script) else {
                    if script.len() > LARGEST_BUFFER || !is_unfinished(&script) {
                        let text = format!("{}: syntax error", child.name);
                        child.complain(&text).await;
                        script.clear();
                    }
                    continue;
                };
                script.clear();
                match child.list(&list).await {
                    Flow::Status(code) => status = code,
                    Flow::Exit(code) => return Flow::Status(code),
                    Flow::Break | Flow::Continue => {}
                }
            }
            Flow::Status(status)
        })
    }

    async fn script(&mut self, script: &str) -> i32 {
        let Some(list) = syntax::parse(script) else {
            let text = format!("{}: syntax error", self.name);
            self.complain(&text).await;
            return 2;
        };
        match self.list(&list).await {
            Flow::Status(code) | Flow::Exit(code) => code,
            Flow::Break | Flow::Continue => 0,
        }
    }
}

/// Whether more lines may make it a script.
fn is_unfinished(script: &str) -> bool {
    let open = |opener: &str, closer: &str| {
        let count = |word: &str| script.split(|c: char| c.is_whitespace() || c == ';').filter(|w| *w == word).count();
        count(opener) > count(closer)
    };
    let quotes = script.matches('\'').count() % 2 == 1 || script.matches('"').count() % 2 == 1;
    quotes
        || open("do", "done")
        || open("then", "fi")
        || open("{", "}")
        || script.trim_end().ends_with(['\\', '|', '&'])
        || script.matches('(').count() > script.matches(')').count()
        || ["while", "until", "for", "if"].iter().any(|word| script.trim_start().starts_with(word))
            && !script.contains("done")
            && !script.contains("fi")
}

/// A loop that never waits must not keep the machine busy.
async fn breathe() {
    tokio::time::sleep(Length::from_millis(1)).await;
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::*;

    /// What a script writes and how it ends; `out|err|code`.
    fn check(script: &str, expected: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let world = World {
            files: Mutex::new(Files::new([("/etc/motd".to_owned(), b"one\ntwo\nthree\n".to_vec())], Vec::new())),
            values: BTreeMap::from([("WHO".to_owned(), "world".to_owned())]),
            ..World::default()
        };
        let (out, err) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let manner = Manner { unknown: Unknown::NotFound, prompts: false };
        let sinks = (Sink::Buffer(Arc::clone(&out)), Sink::Buffer(Arc::clone(&err)));
        let running = run(Arc::new(world), words, manner, Input::default(), sinks.0, sinks.1);
        let ended = runtime.block_on(async { tokio::time::timeout(Length::from_millis(500), running).await });
        let text = |buffer: &Mutex<Vec<u8>>| {
            String::from_utf8(buffer.lock().expect("no panic").clone()).expect("text").replace('\n', "/")
        };
        let code = ended.map_or("runs".to_owned(), |code| code.to_string());
        assert_eq!(format!("{}|{}|{code}", text(&out), text(&err)), expected, "{script}");
    }

    #[test]
    fn commands_follow_each_other_as_their_joints_say() {
        check("echo a; echo b", "a/b/||0");
        check("true && echo yes || echo no", "yes/||0");
        check("false && echo yes || echo no", "no/||0");
        check("false; echo $?", "1/||0");
        check("! true", "||1");
        check("exit 7; echo never", "||7");
        check("(exit 3); echo $?", "3/||0");
        check("set -e; false; echo never", "||1");
        check("set -e; false || true; echo on", "on/||0");
    }

    #[test]
    fn values_words_and_sums_are_expanded() {
        check("echo $WHO ${WHO}s '$WHO' \"$WHO!\"", "world worlds $WHO world!/||0");
        check("x='a  b'; echo $x; echo \"$x\"", "a b/a  b/||0");
        check("echo ${none:-else} [$none]", "else []/||0");
        check("i=1; i=$((i + 2 * 3)); echo $i $((7 / 2 % 2)) $((2 > 1))", "7 1 1/||0");
        check("echo $(echo inner) `echo back`", "inner back/||0");
        check("for i in $(seq 1 3); do echo -n $i; done", "123||0");
        check("for i in {1..3}; do echo -n $i; done", "123||0");
        check("A=1 env | grep ^A=; echo [$A]", "A=1/[]/||0");
        check("echo *", "*/||0");
    }

    #[test]
    fn loops_end_or_go_on() {
        check("i=0; while [ $i -lt 3 ]; do echo $i; i=$((i+1)); done", "0/1/2/||0");
        check("while true; do echo x; sleep 40; done", "x/||runs");
        check("until false; do break; done; echo out", "out/||0");
        check("for i in a b c; do [ $i = b ] && continue; echo $i; done", "a/c/||0");
        check("tail -f /dev/null", "||runs");
        check("sleep 0.01 0.01s && echo done", "done/||0");
    }

    #[test]
    fn output_goes_through_pipes_and_into_files() {
        check("echo b > /tmp/x; echo a >> /tmp/x; sort < /tmp/x; cat /tmp/x | wc -l", "a/b/2/||0");
        check("cat /etc/motd | grep t | head -n 1", "two/||0");
        check("ls /nothing 2>&1 | grep -q 'No such file' && echo quiet", "quiet/||0");
        check("ls /nothing 2>/dev/null", "||1");
        check("echo hidden > /dev/null; echo shown >&2", "|shown/|0");
        check("echo x > /none/y", "|/bin/sh: can't create /none/y: No such file or directory/|1");
        check("{ echo a; echo b; } > /tmp/g; tail -n 1 /tmp/g", "b/||0");
    }

    #[test]
    fn files_are_made_tested_and_removed() {
        check(
            "touch /tmp/ok; [ -f /tmp/ok ] && echo there; rm /tmp/ok; test -e /tmp/ok || echo gone",
            "there/gone/||0",
        );
        check("cat /tmp/nothing", "|cat: can't open '/tmp/nothing': No such file or directory/|1");
        check("mkdir -p /tmp/a/b && cd /tmp/a && pwd && ls", "/tmp/a/b/||0");
        check("echo 1 > a; cp a b; mv b c; cat c; ls b", "1/|ls: b: No such file or directory/|1");
    }

    #[test]
    fn what_is_not_there_is_said_to_be_not_found() {
        check("nslookup kubernetes", "|/bin/sh: nslookup: not found/|127");
        check("nc -z a 1 || echo no", "no/|/bin/sh: nc: not found/|0");
        check("case a in a) ;; esac", "|/bin/sh: syntax error/|2");
    }

    #[test]
    fn a_main_command_is_understood_if_all_that_it_starts_is() {
        let understood = |script: &str| is_understood(&["sh", "-c", script].map(str::to_owned));
        for script in
            ["echo a; sleep 5", "while true; do date; sleep 1; done", "exec cat /x", "(false) || exit 3", "x=1"]
        {
            assert!(understood(script), "{script}");
        }
        for script in
            ["top", "echo a; ./server", "trap 'exit 0' TERM; sleep 9", "exec nginx", "$X", "if a; then b; fi", "'"]
        {
            assert!(!understood(script), "{script}");
        }
        let words =
            |words: &[&str]| is_understood(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>());
        assert!(words(&["/bin/echo", "x"]) && words(&["/bin/sh"]) && words(&["sh", "-ec", "true"]));
        assert!(!words(&["top"]) && !words(&[]) && !words(&["sh", "script.sh"]));
    }

    #[test]
    fn jobs_run_beside_and_are_waited_for() {
        check("(sleep 0.05; echo late) & echo early; wait; echo end", "early/late/end/||0");
    }
}
