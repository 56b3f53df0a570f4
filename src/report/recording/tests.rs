//! Recordings as kubectl and the timelines' recorder write them.

use super::*;
use crate::kernel::Duration;

/// A pod's state as kubectl prints it.
fn state(name: &str, owner: &str, second: u32, status: &str) -> String {
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"default","uid":"u-{name}","creationTimestamp":"2026-01-01T00:00:{second:02}Z"{owner}}},"spec":{{"nodeName":"n1"}},"status":{status}}}"#
    )
}

fn waiting() -> String {
    r#"{"phase":"Pending","containerStatuses":[{"name":"c","restartCount":0,"state":{"waiting":{"reason":"ContainerCreating"}}}]}"#.to_owned()
}

fn running(second: u32) -> String {
    format!(
        r#"{{"phase":"Running","conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:{second:02}Z"}}],"containerStatuses":[{{"name":"c","restartCount":0,"state":{{"running":{{"startedAt":"2026-01-01T00:00:{second:02}Z"}}}}}}]}}"#
    )
}

fn watched(kind: &str, object: &str) -> String {
    format!("{{\n  \"type\": \"{kind}\",\n  \"object\": {object}\n}}\n")
}

fn history(name: &str, owner: &str, created: u32, started: u32) -> History {
    let text = watched("ADDED", &state(name, owner, created, &waiting()))
        + &watched("MODIFIED", &state(name, owner, created, &running(started)));
    assert!(is_recording(&text));
    read(&text, "watch.json").unwrap()
}

fn outcomes(real: &History, simulated: &[History]) -> Vec<(String, Outcome)> {
    let beside = RecordingBeside::of(real, simulated, Duration::from_millis(1500));
    beside.pods.into_iter().flat_map(|pod| pod.lines).map(|line| (line.what, line.outcome)).collect()
}

const DEPLOYED: [&str; 2] = [
    r#","ownerReferences":[{"kind":"ReplicaSet","name":"web-5d8c","controller":true}]"#,
    r#","ownerReferences":[{"kind":"ReplicaSet","name":"web-9f77","controller":true}]"#,
];

#[test]
fn the_same_story_agrees_whatever_the_names_and_the_day() {
    let (real, simulated) =
        (history("web-5d8c-aaaaa", DEPLOYED[0], 5, 7), history("web-9f77-bbbbb", DEPLOYED[1], 30, 33));
    let found = outcomes(&real, &[simulated]);
    let whats: Vec<&str> = found.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "added",
            "bound",
            "phase Pending",
            "c waiting ContainerCreating",
            "c is neither ready nor started",
            "phase Running",
            "c running",
            "Ready True"
        ]
    );
    assert!(found.iter().all(|(_, outcome)| *outcome == Outcome::Agrees), "{found:?}");
}

#[test]
fn a_fact_is_late_only_outside_the_range_of_all_simulated_runs() {
    let real = history("p", "", 0, 10);
    let late = |starts: &[u32]| {
        let runs: Vec<History> = starts.iter().map(|start| history("p", "", 0, *start)).collect();
        outcomes(&real, &runs).into_iter().filter(|(_, outcome)| *outcome == Outcome::Time).count()
    };
    assert_eq!(late(&[14]), 1, "the phase; what came with it is not late again");
    assert_eq!(late(&[6, 14]), 0);
    assert_eq!(late(&[11]), 0);
}

#[test]
fn what_is_on_one_side_only_is_told() {
    let short = read(&watched("ADDED", &state("p", "", 0, &waiting())), "w").unwrap();
    let long = history("p", "", 0, 2);
    let only = |real: &History, simulated: &History, outcome| {
        outcomes(real, std::slice::from_ref(simulated)).into_iter().filter(|(_, is)| *is == outcome).count()
    };
    assert_eq!(only(&long, &short, Outcome::OnlyReal), 3);
    assert_eq!(only(&short, &long, Outcome::OnlySimulated), 3);
    let other = history("q", "", 0, 2);
    let beside = RecordingBeside::of(&long, &[other], Duration::from_secs(1));
    let alone: Vec<_> = beside.pods.iter().map(|pod| (pod.name.as_str(), pod.alone)).collect();
    assert_eq!(alone, [("p", Some(Outcome::OnlyReal)), ("q", Some(Outcome::OnlySimulated))]);
}

#[test]
fn a_recording_may_be_cut_off_but_not_be_something_else() {
    let whole = watched("ADDED", &state("p", "", 0, &waiting()));
    assert!(read(&(whole.clone() + "{\"type\": \"MODI"), "w").is_ok());
    let wrong = read(&(whole + "{]"), "w.json").unwrap_err().to_string();
    assert!(wrong.starts_with("w.json:"), "{wrong}");
    assert!(
        read("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Secret\"}}", "w").unwrap_err().to_string().contains("no pod")
    );
    assert!(!is_recording("apiVersion: v1\nkind: Pod\n"));
    assert!(!is_recording("{\"format\":\"simlet-trace\",\"version\":1}"));
}

#[test]
fn texts_are_the_same_but_for_what_is_another_in_each_run() {
    let pod = |name: &str, uid: &str| seen::Seen {
        kind: "Pod".into(),
        name: name.into(),
        uid: uid.into(),
        node: "n1".into(),
        ..Default::default()
    };
    let (a, b) =
        (pod("crash", "6bb39ca9-ec44-4c39-8156-2e8f7a97cbf1"), pod("boom", "00000000-0000-0000-0000-000000000007"));
    for (one, other) in [
        (
            "back-off 10s restarting crash(6bb39ca9-ec44-4c39-8156-2e8f7a97cbf1)",
            "back-off 10s restarting boom(00000000-0000-0000-0000-000000000007)",
        ),
        ("pulled in 1m2.5s (1m2.5s including waiting)", "pulled in 731ms (3.2s including waiting)"),
        ("dial tcp 10.0.0.1:80", "dial tcp 10.64.2.117:80"),
    ] {
        assert_eq!(a.plain(one), b.plain(other));
    }
    assert_ne!(a.plain("Error: ErrImagePull"), a.plain("Error: ImagePullBackOff"));
}

#[test]
fn events_of_another_file_count_whichever_comes_first_and_lists_are_read() {
    let event = r#"{"kind":"Event","metadata":{"uid":"e"},"involvedObject":{"kind":"Pod","uid":"u-p"},"type":"Normal","reason":"Started","message":"m","count":1}"#;
    let pods = watched("ADDED", &state("p", "", 0, &running(3)));
    let list = format!(r#"{{"kind":"List","items":[{},{event}]}}"#, state("p", "", 0, &running(3)));
    let plain = format!("{}\n{event}\n", state("p", "", 0, &running(3)));
    let events = watched("ADDED", event);
    for files in [
        vec![("e", &events), ("p", &pods)],
        vec![("p", &pods), ("e", &events)],
        vec![("l", &list)],
        vec![("o", &plain)],
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert!(files.iter().all(|(_, text)| is_recording(text)), "{files:?}");
        let history = read_all(&files).unwrap();
        let whats: Vec<&str> = history.facts().map(|(_, what, _)| what).collect();
        let unready = "c is neither ready nor started";
        assert_eq!(
            whats,
            ["added", "bound", "phase Running", "c running", unready, "Ready True", "event Normal Started"]
        );
    }
    assert!(is_recording("{\n  \"type\": \"ADDED\",\n  \"object\": {\n    \"kind\": \"Po"), "it was stopped early");
    assert!(!is_recording(r#"{"kind":"List","items":[{"kind":"Node","metadata":{}}]}"#), "that is a dump to be run");
}
