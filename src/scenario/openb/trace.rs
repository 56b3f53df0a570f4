//! The trace's files: lists of nodes and pods as CSV, and the results of others. Columns are found by their names.

use std::collections::BTreeMap;

/// Nodes and pods of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    pub nodes: Vec<TraceNode>,
    pub pods: Vec<TracePod>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceNode {
    pub name: String,
    pub cpu_milli: i64,
    pub memory_mib: i64,
    /// How many cards it has.
    pub gpus: i64,
    /// The model of its cards; empty without.
    pub model: String,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracePod {
    pub name: String,
    pub cpu_milli: i64,
    pub memory_mib: i64,
    /// How many cards it asks for.
    pub gpus: i64,
    /// The share of each that it asks for, in thousandths; below 1000 only of one card.
    pub gpu_milli: i64,
    /// The models that will do; empty: any.
    pub models: Vec<String>,
    /// Seconds from the trace's start; None where the file has no times, or it never happened.
    pub created: Option<u64>,
    pub deleted: Option<u64>,
    pub scheduled: Option<u64>,
}

impl TracePod {
    /// Thousandths of cards, of all cards together.
    pub fn milli(&self) -> i64 {
        self.gpus * self.gpu_milli
    }
}

/// The results of others: GPU allocation in percent, by policy and arrived load in percent.
pub type Expected = BTreeMap<String, BTreeMap<u32, f64>>;

/// The rows of a CSV file with a header. Quotes are not known: no file of the trace has them.
struct Table<'t> {
    file: &'t str,
    header: Vec<&'t str>,
    rows: Vec<(usize, Vec<&'t str>)>,
}

impl<'t> Table<'t> {
    fn read(file: &'t str, text: &'t str) -> Result<Table<'t>, String> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let Some((_, header)) = lines.next() else { return Err(format!("{file}: it is empty")) };
        let header: Vec<&str> = header.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
        let mut rows = Vec::new();
        for (index, line) in lines {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            if cells.len() != header.len() {
                let (found, wanted) = (cells.len(), header.len());
                return Err(format!("{file}:{}: {found} columns where the header has {wanted}", index + 1));
            }
            rows.push((index + 1, cells));
        }
        Ok(Table { file, header, rows })
    }

    fn column(&self, name: &str) -> Result<usize, String> {
        let found = self.header.iter().position(|column| *column == name);
        found.ok_or_else(|| format!("{}: no column `{name}`; there are {}", self.file, self.header.join(", ")))
    }

    fn optional(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| *column == name)
    }

    fn number<T: std::str::FromStr>(&self, (line, cells): &(usize, Vec<&str>), column: usize) -> Result<T, String> {
        let cell = cells.get(column).copied().unwrap_or_default();
        let name = self.header.get(column).copied().unwrap_or_default();
        cell.parse().map_err(|_| format!("{}:{line}: `{cell}` is no number for {name}", self.file))
    }

    /// A count that is not negative.
    fn amount(&self, row: &(usize, Vec<&str>), column: usize) -> Result<i64, String> {
        self.number::<u32>(row, column).map(i64::from)
    }

    fn second(&self, row: &(usize, Vec<&str>), column: Option<usize>) -> Result<Option<u64>, String> {
        match column {
            Some(column) if row.1.get(column).is_some_and(|cell| !cell.is_empty()) => {
                self.number(row, column).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn text(row: &(usize, Vec<&str>), column: usize) -> String {
    row.1.get(column).copied().unwrap_or_default().to_owned()
}

/// More are a slip.
const MOST_CARDS: i64 = 1000;

/// Reads `openb_node_list_*.csv`.
///
/// # Errors
/// The first thing that is wrong with it, with its line.
pub fn read_nodes(file: &str, content: &str) -> Result<Vec<TraceNode>, String> {
    let table = Table::read(file, content)?;
    let [name, cpu, memory, gpus, model] =
        ["sn", "cpu_milli", "memory_mib", "gpu", "model"].map(|name| table.column(name));
    let (name, cpu, memory, gpus, model) = (name?, cpu?, memory?, gpus?, model?);
    let read = |row: &(usize, Vec<&str>)| {
        let cards = table.amount(row, gpus)?;
        if cards > MOST_CARDS {
            return Err(format!("{file}:{}: no node has {cards} cards", row.0));
        }
        Ok(TraceNode {
            name: text(row, name),
            cpu_milli: table.amount(row, cpu)?,
            memory_mib: table.amount(row, memory)?,
            gpus: cards,
            model: text(row, model),
        })
    };
    table.rows.iter().map(read).collect()
}

/// Reads `openb_pod_list_*.csv`; models and times may be missing.
///
/// # Errors
/// The first thing that is wrong with it, with its line.
pub fn read_pods(file: &str, content: &str) -> Result<Vec<TracePod>, String> {
    let table = Table::read(file, content)?;
    let [name, cpu, memory, gpus, milli] =
        ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"].map(|name| table.column(name));
    let (name, cpu, memory, gpus, milli) = (name?, cpu?, memory?, gpus?, milli?);
    let models = table.optional("gpu_spec");
    let [created, deleted, scheduled] =
        ["creation_time", "deletion_time", "scheduled_time"].map(|name| table.optional(name));
    let mut pods = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        let pod = TracePod {
            name: text(row, name),
            cpu_milli: table.amount(row, cpu)?,
            memory_mib: table.amount(row, memory)?,
            gpus: table.amount(row, gpus)?,
            gpu_milli: table.amount(row, milli)?,
            models: models
                .map(|column| text(row, column))
                .iter()
                .flat_map(|text| text.split('|'))
                .filter(|model| !model.is_empty())
                .map(str::to_owned)
                .collect(),
            created: table.second(row, created)?,
            deleted: table.second(row, deleted)?,
            scheduled: table.second(row, scheduled)?,
        };
        if pod.gpu_milli > 1000 || (pod.gpus > 1 && pod.gpu_milli < 1000) {
            let (line, gpus, milli) = (row.0, pod.gpus, pod.gpu_milli);
            return Err(format!("{file}:{line}: {milli} thousandths of each of {gpus} cards"));
        }
        pods.push(pod);
    }
    Ok(pods)
}

/// Reads the results of others for one list of pods (`openb_pod_list_default`).
///
/// # Errors
/// The first thing that is wrong with the file, with its line.
pub fn read_expected(file: &str, content: &str, workload: &str) -> Result<Expected, String> {
    let table = Table::read(file, content)?;
    let [of, policy, arrived, mean] =
        ["workload", "policy", "arrived_gpu_request_percent", "mean"].map(|name| table.column(name));
    let (of, policy, arrived, mean) = (of?, policy?, arrived?, mean?);
    let mut expected = Expected::new();
    for row in &table.rows {
        if text(row, of) == workload {
            let at = table.number(row, arrived)?;
            expected.entry(text(row, policy)).or_default().insert(at, table.number(row, mean)?);
        }
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: std::fmt::Debug>(read: Result<Vec<T>, String>, wanted: Result<&str, &str>) {
        let shown = read.map(|read| format!("{read:?}"));
        assert_eq!(shown.as_deref().map_err(String::as_str), wanted);
    }

    #[test]
    fn columns_are_found_by_their_names() {
        check(
            read_nodes("n.csv", "model,sn,gpu,cpu_milli,memory_mib\nT4,a,2,64000,1024\n\n,b,0,1,2\n"),
            Ok("[TraceNode { name: \"a\", cpu_milli: 64000, memory_mib: 1024, gpus: 2, model: \"T4\" }, \
                TraceNode { name: \"b\", cpu_milli: 1, memory_mib: 2, gpus: 0, model: \"\" }]"),
        );
        check(
            read_pods(
                "p.csv",
                "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,scheduled_time\np,1,2,1,460,T4|P100,5,9,\n",
            ),
            Ok(
                "[TracePod { name: \"p\", cpu_milli: 1, memory_mib: 2, gpus: 1, gpu_milli: 460, models: [\"T4\", \"P100\"], \
                created: Some(5), deleted: Some(9), scheduled: None }]",
            ),
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check(read_nodes("n.csv", "sn,cpu_milli\n"), Err("n.csv: no column `memory_mib`; there are sn, cpu_milli"));
        let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli";
        check(read_pods("p.csv", ""), Err("p.csv: it is empty"));
        check(read_pods("p.csv", &format!("{header}\np,1,2,3\n")), Err("p.csv:2: 4 columns where the header has 5"));
        check(read_pods("p.csv", &format!("{header}\np,1,-2,0,0\n")), Err("p.csv:2: `-2` is no number for memory_mib"));
        check(
            read_pods("p.csv", &format!("{header}\np,1,2,2,500\n")),
            Err("p.csv:2: 500 thousandths of each of 2 cards"),
        );
    }
}
