//! The XML that CI systems call JUnit's: one suite with its cases.

use std::fmt::Write;

use super::{Report, Verdict};

pub(super) fn write(report: &Report) -> String {
    let [_, failed, skipped] = report.counts();
    let seconds: f64 = report.outcomes.iter().map(|outcome| outcome.took.as_secs_f64()).sum();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        escape(&report.subject),
        report.outcomes.len(),
    );
    for outcome in &report.outcomes {
        let (suite, name, seconds) = (escape(outcome.suite), escape(outcome.name), outcome.took.as_secs_f64());
        let _ = write!(text, "  <testcase classname=\"{suite}\" name=\"{name}\" time=\"{seconds:.3}\"");
        match &outcome.verdict {
            Verdict::Passed => text.push_str("/>\n"),
            Verdict::Skipped(reason) => {
                let _ = writeln!(text, "><skipped message=\"{}\"/></testcase>", escape(reason));
            }
            Verdict::Failed(message) => {
                let (message, clause) = (escape(message), escape(outcome.clause));
                let _ = writeln!(text, "><failure message=\"{message}\">{clause}</failure>");
                let _ = writeln!(text, "    <system-out>{}</system-out></testcase>", escape(&outcome.trace.join("\n")));
            }
        }
    }
    text.push_str("</testsuite>\n");
    text
}

/// A text as it may stand in XML, between tags and in attributes. XML 1.0 has no words at all for most control characters:
/// they become U+FFFD.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Outcome;

    #[test]
    fn verdicts_become_elements_and_text_is_escaped() {
        let outcome = |name, verdict| Outcome {
            suite: "network",
            name,
            clause: "\"ADD\"",
            verdict,
            took: Duration::from_millis(1500),
            trace: vec!["a < b\u{7}".into()],
        };
        let report = Report {
            subject: "a & b".into(),
            outcomes: vec![
                outcome("one", Verdict::Passed),
                outcome("two", Verdict::Failed("x > y".into())),
                outcome("three", Verdict::Skipped("no".into())),
            ],
        };
        let text = write(&report);
        let lines: Vec<_> = text.lines().skip(1).map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "<testsuite name=\"a &amp; b\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"4.500\">",
                "<testcase classname=\"network\" name=\"one\" time=\"1.500\"/>",
                "<testcase classname=\"network\" name=\"two\" time=\"1.500\"><failure message=\"x &gt; y\">&quot;ADD&quot;</failure>",
                "<system-out>a &lt; b\u{fffd}</system-out></testcase>",
                "<testcase classname=\"network\" name=\"three\" time=\"1.500\"><skipped message=\"no\"/></testcase>",
                "</testsuite>",
            ]
        );
        assert_eq!(report.json()["cases"][1]["trace"][0], "a < b\u{7}");
        assert_eq!(report.json()["failed"], 1);
    }
}
