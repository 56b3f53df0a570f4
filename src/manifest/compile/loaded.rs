//! All objects of a set of files: compiled, with their lines, and with what is wrong at its place.

use k8s_openapi::jiff::Timestamp;

use crate::model::{self, Object};

use super::super::epoch::Epoch;
use super::super::load::Loaded;
use super::super::not_modelled::NotModelled;
use super::super::problem::{Kind, Problem};
use super::super::source::Source;
use super::super::tree::{Node, Value};
use super::Compiler;

/// What a set of files holds, compiled.
#[derive(Debug, Default)]
pub struct Compiled {
    /// In the order of the files, each with its index among the loaded objects. Those with problems are not among them.
    pub objects: Vec<(usize, Object)>,
    /// What Kubernetes' validation would refuse, for each source by its index, in the order of its text.
    pub problems: Vec<Vec<Problem>>,
    /// The loaded objects of kinds that are read but not simulated.
    pub without_model: Vec<usize>,
    /// Fields that have no effect.
    pub not_modelled: NotModelled,
}

impl Compiler {
    /// Compiles what was loaded from `sources`. Lines are given as those of the files `first_file` and following in the
    /// run's list of sources.
    pub fn compile_loaded(&mut self, loaded: &Loaded<'_>, sources: &[Source], first_file: u32) -> Compiled {
        let mut compiled = Compiled { problems: vec![Vec::new(); sources.len()], ..Compiled::default() };
        for (index, object) in loaded.objects.iter().enumerate() {
            let Some(source) = sources.get(object.source) else { continue };
            let line_of = |path: &str| {
                let at = if path.is_empty() { object.node.span.start } else { object.node.place_of_key(path).start };
                let line = u32::try_from(source.place(at).line).ok()?;
                let file = first_file.checked_add(u32::try_from(object.source).ok()?)?;
                Some(model::Source { file, line })
            };
            match self.compile(&object.decoded, &line_of) {
                Ok(Some(one)) => {
                    compiled.not_modelled.note(&object.decoded, &one, self.epoch());
                    compiled.objects.push((index, one));
                }
                Ok(None) => compiled.without_model.push(index),
                Err(invalid) => {
                    let new =
                        invalid.into_iter().filter(|invalid| !object.is_explained(&invalid.field, &invalid.message));
                    let new =
                        new.map(|invalid| object.problem(invalid.field, Kind::Invalid { message: invalid.message }));
                    if let Some(problems) = compiled.problems.get_mut(object.source) {
                        problems.extend(new);
                    }
                }
            }
        }
        for problems in &mut compiled.problems {
            problems.sort_by_key(|problem| problem.at.start);
        }
        compiled
    }
}

impl Epoch {
    /// The newest moment in a dump; the default where there is no dump among the files.
    pub fn of_dump(loaded: &Loaded<'_>) -> Epoch {
        let stored = loaded.objects.iter().filter(|object| object.stored);
        stored.filter_map(|object| newest(&object.node)).max().map_or(Epoch::default(), Epoch::at)
    }
}

fn newest(node: &Node<'_>) -> Option<Timestamp> {
    match &node.value {
        // What is there said of the future, or by others, is no moment of the dump.
        Value::Map(entries) => entries
            .iter()
            .filter(|(key, _)| !matches!(&*key.name, "annotations" | "deletionTimestamp" | "spec" | "data"))
            .filter_map(|(_, inner)| newest(inner))
            .max(),
        Value::Seq(items) => items.iter().filter_map(newest).max(),
        _ => {
            let text = node.as_str()?;
            // Most texts are no times; those begin with a year.
            let looks = text.len() >= 20 && text.as_bytes().get(4) == Some(&b'-') && text.ends_with('Z');
            if looks { text.parse().ok() } else { None }
        }
    }
}
