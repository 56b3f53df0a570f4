//! Everything that `run --out` writes beside the trace, as bytes.

use crate::cluster::Cluster;
use crate::manifest::{Epoch, print};
use crate::model::{Kind, Object};
use crate::report::{self, Journal, Latency, Style, Tally};
use crate::scenario::{self, Options};
use crate::trace::{Footer, Header, Writer};

use super::error;
use super::recorded::{self, Both, Recorded, Shared};

/// The reports of a run: file names and contents.
///
/// # Errors
/// A plot could not be drawn.
pub fn render(
    header: &Header,
    journal: &Journal,
    tally: &Tally,
    footer: &Footer,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut files = vec![
        ("story.txt".to_owned(), report::story(header, journal, footer, &Style::PLAIN).into_bytes()),
        ("report.html".to_owned(), report::html(header, journal, footer).map_err(error)?.into_bytes()),
        ("trace.perfetto.json".to_owned(), report::perfetto(header, journal, footer).into_bytes()),
        ("metrics.prom".to_owned(), report::metrics(header, journal, tally, footer).into_bytes()),
        ("events.txt".to_owned(), report::events(journal, footer.end).into_bytes()),
        ("latency.csv".to_owned(), report::latency::csv(journal, &Latency::of(journal)).into_bytes()),
    ];
    files.extend(report::plots(header, journal, footer).map_err(error)?);
    Ok(files)
}

/// The objects that the API server holds at the end, a file for each kind, as lists that simlet reads again.
pub fn final_objects(cluster: &Cluster, epoch: Epoch) -> Vec<(String, Vec<u8>)> {
    let store = cluster.store();
    let mut files = Vec::new();
    // What is computed and not written: heartbeats and renewals.
    let (nodes, leases) = (cluster.nodes_read(), cluster.leases());
    for &kind in Kind::ALL {
        let objects: Vec<&Object> = match kind {
            Kind::Node => nodes.iter().collect(),
            Kind::Lease => leases.iter().collect(),
            _ => store.sorted(kind),
        };
        if !objects.is_empty() && kind != Kind::Event {
            files.push((format!("final/{}.yaml", kind.plural()), print::yaml(objects, epoch).into_bytes()));
        }
    }
    files
}

/// Runs a scenario file and gives all that `run --out` would write of it.
///
/// # Errors
/// All problems of the file, rendered.
pub fn outputs_of(file: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let scenario = recorded::load(&[file.to_owned()], None)?;
    let header = recorded::header_of(&scenario, scenario.seed, format!("simlet run {file}"));
    let writer = Shared::new(Writer::new(Vec::new(), &header));
    let journal = Shared::new(Journal::new());
    let tally = Shared::new(Tally::new());
    let sink = Both(journal.share(), Both(writer.share(), tally.share()));
    let end = scenario::run(&scenario, &Options::default(), Box::new(sink));
    let mut files = final_objects(&end.cluster, scenario.epoch());
    drop(end.cluster);
    let (footer, placements) = (end.footer, end.placements);
    let recorded = Recorded { header, journal: journal.into_inner().unwrap_or_default(), footer, placements };
    let writer = writer.into_inner().ok_or_else(|| error("the trace is still being written"))?;
    files.push(("trace.jsonl".to_owned(), writer.finish(&recorded.footer).map_err(error)?));
    files.extend(render(
        &recorded.header,
        &recorded.journal,
        &tally.into_inner().unwrap_or_default(),
        &recorded.footer,
    )?);
    Ok(files)
}
