//! The rows of `docs/modelled.md` that concern a run: what is modelled of the parts that its objects went through.

use crate::model::Kind;

use super::journal::Journal;

/// The document that says what is modelled; its first table is read.
const DOCUMENT: &str = include_str!("../../docs/modelled.md");

/// A row: the part, what is modelled of it, what is simplified, what is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub part: &'static str,
    pub modelled: &'static str,
    pub simplified: &'static str,
    pub missing: &'static str,
}

/// All rows.
pub fn rows() -> impl Iterator<Item = Row> {
    let table = DOCUMENT.lines().skip_while(|line| !line.starts_with("| part |")).skip(2);
    table.take_while(|line| line.starts_with('|')).filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some(Row { part: cells.next()?, modelled: cells.next()?, simplified: cells.next()?, missing: cells.next()? })
    })
}

/// The rows of the parts that the run's objects went through.
pub fn used(journal: &Journal) -> Vec<Row> {
    let has_pods = !journal.pods.is_empty();
    let of_kind = |kinds: &[Kind]| journal.others.keys().any(|key| kinds.contains(&key.kind));
    let stores = [Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::StorageClass];
    let is_used = |row: &Row| match row.part {
        "scheduler" | "kubelet" | "runtime" | "registries" => has_pods,
        "controllers" => !journal.workloads.is_empty() || !journal.nodes.is_empty(),
        "network, storage" => !journal.services.is_empty() || has_pods && of_kind(&stores),
        row => row == "API server",
    };
    rows().filter(is_used).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_part_with_all_its_cells() {
        let parts: Vec<&str> = rows().map(|row| row.part).collect();
        assert_eq!(
            parts,
            [
                "API server",
                "scheduler",
                "controllers",
                "kubelet",
                "runtime",
                "registries",
                "network, storage",
                "scheduler_perf files (`bench-scheduler`)",
                "traces (`import`)"
            ]
        );
        assert!(rows().all(|row| !row.modelled.is_empty()), "{:?}", rows().collect::<Vec<_>>());
    }

    #[test]
    fn a_run_without_objects_went_through_the_api_server_only() {
        let parts: Vec<&str> = used(&Journal::default()).iter().map(|row| row.part).collect();
        assert_eq!(parts, ["API server"]);
    }
}
