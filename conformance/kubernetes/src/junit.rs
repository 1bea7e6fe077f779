//! The XML that ginkgo writes, read for one spec; and the same for all of them, written.

use std::fmt::Write;

use windlass_conformance::report::escape;

use crate::{
    plan::Plan,
    record::{Outcome, Verdict},
};

/// What the suite calls itself.
const NAME: &str = "Kubernetes e2e suite";

/// What a report says of a spec.
///
/// # Errors
///
/// Why it says nothing.
pub(crate) fn verdict(text: &str, spec: &str) -> Result<Verdict, String> {
    let document = roxmltree::Document::parse(text).map_err(|error| format!("its report is no XML: {error}"))?;
    let cases = || document.descendants().filter(|node| node.has_tag_name("testcase"));
    let own = cases().find(|case| case.attribute("name").is_some_and(|name| name.strip_prefix("[It] ") == Some(spec)));
    let own = own.ok_or("its report does not know the spec")?;
    match told(own) {
        // What fails before or after all specs is told of a case of its own.
        Verdict::Skipped(reason) => match cases().map(told).find(|told| matches!(told, Verdict::Failed(_))) {
            Some(failed) => Ok(failed),
            None if reason == "skipped" => Err("the suite passed it over".into()),
            None => Ok(Verdict::Skipped(reason)),
        },
        verdict => Ok(verdict),
    }
}

fn told(case: roxmltree::Node<'_, '_>) -> Verdict {
    let child = |name: &str| case.children().find(|child| child.has_tag_name(name));
    if let Some(failure) = child("failure").or_else(|| child("error")) {
        let attribute = failure.attribute("message").unwrap_or_default().trim();
        let text = failure.text().unwrap_or_default().trim();
        let message = if attribute.is_empty() { text } else { attribute };
        return Verdict::Failed(if message.is_empty() { "no reason is given".into() } else { message.to_owned() });
    }
    if let Some(skipped) = child("skipped") {
        let message = skipped.attribute("message").unwrap_or_default();
        return Verdict::Skipped(message.strip_prefix("skipped - ").unwrap_or(message).to_owned());
    }
    match case.attribute("status") {
        None | Some("passed") => Verdict::Passed,
        Some(other) => Verdict::Failed(format!("it {other}")),
    }
}

/// All outcomes as one report, in the form that ginkgo writes; what lists skipped is there with its reason.
pub(crate) fn write(plan: &Plan, outcomes: &[Outcome]) -> String {
    let skipped = |reason: &String| Verdict::Skipped(reason.clone());
    let lists = plan.skipped.iter().map(|(spec, reason)| (spec.name.as_str(), 0.0, skipped(reason)));
    let own = outcomes.iter().map(|outcome| (outcome.name.as_str(), outcome.seconds, outcome.verdict.clone()));
    let mut all: Vec<_> = own.chain(lists).collect();
    all.sort_by(|one, other| one.0.cmp(other.0));
    let count = |which: fn(&Verdict) -> bool| all.iter().filter(|(_, _, verdict)| which(verdict)).count();
    let failures = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let passed_over = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let seconds: f64 = all.iter().map(|(_, seconds, _)| seconds).sum();
    let tests = all.len();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuites tests=\"{tests}\" disabled=\"{passed_over}\" errors=\"0\" failures=\"{failures}\" time=\"{seconds:.3}\">\n  \
         <testsuite name=\"{NAME}\" tests=\"{tests}\" disabled=\"0\" skipped=\"{passed_over}\" errors=\"0\" \
         failures=\"{failures}\" time=\"{seconds:.3}\">"
    );
    for (name, seconds, verdict) in all {
        let name = escape(name);
        let status = verdict.status();
        let _ = write!(
            text,
            "    <testcase name=\"[It] {name}\" classname=\"{NAME}\" status=\"{status}\" time=\"{seconds:.3}\""
        );
        let _ = match verdict {
            Verdict::Passed => writeln!(text, "/>"),
            Verdict::Skipped(why) => writeln!(text, "><skipped message=\"skipped - {}\"/></testcase>", escape(&why)),
            Verdict::Failed(why) => writeln!(text, "><failure type=\"failed\">{}</failure></testcase>", escape(&why)),
        };
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(case: &str, more: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><testsuites><testsuite><testcase name=\"[It] other\" status=\"skipped\"><skipped \
             message=\"skipped\"/></testcase>{case}{more}</testsuite></testsuites>"
        )
    }

    #[test]
    fn a_report_says_what_came_of_a_spec() {
        let check = |case: &str, more: &str, expect: Result<Verdict, &str>| {
            assert_eq!(verdict(&report(case, more), "own [x]"), expect.map_err(str::to_owned), "{case}");
        };
        let case = |status: &str, inner: &str| {
            format!("<testcase name=\"[It] own [x]\" status=\"{status}\">{inner}</testcase>")
        };
        check(&case("passed", ""), "", Ok(Verdict::Passed));
        check(&case("timedout", ""), "", Ok(Verdict::Failed("it timedout".into())));
        let failure = "<failure type=\"failed\">[FAILED] a &lt; b</failure>";
        check(&case("failed", failure), "", Ok(Verdict::Failed("[FAILED] a < b".into())));
        let skipped = case("skipped", "<skipped message=\"skipped - no nodes\"/>");
        check(&skipped, "", Ok(Verdict::Skipped("no nodes".into())));
        let before =
            "<testcase name=\"[SynchronizedBeforeSuite]\" status=\"failed\"><failure>no cluster</failure></testcase>";
        let passed_over = case("skipped", "<skipped message=\"skipped\"/>");
        check(&passed_over, before, Ok(Verdict::Failed("no cluster".into())));
        check(&passed_over, "", Err("the suite passed it over"));
        check("", "", Err("its report does not know the spec"));
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let outcome = |name: &str, verdict: Verdict| Outcome { name: name.into(), verdict, seconds: 1.5, attempts: 1 };
        let outcomes = [outcome("b \"x\"", Verdict::Failed("1 < 2".into())), outcome("a", Verdict::Passed)];
        let text = write(&Plan::default(), &outcomes);
        assert!(text.contains("tests=\"2\" disabled=\"0\" errors=\"0\" failures=\"1\" time=\"3.000\""), "{text}");
        assert_eq!(verdict(&text, "a"), Ok(Verdict::Passed));
        assert_eq!(verdict(&text, "b \"x\""), Ok(Verdict::Failed("1 < 2".into())));
    }
}
