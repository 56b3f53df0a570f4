//! kubectl's own words: `scale deployment/web --replicas=3`, `drain n1 --ignore-daemonsets`, `delete pod -l app=web`.
//!
//! The verbs that change something are read, with the flags that matter here; flags that only change how kubectl waits or
//! prints are accepted. Everything else is an error with the nearest thing that is known, because a flag that is silently
//! passed over is a wrong simulation.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd.

use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::pod::{EnvValue, EnvVar, ImagePullPolicy};
use crate::model::taint::TaintEffect;
use crate::model::{Key, Kind, Name, Selector, Taint, Text};
use crate::protocol::api::Propagation;

use super::debug::{Debug, Profile};
use super::{Drain, Field, FieldRequirement, PatchKind, Target, Verb};

/// Why words are no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The byte of the text at which it went wrong.
    pub at: usize,
    /// What was found, what is expected; in lower case, without a full stop.
    pub message: String,
    /// The nearest thing that is known.
    pub nearest: Option<String>,
}

/// A flag of a verb.
struct Flag {
    long: &'static str,
    short: Option<char>,
    takes_value: bool,
}

const fn switch(long: &'static str) -> Flag {
    Flag { long, short: None, takes_value: false }
}

const fn value(long: &'static str) -> Flag {
    Flag { long, short: None, takes_value: true }
}

const NAMESPACE: Flag = Flag { long: "namespace", short: Some('n'), takes_value: true };
const SELECTOR: Flag = Flag { long: "selector", short: Some('l'), takes_value: true };
const ALL_NAMESPACES: Flag = Flag { long: "all-namespaces", short: Some('A'), takes_value: false };

const PULL_POLICIES: [(&str, ImagePullPolicy); 3] = [
    ("Always", ImagePullPolicy::Always),
    ("IfNotPresent", ImagePullPolicy::IfNotPresent),
    ("Never", ImagePullPolicy::Never),
];

/// The verbs with their flags; a verb of two words is written with a space.
const VERBS: &[(&str, &[Flag])] = &[
    ("annotate", &[NAMESPACE, SELECTOR, ALL_NAMESPACES, switch("all"), switch("overwrite")]),
    ("cordon", &[SELECTOR]),
    (
        "debug",
        &[
            NAMESPACE,
            value("image"),
            Flag { long: "container", short: Some('c'), takes_value: true },
            value("target"),
            value("image-pull-policy"),
            value("env"),
            value("profile"),
            switch("arguments-only"),
            Flag { long: "stdin", short: Some('i'), takes_value: false },
            Flag { long: "tty", short: Some('t'), takes_value: false },
            Flag { long: "quiet", short: Some('q'), takes_value: false },
            switch("attach"),
        ],
    ),
    (
        "delete",
        &[
            NAMESPACE,
            SELECTOR,
            ALL_NAMESPACES,
            switch("all"),
            value("grace-period"),
            switch("force"),
            switch("now"),
            // Without a value it is `background`.
            switch("cascade"),
            switch("wait"),
            value("field-selector"),
            switch("ignore-not-found"),
            value("timeout"),
        ],
    ),
    (
        "drain",
        &[
            SELECTOR,
            switch("ignore-daemonsets"),
            switch("delete-emptydir-data"),
            switch("force"),
            switch("disable-eviction"),
            value("grace-period"),
            value("timeout"),
            value("pod-selector"),
        ],
    ),
    // A plug-in: kubectl itself has no word for one eviction.
    ("evict-pod", &[NAMESPACE, SELECTOR, ALL_NAMESPACES, switch("all"), value("grace-period")]),
    ("label", &[NAMESPACE, SELECTOR, ALL_NAMESPACES, switch("all"), switch("overwrite")]),
    (
        "patch",
        &[NAMESPACE, value("subresource"), value("type"), Flag { long: "patch", short: Some('p'), takes_value: true }],
    ),
    ("rollout pause", &[NAMESPACE]),
    ("rollout restart", &[NAMESPACE]),
    ("rollout resume", &[NAMESPACE]),
    ("rollout undo", &[NAMESPACE, value("to-revision")]),
    ("scale", &[NAMESPACE, value("replicas"), value("current-replicas"), value("timeout")]),
    ("set image", &[NAMESPACE]),
    ("taint", &[SELECTOR, switch("all"), switch("overwrite")]),
    ("uncordon", &[SELECTOR]),
];

/// Reads one command, with or without `kubectl` before it. `namespace` is the one without `-n`.
///
/// # Errors
/// What is wrong, where, and the nearest thing that is known.
pub fn parse(words: &str, namespace: Name) -> Result<Verb, ParseError> {
    let mut tokens = split(words)?;
    if tokens.first().is_some_and(|token| token.text == "kubectl") {
        tokens.remove(0);
    }
    let (verb, flags, used) = verb_of(&tokens, words.len())?;
    let mut command = Command::read(verb, flags, tokens.get(used..).unwrap_or_default(), words.len(), namespace)?;
    let parsed = match verb {
        "scale" => command.scale()?,
        "delete" => command.delete()?,
        "cordon" => Verb::Cordon { nodes: command.nodes()? },
        "uncordon" => Verb::Uncordon { nodes: command.nodes()? },
        "drain" => command.drain()?,
        "evict-pod" => command.evict_pod()?,
        "taint" => command.taint()?,
        "label" => {
            let (target, labels) = command.pairs()?;
            Verb::Label { target, labels }
        }
        "annotate" => {
            let (target, annotations) = command.pairs()?;
            Verb::Annotate { target, annotations }
        }
        "patch" => command.patch()?,
        "debug" => command.debug()?,
        "set image" => command.set_image()?,
        "rollout restart" => Verb::RolloutRestart { target: command.one_object()? },
        "rollout undo" => {
            let to_revision = command.number("to-revision")?;
            Verb::RolloutUndo { target: command.one_object()?, to_revision }
        }
        "rollout pause" => Verb::RolloutPause { target: command.one_object()?, paused: true },
        _ => Verb::RolloutPause { target: command.one_object()?, paused: false },
    };
    Ok(parsed)
}

/// A label or annotation to set or (None) to take away.
type Pair = (Name, Option<Name>);

/// A word, without its quotes, and where it begins.
#[derive(Clone, Debug)]
struct Token {
    at: usize,
    text: String,
}

/// Splits as a shell does: at spaces, with both kinds of quotes and the backslash.
fn split(words: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut open: Option<Token> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut chars = words.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some((mark, _)) if c == mark => quote = None,
            Some(('"', _)) | None if c == '\\' => {
                let token = open.get_or_insert_with(|| Token { at, text: String::new() });
                token.text.extend(chars.next().map(|(_, escaped)| escaped));
            }
            None if c.is_whitespace() => tokens.extend(open.take()),
            None if c == '"' || c == '\'' => {
                quote = Some((c, at));
                open.get_or_insert_with(|| Token { at, text: String::new() });
            }
            _ => open.get_or_insert_with(|| Token { at, text: String::new() }).text.push(c),
        }
    }
    if let Some((_, at)) = quote {
        return Err(ParseError { at, message: "the quote is not closed".to_owned(), nearest: None });
    }
    tokens.extend(open);
    Ok(tokens)
}

/// The verb, its flags, and how many words it has.
fn verb_of(tokens: &[Token], end: usize) -> Result<(&'static str, &'static [Flag], usize), ParseError> {
    let Some(first) = tokens.first() else {
        let message = "a kubectl command is expected, such as `scale deployment/web --replicas=3`".to_owned();
        return Err(ParseError { at: end, message, nearest: None });
    };
    if first.text == "apply" || first.text == "create" {
        let message = format!("`{}` is not read here; write `apply: FILE`", first.text);
        return Err(ParseError { at: first.at, message, nearest: Some("apply: FILE".to_owned()) });
    }
    let two = tokens.get(1).map(|second| format!("{} {}", first.text, second.text));
    for (verb, flags) in VERBS {
        if *verb == first.text {
            return Ok((verb, flags, 1));
        }
        if two.as_deref() == Some(verb) {
            return Ok((verb, flags, 2));
        }
    }
    let has_more = VERBS.iter().any(|(verb, _)| verb.split_once(' ').is_some_and(|(start, _)| start == first.text));
    if has_more {
        let second = tokens.get(1);
        let known = VERBS.iter().filter_map(|(verb, _)| verb.split_once(' '));
        let words: Vec<&str> = known.filter(|(start, _)| *start == first.text).map(|(_, word)| word).collect();
        let found = second.map_or("nothing", |second| second.text.as_str());
        let message = format!("`{found}` after `{}`, where one of {} is expected", first.text, words.join(", "));
        let nearest = second.and_then(|second| nearest(&second.text, words.iter().copied()));
        return Err(ParseError { at: second.map_or(end, |second| second.at), message, nearest });
    }
    let nearest = nearest(&first.text, VERBS.iter().map(|(verb, _)| *verb));
    Err(ParseError { at: first.at, message: format!("unknown kubectl command `{}`", first.text), nearest })
}

/// The words after the verb, sorted into flags and the rest.
struct Command {
    verb: &'static str,
    namespace: Name,
    all_namespaces: bool,
    set: Vec<(&'static str, Token)>,
    words: Vec<Token>,
    /// How many of the words stand before `--`, if it is there.
    before_dashes: Option<usize>,
    end: usize,
}

impl Command {
    fn read(
        verb: &'static str,
        flags: &'static [Flag],
        tokens: &[Token],
        end: usize,
        namespace: Name,
    ) -> Result<Command, ParseError> {
        let mut command = Command {
            verb,
            namespace,
            all_namespaces: false,
            set: Vec::new(),
            words: Vec::new(),
            before_dashes: None,
            end,
        };
        let mut rest = tokens.iter();
        let mut only_words = false;
        while let Some(token) = rest.next() {
            if only_words || !token.text.starts_with('-') || token.text == "-" {
                command.words.push(token.clone());
                continue;
            }
            if token.text == "--" {
                only_words = true;
                command.before_dashes = Some(command.words.len());
                continue;
            }
            if let Some(switches) = short_switches(flags, &token.text) {
                let set = switches.into_iter().map(|long| (long, Token { at: token.at, text: "true".to_owned() }));
                command.set.extend(set);
                continue;
            }
            let (flag, given) = find_flag(verb, flags, token)?;
            let given = match given {
                Some(text) => text,
                None if flag.takes_value => match rest.next() {
                    Some(next) => next.text.clone(),
                    None => return Err(command.error(token.at, format!("`{}` needs a value", token.text))),
                },
                None => "true".to_owned(),
            };
            command.set.push((flag.long, Token { at: token.at, text: given }));
        }
        if let Some(namespace) = command.flag("namespace") {
            command.namespace = Name::from(&namespace.text);
        }
        command.all_namespaces = command.switch("all-namespaces")?;
        Ok(command)
    }

    fn error(&self, at: usize, message: String) -> ParseError {
        ParseError { at, message, nearest: None }
    }

    /// A flag's value; of several the last counts.
    fn flag(&self, name: &str) -> Option<&Token> {
        self.set.iter().rev().find(|(flag, _)| *flag == name).map(|(_, token)| token)
    }

    fn switch(&self, name: &str) -> Result<bool, ParseError> {
        match self.flag(name).map(|token| (token.text.as_str(), token.at)) {
            None | Some(("false", _)) => Ok(false),
            Some(("true", _)) => Ok(true),
            Some((other, at)) => Err(self.error(at, format!("`{other}` where true or false is expected"))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<i64>, ParseError> {
        let Some(token) = self.flag(name) else { return Ok(None) };
        let number = token.text.parse();
        number.map(Some).map_err(|_| self.error(token.at, format!("`{}` is not a whole number", token.text)))
    }

    fn small_number(&self, name: &str) -> Result<Option<i32>, ParseError> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        let at = self.flag(name).map_or(0, |token| token.at);
        match i32::try_from(number) {
            Ok(number) if number >= 0 => Ok(Some(number)),
            _ => Err(self.error(at, format!("`--{name}` must be 0 or more"))),
        }
    }

    /// `--grace-period`: -1 is the object's own.
    fn grace(&self) -> Result<Option<Duration>, ParseError> {
        let Some(seconds) = self.number("grace-period")? else { return Ok(None) };
        Ok(u64::try_from(seconds).ok().map(Duration::from_secs))
    }

    fn selector(&self, flag: &str) -> Result<Option<Selector>, ParseError> {
        let Some(token) = self.flag(flag) else { return Ok(None) };
        let selector = Selector::parse(&token.text);
        selector.map(Some).map_err(|error| self.error(token.at, format!("`{}`: {error}", token.text)))
    }

    /// `--field-selector status.phase=Running,spec.nodeName!=n1`.
    fn field_selector(&self) -> Result<Vec<FieldRequirement>, ParseError> {
        let Some(token) = self.flag("field-selector") else { return Ok(Vec::new()) };
        let requirement = |text: &str| {
            let (field, value) = text.split_once('=').ok_or_else(|| {
                self.error(token.at, format!("`{text}` where a requirement such as status.phase=Running is expected"))
            })?;
            let value = value.strip_prefix('=').unwrap_or(value);
            let (name, is) = field.strip_suffix('!').map_or((field, true), |name| (name, false));
            match Field::ALL.iter().find(|(known, _)| *known == name) {
                Some(&(_, field)) => Ok(FieldRequirement { field, is, value: Name::new(value) }),
                None => {
                    let nearest = nearest(name, Field::ALL.iter().map(|(known, _)| *known));
                    let message = format!("objects can't be selected by the field `{name}`");
                    Err(ParseError { at: token.at, message, nearest })
                }
            }
        };
        token.text.split(',').map(requirement).collect()
    }

    fn kind(&self, at: usize, word: &str) -> Result<Kind, ParseError> {
        Kind::parse(word).ok_or_else(|| {
            let names = Kind::ALL.iter().flat_map(|kind| [kind.plural(), kind.short_name()]);
            let nearest = nearest(word, names.filter(|name| !name.is_empty()));
            ParseError { at, message: format!("unknown resource type `{word}`"), nearest }
        })
    }

    fn key(&self, kind: Kind, name: &str) -> Key {
        let namespace = if kind.is_namespaced() { self.namespace } else { Name::default() };
        Key::new(kind, namespace, name)
    }

    /// The objects that the words name: `pod/a pod/b`, `pod a b`, `pod -l app=web`, `pods --all`.
    fn target(&self, words: &[Token]) -> Result<Target, ParseError> {
        let Some(first) = words.first() else {
            return Err(self.error(self.end, format!("`{}` of what? such as `{} pod/web-0`", self.verb, self.verb)));
        };
        if first.text.contains('/') {
            let keys = words.iter().map(|word| match word.text.split_once('/') {
                Some((kind, name)) if !name.is_empty() => Ok(self.key(self.kind(word.at, kind)?, name)),
                _ => Err(self.error(word.at, format!("`{}` where TYPE/NAME is expected", word.text))),
            });
            return Ok(Target::Names(keys.collect::<Result<_, _>>()?));
        }
        let kind = self.kind(first.at, &first.text)?;
        let names = words.get(1..).unwrap_or_default();
        self.of_kind(kind, names, first.at)
    }

    fn of_kind(&self, kind: Kind, names: &[Token], at: usize) -> Result<Target, ParseError> {
        let namespace = match self.all_namespaces {
            _ if !kind.is_namespaced() => Name::default(),
            true => Name::default(),
            false => self.namespace,
        };
        let all = self.switch("all")?;
        match (self.selector("selector")?, names) {
            (Some(selector), []) => Ok(Target::Matching { kind, namespace, selector }),
            (Some(_), [name, ..]) => {
                Err(self.error(name.at, "a name and a selector cannot be given together".to_owned()))
            }
            (None, []) if all => Ok(Target::All { kind, namespace }),
            (None, []) => {
                Err(self.error(at, format!("which {}? a name, `-l SELECTOR` or `--all` is expected", kind.plural())))
            }
            (None, [name, ..]) if all => {
                Err(self.error(name.at, "a name cannot be given together with `--all`".to_owned()))
            }
            (None, names) => Ok(Target::Names(names.iter().map(|name| self.key(kind, &name.text)).collect())),
        }
    }

    /// Nodes by name, with or without `node/`.
    fn nodes(&self) -> Result<Target, ParseError> {
        self.named(Kind::Node)
    }

    /// Objects of one kind by name, with or without the kind.
    fn named(&self, wanted: Kind) -> Result<Target, ParseError> {
        let names: Vec<Token> = self
            .words
            .iter()
            .map(|word| {
                let name = word.text.split_once('/').filter(|(kind, _)| Kind::parse(kind) == Some(wanted));
                Token { at: word.at, text: name.map_or(word.text.clone(), |(_, name)| name.to_owned()) }
            })
            .collect();
        self.of_kind(wanted, &names, self.end)
    }

    /// `evict-pod web-0 --grace-period 5`.
    fn evict_pod(&mut self) -> Result<Verb, ParseError> {
        Ok(Verb::Evict { pods: self.named(Kind::Pod)?, grace: self.grace()? })
    }

    fn one_of(&self, words: &[Token]) -> Result<Key, ParseError> {
        match self.target(words)? {
            Target::Names(keys) => match keys.as_slice() {
                [key] => Ok(*key),
                _ => {
                    let at = words.last().map_or(self.end, |word| word.at);
                    Err(self.error(at, format!("`{}` takes one object here", self.verb)))
                }
            },
            _ => Err(self.error(self.end, format!("`{}` takes one object here", self.verb))),
        }
    }

    fn one_object(&self) -> Result<Key, ParseError> {
        self.one_of(&self.words)
    }

    fn scale(&mut self) -> Result<Verb, ParseError> {
        let Some(replicas) = self.small_number("replicas")? else {
            return Err(self.error(self.end, "`--replicas=N` is expected".to_owned()));
        };
        let current = self.number("current-replicas")?.and_then(|number| i32::try_from(number).ok());
        // kubectl's default, -1, is no condition.
        let current = current.filter(|current| *current >= 0);
        Ok(Verb::Scale { target: self.one_object()?, replicas, current })
    }

    /// `patch pod web --subresource resize -p {"spec": {"containers": [{"name": "app", "resources": {…}}]}}`.
    fn resize(&mut self) -> Result<Verb, ParseError> {
        let Some((text, at)) = self.flag("patch").map(|token| (token.text.clone(), token.at)) else {
            return Err(self.error(self.end, "`-p PATCH` is expected".to_owned()));
        };
        let changes = super::resize::read(&text).map_err(|message| self.error(at, message))?;
        Ok(Verb::Resize { target: self.one_object()?, changes: changes.into() })
    }

    /// `patch deploy web -p '{"spec": {"paused": true}}'`, with `--type strategic`, `merge` or `json`.
    fn patch(&mut self) -> Result<Verb, ParseError> {
        let subresource = self.flag("subresource").map(|token| token.text.as_str());
        if subresource == Some("resize") {
            return self.resize();
        }
        let ephemeral_containers = subresource == Some("ephemeralcontainers");
        if let Some(token) = self.flag("subresource").filter(|_| !ephemeral_containers) {
            return Err(self.error(token.at, format!("the subresource `{}` can't be patched here", token.text)));
        }
        let kind = match self.flag("type").map(|token| (token.text.as_str(), token.at)) {
            None | Some(("strategic", _)) => PatchKind::Strategic,
            Some(("merge", _)) => PatchKind::Merge,
            Some(("json", _)) => PatchKind::Json,
            Some((other, at)) => {
                let nearest = nearest(other, ["strategic", "merge", "json"]);
                let message = format!("`{other}` where strategic, merge or json is expected");
                return Err(ParseError { at, message, nearest });
            }
        };
        let Some(token) = self.flag("patch") else {
            return Err(self.error(self.end, "`-p PATCH` is expected".to_owned()));
        };
        let patch: serde_json::Value = serde_json::from_str(&token.text)
            .map_err(|error| self.error(token.at, format!("the patch is not JSON: {error}")))?;
        if patch.is_array() != (kind == PatchKind::Json) {
            let message = match kind {
                PatchKind::Json => "a JSON patch is a list of operations",
                _ => "the patch is no object; is it one of `--type json`?",
            };
            return Err(self.error(token.at, message.to_owned()));
        }
        let target = self.one_object()?;
        if ephemeral_containers && target.kind != Kind::Pod {
            return Err(self.error(self.end, "only pods have ephemeral containers".to_owned()));
        }
        Ok(Verb::Patch { target, ephemeral_containers, kind, patch: Arc::new(patch) })
    }

    /// `debug -it pod/web --image=busybox:1.36 --target=app -- sh`.
    fn debug(&mut self) -> Result<Verb, ParseError> {
        let Some(image) = self.flag("image").filter(|token| !token.text.is_empty()) else {
            return Err(self.error(self.end, "`--image=IMAGE` is expected".to_owned()));
        };
        let image = Name::from(&image.text);
        let name = |flag: &str| self.flag(flag).map(|token| Name::from(&token.text)).unwrap_or_default();
        let profile = self.word("profile", &Profile::ALL)?.unwrap_or_default();
        let pull_policy = self.word("image-pull-policy", &PULL_POLICIES)?;
        let of_flag = self.set.iter().filter(|(flag, _)| *flag == "env");
        let variable = |token: &Token| match token.text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(EnvVar { name: Name::new(name), value: EnvValue::Literal(value.into()) })
            }
            _ => Err(self.error(token.at, format!("`{}` where `NAME=value` is expected", token.text))),
        };
        let env = of_flag.map(|(_, token)| variable(token)).collect::<Result<_, _>>()?;
        let (objects, words) = self.words.split_at(self.before_dashes.unwrap_or(self.words.len()));
        // Without a kind, it is a pod.
        let target = match objects {
            [one] if !one.text.contains('/') => self.key(Kind::Pod, &one.text),
            objects => self.one_of(objects)?,
        };
        if target.kind != Kind::Pod {
            let at = objects.first().map_or(self.end, |word| word.at);
            return Err(self.error(at, "only pods can be debugged here".to_owned()));
        }
        let debug = Debug {
            name: name("container"),
            image,
            target: name("target"),
            pull_policy,
            env,
            stdin: self.switch("stdin")?,
            tty: self.switch("tty")?,
            words: words.iter().map(|word| Text::from(word.text.as_str())).collect(),
            arguments_only: self.switch("arguments-only")?,
            profile,
        };
        Ok(Verb::Debug { target, debug: Box::new(debug) })
    }

    /// A flag whose value is one of some words.
    fn word<T: Copy>(&self, flag: &str, known: &[(&str, T)]) -> Result<Option<T>, ParseError> {
        let Some(token) = self.flag(flag) else { return Ok(None) };
        match known.iter().find(|(word, _)| *word == token.text) {
            Some(&(_, value)) => Ok(Some(value)),
            None => {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                let nearest = nearest(&token.text, words.iter().copied());
                let message = format!("`{}` where one of {} is expected", token.text, words.join(", "));
                Err(ParseError { at: token.at, message, nearest })
            }
        }
    }

    fn delete(&mut self) -> Result<Verb, ParseError> {
        let propagation = match self.flag("cascade").map(|token| (token.text.as_str(), token.at)) {
            None | Some(("true" | "background", _)) => Propagation::Background,
            Some(("foreground", _)) => Propagation::Foreground,
            Some(("orphan" | "false", _)) => Propagation::Orphan,
            Some((other, at)) => {
                let nearest = nearest(other, ["background", "foreground", "orphan"]);
                let message = format!("`{other}` where background, foreground or orphan is expected");
                return Err(ParseError { at, message, nearest });
            }
        };
        let grace = if self.switch("now")? { Some(Duration::from_secs(1)) } else { self.grace()? };
        let (force, fields) = (self.switch("force")?, self.field_selector()?);
        Ok(Verb::Delete { target: self.target(&self.words)?, grace, force, propagation, fields })
    }

    fn drain(&mut self) -> Result<Verb, ParseError> {
        let timeout = match self.flag("timeout") {
            None => Duration::ZERO,
            Some(token) => Duration::parse_go(&token.text)
                .ok_or_else(|| self.error(token.at, format!("`{}` is not a duration such as 90s", token.text)))?,
        };
        Ok(Verb::Drain(Drain {
            nodes: self.nodes()?,
            ignore_daemonsets: self.switch("ignore-daemonsets")?,
            delete_emptydir_data: self.switch("delete-emptydir-data")?,
            force: self.switch("force")?,
            disable_eviction: self.switch("disable-eviction")?,
            grace: self.grace()?,
            timeout,
            pod_selector: self.selector("pod-selector")?,
        }))
    }

    fn taint(&mut self) -> Result<Verb, ParseError> {
        let is_taint = |word: &Token| word.text.contains([':', '=']) || word.text.ends_with('-');
        let first = self.words.iter().position(is_taint).unwrap_or(self.words.len());
        let (objects, taints) = self.words.split_at(first);
        let nodes = self.target(objects)?;
        let kind = match &nodes {
            Target::Names(keys) => keys.first().map_or(Kind::Node, |key| key.kind),
            Target::Matching { kind, .. } | Target::All { kind, .. } => *kind,
        };
        if kind != Kind::Node {
            let at = objects.first().map_or(self.end, |word| word.at);
            return Err(self.error(at, "only nodes have taints".to_owned()));
        }
        if taints.is_empty() {
            return Err(self.error(self.end, "a taint is expected, such as `key=value:NoSchedule`".to_owned()));
        }
        let mut all = Vec::new();
        for word in taints {
            self.one_taint(word, &mut all)?;
        }
        Ok(Verb::Taint { nodes, taints: all })
    }

    fn one_taint(&self, word: &Token, all: &mut Vec<(Taint, bool)>) -> Result<(), ParseError> {
        const EFFECTS: [TaintEffect; 3] =
            [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
        let (text, add) = match word.text.strip_suffix('-') {
            Some(text) => (text, false),
            None => (word.text.as_str(), true),
        };
        let (pair, effect) = text.split_once(':').map_or((text, None), |(pair, effect)| (pair, Some(effect)));
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() {
            return Err(self.error(word.at, format!("`{}` has no key", word.text)));
        }
        let mut push = |effect| {
            let taint = Taint { key: Name::new(key), value: Name::new(value), effect, added: None };
            all.push((taint, add));
        };
        match effect {
            Some(effect) => match EFFECTS.into_iter().find(|known| known.as_str() == effect) {
                Some(effect) => push(effect),
                None => {
                    let nearest = nearest(effect, EFFECTS.iter().map(|known| known.as_str()));
                    return Err(ParseError {
                        at: word.at,
                        message: format!("unknown taint effect `{effect}`"),
                        nearest,
                    });
                }
            },
            None if add => {
                let message = format!("`{}` has no effect; such as `{}:NoSchedule`", word.text, word.text);
                return Err(self.error(word.at, message));
            }
            None => EFFECTS.into_iter().for_each(push),
        }
        Ok(())
    }

    /// The objects, and the pairs to set (`key=value`) or take away (`key-`).
    fn pairs(&mut self) -> Result<(Target, Vec<Pair>), ParseError> {
        let is_pair = |word: &Token| word.text.contains('=') || word.text.ends_with('-');
        let first = self.words.iter().position(is_pair).unwrap_or(self.words.len());
        let (objects, pairs) = self.words.split_at(first);
        let target = self.target(objects)?;
        if pairs.is_empty() {
            return Err(self.error(self.end, "`key=value` or `key-` is expected".to_owned()));
        }
        let pairs = pairs.iter().map(|word| match (word.text.split_once('='), word.text.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => Ok((Name::new(key), Some(Name::new(value)))),
            (None, Some(key)) if !key.is_empty() => Ok((Name::new(key), None)),
            _ => Err(self.error(word.at, format!("`{}` where `key=value` or `key-` is expected", word.text))),
        });
        Ok((target, pairs.collect::<Result<_, _>>()?))
    }

    fn set_image(&mut self) -> Result<Verb, ParseError> {
        let first = self.words.iter().position(|word| word.text.contains('=')).unwrap_or(self.words.len());
        let (objects, images) = self.words.split_at(first);
        let target = self.one_of(objects)?;
        if images.is_empty() {
            return Err(self.error(self.end, "`container=image` is expected".to_owned()));
        }
        let images = images.iter().map(|word| match word.text.split_once('=') {
            Some((container, image)) if !container.is_empty() && !image.is_empty() => {
                Ok((Name::new(container), Name::new(image)))
            }
            _ => Err(self.error(word.at, format!("`{}` where `container=image` is expected", word.text))),
        });
        Ok(Verb::SetImage { target, images: images.collect::<Result<_, _>>()? })
    }
}

/// Several switches in one word, such as `-it`.
fn short_switches(flags: &'static [Flag], word: &str) -> Option<Vec<&'static str>> {
    let letters = word.strip_prefix('-').filter(|letters| letters.len() > 1 && !letters.starts_with('-'))?;
    let switch = |letter| flags.iter().find(|flag| flag.short == Some(letter) && !flag.takes_value);
    letters.chars().map(|letter| switch(letter).map(|flag| flag.long)).collect()
}

/// The flag that a word means, and the value that is in the same word.
fn find_flag(verb: &str, flags: &'static [Flag], token: &Token) -> Result<(&'static Flag, Option<String>), ParseError> {
    if let Some(long) = token.text.strip_prefix("--") {
        let (name, given) = long.split_once('=').map_or((long, None), |(name, given)| (name, Some(given.to_owned())));
        if let Some(flag) = flags.iter().find(|flag| flag.long == name) {
            return Ok((flag, given));
        }
        let nearest = nearest(name, flags.iter().map(|flag| flag.long)).map(|name| format!("--{name}"));
        return Err(ParseError { at: token.at, message: format!("`{verb}` has no flag `--{name}`"), nearest });
    }
    let short = token.text.chars().nth(1);
    match flags.iter().find(|flag| flag.short.is_some() && flag.short == short) {
        Some(flag) => {
            let rest: String = token.text.chars().skip(2).collect();
            let rest = rest.strip_prefix('=').unwrap_or(&rest);
            Ok((flag, (!rest.is_empty()).then(|| rest.to_owned())))
        }
        None => {
            let known: Vec<String> = flags.iter().filter_map(|flag| flag.short).map(|c| format!("-{c}")).collect();
            let nearest = (!known.is_empty()).then(|| known.join(" or "));
            Err(ParseError { at: token.at, message: format!("`{verb}` has no flag `{}`", token.text), nearest })
        }
    }
}

/// The most similar of `known`, if one is similar enough to be meant.
fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let allowed = (word.chars().count() / 3).max(1);
    let near = known.into_iter().map(|known| (distance(word, known), known));
    let best = near.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= allowed).then(|| best.1.to_owned())
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str) -> Verb {
        parse(words, Name::new("shop")).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    fn key(kind: Kind, name: &str) -> Key {
        Key::new(kind, if kind.is_namespaced() { "shop" } else { "" }, name)
    }

    #[test]
    fn scale_takes_an_object_in_both_forms() {
        let target = key(Kind::Deployment, "checkout");
        let want = Verb::Scale { target, replicas: 20, current: None };
        for words in [
            "scale deployment/checkout --replicas=20",
            "kubectl scale deploy checkout --replicas 20",
            "scale --replicas=20 deployments.apps/checkout",
            "scale 'deployment/checkout' --replicas=\"20\"",
        ] {
            assert_eq!(check(words), want, "{words}");
        }
        let elsewhere = check("scale -n web deployment/checkout --replicas=20 --current-replicas=3");
        let target = Key::new(Kind::Deployment, "web", "checkout");
        assert_eq!(elsewhere, Verb::Scale { target, replicas: 20, current: Some(3) });
    }

    #[test]
    fn delete_takes_names_selectors_and_all() {
        let delete =
            |target, grace, force, propagation| Verb::Delete { target, grace, force, propagation, fields: Vec::new() };
        let background = Propagation::Background;
        assert_eq!(
            check("delete pod web-0 web-1 --grace-period=0 --force"),
            delete(
                Target::Names(vec![key(Kind::Pod, "web-0"), key(Kind::Pod, "web-1")]),
                Some(Duration::ZERO),
                true,
                background
            )
        );
        let selector = Selector::parse("app=web,tier in (a,b)").unwrap();
        let matching = Target::Matching { kind: Kind::Pod, namespace: Name::new("shop"), selector };
        assert_eq!(check("delete pod -l 'app=web,tier in (a,b)'"), delete(matching, None, false, background));
        let all = Target::All { kind: Kind::Job, namespace: Name::default() };
        assert_eq!(check("delete jobs --all -A --cascade=orphan"), delete(all, None, false, Propagation::Orphan));
        let node = Target::Names(vec![key(Kind::Node, "n1")]);
        assert_eq!(check("delete node/n1 --now"), delete(node, Some(Duration::from_secs(1)), false, background));
    }

    #[test]
    fn one_pod_is_evicted_by_the_words_of_a_plug_in() {
        let evict = |pods, grace| Verb::Evict { pods, grace };
        let names = |names: &[&str]| Target::Names(names.iter().map(|name| key(Kind::Pod, name)).collect());
        assert_eq!(check("evict-pod web-0"), evict(names(&["web-0"]), None));
        let grace = Some(Duration::from_secs(5));
        assert_eq!(check("evict-pod pod/web-0 web-1 --grace-period=5"), evict(names(&["web-0", "web-1"]), grace));
    }

    #[test]
    fn delete_takes_a_field_selector() {
        let Verb::Delete { fields, .. } =
            check("delete pod --all --field-selector=status.phase=Running,spec.nodeName!=n1")
        else {
            panic!("no delete")
        };
        let of = |field, is, value: &str| FieldRequirement { field, is, value: Name::new(value) };
        assert_eq!(fields, [of(Field::Phase, true, "Running"), of(Field::NodeName, false, "n1")]);
        let error = parse("delete pod --all --field-selector status.phse=x", Name::new("shop")).expect_err("no field");
        assert_eq!(error.nearest.as_deref(), Some("status.phase"));
    }

    #[test]
    fn debug_takes_a_pod_an_image_and_what_to_run() {
        let of = |words: &str| match check(words) {
            Verb::Debug { target, debug } => {
                let words: Vec<&str> = debug.words.iter().map(|word| word.as_str()).collect();
                let (stdin, tty) = (debug.stdin, debug.tty);
                format!("{} {} {} {} {stdin} {tty} {words:?}", target.name, debug.name, debug.image, debug.target)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            of("debug -it pod/web-0 --image=busybox:1.36 --target=app -c d -- sh -c 'sleep 3'"),
            "web-0 d busybox:1.36 app true true [\"sh\", \"-c\", \"sleep 3\"]"
        );
        assert_eq!(of("debug web-0 --image busybox --quiet"), "web-0  busybox  false false []");
        for (words, message) in [
            ("debug pod/web-0", "`--image=IMAGE` is expected"),
            ("debug node/n1 --image=busybox", "only pods can be debugged here"),
            ("debug pod/web-0 --image=x --profile=root", "`root` where one of legacy, general, "),
            ("debug pod/web-0 --image=x --env=A", "`A` where `NAME=value` is expected"),
            ("patch deploy web --subresource ephemeralcontainers -p '{}'", "only pods have ephemeral containers"),
            ("patch pod web --subresource status -p '{}'", "the subresource `status` can't be patched here"),
        ] {
            let error = parse(words, Name::new("shop")).expect_err(words);
            assert!(error.message.starts_with(message), "{words}: {error}");
        }
    }

    #[test]
    fn a_patch_is_json_of_one_of_three_types() {
        let target = key(Kind::Deployment, "web");
        let patched = |kind, patch| Verb::Patch { target, ephemeral_containers: false, kind, patch: Arc::new(patch) };
        let pause = serde_json::json!({"spec": {"paused": true}});
        assert_eq!(
            check("patch deployment/web -p '{\"spec\": {\"paused\": true}}'"),
            patched(PatchKind::Strategic, pause.clone())
        );
        assert_eq!(
            check("patch deploy web --type=merge --patch '{\"spec\":{\"paused\":true}}'"),
            patched(PatchKind::Merge, pause)
        );
        for (words, message) in [
            ("patch deploy web", "`-p PATCH` is expected"),
            ("patch deploy web -p '{'", "the patch is not JSON"),
            ("patch deploy web --type json -p '{}'", "a JSON patch is a list of operations"),
            ("patch deploy web --type jsn -p '[]'", "`jsn` where strategic, merge or json is expected"),
        ] {
            let error = parse(words, Name::new("shop")).expect_err(words);
            assert!(error.message.starts_with(message), "{words}: {}", error.message);
        }
    }

    #[test]
    fn drain_takes_its_flags() {
        let Verb::Drain(drain) = check(
            "drain worker-1 node/worker-2 --ignore-daemonsets --delete-emptydir-data=true --force=false --timeout=90s --grace-period=-1 --pod-selector=app!=db",
        ) else {
            panic!("no drain")
        };
        assert_eq!(drain.nodes, Target::Names(vec![key(Kind::Node, "worker-1"), key(Kind::Node, "worker-2")]));
        assert!(drain.ignore_daemonsets && drain.delete_emptydir_data && !drain.force && !drain.disable_eviction);
        assert_eq!((drain.timeout, drain.grace), (Duration::from_secs(90), None));
        assert_eq!(drain.pod_selector, Some(Selector::parse("app!=db").unwrap()));
    }

    #[test]
    fn taints_labels_images_and_rollouts_are_read() {
        let taint = |effect, value: &str, add| {
            (Taint { key: Name::new("k"), value: Name::new(value), effect, added: None }, add)
        };
        assert_eq!(
            check("taint nodes n1 k=v:NoSchedule k:NoExecute-"),
            Verb::Taint {
                nodes: Target::Names(vec![key(Kind::Node, "n1")]),
                taints: vec![taint(TaintEffect::NoSchedule, "v", true), taint(TaintEffect::NoExecute, "", false)],
            }
        );
        let Verb::Taint { taints, .. } = check("taint node/n1 k-") else { panic!("no taint") };
        assert_eq!(taints.len(), 3);
        assert_eq!(
            check("label pods --all a=b c-"),
            Verb::Label {
                target: Target::All { kind: Kind::Pod, namespace: Name::new("shop") },
                labels: vec![(Name::new("a"), Some(Name::new("b"))), (Name::new("c"), None)],
            }
        );
        assert_eq!(
            check("annotate deploy/web note=\"a b\" --overwrite"),
            Verb::Annotate {
                target: Target::Names(vec![key(Kind::Deployment, "web")]),
                annotations: vec![(Name::new("note"), Some(Name::new("a b")))],
            }
        );
        assert_eq!(
            check("set image deployment/web app=web:2 *=x"),
            Verb::SetImage {
                target: key(Kind::Deployment, "web"),
                images: vec![(Name::new("app"), Name::new("web:2")), (Name::new("*"), Name::new("x"))],
            }
        );
        let target = key(Kind::StatefulSet, "db");
        assert_eq!(check("rollout restart sts/db"), Verb::RolloutRestart { target });
        assert_eq!(check("rollout undo sts db --to-revision=3"), Verb::RolloutUndo { target, to_revision: Some(3) });
        assert_eq!(check("rollout resume sts/db"), Verb::RolloutPause { target, paused: false });
        assert_eq!(check("uncordon n1"), Verb::Uncordon { nodes: Target::Names(vec![key(Kind::Node, "n1")]) });
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place_and_the_nearest() {
        for (words, at, message, nearest) in [
            ("scael deployment/web --replicas=2", 0, "unknown kubectl command `scael`", Some("scale")),
            ("scale deploymnet/web --replicas=2", 6, "unknown resource type `deploymnet`", Some("deployments")),
            ("scale deployment/web --replica=2", 21, "`scale` has no flag `--replica`", Some("--replicas")),
            ("scale deployment/web", 20, "`--replicas=N` is expected", None),
            ("scale deployment/web --replicas=two", 21, "`two` is not a whole number", None),
            ("scale deployment/web --replicas", 21, "`--replicas` needs a value", None),
            ("drain n1 --ignore-daemonset", 9, "`drain` has no flag `--ignore-daemonset`", Some("--ignore-daemonsets")),
            ("drain n1 -n x", 9, "`drain` has no flag `-n`", Some("-l")),
            (
                "rollout restat deployment/x",
                8,
                "`restat` after `rollout`, where one of pause, restart, resume, undo is expected",
                Some("restart"),
            ),
            ("taint node n1 k=v:NoSchedul", 14, "unknown taint effect `NoSchedul`", Some("NoSchedule")),
            ("delete pod", 7, "which pods? a name, `-l SELECTOR` or `--all` is expected", None),
            ("delete pod -l a=b,", 11, "`a=b,`: a requirement such as app=web is missing here", None),
            ("delete pod 'x", 11, "the quote is not closed", None),
            ("apply -f x.yaml", 0, "`apply` is not read here; write `apply: FILE`", Some("apply: FILE")),
            ("", 0, "a kubectl command is expected, such as `scale deployment/web --replicas=3`", None),
            ("scale deployment/a deployment/b --replicas=1", 19, "`scale` takes one object here", None),
        ] {
            let error = parse(words, Name::new("default")).expect_err(words);
            let got = (error.at, error.message.as_str(), error.nearest.as_deref());
            assert_eq!(got, (at, message, nearest), "{words}");
        }
    }
}
