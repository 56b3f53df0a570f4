//! JUnit XML: a suite a scenario, a case an expectation.

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::trace::{Footer, Header};

use super::story::{evidence, title};

/// One finished scenario.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub header: &'a Header,
    pub footer: &'a Footer,
    /// Wall time; None where the same input must give the same bytes.
    pub wall: Option<std::time::Duration>,
}

/// The file for these scenarios.
pub fn junit(cases: &[Case<'_>]) -> String {
    let mut report = Report::new("simlet");
    for case in cases {
        let (header, footer) = (case.header, case.footer);
        let mut suite = TestSuite::new(header.name.as_str());
        suite.add_property(Property::new("seed", header.seed.to_string()));
        suite.add_property(Property::new("digest", format!("{:016x}", footer.digest)));
        suite.add_property(Property::new("kubernetes", header.kubernetes.as_str()));
        if let Some(wall) = case.wall {
            suite.set_time(wall);
        }
        for expectation in &footer.expectations {
            let lines = evidence(header, footer, expectation);
            let status = if expectation.held {
                TestCaseStatus::success()
            } else {
                let kind = if expectation.error.is_empty() { NonSuccessKind::Failure } else { NonSuccessKind::Error };
                let mut status = TestCaseStatus::non_success(kind);
                status.set_type("expectation");
                status.set_message(lines.first().cloned().unwrap_or_default());
                status.set_description(lines.join("\n"));
                status
            };
            let mut test = TestCase::new(title(expectation), status);
            test.set_classname(header.name.as_str());
            if let Some(source) = expectation.source
                && let Some(file) = header.sources.get(source.file as usize)
            {
                test.extra.insert("file".into(), file.name.as_str().into());
                test.extra.insert("line".into(), source.line.to_string().into());
            }
            suite.add_test_case(test);
        }
        for invariant in &footer.invariants {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("invariant");
            status.set_message(invariant.as_str());
            let mut test = TestCase::new("simlet keeps its invariants", status);
            test.set_classname(header.name.as_str());
            suite.add_test_case(test);
        }
        report.add_test_suite(suite);
    }
    // It fails for characters that XML can't hold only, which quick-junit has taken out.
    report.to_string().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::sample::zone_outage;
    use super::*;

    #[test]
    fn a_case_is_an_expectation_and_its_failure_has_the_evidence() {
        let sample = zone_outage(1);
        let case = Case { header: &sample.header, footer: &sample.footer, wall: None };
        insta::assert_snapshot!(junit(&[case]), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="simlet" tests="2" skipped="0" failures="1" errors="0">
            <testsuite name="zone-outage" tests="2" skipped="0" errors="0" failures="1">
                <properties>
                    <property name="seed" value="7"/>
                    <property name="digest" value="5f2c91d0a1b2c3d4"/>
                    <property name="kubernetes" value="1.36"/>
                </properties>
                <testcase name="all start: within 2m pods(&quot;app=checkout&quot;).filter(p, p.ready).size() == 3" classname="zone-outage" file="zone-outage.yaml" line="58"/>
                <testcase name="always, after 2m endpoints(&quot;checkout&quot;).ready &gt;= 2" classname="zone-outage" file="zone-outage.yaml" line="61">
                    <failure message="broken from +6:52 to +12:29, worst 1 ready for 5m37s" type="expectation">broken from +6:52 to +12:29, worst 1 ready for 5m37s
        at zone-outage.yaml:61
        next: simlet why pod/checkout-7f9c-000 --at 6m53s</failure>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }
}
