//! `behaviors:` of a scenario: what the programs in the containers do.

use std::sync::Arc;

use crate::kernel::{Distribution, Duration};
use crate::manifest::{Node, Value};
use crate::model::{Labels, MilliCpu, Name, Selector, Text};
use crate::runtime::simulated::behavior::{
    Answer, Behavior, End, Ends, Growth, Match, OnTerm, ProbeAnswers, ProbeKind, Rule,
};

use super::read::{Fields, Problems};
use super::values;

/// Reads one rule.
pub(super) fn read(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<Rule> {
    let mut fields = Fields::new(node, path, problems)?;
    let matcher = match fields.fields("match", problems) {
        Some(inner) => read_match(inner, problems),
        None => {
            let hint = Some("such as match: {labels: {app: web}, container: server}".to_owned());
            problems.add(fields.span(), path, "`match` is missing", hint);
            Match::default()
        }
    };
    let mut behavior = Behavior::default();
    if let Some(node) = fields.get("startup") {
        behavior.startup = values::distribution(node, &fields.path("startup"), problems);
    }
    behavior.ends = read_ends(&mut fields, problems);
    if let Some(node) = fields.get("memory") {
        behavior.memory = read_growth(node, &fields.path("memory"), problems);
        match node.get("process").map(|process| (process.as_str(), process)) {
            None | Some((Some("main"), _)) => {}
            Some((Some("child"), _)) => behavior.memory_of_child = true,
            Some((_, process)) => {
                problems.add(process.span.clone(), &fields.path("memory.process"), "one of main, child", None);
            }
        }
    }
    if let Some(node) = fields.get("disk") {
        behavior.disk = read_growth(node, &fields.path("disk"), problems);
    }
    if let Some(node) = fields.get("logs") {
        behavior.logs = read_growth(node, &fields.path("logs"), problems);
    }
    if let Some(node) = fields.get("inodes") {
        behavior.inodes = read_growth(node, &fields.path("inodes"), problems);
    }
    if let Some(node) = fields.get("processes") {
        behavior.processes = read_growth(node, &fields.path("processes"), problems);
    }
    if let Some(node) = fields.get("volumes") {
        behavior.volumes = read_volumes(node, &fields.path("volumes"), problems);
    }
    if let Some(node) = fields.get("cpu") {
        behavior.cpu = read_cpu(node, &fields.path("cpu"), problems);
    }
    if let Some(node) = fields.get("onTerm") {
        behavior.on_term = read_on_term(node, &fields.path("onTerm"), problems);
    }
    if let Some(node) = fields.get("hangs") {
        let path = fields.path("hangs");
        let after = Fields::new(node, &path, problems).and_then(|mut inner| {
            let after = inner.get("after")?;
            let path = inner.path("after");
            let after = values::distribution(after, &path, problems);
            inner.end(problems);
            after
        });
        behavior.hangs = after;
    }
    for (index, probe) in fields.list("probes", problems).iter().enumerate() {
        let path = format!("{}[{index}]", fields.path("probes"));
        behavior.probes.extend(read_probe(probe, &path, problems));
    }
    if let Some(node) = fields.get("runs") {
        match node.as_str() {
            Some("sh") => behavior.runs_sh = true,
            _ => problems.add(node.span.clone(), &fields.path("runs"), "only `sh` is known", None),
        }
    }
    behavior.cannot_start = fields.text("cannotStart", problems).map(Text::new);
    behavior.message = fields.text("message", problems).map(Text::new).unwrap_or_default();
    fields.end(problems);
    Some(Rule { matcher, behavior: Arc::new(behavior) })
}

fn read_match(mut fields: Fields<'_, '_>, problems: &mut Problems) -> Match {
    let mut name =
        |field: &'static str, problems: &mut Problems| fields.text(field, problems).map(Name::new).unwrap_or_default();
    let namespace = name("namespace", problems);
    let pod = name("pod", problems);
    let container = name("container", problems);
    let image = name("image", problems);
    let labels = fields.pairs("labels", problems);
    let mut labels = Selector::from_labels(&Labels::new(labels.into_iter().map(|(k, v)| (k.into(), v.into()))));
    if let Some(at) = fields.get("selector").map(|node| node.span.clone()) {
        match fields.text("selector", problems).map(Selector::parse) {
            Some(Ok(selector)) => {
                let all = labels.requirements.iter().chain(selector.requirements.iter());
                labels = Selector::new(all.cloned().collect());
            }
            Some(Err(error)) => problems.add(at, &fields.path("selector"), error.to_string(), None),
            None => {}
        }
    }
    fields.end(problems);
    Match { namespace, labels, pod, container, image }
}

/// `exit: {…}` for every start, or `starts: [{…}, …]` for the first ones and `laterStarts: {…}`; `oom: {after}` likewise.
fn read_ends(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Option<Ends> {
    let every = fields.get("exit").map(|node| (node, fields.path("exit")));
    let oom = fields.get("oom").map(|node| (node, fields.path("oom")));
    let starts = fields.list("starts", problems);
    let later = fields.get("laterStarts").map(|node| (node, fields.path("laterStarts")));
    let mut read_starts = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let path = format!("{}[{index}]", fields.path("starts"));
        read_starts.push(read_start(start, &path, problems)?);
    }
    let each = match (every, oom) {
        (Some((node, path)), _) => Some(read_exit(node, &path, problems)?),
        (None, Some((node, path))) => Some(read_oom(node, &path, problems)?),
        (None, None) => None,
    };
    let later = match later {
        Some((node, path)) => Some(read_start(node, &path, problems)?),
        None => each,
    };
    if read_starts.is_empty() && later.is_none() {
        return None;
    }
    Some(Ends { starts: read_starts, later: later.unwrap_or_default() })
}

/// One start: `{exit: …}`, `{oom: …}`, or `runs` for one that does not end.
fn read_start(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<End> {
    if node.as_str() == Some("runs") {
        return Some(End::Never);
    }
    let mut fields = Fields::new(node, path, problems)?;
    let (exit, oom) = (fields.get("exit"), fields.get("oom"));
    let (exit_path, oom_path, span) = (fields.path("exit"), fields.path("oom"), fields.span());
    fields.end(problems);
    match (exit, oom) {
        (Some(exit), None) => read_exit(exit, &exit_path, problems),
        (None, Some(oom)) => read_oom(oom, &oom_path, problems),
        _ => {
            let hint = Some("{exit: {after: 1s, code: 1}}, {oom: {after: 1s}} or `runs`".to_owned());
            problems.add(span, path, "not a start", hint);
            None
        }
    }
}

fn read_exit(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<End> {
    let mut fields = Fields::new(node, path, problems)?;
    let after = match fields.get("after") {
        Some(after) => values::distribution(after, &fields.path("after"), problems)?,
        None => Distribution::Constant(Duration::ZERO),
    };
    let code = fields.integer("code", problems).unwrap_or(0);
    let probability = fields.number("probability", problems).unwrap_or(1.0);
    let span = fields.span();
    fields.end(problems);
    if !(0..=255).contains(&code) || !(0.0..=1.0).contains(&probability) {
        problems.add(span, path, "a code is 0 to 255, a probability 0 to 1", None);
        return None;
    }
    Some(End::Exit { after, code: code as i32, probability })
}

fn read_oom(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<End> {
    let mut fields = Fields::new(node, path, problems)?;
    let after = match fields.get("after") {
        Some(after) => values::distribution(after, &fields.path("after"), problems)?,
        None => Distribution::Constant(Duration::ZERO),
    };
    fields.end(problems);
    Some(End::Oom { after })
}

/// `{data: {growth: 5Mi/min}}`: what it writes into volumes, by their names in the pod.
fn read_volumes(node: &Node<'_>, path: &str, problems: &mut Problems) -> Vec<(Name, Growth)> {
    let Value::Map(entries) = &node.value else {
        let hint = Some("such as {data: {growth: 5Mi/min}}".to_owned());
        problems.add(node.span.clone(), path, "volumes with what is written into them are expected", hint);
        return Vec::new();
    };
    let mut volumes = Vec::new();
    for (key, value) in entries {
        let growth = read_growth(value, &format!("{path}.{}", key.name), problems);
        volumes.extend(growth.map(|growth| (Name::new(&key.name), growth)));
    }
    volumes
}

/// `100Mi`, or `{start: 100Mi, growth: 5Mi/min}`; with `from: 5s` it grows from then on, with `most: 1Gi` up to that.
fn read_growth(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<Growth> {
    if !matches!(node.value, Value::Map(_)) {
        let bytes = values::bytes(node, path, problems)?;
        return Some(Growth { start: bytes.0.max(0) as u64, ..Growth::default() });
    }
    let mut fields = Fields::new(node, path, problems)?;
    let start = fields.get("start").and_then(|node| values::bytes(node, &fields.path("start"), problems));
    let growth = fields.get("growth").map(|node| {
        let path = fields.path("growth");
        values::bytes_per_minute(node, &path, problems)
    });
    // Of memory: whose it is.
    fields.get("process");
    let from = fields.get("from").and_then(|node| values::duration(node, &fields.path("from"), problems));
    let most = fields.get("most").and_then(|node| values::bytes(node, &fields.path("most"), problems));
    fields.end(problems);
    let per_minute = match growth {
        Some(read) => read?,
        None => 0,
    };
    let whole = |bytes: crate::model::Bytes| bytes.0.max(0) as u64;
    Some(Growth { start: start.map_or(0, whole), per_minute, from: from.unwrap_or_default(), most: most.map(whole) })
}

fn read_cpu(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<MilliCpu> {
    let text = match &node.value {
        Value::Int(cores) => cores.to_string(),
        Value::Float(cores) => cores.to_string(),
        _ => node.as_str().unwrap_or("").to_owned(),
    };
    match text.parse::<crate::model::quantity::Quantity>() {
        Ok(quantity) => Some(MilliCpu(quantity.milli_rounding_up())),
        Err(_) => {
            problems.add(node.span.clone(), path, "not an amount of CPU", Some("such as 300m or 2".to_owned()));
            None
        }
    }
}

fn read_on_term(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<OnTerm> {
    if node.as_str() == Some("ignore") {
        return Some(OnTerm::Ignore);
    }
    let mut fields = Fields::new(node, path, problems)?;
    let after = fields.get("exitAfter").map(|node| (node, fields.path("exitAfter")));
    let code = fields.integer("code", problems).unwrap_or(0);
    let span = fields.span();
    fields.end(problems);
    match after {
        Some((after, path)) => {
            let after = values::distribution(after, &path, problems)?;
            Some(OnTerm::ExitAfter { after, code: code as i32 })
        }
        None => {
            problems.add(span, path, "not a reaction", Some("{exitAfter: 2s} or `ignore`".to_owned()));
            None
        }
    }
}

/// `{http: /healthz, answers: [{from: 0s, status: 200}, {from: 30s, status: 500}, {from: 60s, hangs: true}]}`; also
/// `exec: true`, `tcp: 8080`, `grpc: true` with `fails: true`.
fn read_probe(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<ProbeAnswers> {
    let mut fields = Fields::new(node, path, problems)?;
    let http = fields.text("http", problems);
    let tcp = fields.integer("tcp", problems);
    let exec = fields.boolean("exec", problems);
    let grpc = fields.boolean("grpc", problems);
    let span = fields.span();
    let mut answers: Vec<(Duration, Answer)> = Vec::new();
    for (index, answer) in fields.list("answers", problems).iter().enumerate() {
        let path = format!("{}[{index}]", fields.path("answers"));
        let mut inner = Fields::new(answer, &path, problems)?;
        let from = match inner.get("from") {
            Some(node) => values::duration(node, &inner.path("from"), problems)?,
            None => Duration::ZERO,
        };
        let status = inner.integer("status", problems);
        let fails = inner.boolean("fails", problems).unwrap_or(false);
        let hangs = inner.boolean("hangs", problems).unwrap_or(false);
        inner.end(problems);
        let answer = match (status, fails, hangs) {
            (Some(status), false, false) => Answer::Status(status.clamp(0, 999) as u16),
            (None, true, false) => Answer::Fails,
            (None, false, true) => Answer::Hangs,
            (None, false, false) => Answer::Ok,
            _ => {
                problems.add(answer.span.clone(), &path, "one of status, fails, hangs", None);
                return None;
            }
        };
        answers.push((from, answer));
    }
    fields.end(problems);
    answers.sort_by_key(|(from, _)| *from);
    let probe = match (http, tcp, exec, grpc) {
        (Some(path), None, None, None) => ProbeKind::Http(Name::new(path)),
        (None, Some(port), None, None) => ProbeKind::Tcp(port.clamp(0, 65535) as u16),
        (None, None, Some(true), None) => ProbeKind::Exec,
        (None, None, None, Some(true)) => ProbeKind::Grpc,
        _ => {
            problems.add(
                span,
                path,
                "not a probe",
                Some("one of http: /path, tcp: 8080, exec: true, grpc: true".to_owned()),
            );
            return None;
        }
    };
    Some(ProbeAnswers { probe, answers })
}
