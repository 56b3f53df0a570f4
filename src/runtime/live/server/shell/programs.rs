//! The programs in a served container, in busybox's words: each does a small part of what the real one does.

use std::time::Duration as Length;

use super::super::files::{Entry, Trouble, normal};
use super::text::{formatted, unescaped};
use super::world::End;
use super::{Flow, Going, Shell, Unknown, base, breathe};

/// Programs that are there.
pub(super) const ALL: [&str; 67] = [
    ":", "[", "basename", "brctl", "break", "cat", "cd", "chmod", "chown", "continue", "cp", "cut", "date", "dd", "df",
    "dirname", "echo", "env", "exit", "export", "expr", "false", "find", "free", "grep", "head", "hostname", "id",
    "ip", "ipcs", "kill", "ln", "ls", "mkdir", "mount", "mv", "netstat", "nproc", "pgrep", "pidof", "ping", "printenv",
    "printf", "ps", "pwd", "read", "return", "rm", "rmdir", "seq", "set", "sleep", "sort", "stat", "stty", "sync",
    "tail", "tee", "test", "touch", "tr", "true", "umask", "uname", "unset", "wc", "whoami",
];

/// Programs that run until they are killed, and nothing more.
const ENDLESS: [&str; 4] = ["pause", "top", "yes", "watch"];
/// Shells, and what only the shell itself can do.
pub(super) const OF_THE_SHELL: [&str; 8] = ["ash", "bash", "dash", "exec", "sh", "trap", "wait", "eval"];

impl Shell {
    /// Whether a program of this name can be started.
    pub(super) fn is_there(&self, program: &str) -> bool {
        let name = base(program);
        let is_known = ALL.contains(&name) || ENDLESS.contains(&name) || OF_THE_SHELL.contains(&name);
        // By a path, it must lie there.
        let is_usual = |folder: &str| matches!(folder, "/bin" | "/sbin" | "/usr/bin" | "/usr/sbin" | "/usr/local/bin");
        let has_place = match program.rsplit_once('/') {
            Some((folder, _)) => is_usual(folder) || self.world.files().kind(&self.path(program)).is_some(),
            None => true,
        };
        is_known && has_place
    }

    /// Runs a program, or what the shell itself does.
    pub(super) fn program(&mut self, words: Vec<String>) -> Going<'_> {
        Box::pin(async move {
            let Some((program, arguments)) = words.split_first() else { return Flow::Status(0) };
            let name = base(program);
            if !self.is_there(program) && program != ":" {
                if self.manner.unknown == Unknown::RunsForever {
                    return std::future::pending().await;
                }
                let text = format!("{}: {program}: not found", self.own_name());
                self.complain(&text).await;
                return Flow::Status(127);
            }
            if self.world.files().is_masked(&format!("/bin/{name}")) {
                let text = format!("{}: {program}: Permission denied", self.own_name());
                self.complain(&text).await;
                return Flow::Status(126);
            }
            if ENDLESS.contains(&name) {
                return std::future::pending().await;
            }
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            match (name, words.as_slice()) {
                ("sh" | "bash" | "ash" | "dash", _) => self.shell(program.clone(), arguments.to_vec()).await,
                ("exec", []) => Flow::Status(0),
                ("exec", _) => match self.program(arguments.to_vec()).await {
                    Flow::Status(code) => Flow::Exit(code),
                    other => other,
                },
                ("eval", _) => Flow::Status(Box::pin(self.script(&arguments.join(" "))).await),
                ("exit" | "return", rest) => {
                    Flow::Exit(rest.first().map_or(Some(self.status), |code| code.parse().ok()).unwrap_or(2) & 255)
                }
                ("break", _) => Flow::Break,
                ("continue", _) => Flow::Continue,
                (name, words) => Flow::Status(self.code_of(name, words).await),
            }
        })
    }

    fn own_name(&self) -> String {
        self.name.clone()
    }

    async fn code_of(&mut self, name: &str, words: &[&str]) -> i32 {
        let operands: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-') || *word == "-").collect();
        let has = |flag: char| {
            words.iter().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(flag))
        };
        match (name, words) {
            (":" | "true" | "sync" | "umask" | "trap", _) => 0,
            ("false", _) => 1,
            ("wait", _) => {
                while self.jobs.join_next().await.is_some() {}
                0
            }
            ("sleep", words) => self.sleep(words).await,
            ("echo", words) => self.echo(words).await,
            ("printf", words) => self.printf(words).await,
            ("test", words) => self.test(words).await,
            ("[", words) => match words.split_last() {
                Some((&"]", words)) => self.test(words).await,
                _ => self.fails("sh: missing ]", 2).await,
            },
            ("cat", _) => self.cat(&operands).await,
            ("ls", _) => self.ls(&operands, has('a') || has('A'), has('l'), has('d')).await,
            ("cd", _) => self.cd(operands.first().copied()).await,
            ("pwd", _) => self.line(self.folder.clone()).await,
            ("env" | "printenv", _) => self.environment(name, words).await,
            ("export", _) => {
                for (name, value) in operands.iter().filter_map(|word| word.split_once('=')) {
                    self.values.insert(name.to_owned(), value.to_owned());
                }
                0
            }
            ("unset", _) => {
                for name in operands {
                    self.values.remove(name);
                }
                0
            }
            ("set", _) => {
                let all = words.iter().filter(|word| word.len() > 1);
                for word in all {
                    if let Some(on) = word.strip_prefix('-') {
                        self.stops_at_errors |= on.contains('e') && !on.starts_with('-');
                    } else if word.starts_with('+') && word.contains('e') {
                        self.stops_at_errors = false;
                    }
                }
                0
            }
            ("read", _) => match self.input.clone().line().await {
                Some(line) => {
                    let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                    self.values.insert(operands.first().unwrap_or(&"REPLY").to_string(), text);
                    0
                }
                None => 1,
            },
            ("hostname", _) => self.hostname_program(operands.first().copied()).await,
            ("id", _) => self.id(has('u'), has('g'), has('G'), has('n')).await,
            ("stty", words) => match (&self.input.terminal, words) {
                (None, _) => self.fails("stty: standard input: Not a tty", 1).await,
                (Some(size), ["size"]) => {
                    let (rows, columns) = size.get();
                    self.line(format!("{rows} {columns}")).await
                }
                (Some(_), _) => 0,
            },
            ("whoami", _) => self.line(self.world.user_name.clone()).await,
            ("date", _) => self.date(&operands, words).await,
            ("uname", _) => {
                let text = if has('a') {
                    format!("Linux {} 6.1.0 x86_64 GNU/Linux", self.world.hostname())
                } else {
                    "Linux".to_owned()
                };
                self.line(text).await
            }
            ("nproc", _) => self.line("1".to_owned()).await,
            ("basename", [path, ..]) => self.line(base(path.trim_end_matches('/')).to_owned()).await,
            ("dirname", [path, ..]) => {
                let parent = path.trim_end_matches('/').rsplit_once('/').map_or(".", |(parent, _)| parent);
                self.line(if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }).await
            }
            ("seq", words) => self.seq(words).await,
            ("expr", [left, operator, right]) => self.expr(left, operator, right).await,
            ("touch" | "mkdir" | "rmdir" | "rm" | "chmod" | "chown", _) => {
                self.change(name, &operands, has('p') || has('f'), has('r') || has('R')).await
            }
            ("cp" | "mv" | "ln", _) => self.copy(name, &operands).await,
            ("head" | "tail", words) => self.ends_of(name, words).await,
            ("wc" | "sort" | "cut" | "tr" | "tee" | "grep", words) => self.filter(name, words).await,
            ("find", _) => self.find(&operands, words).await,
            ("stat", paths) => {
                let missing = paths.iter().find(|path| {
                    !path.starts_with('-') && self.world.files().kind(&normal(&self.folder, path)).is_none()
                });
                match missing {
                    Some(path) => self.fails(&format!("stat: can't stat '{path}': {}", Trouble::NotFound), 1).await,
                    None => 0,
                }
            }
            ("dd", words) => self.dd(words).await,
            ("kill", words) => self.kill(words).await,
            ("pgrep" | "pidof" | "ps", _) => self.processes(name, &operands).await,
            ("mount", _) => self.privileged("SYS_ADMIN", "mount", "mount: permission denied (are you root?)").await,
            ("brctl" | "ip", _) => {
                let text = if name == "ip" {
                    "ip: RTNETLINK answers: Operation not permitted"
                } else {
                    "brctl: bridge: Operation not permitted"
                };
                self.privileged("NET_ADMIN", "socket", text).await
            }
            ("ping", _) => {
                let target = operands.first().copied().unwrap_or("localhost");
                self.say(format!("PING {target} ({target}): 56 data bytes\n")).await;
                if self.world.may("NET_RAW", "socket") {
                    self.fails("ping: sendto: Network is unreachable", 1).await
                } else {
                    self.fails("ping: permission denied (are you root?)", 1).await
                }
            }
            ("netstat", _) => self.netstat().await,
            ("ipcs", _) => self.ipcs().await,
            ("df" | "free", _) => self.line(format!("{name}: no numbers are simulated")).await,
            _ => self.fails(&format!("{name}: missing operand"), 1).await,
        }
    }

    pub(super) async fn line(&self, text: String) -> i32 {
        self.say(text + "\n").await;
        0
    }

    pub(super) async fn fails(&self, text: &str, code: i32) -> i32 {
        self.complain(text).await;
        code
    }

    async fn privileged(&self, capability: &str, call: &str, refusal: &str) -> i32 {
        if self.world.may(capability, call) { 0 } else { self.fails(refusal, 1).await }
    }

    async fn sleep(&self, words: &[&str]) -> i32 {
        let mut total = Length::ZERO;
        for word in words {
            if matches!(*word, "infinity" | "inf") {
                return std::future::pending().await;
            }
            match length(word) {
                Some(length) => total += length,
                None => return self.fails(&format!("sleep: invalid number '{word}'"), 1).await,
            }
        }
        if words.is_empty() {
            return self.fails("sleep: missing operand", 1).await;
        }
        tokio::time::sleep(total).await;
        0
    }

    async fn echo(&self, words: &[&str]) -> i32 {
        let flags = words.iter().take_while(|word| matches!(**word, "-n" | "-e" | "-ne" | "-en" | "-E")).count();
        let (flags, words) = words.split_at(flags);
        let mut text = words.join(" ");
        if flags.iter().any(|flag| flag.contains('e')) {
            text = unescaped(&text);
        }
        if !flags.iter().any(|flag| flag.contains('n')) {
            text.push('\n');
        }
        self.say(text).await;
        0
    }

    async fn printf(&self, words: &[&str]) -> i32 {
        match words.split_first() {
            Some((format, values)) => {
                self.say(formatted(format, values)).await;
                0
            }
            None => self.fails("printf: missing operand", 1).await,
        }
    }

    async fn test(&self, words: &[&str]) -> i32 {
        match self.holds(words) {
            Some(true) => 0,
            Some(false) => 1,
            None => self.fails("sh: test: unknown operand", 2).await,
        }
    }

    fn holds(&self, words: &[&str]) -> Option<bool> {
        let kind = |path: &str| self.world.files().kind(&self.path(path));
        let number = |text: &str| text.trim().parse::<i64>().ok();
        Some(match words {
            [] => false,
            ["!", rest @ ..] => !self.holds(rest)?,
            ["-n", text] => !text.is_empty(),
            ["-z", text] => text.is_empty(),
            ["-f" | "-r" | "-s", path] => match kind(path) {
                Some(Entry::File(_)) if words.first() == Some(&"-s") => {
                    self.world.files().read(&self.path(path)).is_ok_and(|content| !content.is_empty())
                }
                found => matches!(found, Some(Entry::File(_))),
            },
            ["-d", path] => kind(path) == Some(Entry::Folder),
            ["-e" | "-x" | "-w", path] => kind(path).is_some(),
            ["-L" | "-h" | "-S" | "-p" | "-b" | "-c" | "-t", _] => false,
            [text] => !text.is_empty(),
            [left, "=" | "==", right] => left == right,
            [left, "!=", right] => left != right,
            [left, operator, right] if operator.starts_with('-') && operator.len() == 3 => {
                let (left, right) = (number(left)?, number(right)?);
                match *operator {
                    "-eq" => left == right,
                    "-ne" => left != right,
                    "-lt" => left < right,
                    "-le" => left <= right,
                    "-gt" => left > right,
                    "-ge" => left >= right,
                    _ => return None,
                }
            }
            _ => {
                // `-a` and `-o` join, the former first.
                let at = words.iter().position(|word| *word == "-o").or(words.iter().position(|word| *word == "-a"))?;
                let (left, right) = (self.holds(words.get(..at)?)?, self.holds(words.get(at + 1..)?)?);
                if words.get(at) == Some(&"-o") { left || right } else { left && right }
            }
        })
    }

    async fn cat(&self, operands: &[&str]) -> i32 {
        if operands.is_empty() || operands == ["-"] {
            while let Some(line) = self.input.line().await {
                self.say(line).await;
            }
            return 0;
        }
        let mut code = 0;
        for file in operands {
            let read = self.world.files().read(&self.path(file));
            match read {
                Ok(content) => self.say(content).await,
                Err(Trouble::IsAFolder) => {
                    code = self.fails(&format!("cat: read error: {}", Trouble::IsAFolder), 1).await
                }
                Err(why) => code = self.fails(&format!("cat: can't open '{file}': {why}"), 1).await,
            }
        }
        code
    }

    async fn ls(&self, operands: &[&str], all: bool, long: bool, itself: bool) -> i32 {
        let here = [self.folder.as_str()];
        let operands = if operands.is_empty() { &here[..] } else { operands };
        let mut code = 0;
        for (number, operand) in operands.iter().enumerate() {
            let path = self.path(operand);
            let kind = self.world.files().kind(&path);
            let found = match kind {
                None => Err(Trouble::NotFound),
                Some(Entry::Folder) if !itself => self.world.files().list(&path),
                Some(_) => Ok(vec![(*operand).to_owned()]),
            };
            match found {
                Ok(names) => {
                    if operands.len() > 1 && names.as_slice() != [operand.to_string()] {
                        let gap = if number > 0 { "\n" } else { "" };
                        self.say(format!("{gap}{operand}:\n")).await;
                    }
                    let shown = names.iter().filter(|name| all || !name.starts_with('.'));
                    let row = |name: &String| {
                        if !long {
                            return format!("{name}\n");
                        }
                        let whole = normal(&path, name);
                        let is_folder = self.world.files().kind(&whole) == Some(Entry::Folder);
                        let size = self.world.files().read(&whole).map_or(0, |content| content.len());
                        let mode = if is_folder { "drwxr-xr-x" } else { "-rw-r--r--" };
                        format!("{mode}    1 root     root     {size:>9} Jan  1 00:00 {name}\n")
                    };
                    let text: String = shown.map(row).collect();
                    self.say(text).await;
                }
                Err(why) => code = self.fails(&format!("ls: {operand}: {why}"), 1).await,
            }
        }
        code
    }

    async fn cd(&mut self, folder: Option<&str>) -> i32 {
        let home = self.values.get("HOME").cloned().unwrap_or_else(|| "/".to_owned());
        let asked = folder.unwrap_or(&home);
        let path = self.path(asked);
        let kind = self.world.files().kind(&path);
        match kind {
            Some(Entry::Folder) => {
                self.folder = path;
                0
            }
            _ => self.fails(&format!("sh: cd: can't cd to {asked}: No such file or directory"), 1).await,
        }
    }

    async fn environment(&self, name: &str, words: &[&str]) -> i32 {
        match words.first() {
            Some(wanted) if name == "printenv" => match self.values.get(*wanted) {
                Some(value) => self.line(value.clone()).await,
                None => 1,
            },
            _ => {
                let all: String = self.values.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
                self.say(all).await;
                0
            }
        }
    }

    async fn hostname_program(&self, wanted: Option<&str>) -> i32 {
        match wanted {
            None => {
                let name = self.world.hostname().clone();
                self.line(name).await
            }
            Some(_) if !self.world.may("SYS_ADMIN", "sethostname") => {
                self.fails("hostname: sethostname: Operation not permitted", 1).await
            }
            Some(name) => {
                *self.world.hostname() = name.to_owned();
                0
            }
        }
    }

    async fn id(&self, user: bool, group: bool, groups: bool, names: bool) -> i32 {
        let world = &self.world;
        let numbers = |numbers: &[i64]| numbers.iter().map(i64::to_string).collect::<Vec<String>>().join(" ");
        let primary = world.groups.first().copied().unwrap_or(0);
        let text = if user {
            if names { world.user_name.clone() } else { world.uid.to_string() }
        } else if group {
            primary.to_string()
        } else if groups {
            numbers(&world.groups)
        } else {
            format!("uid={}({}) gid={primary} groups={}", world.uid, world.user_name, numbers(&world.groups))
        };
        self.line(text).await
    }

    async fn date(&self, operands: &[&str], words: &[&str]) -> i32 {
        let now = jiff::Timestamp::now();
        let format = operands.iter().chain(words).find_map(|word| word.strip_prefix('+'));
        let format = match format {
            Some("%s") => return self.line(now.as_second().to_string()).await,
            Some(format) => format,
            None => "%a %b %e %H:%M:%S UTC %Y",
        };
        let zoned = now.to_zoned(jiff::tz::TimeZone::UTC);
        match jiff::fmt::strtime::format(format, &zoned) {
            Ok(text) => self.line(text).await,
            Err(_) => self.fails(&format!("date: invalid format '{format}'"), 1).await,
        }
    }

    async fn seq(&self, words: &[&str]) -> i32 {
        let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
        let (from, step, to) = match numbers.as_deref() {
            Some([to]) => (1, 1, *to),
            Some([from, to]) => (*from, 1, *to),
            Some([from, step, to]) if *step != 0 => (*from, *step, *to),
            _ => return self.fails("seq: invalid number", 1).await,
        };
        let mut number = from;
        let mut text = String::new();
        while if step > 0 { number <= to } else { number >= to } {
            text.push_str(&format!("{number}\n"));
            if text.len() > 1 << 16 {
                self.say(std::mem::take(&mut text)).await;
                breathe().await;
            }
            number = number.saturating_add(step);
        }
        self.say(text).await;
        0
    }

    async fn expr(&self, left: &str, operator: &str, right: &str) -> i32 {
        let value = match (left.parse::<i64>().ok(), right.parse::<i64>().ok()) {
            (Some(left), Some(right)) => match operator {
                "+" => Some(left.wrapping_add(right)),
                "-" => Some(left.wrapping_sub(right)),
                "*" => Some(left.wrapping_mul(right)),
                "/" => left.checked_div(right),
                "%" => left.checked_rem(right),
                "=" => Some(i64::from(left == right)),
                "<" => Some(i64::from(left < right)),
                ">" => Some(i64::from(left > right)),
                _ => None,
            },
            _ => (operator == "=").then(|| i64::from(left == right)),
        };
        match value {
            Some(value) => {
                self.line(value.to_string()).await;
                i32::from(value == 0)
            }
            None => self.fails("expr: syntax error", 2).await,
        }
    }

    async fn change(&self, name: &str, operands: &[&str], lenient: bool, recursive: bool) -> i32 {
        // The first operand of these says how.
        let skipped = usize::from(matches!(name, "chmod" | "chown"));
        let mut code = 0;
        for operand in operands.iter().skip(skipped) {
            let path = self.path(operand);
            let done = {
                let mut files = self.world.files();
                match name {
                    "touch" if files.kind(&path) == Some(Entry::Folder) => Ok(()),
                    "touch" => files.write(&path, b"", true),
                    "mkdir" if lenient => {
                        let mut made = Ok(());
                        for (at, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
                            made = match files.make_folder(path.get(..at).unwrap_or(&path)) {
                                Err(Trouble::Exists) => Ok(()),
                                made => made,
                            };
                        }
                        made
                    }
                    "mkdir" => files.make_folder(&path),
                    "rm" | "rmdir" => match files.kind(&path) {
                        None if lenient => Ok(()),
                        Some(Entry::Folder) if name == "rm" && !recursive => Err(Trouble::IsAFolder),
                        _ => files.remove(&path, name == "rm" && recursive),
                    },
                    _ if files.kind(&path).is_none() => Err(Trouble::NotFound),
                    _ => Ok(()),
                }
            };
            if matches!(name, "chmod" | "chown") && self.world.refused.contains(name) {
                code = self.fails(&format!("{name}: {operand}: Operation not permitted"), 1).await;
                continue;
            }
            if let Err(why) = done {
                let text = match name {
                    "rm" => format!("rm: can't remove '{operand}': {why}"),
                    "mkdir" => format!("mkdir: can't create directory '{operand}': {why}"),
                    "rmdir" => format!("rmdir: '{operand}': {why}"),
                    _ => format!("{name}: {operand}: {why}"),
                };
                code = self.fails(&text, 1).await;
            }
        }
        if operands.is_empty() { self.fails(&format!("{name}: missing operand"), 1).await } else { code }
    }

    /// `cp`, `mv` and `ln` of files; a link is a copy.
    async fn copy(&self, name: &str, operands: &[&str]) -> i32 {
        let Some((target, sources)) = operands.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return self.fails(&format!("{name}: missing operand"), 1).await;
        };
        let mut code = 0;
        for source in sources {
            let from = self.path(source);
            let done = {
                let mut files = self.world.files();
                let mut to = self.path(target);
                if files.kind(&to) == Some(Entry::Folder) {
                    to = normal(&to, base(&from));
                }
                let copied = files.read(&from).and_then(|content| files.write(&to, &content, false));
                if name == "mv" { copied.and_then(|()| files.remove(&from, false)) } else { copied }
            };
            if let Err(why) = done {
                code = self.fails(&format!("{name}: can't stat '{source}': {why}"), 1).await;
            }
        }
        code
    }

    /// Its buffer is all that a simulated program keeps in memory.
    async fn dd(&self, words: &[&str]) -> i32 {
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let size = value("bs=").map_or(Some(512), bytes).unwrap_or(512);
        if self.world.memory_limit > 0 && size > self.world.memory_limit {
            self.world.ends(End::OutOfMemory);
            return std::future::pending().await;
        }
        let Some(count) = value("count=").and_then(|count| count.parse::<i64>().ok()) else {
            // An endless source has no end.
            if value("if=").is_some_and(|source| source.starts_with("/dev/")) {
                return std::future::pending().await;
            }
            return 0;
        };
        let total = size.saturating_mul(count);
        if let (Some(target), Ok(total)) = (value("of="), usize::try_from(total)) {
            let written = self.world.files().write(&self.path(target), &vec![0; total.min(1 << 20)], false);
            if let Err(why) = written {
                return self.fails(&format!("dd: can't open '{target}': {why}"), 1).await;
            }
        }
        self.complain(&format!("{count}+0 records in\n{count}+0 records out")).await;
        0
    }

    async fn kill(&self, words: &[&str]) -> i32 {
        let signal = words.first().filter(|word| word.starts_with('-')).copied().unwrap_or("-TERM");
        let number = match signal.trim_start_matches('-').trim_start_matches("SIG") {
            "0" => 0,
            "1" | "HUP" => 1,
            "2" | "INT" => 2,
            "3" | "QUIT" => 3,
            // The first process of a container is not killed from inside.
            "9" | "KILL" => 0,
            _ => 15,
        };
        match words.iter().find(|word| !word.starts_with('-')) {
            Some(&"1") => {
                // A shell as the first process ignores what it has no handler for.
                let is_shell = self.world.main.first().is_some_and(|program| base(program).ends_with("sh"));
                if number != 0 && !is_shell {
                    self.world.ends(End::Exit(128 + number));
                }
                0
            }
            Some(other) => self.fails(&format!("kill: can't kill pid {other}: No such process"), 1).await,
            None => self.fails("kill: you need to specify whom to kill", 1).await,
        }
    }

    async fn processes(&self, name: &str, operands: &[&str]) -> i32 {
        let processes = self.world.processes().clone();
        if name == "ps" {
            let rows: String =
                processes.iter().map(|(pid, command)| format!("{pid:>5} root      0:00 {command}\n")).collect();
            self.say(format!("PID   USER     TIME  COMMAND\n{rows}")).await;
            return 0;
        }
        let wanted = operands.first().copied().unwrap_or("");
        let found = processes.iter().filter(|(_, command)| {
            let program = base(command.split_whitespace().next().unwrap_or(""));
            if name == "pidof" { program.trim_end_matches(':') == wanted } else { program.contains(wanted) }
        });
        let pids: Vec<String> = found.map(|(pid, _)| pid.to_string()).collect();
        if pids.is_empty() {
            return 1;
        }
        self.line(pids.join(if name == "pidof" { " " } else { "\n" })).await
    }

    /// Ports that are listened on: the machine's for a container in its network.
    async fn netstat(&self) -> i32 {
        let mut text = "Active Internet connections (only servers)\n\
                        Proto Recv-Q Send-Q Local Address           Foreign Address         State\n"
            .to_owned();
        for (protocol, table) in [("tcp", "/proc/net/tcp"), ("tcp6", "/proc/net/tcp6")] {
            if !self.world.host_network {
                break;
            }
            let table = std::fs::read_to_string(table).unwrap_or_default();
            for row in table.lines().skip(1) {
                let fields: Vec<&str> = row.split_whitespace().collect();
                let port = fields.get(1).and_then(|local| local.rsplit_once(':'));
                let port = port.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
                // 0A: it listens.
                if let (Some(port), Some(&"0A")) = (port, fields.get(3)) {
                    let any = if protocol == "tcp" { "0.0.0.0" } else { "::" };
                    text.push_str(&format!(
                        "{protocol:<6}     0      0 {any}:{port:<16} {any}:*               LISTEN\n"
                    ));
                }
            }
        }
        self.say(text).await;
        0
    }

    async fn ipcs(&self) -> i32 {
        let mut text = "------ Shared Memory Segments --------\n\
                        key        shmid      owner      perms      bytes      nattch     status\n"
            .to_owned();
        if self.world.host_ipc {
            let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
            for row in table.lines().skip(1) {
                let fields: Vec<&str> = row.split_whitespace().collect();
                if let [key, id, mode, size, ..] = fields.as_slice() {
                    text.push_str(&format!("{key} {id} root {mode} {size} 0\n"));
                }
            }
        }
        self.say(text).await;
        0
    }
}

/// `5`, `0.5`, `1.5m`, `1h`, `1d`.
fn length(text: &str) -> Option<Length> {
    let (number, unit) = match text.chars().last()? {
        's' => (text.strip_suffix('s')?, 1.0),
        'm' => (text.strip_suffix('m')?, 60.0),
        'h' => (text.strip_suffix('h')?, 3600.0),
        'd' => (text.strip_suffix('d')?, 86400.0),
        _ => (text, 1.0),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    // Longer than anybody waits is as long as can be waited.
    Length::try_from_secs_f64((number.parse::<f64>().ok()? * unit).min(1e9)).ok()
}

/// `512`, `4k`, `20M`, `1G`.
fn bytes(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: i64 = match unit {
        "" | "c" => 1,
        "k" | "K" | "kB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}
