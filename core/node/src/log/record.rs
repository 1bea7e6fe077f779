//! CRI's log format: time, stream, `F` or `P`, text. Pure.

use jiff::Timestamp;

/// One record of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) stamp: &'a [u8],
    pub(super) stream: &'a [u8],
    /// Whether the line ends with it.
    pub(super) full: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a line, without its end.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (stamp, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let full = tag.split(|byte| *byte == b':').next()? == b"F";
        Some(Self { stamp, stream, full, text: parts.next().unwrap_or_default() })
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.stamp).ok()?.parse().ok()
    }
}

/// Turns records into what people read.
#[derive(Debug)]
pub(super) struct Printer {
    pub(super) timestamps: bool,
    pub(super) since: Option<Timestamp>,
    /// How many bytes may still be said.
    pub(super) left: Option<u64>,
    /// Whether the last record of a stream left its line open: stdout and stderr.
    open: [bool; 2],
}

impl Printer {
    pub(super) fn new(timestamps: bool, since: Option<Timestamp>, left: Option<u64>) -> Self {
        Self { timestamps, since, left, open: [false; 2] }
    }

    /// Whether nothing more may be said.
    pub(super) fn done(&self) -> bool {
        self.left == Some(0)
    }

    pub(super) fn print(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(record) = Record::parse(line) else { return };
        if let (Some(since), Some(time)) = (self.since, record.time())
            && time < since
        {
            return;
        }
        let open = &mut self.open[usize::from(record.stream == b"stderr")];
        let begin = out.len();
        if self.timestamps && !*open {
            out.extend_from_slice(record.stamp);
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if record.full {
            out.push(b'\n');
        }
        *open = !record.full;
        if let Some(left) = &mut self.left {
            let said = usize::try_from(*left).unwrap_or(usize::MAX).min(out.len() - begin);
            out.truncate(begin + said);
            *left -= said as u64;
        }
    }
}

/// Where the last `lines` lines of a log begin. Parts of one line count once.
pub(super) fn tail_start(bytes: &[u8], lines: u64) -> usize {
    let mut at = bytes.len();
    let mut found = 0;
    while at > 0 {
        let end = if bytes[at - 1] == b'\n' { at - 1 } else { at };
        let begin = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        if Record::parse(&bytes[begin..end]).is_some_and(|record| record.full) {
            found += 1;
            if found > lines {
                return at;
            }
        }
        at = begin;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout P tw\n\
                       2026-01-01T00:00:03Z stderr F err\n2026-01-01T00:00:04Z stdout F o\n";

    fn check(mut printer: Printer, tail: Option<u64>, expect: &str) {
        let bytes = LOG.as_bytes();
        let start = tail.map_or(0, |lines| tail_start(bytes, lines));
        let mut out = vec![];
        for line in bytes[start..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            printer.print(line, &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn parts_are_joined_and_times_shown_where_asked_for() {
        check(Printer::new(false, None, None), None, "one\ntwerr\no\n");
        check(Printer::new(true, None, None), Some(1), "2026-01-01T00:00:04Z o\n");
    }

    #[test]
    fn tail_since_and_limit_leave_out_what_they_should() {
        check(Printer::new(false, None, None), Some(2), "twerr\no\n");
        check(Printer::new(false, None, None), Some(0), "");
        check(Printer::new(false, "2026-01-01T00:00:03Z".parse().ok(), None), None, "err\no\n");
        check(Printer::new(false, None, Some(5)), None, "one\nt");
    }
}
