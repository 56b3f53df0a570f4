//! `events.txt`: the Kubernetes Events of a run, as `kubectl get events` prints them.
//!
//! Kubernetes: pkg/printers/internalversion/printers.go (printEvent), sorted by last seen.

use crate::kernel::Time;

use super::journal::Journal;
use super::style::{age, table};

/// The Events at `at`, oldest first. With Events in several namespaces a NAMESPACE column comes first, as with `-A`.
pub fn events(journal: &Journal, at: Time) -> String {
    let mut events: Vec<_> = journal.events.values().filter(|event| event.first <= at).collect();
    if events.is_empty() {
        return "No resources found.\n".to_owned();
    }
    events.sort_by_key(|event| event.last);
    let first = events[0].meta.namespace;
    let all = events.iter().any(|event| event.meta.namespace != first);
    let mut rows = Vec::with_capacity(events.len() + 1);
    let mut row = |namespace: &str, cells: [String; 5]| {
        let namespace = all.then(|| namespace.to_owned());
        rows.push(namespace.into_iter().chain(cells).collect::<Vec<_>>());
    };
    row("NAMESPACE", ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned));
    for event in events {
        let involved = &event.involved;
        let object = format!("{}/{}", involved.kind.as_str().to_ascii_lowercase(), involved.name);
        let message = event.message.trim().replace('\n', "\\n");
        let cells =
            [age(at.since(event.last)), event.kind.as_str().to_owned(), event.reason.to_string(), object, message];
        row(event.meta.namespace.as_str(), cells);
    }
    table(&rows, 3, &[])
}

#[cfg(test)]
mod tests {
    use super::super::sample::{World, ms};
    use super::events;
    use crate::kernel::Cause;
    use crate::model::EventType;

    #[test]
    fn events_read_as_kubectl_prints_them() {
        let mut world = World::new("e");
        for pod in ["web-1", "web-22"] {
            world.pod(0, Cause::NONE, pod, "");
        }
        world.event(1_000, Cause::NONE, "web-1", EventType::Normal, "Pulled", "Successfully pulled image \"web:v1\"");
        world.event(
            2_000,
            Cause::NONE,
            "web-22",
            EventType::Warning,
            "BackOff",
            "Back-off restarting\nfailed container",
        );
        world.event(200_000, Cause::NONE, "web-22", EventType::Warning, "BackOff", "Back-off restarting");
        let journal = world.finish(300_000).journal();
        insta::assert_snapshot!(events(&journal, ms(300_000)), @r#"
        LAST SEEN   TYPE      REASON    OBJECT       MESSAGE
        4m59s       Normal    Pulled    pod/web-1    Successfully pulled image "web:v1"
        100s        Warning   BackOff   pod/web-22   Back-off restarting
        "#);
        assert_eq!(events(&super::Journal::new(), ms(0)), "No resources found.\n");
    }
}
