//! What came from outside, as text: an arrival is a line of JSON, for the recording of a live run and for its replay.
//!
//! `{"n": 17, "t": 1204000000, "to": 5, "i": 0, "cri": …}`: after so many events, at this nanosecond, for this actor and this
//! process of it; then what it says. Errors of the runtime are `{"code": …, "error": …}` in the place of the answer.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::kernel::{ActorId, Arrival, Moment, Time};
use crate::kubelet;
use crate::model::{Labels, Name, Text, Uid};
use crate::protocol::cri::{
    Answer, Code, ContainerEvent, ContainerEventType, ContainerId, ContainerState, ContainerStats, ContainerStatus,
    ContainerSummary, Error, Image, ImageId, Response, SandboxId, SandboxState, SandboxStatus, SandboxSummary,
};
use crate::protocol::{cri, probe, volume};

use super::message::{Incarnation, Message};

/// An arrival as a line without its end.
pub fn write(arrival: &Arrival<Message>) -> String {
    let mut line = Map::new();
    line.insert("n".into(), arrival.after_events.into());
    line.insert("t".into(), arrival.time.as_nanos().into());
    line.insert("to".into(), arrival.to.0.into());
    match &arrival.message {
        Message::Kubelet(incarnation, message) => {
            line.insert("i".into(), incarnation.0.into());
            let (key, value) = said(message);
            line.insert(key.into(), value);
        }
        _ => {
            line.insert("interrupt".into(), true.into());
        }
    }
    Value::Object(line).to_string()
}

/// The arrival of a line.
///
/// # Errors
/// What is wrong with it.
pub fn read(line: &Value) -> Result<Arrival<Message>, String> {
    let from = From(line);
    let message = if line.get("interrupt").is_some() {
        Message::Interrupt
    } else {
        Message::Kubelet(Incarnation(from.small("i")?), heard(line)?)
    };
    let to = ActorId(from.small("to")?);
    Ok(Arrival { after_events: from.number("n")?, time: from.time("t")?, to, message })
}

fn said(message: &kubelet::In) -> (&'static str, Value) {
    match message {
        kubelet::In::Cri(response) => {
            let value = match &response.result {
                Ok(answer) => answer_out(answer),
                Err(error) => json!({"code": CODES[error.code as usize].0, "error": error.message.as_str()}),
            };
            ("cri", json!([response.id.0, value]))
        }
        kubelet::In::CriEvent(event) => {
            let kind = event.kind as u64;
            let container = event.container.map(|container| container.0);
            ("event", json!([event.pod.0, container, kind, event.created_at.as_nanos()]))
        }
        kubelet::In::CriStream { up } => ("stream", json!(up)),
        kubelet::In::Probe(answer) => {
            let (outcome, text) = match &answer.outcome {
                probe::Outcome::Success => ("success", ""),
                probe::Outcome::Warning(text) => ("warning", text.as_str()),
                probe::Outcome::Failure(text) => ("failure", text.as_str()),
                probe::Outcome::Error(text) => ("error", text.as_str()),
            };
            ("probe", json!([answer.id.0, outcome, text]))
        }
        kubelet::In::Volume(answer) => match &**answer {
            volume::Answer::Done { pod } => ("volume", json!([pod.0])),
            volume::Answer::Content { pod, content } => {
                ("content", json!([pod.0, content.as_ref().map(|text| text.as_str())]))
            }
            volume::Answer::NotPlaced { pod, message } => ("volume", json!([pod.0, message.as_str()])),
            volume::Answer::Failed { pod, volume, message } => {
                ("volume", json!([pod.0, message.as_str(), volume.as_str()]))
            }
        },
        // Nothing else comes from outside.
        other => ("unknown", json!(format!("{other:?}"))),
    }
}

fn heard(line: &Value) -> Result<kubelet::In, String> {
    if let Some(value) = line.get("cri") {
        let (id, answer) = (item(value, 0)?, item(value, 1)?);
        let id = cri::CallId(whole(id)?);
        let result = match answer.get("error") {
            Some(text) => {
                let code = From(answer).text("code")?;
                let code = CODES.iter().find(|(name, _)| *name == code).map_or(Code::Unknown, |(_, code)| *code);
                Err(Error::new(code, text.as_str().unwrap_or_default()))
            }
            None => Ok(answer_in(answer)?),
        };
        return Ok(kubelet::In::Cri(Box::new(Response { id, result })));
    }
    if let Some(value) = line.get("probe") {
        let text = Text::new(item(value, 2)?.as_str().unwrap_or_default());
        let outcome = match item(value, 1)?.as_str() {
            Some("success") => probe::Outcome::Success,
            Some("warning") => probe::Outcome::Warning(text),
            Some("failure") => probe::Outcome::Failure(text),
            _ => probe::Outcome::Error(text),
        };
        let id = probe::ProbeId(whole(item(value, 0)?)?);
        return Ok(kubelet::In::Probe(Box::new(probe::Answer { id, outcome, holds: probe::Holds::Once })));
    }
    if let Some(value) = line.get("volume") {
        let pod = Uid(whole(item(value, 0)?)?);
        let text = |index| value.get(index).and_then(Value::as_str);
        let answer = match (text(1), text(2)) {
            (None, _) => volume::Answer::Done { pod },
            (Some(message), None) => volume::Answer::NotPlaced { pod, message: Text::new(message) },
            (Some(message), Some(volume)) => {
                volume::Answer::Failed { pod, volume: Name::new(volume), message: Text::new(message) }
            }
        };
        return Ok(kubelet::In::Volume(Box::new(answer)));
    }
    if let Some(value) = line.get("content") {
        let content = item(value, 1)?.as_str().map(Text::new);
        let answer = volume::Answer::Content { pod: Uid(whole(item(value, 0)?)?), content };
        return Ok(kubelet::In::Volume(Box::new(answer)));
    }
    if let Some(value) = line.get("event") {
        let kind = match whole(item(value, 2)?)? {
            0 => ContainerEventType::Created,
            1 => ContainerEventType::Started,
            2 => ContainerEventType::Stopped,
            _ => ContainerEventType::Deleted,
        };
        return Ok(kubelet::In::CriEvent(Box::new(ContainerEvent {
            pod: Uid(whole(item(value, 0)?)?),
            container: item(value, 1)?.as_u64().map(ContainerId),
            kind,
            created_at: Time::from_nanos(whole(item(value, 3)?)?),
        })));
    }
    match line.get("stream").and_then(Value::as_bool) {
        Some(up) => Ok(kubelet::In::CriStream { up }),
        None => Err("nothing in it that could have come from outside".to_owned()),
    }
}

const CODES: [(&str, Code); 6] = [
    ("Unknown", Code::Unknown),
    ("NotFound", Code::NotFound),
    ("DeadlineExceeded", Code::DeadlineExceeded),
    ("Unimplemented", Code::Unimplemented),
    ("Unavailable", Code::Unavailable),
    ("ResourceExhausted", Code::ResourceExhausted),
];

fn answer_out(answer: &Answer) -> Value {
    let list = |items: Vec<Value>| Value::Array(items);
    match answer {
        Answer::Version { runtime_name, runtime_version } => {
            json!({"version": [runtime_name.as_str(), runtime_version.as_str()]})
        }
        Answer::Status { runtime_ready, network_ready } => {
            let problem = |ready: &Result<(), Text>| ready.as_ref().err().map(|text| text.as_str().to_owned());
            json!({"status": [problem(runtime_ready), problem(network_ready)]})
        }
        Answer::Sandbox(id) => json!({"sandbox": id.0}),
        Answer::SandboxStatus(status) => {
            let ip = status.ip.map(|ip| ip.to_string());
            let (of, id) = (sandbox_out(&status.summary), status.runtime_id.as_str());
            json!({"sandboxStatus": {"of": of, "ip": ip, "hostNetwork": status.host_network, "id": id}})
        }
        Answer::Sandboxes(all) => json!({"sandboxes": list(all.iter().map(sandbox_out).collect())}),
        Answer::Container(id) => json!({"container": id.0}),
        Answer::ContainerStatus(status) => json!({"containerStatus": {
            "of": container_out(&status.summary),
            "started": status.started_at.as_nanos(),
            "finished": status.finished_at.as_nanos(),
            "exit": status.exit_code,
            "reason": status.reason.as_str(),
            "message": status.message.as_str(),
            "annotations": status.annotations.iter().map(|(key, value)| (key.to_string(), json!(value.as_str())))
                .collect::<Map<_, _>>(),
            "id": status.runtime_id.as_str(),
            "imageRef": status.image_ref.as_str(),
        }}),
        Answer::Containers(all) => json!({"containers": list(all.iter().map(container_out).collect())}),
        Answer::Exec { exit_code, output } => json!({"exec": [exit_code, output.as_str()]}),
        Answer::Stats(all) => {
            let one = |stats: &ContainerStats| {
                let disk = stats.filesystem_used_bytes;
                let memory = stats.memory_working_set_bytes;
                json!([stats.container.0, stats.pod.0, stats.cpu_usage_core_nanos, memory, disk])
            };
            json!({"stats": list(all.iter().map(one).collect())})
        }
        Answer::Image(id) => json!({"image": id.0}),
        Answer::ImageStatus(image) => json!({"imageStatus": image.as_ref().map(image_out)}),
        Answer::Images(all) => json!({"images": list(all.iter().map(image_out).collect())}),
        Answer::ImageFs { used_bytes, inodes_used } => json!({"imageFs": [used_bytes, inodes_used]}),
        Answer::Done => json!("done"),
    }
}

fn answer_in(value: &Value) -> Result<Answer, String> {
    if value == "done" {
        return Ok(Answer::Done);
    }
    let fields = value.as_object().ok_or("an answer is expected")?;
    let (kind, value) = fields.iter().next().ok_or("an answer is expected")?;
    let from = From(value);
    Ok(match kind.as_str() {
        "version" => Answer::Version { runtime_name: name(item(value, 0)?), runtime_version: name(item(value, 1)?) },
        "status" => {
            let ready = |value: &Value| value.as_str().map_or(Ok(()), |text| Err(Text::new(text)));
            Answer::Status { runtime_ready: ready(item(value, 0)?), network_ready: ready(item(value, 1)?) }
        }
        "sandbox" => Answer::Sandbox(SandboxId(whole(value)?)),
        "sandboxStatus" => Answer::SandboxStatus(Box::new(SandboxStatus {
            summary: sandbox_in(from.get("of")?)?,
            ip: from.get("ip")?.as_str().and_then(|ip| ip.parse::<Ipv4Addr>().ok()),
            host_network: from.get("hostNetwork")?.as_bool().unwrap_or(false),
            runtime_id: from.name_or_none("id"),
        })),
        "sandboxes" => Answer::Sandboxes(each(value, sandbox_in)?),
        "container" => Answer::Container(ContainerId(whole(value)?)),
        "containerStatus" => {
            let annotations = from.get("annotations")?.as_object().ok_or("annotations are a mapping")?;
            Answer::ContainerStatus(Box::new(ContainerStatus {
                summary: container_in(from.get("of")?)?,
                started_at: Moment::from_nanos(signed(from.get("started")?)?),
                finished_at: Moment::from_nanos(signed(from.get("finished")?)?),
                exit_code: signed(from.get("exit")?)? as i32,
                reason: name(from.get("reason")?),
                message: Text::new(from.text("message")?),
                annotations: Labels::new(annotations.iter().map(|(key, value)| (Name::new(key), name(value)))),
                runtime_id: from.name_or_none("id"),
                image_ref: from.name_or_none("imageRef"),
            }))
        }
        "containers" => Answer::Containers(each(value, container_in)?),
        "exec" => Answer::Exec {
            exit_code: signed(item(value, 0)?)? as i32,
            output: Text::new(item(value, 1)?.as_str().unwrap_or_default()),
        },
        "stats" => Answer::Stats(each(value, |one| {
            Ok(ContainerStats {
                container: ContainerId(whole(item(one, 0)?)?),
                pod: Uid(whole(item(one, 1)?)?),
                cpu_usage_core_nanos: whole(item(one, 2)?)?,
                memory_working_set_bytes: signed(item(one, 3)?)?,
                filesystem_used_bytes: signed(item(one, 4)?)?,
            })
        })?),
        "image" => Answer::Image(ImageId(whole(value)?)),
        "imageStatus" => Answer::ImageStatus(if value.is_null() { None } else { Some(image_in(value)?) }),
        "images" => Answer::Images(each(value, image_in)?),
        "imageFs" => Answer::ImageFs { used_bytes: signed(item(value, 0)?)?, inodes_used: signed(item(value, 1)?)? },
        other => return Err(format!("`{other}` is no answer of the CRI")),
    })
}

fn sandbox_out(one: &SandboxSummary) -> Value {
    let ready = one.state == SandboxState::Ready;
    let (namespace, name) = (one.namespace.as_str(), one.name.as_str());
    json!([one.id.0, one.pod.0, namespace, name, one.attempt, ready, one.created_at.as_nanos()])
}

fn sandbox_in(value: &Value) -> Result<SandboxSummary, String> {
    let ready = item(value, 5)?.as_bool().unwrap_or(false);
    Ok(SandboxSummary {
        id: SandboxId(whole(item(value, 0)?)?),
        pod: Uid(whole(item(value, 1)?)?),
        namespace: name(item(value, 2)?),
        name: name(item(value, 3)?),
        attempt: whole(item(value, 4)?)? as u32,
        state: if ready { SandboxState::Ready } else { SandboxState::NotReady },
        created_at: Time::from_nanos(whole(item(value, 6)?)?),
    })
}

fn container_out(one: &ContainerSummary) -> Value {
    json!([
        one.id.0,
        one.sandbox.0,
        one.pod.0,
        one.name.as_str(),
        one.attempt,
        one.image.as_str(),
        one.state as u64,
        one.created_at.as_nanos()
    ])
}

fn container_in(value: &Value) -> Result<ContainerSummary, String> {
    Ok(ContainerSummary {
        id: ContainerId(whole(item(value, 0)?)?),
        sandbox: SandboxId(whole(item(value, 1)?)?),
        pod: Uid(whole(item(value, 2)?)?),
        name: name(item(value, 3)?),
        attempt: whole(item(value, 4)?)? as u32,
        image: name(item(value, 5)?),
        state: match whole(item(value, 6)?)? {
            0 => ContainerState::Created,
            1 => ContainerState::Running,
            2 => ContainerState::Exited,
            _ => ContainerState::Unknown,
        },
        created_at: Time::from_nanos(whole(item(value, 7)?)?),
    })
}

fn image_out(image: &Image) -> Value {
    let names: Vec<&str> = image.names.iter().map(|name| name.as_str()).collect();
    json!([image.id.0, names, image.size_bytes, image.user, image.pinned])
}

fn image_in(value: &Value) -> Result<Image, String> {
    Ok(Image {
        id: ImageId(whole(item(value, 0)?)?),
        names: each(item(value, 1)?, |one| Ok(name(one)))?,
        size_bytes: signed(item(value, 2)?)?,
        user: item(value, 3)?.as_i64(),
        pinned: item(value, 4)?.as_bool().unwrap_or(false),
    })
}

/// The fields of a mapping.
struct From<'v>(&'v Value);

impl<'v> From<'v> {
    fn get(&self, field: &str) -> Result<&'v Value, String> {
        self.0.get(field).ok_or_else(|| format!("`{field}` is missing"))
    }

    fn number(&self, field: &str) -> Result<u64, String> {
        whole(self.get(field)?)
    }

    fn small(&self, field: &str) -> Result<u32, String> {
        u32::try_from(self.number(field)?).map_err(|_| format!("`{field}` is too great"))
    }

    fn time(&self, field: &str) -> Result<Time, String> {
        self.number(field).map(Time::from_nanos)
    }

    /// Empty if it is missing: older recordings have no ids of runtimes.
    fn name_or_none(&self, field: &str) -> Name {
        self.0.get(field).map(name).unwrap_or_default()
    }

    fn text(&self, field: &str) -> Result<&'v str, String> {
        self.get(field)?.as_str().ok_or_else(|| format!("`{field}` is not a text"))
    }
}

fn item(value: &Value, index: usize) -> Result<&Value, String> {
    value.get(index).ok_or_else(|| format!("item {index} is missing in {value}"))
}

fn whole(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value} where a number is expected"))
}

fn signed(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("{value} where a number is expected"))
}

fn name(value: &Value) -> Name {
    Name::new(value.as_str().unwrap_or_default())
}

fn each<T>(value: &Value, read: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.as_array().ok_or_else(|| format!("{value} where a list is expected"))?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: kubelet::In) {
        let message = Message::Kubelet(Incarnation(3), message);
        let arrival = Arrival { after_events: 17, time: Time::from_nanos(1_204), to: ActorId(5), message };
        let line = serde_json::from_str(&write(&arrival)).expect("a line is JSON");
        assert_eq!(read(&line), Ok(arrival));
    }

    fn cri(answer: Answer) {
        check(kubelet::In::Cri(Box::new(Response { id: cri::CallId(9), result: Ok(answer) })));
    }

    fn sandbox() -> SandboxSummary {
        SandboxSummary {
            id: SandboxId(u64::MAX),
            pod: Uid(7),
            namespace: Name::new("shop"),
            name: Name::new("web-0"),
            attempt: 2,
            state: SandboxState::NotReady,
            created_at: Time::from_secs(5),
        }
    }

    fn container(state: ContainerState) -> ContainerSummary {
        ContainerSummary {
            id: ContainerId(u64::MAX - 1),
            sandbox: SandboxId(4),
            pod: Uid(7),
            name: Name::new("main"),
            attempt: 1,
            image: Name::new("localhost/busybox:1"),
            state,
            created_at: Time::from_secs(6),
        }
    }

    #[test]
    fn every_answer_of_a_runtime_reads_back_as_it_was() {
        let image = Image {
            id: ImageId(3),
            names: vec![Name::new("a:1"), Name::new("a@sha256:0")],
            size_bytes: 5,
            user: Some(0),
            pinned: true,
        };
        cri(Answer::Version { runtime_name: Name::new("containerd"), runtime_version: Name::new("1.6.20~ds1") });
        cri(Answer::Status { runtime_ready: Ok(()), network_ready: Err("cni is not there".into()) });
        cri(Answer::Sandbox(SandboxId(12)));
        let ip = Some(Ipv4Addr::new(10, 1, 2, 3));
        cri(Answer::SandboxStatus(Box::new(SandboxStatus {
            summary: sandbox(),
            ip,
            host_network: false,
            runtime_id: Name::new("f00d"),
        })));
        cri(Answer::Sandboxes(vec![sandbox()]));
        cri(Answer::Container(ContainerId(1)));
        let states =
            [ContainerState::Created, ContainerState::Running, ContainerState::Exited, ContainerState::Unknown];
        cri(Answer::Containers(states.map(container).to_vec()));
        cri(Answer::ContainerStatus(Box::new(ContainerStatus {
            summary: container(ContainerState::Exited),
            started_at: Moment::from_nanos(-1_000_000_000),
            finished_at: Time::from_secs(2).into(),
            exit_code: -1,
            reason: Name::new("Error"),
            message: "a \"quoted\" line\n".into(),
            annotations: Labels::new([(Name::new("b"), Name::new("2")), (Name::new("a"), Name::new("1"))]),
            runtime_id: Name::new("containerd://cafe"),
            image_ref: Name::new("localhost/busybox@sha256:0"),
        })));
        cri(Answer::Exec { exit_code: 3, output: "no".into() });
        cri(Answer::Stats(vec![ContainerStats {
            container: ContainerId(1),
            pod: Uid(2),
            cpu_usage_core_nanos: 3,
            memory_working_set_bytes: 4,
            filesystem_used_bytes: 5,
        }]));
        cri(Answer::Image(ImageId(9)));
        cri(Answer::ImageStatus(None));
        cri(Answer::ImageStatus(Some(image.clone())));
        cri(Answer::Images(vec![image]));
        cri(Answer::ImageFs { used_bytes: 1, inodes_used: 2 });
        cri(Answer::Done);
    }

    #[test]
    fn errors_events_and_probes_read_back_as_they_were() {
        for (_, code) in CODES {
            let result = Err(Error::new(code, "why"));
            check(kubelet::In::Cri(Box::new(Response { id: cri::CallId(1), result })));
        }
        for kind in [
            ContainerEventType::Created,
            ContainerEventType::Started,
            ContainerEventType::Stopped,
            ContainerEventType::Deleted,
        ] {
            for container in [None, Some(ContainerId(8))] {
                let event = ContainerEvent { pod: Uid(1), container, kind, created_at: Time::from_secs(1) };
                check(kubelet::In::CriEvent(Box::new(event)));
            }
        }
        check(kubelet::In::CriStream { up: false });
        let pod = Uid(6);
        let volumes = [
            volume::Answer::Done { pod },
            volume::Answer::Content { pod, content: None },
            volume::Answer::Content { pod, content: Some("A='1'\n".into()) },
            volume::Answer::NotPlaced { pod, message: "the disk is full".into() },
            volume::Answer::Failed { pod, volume: Name::new("data"), message: "not a directory".into() },
        ];
        volumes.into_iter().for_each(|answer| check(kubelet::In::Volume(Box::new(answer))));
        for outcome in
            [probe::Outcome::Success, probe::Outcome::Failure("500".into()), probe::Outcome::Error("x".into())]
        {
            let id = probe::ProbeId(4);
            check(kubelet::In::Probe(Box::new(probe::Answer { id, outcome, holds: probe::Holds::Once })));
        }
    }

    #[test]
    fn an_interrupt_reads_back_and_a_line_of_something_else_does_not() {
        let arrival =
            Arrival { after_events: 1, time: Time::from_nanos(2), to: ActorId(0), message: Message::Interrupt };
        let line = serde_json::from_str(&write(&arrival)).expect("a line is JSON");
        assert_eq!(read(&line), Ok(arrival));
        assert!(read(&json!({"n": 1, "t": 2, "to": 3, "i": 0})).is_err());
        assert!(read(&json!({"n": 1, "t": 2, "to": 3, "i": 0, "cri": [1, {"nothing": 1}]})).is_err());
    }
}
