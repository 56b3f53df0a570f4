//! Which workloads are meant: by name, as Go's `-bench` picks benchmarks, and by label, as `-perf-scheduling-label-filter`.
//!
//! A name is a list of regular expressions with `/` between them, one for each level of `case/workload`, each of which may match
//! anywhere in its level; a name that is a workload's or a case's own means that alone. Go: testing/match.go. The regular expressions are those
//! of CEL (RE2's syntax).

use cel::{Context, Program, Value};

use super::file::Workload;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Each picks workloads; none: all.
    pub names: Vec<String>,
    /// `performance`, `-short`: all must hold.
    pub labels: Vec<String>,
}

impl Filter {
    /// True for each workload that is meant.
    ///
    /// # Errors
    /// A name that is no regular expression, or that picks nothing.
    pub fn pick(&self, workloads: &[&Workload]) -> Result<Vec<bool>, String> {
        let mut picked = vec![self.names.is_empty(); workloads.len()];
        for name in &self.names {
            let is_one =
                |workload: &&Workload| workload.name == *name || workload.name.starts_with(&format!("{name}/"));
            let exact = workloads.iter().any(is_one);
            let mut found = false;
            for (workload, picked) in workloads.iter().zip(&mut picked) {
                if if exact { is_one(workload) } else { matches(name, &workload.name)? } {
                    (*picked, found) = (true, true);
                }
            }
            if !found {
                return Err(format!("no workload is named `{name}`; --list shows them"));
            }
        }
        for (workload, picked) in workloads.iter().zip(&mut picked) {
            *picked &= self.labels.iter().all(|label| match label.strip_prefix('-') {
                Some(label) => !workload.labels.iter().any(|own| own == label),
                None => workload.labels.iter().any(|own| own == label.strip_prefix('+').unwrap_or(label)),
            });
        }
        Ok(picked)
    }
}

fn matches(pattern: &str, name: &str) -> Result<bool, String> {
    let mut levels = name.split('/');
    for pattern in pattern.split('/') {
        match levels.next() {
            Some(level) if is_match(pattern, level)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn is_match(pattern: &str, text: &str) -> Result<bool, String> {
    let mut context = Context::default();
    context.add_variable_from_value("text", text);
    context.add_variable_from_value("pattern", pattern);
    let wrong = || format!("`{pattern}` is not a regular expression");
    let program = Program::compile("text.matches(pattern)").map_err(|_| wrong())?;
    match program.execute(&context) {
        Ok(Value::Bool(matches)) => Ok(matches),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, &[&str]); 4] = [
        ("Basic/5Nodes", &["integration-test", "short"]),
        ("Basic/5000Nodes_10000Pods", &["performance"]),
        ("Basic/5000Nodes_10000Pods_Hints", &["performance", "short"]),
        ("Unschedulable/5kNodes/100Init", &[]),
    ];

    #[track_caller]
    fn check(names: &[&str], labels: &[&str], wanted: Result<&[usize], &str>) {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let workloads = NAMES.map(|(name, labels)| Workload {
            name: name.to_owned(),
            labels: own(labels),
            feature_gates: Vec::new(),
            threshold: None,
            ops: Vec::new(),
            declared_features: 0,
        });
        let picked = Filter { names: own(names), labels: own(labels) }.pick(&workloads.iter().collect::<Vec<_>>());
        let indexes = picked.map(|picked| (0..picked.len()).filter(|&index| picked[index]).collect::<Vec<_>>());
        assert_eq!(indexes.as_deref().map_err(String::as_str), wanted);
    }

    #[test]
    fn each_level_of_a_pattern_matches_anywhere_in_its_level_of_the_name() {
        check(&["Basic"], &[], Ok(&[0, 1, 2]));
        check(&["asi/5000"], &[], Ok(&[1, 2]));
        check(&["^Uns/k/100"], &[], Ok(&[3]));
        check(&["./^5N", ".*/5k"], &[], Ok(&[0, 3]));
        check(&[], &[], Ok(&[0, 1, 2, 3]));
    }

    #[test]
    fn a_workloads_own_name_means_it_alone() {
        check(&["Basic/5000Nodes_10000Pods"], &[], Ok(&[1]));
    }

    #[test]
    fn labels_must_be_there_or_with_a_minus_must_not() {
        check(&[], &["performance"], Ok(&[1, 2]));
        check(&[], &["performance", "-short"], Ok(&[1]));
        check(&["Basic"], &["-performance", "-short"], Ok(&[]));
    }

    #[test]
    fn a_name_that_picks_nothing_is_an_error() {
        check(&["Basic/7"], &[], Err("no workload is named `Basic/7`; --list shows them"));
        check(&["Basic/[0"], &[], Err("`[0` is not a regular expression"));
    }
}
