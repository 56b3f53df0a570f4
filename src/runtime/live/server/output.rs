//! What a command writes, and when: `echo`, `printf`, `cat` of mounted files, `env`, `pwd`, `hostname`, `id -u`, with the
//! shell's control flow as the runtime's model understands it. What else a command does is the model's affair.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::kernel::Duration;
use crate::runtime::live::proto;
use crate::runtime::simulated::{Joint, ShellCommand, ShellList, script_of};

/// Nothing more is worked out of a program that has written so many lines, or looped so often.
const LONGEST: usize = 20_000;
/// So much of a mounted file is read.
const MOST_OF_A_FILE: u64 = 1 << 20;

/// Everything that a command writes to its standard output, by time since its start, and the code with which it ends if a
/// command failed here that the model took to succeed (`cat` of a file that is not there).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    pub writes: Vec<(Duration, String)>,
    pub errors: String,
    pub code: Option<i32>,
}

/// Where a command runs.
pub(super) struct Place<'a> {
    pub container: &'a proto::ContainerConfig,
    pub hostname: &'a str,
    pub uid: i64,
}

/// What `command` writes there; nothing if it is outside the shell's grammar.
pub(super) fn of_command(command: &[String], place: &Place) -> Output {
    let variables = place.container.envs.iter().map(|env| (env.key.as_str(), env.value.as_str())).collect();
    let words: Vec<String> = command.iter().map(|word| expanded(word, &variables)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut walk = Walk { place, variables, now: Duration::ZERO, output: Output::default(), steps: 0 };
    if let Some(script) = script_of(&words) {
        walk.list(&script);
    }
    walk.output
}

struct Walk<'a> {
    place: &'a Place<'a>,
    variables: BTreeMap<&'a str, &'a str>,
    now: Duration,
    output: Output,
    steps: usize,
}

/// How a list went on.
enum Flow {
    Status(i32),
    /// Out of everything: `exit`, or it runs for longer than is worked out.
    End,
    Break,
    Continue,
}

impl Walk<'_> {
    fn list(&mut self, list: &ShellList) -> Flow {
        let mut status = 0;
        for (joint, negated, pipeline) in &list.0 {
            let runs = match joint {
                Joint::Always => true,
                Joint::And => status == 0,
                Joint::Or => status != 0,
            };
            if !runs {
                continue;
            }
            let shown = self.output.writes.len();
            for (index, command) in pipeline.iter().enumerate() {
                if index > 0
                    && !matches!(command, ShellCommand::Simple { words, .. } if words.first().is_some_and(|w| w == "cat"))
                {
                    // The last command of a pipe decides what is seen, and only `cat` hands it on.
                    self.output.writes.truncate(shown);
                }
                match self.command(command) {
                    Flow::Status(code) => status = code,
                    other => return other,
                }
            }
            if *negated {
                status = i32::from(status == 0);
            }
        }
        Flow::Status(status)
    }

    fn command(&mut self, command: &ShellCommand) -> Flow {
        self.steps += 1;
        if self.steps > LONGEST || self.output.writes.len() > LONGEST {
            return Flow::End;
        }
        match command {
            ShellCommand::Simple { words, writes } => self.simple(words, !writes.is_empty()),
            ShellCommand::Group(list) | ShellCommand::Subshell(list) => self.list(list),
            ShellCommand::Background(_) => Flow::Status(0),
            ShellCommand::If { branches, otherwise } => {
                for (condition, then) in branches {
                    match self.list(condition) {
                        Flow::Status(0) => return self.list(then),
                        Flow::Status(_) => {}
                        other => return other,
                    }
                }
                otherwise.as_ref().map_or(Flow::Status(0), |list| self.list(list))
            }
            ShellCommand::While { until, condition, body } => loop {
                match self.list(condition) {
                    Flow::Status(code) if (code == 0) == *until => return Flow::Status(0),
                    Flow::Status(_) => {}
                    other => return other,
                }
                match self.list(body) {
                    Flow::Break => return Flow::Status(0),
                    Flow::End => return Flow::End,
                    Flow::Status(_) | Flow::Continue => {}
                }
                self.steps += 1;
                if self.steps > LONGEST {
                    return Flow::End;
                }
            },
            ShellCommand::For { times, body, .. } => {
                for _ in 0..*times {
                    match self.list(body) {
                        Flow::Break => break,
                        Flow::End => return Flow::End,
                        Flow::Status(_) | Flow::Continue => {}
                    }
                }
                Flow::Status(0)
            }
        }
    }

    fn simple(&mut self, words: &[String], redirected: bool) -> Flow {
        let Some((program, arguments)) = words.split_first() else { return Flow::Status(0) };
        let text = match program.rsplit('/').next().unwrap_or(program) {
            "exit" => {
                return Flow::End;
            }
            "exec" => return self.simple(arguments, redirected),
            "break" => return Flow::Break,
            "continue" => return Flow::Continue,
            "false" => return Flow::Status(1),
            "sleep" => {
                let Some(length) = arguments.first().and_then(|text| length(text)) else { return Flow::End };
                self.now += length;
                return Flow::Status(0);
            }
            "echo" => match arguments.split_first() {
                Some((flag, rest)) if flag == "-n" => rest.join(" "),
                Some((flag, rest)) if flag == "-e" => unescaped(&rest.join(" ")) + "\n",
                _ => arguments.join(" ") + "\n",
            },
            "printf" => unescaped(arguments.first().map_or("", String::as_str)),
            "pwd" => {
                let folder = &self.place.container.working_dir;
                format!("{}\n", if folder.is_empty() { "/" } else { folder })
            }
            "hostname" => format!("{}\n", self.place.hostname),
            "env" | "printenv" => match arguments.first() {
                Some(name) => match self.variables.get(name.as_str()) {
                    Some(value) => format!("{value}\n"),
                    None => return Flow::Status(1),
                },
                None => self.variables.iter().map(|(key, value)| format!("{key}={value}\n")).collect(),
            },
            "id" if arguments.iter().any(|flag| flag == "-u") => format!("{}\n", self.place.uid),
            "cat" => {
                let mut text = String::new();
                for file in arguments {
                    match self.read(file) {
                        Some(Ok(content)) => text.push_str(&content),
                        Some(Err(())) => {
                            self.output
                                .errors
                                .push_str(&format!("cat: can't open '{file}': No such file or directory\n"));
                            self.output.code = Some(1);
                            return Flow::Status(1);
                        }
                        None => {}
                    }
                }
                text
            }
            _ => String::new(),
        };
        if !redirected && !text.is_empty() {
            self.output.writes.push((self.now, text));
        }
        Flow::Status(0)
    }

    /// A mounted file's text; none if nothing is mounted there.
    fn read(&self, path: &str) -> Option<Result<String, ()>> {
        use std::io::Read;
        let host = host_path(&self.place.container.mounts, path)?;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(host).and_then(|file| file.take(MOST_OF_A_FILE).read_to_end(&mut bytes));
        Some(read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).map_err(|_| ()))
    }
}

/// Where on the host a container's path lies, by the longest mount that it is in.
fn host_path(mounts: &[proto::Mount], path: &str) -> Option<PathBuf> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let inside = |mount: &&proto::Mount| {
        let rest = path.strip_prefix(mount.container_path.trim_end_matches('/'));
        !mount.host_path.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mount = mounts.iter().filter(inside).max_by_key(|mount| mount.container_path.len())?;
    let rest = path.strip_prefix(mount.container_path.trim_end_matches('/'))?.trim_start_matches('/');
    let host = PathBuf::from(&mount.host_path);
    Some(if rest.is_empty() { host } else { host.join(rest) })
}

/// `$NAME` and `${NAME}` of known variables.
fn expanded(text: &str, variables: &BTreeMap<&str, &str>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        whole.push_str(before);
        let after = from.get(1..).unwrap_or("");
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, tail) = braced.unwrap_or_else(|| after.split_at(end));
        match variables.get(name) {
            Some(value) => {
                whole.push_str(value);
                rest = tail;
            }
            None => {
                whole.push('$');
                rest = after;
            }
        }
    }
    whole.push_str(rest);
    whole
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

/// `10`, `0.5`, `2m`, `1h`, `1d`; none for `infinity`.
fn length(text: &str) -> Option<Duration> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    match unit {
        "d" => Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(86_400)?)),
        _ => Duration::parse_go(&format!("{number}{unit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `sh -c script` writes in the first three seconds, as `second:text`.
    fn check(script: &str, expected: &str) {
        let envs = vec![proto::KeyValue { key: "WHO".to_owned(), value: "world".to_owned() }];
        let container = proto::ContainerConfig { envs, ..Default::default() };
        let place = Place { container: &container, hostname: "web-0", uid: 7 };
        let command = ["sh", "-c", script].map(str::to_owned);
        let output = of_command(&command, &place);
        let writes = output.writes.iter().take_while(|(at, _)| at.as_secs() < 3);
        let text: String = writes.map(|(at, text)| format!("{}:{}", at.as_secs(), text.replace('\n', "|"))).collect();
        assert_eq!(text, expected, "{script}");
    }

    #[test]
    fn a_script_writes_what_its_commands_write_when_they_do() {
        check("echo hello", "0:hello|");
        check("echo a; sleep 1; echo -n b && echo c", "0:a|1:b1:c|");
        check("while true; do echo x; sleep 1; done", "0:x|1:x|2:x|");
        check("false && echo no || echo yes", "0:yes|");
        check("echo $WHO ${WHO}", "0:world world|");
        check("hostname; id -u; exit 3; echo never", "0:web-0|0:7|");
        check("echo hidden > /tmp/x", "");
        check("echo piped | cat", "0:piped|");
    }

    #[test]
    fn only_what_is_mounted_is_read_and_nothing_above_it() {
        let mount = |container_path: &str, host_path: &str| proto::Mount {
            container_path: container_path.to_owned(),
            host_path: host_path.to_owned(),
            ..Default::default()
        };
        let mounts = [mount("/data", "/host/a"), mount("/data/deep/", "/host/b")];
        let find = |path: &str| host_path(&mounts, path).map(|path| path.display().to_string());
        assert_eq!(find("/data/x").as_deref(), Some("/host/a/x"));
        assert_eq!(find("/data/deep/y").as_deref(), Some("/host/b/y"));
        assert_eq!(find("/data").as_deref(), Some("/host/a"));
        assert_eq!((find("/data/../etc/shadow"), find("/database"), find("/etc/x")), (None, None, None));
    }
}
