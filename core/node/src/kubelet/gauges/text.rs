//! Prometheus' text format (0.0.4), with the time of each sample, which `prometheus-client` has not.

use std::fmt::{Display, Write};

use jiff::Timestamp;

/// What a figure does over time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    Gauge,
}

/// A figure of a family: whose it is, what it is, and when it was so.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    labels: String,
    value: String,
    at: Option<Timestamp>,
}

impl Sample {
    /// Whoever scrapes takes it for one of then, unless it has a [time](Self::at) of its own.
    pub(super) fn new<V: Display>(labels: &[(&str, &str)], value: V) -> Self {
        let each: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if each.is_empty() { String::new() } else { format!("{{{}}}", each.join(",")) };
        Self { labels, value: value.to_string(), at: None }
    }

    pub(super) fn at(self, at: Timestamp) -> Self {
        Self { at: Some(at), ..self }
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Families, one after the other.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Adds a family. One without samples is not told.
    pub(super) fn family<I: IntoIterator<Item = Sample>>(&mut self, name: &str, kind: Kind, help: &str, samples: I) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Text is written to without errors.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for Sample { labels, value, at } in samples {
            let at = at.map_or_else(String::new, |at| format!(" {}", at.as_millisecond()));
            let _ = writeln!(self.0, "{name}{labels} {value}{at}");
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_samples_with_labels_and_times() {
        let mut text = Text::default();
        text.family("none", Kind::Gauge, "Nothing", []);
        let odd = Sample::new(&[("a", "say \"\\\"\nagain"), ("b", "")], 1.5).at(Timestamp::from_second(2).unwrap());
        text.family("x_total", Kind::Counter, "Some", [odd, Sample::new(&[], 3)]);
        let expect = "# HELP x_total Some\n# TYPE x_total counter\n\
            x_total{a=\"say \\\"\\\\\\\"\\nagain\",b=\"\"} 1.5 2000\nx_total 3\n";
        assert_eq!(String::from(text), expect);
    }
}
