//! A container's log in CRI's format: time, stream, tag, text. A line that is too long is several records.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use windlass_kernel::Clock;

use super::super::frames::STDERR;

/// The longest text of a record.
const LINE: usize = 16 << 10;

pub(super) struct Log {
    path: PathBuf,
    file: File,
    clock: Arc<dyn Clock>,
    /// What has come of the last line of each stream.
    lines: [Vec<u8>; 2],
}

impl Log {
    pub(super) fn open(path: PathBuf, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let file = create(&path)?;
        Ok(Self { path, file, clock, lines: Default::default() })
    }

    /// Goes on in a new file.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = create(&self.path)?;
        Ok(())
    }

    /// Writes every line that is complete.
    pub(super) fn write(&mut self, stream: u8, mut bytes: &[u8]) {
        let mut line = std::mem::take(&mut self.lines[usize::from(stream == STDERR)]);
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let room = LINE - line.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or_else(|| bytes.len().min(room));
            line.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken + usize::from(end.is_some())..];
            if end.is_some() || line.len() == LINE {
                self.record(&mut records, stream, end.is_some(), &line);
                line.clear();
            }
        }
        self.lines[usize::from(stream == STDERR)] = line;
        // A full disk loses what was said, and must not stop who says it.
        let _ = self.file.write_all(&records);
    }

    /// Writes what came of the last line.
    pub(super) fn end(&mut self, stream: u8) {
        let line = std::mem::take(&mut self.lines[usize::from(stream == STDERR)]);
        if !line.is_empty() {
            let mut records = Vec::new();
            self.record(&mut records, stream, true, &line);
            let _ = self.file.write_all(&records);
        }
    }

    fn record(&self, records: &mut Vec<u8>, stream: u8, whole: bool, line: &[u8]) {
        let (name, tag) = (if stream == STDERR { "stderr" } else { "stdout" }, if whole { 'F' } else { 'P' });
        let _ = write!(records, "{} {name} {tag} ", self.clock.now());
        records.extend_from_slice(line);
        records.push(b'\n');
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::{super::super::frames::STDOUT, *};
    use windlass_testkit::ManualClock;

    #[test]
    fn lines_become_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/0.log");
        let mut log = Log::open(path.clone(), Arc::new(ManualClock::default())).unwrap();
        log.write(STDOUT, b"one\ntw");
        log.write(STDERR, b"other\n");
        log.write(STDOUT, b"o\n\nlast");
        log.end(STDOUT);
        log.write(STDOUT, &[b'x'; LINE + 1]);
        log.write(STDOUT, b"\n");
        let text = fs::read_to_string(&path).unwrap();
        let records: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        let (long, short) = (format!("stdout P {}", "x".repeat(LINE)), "stdout F x");
        assert_eq!(
            records,
            ["stdout F one", "stderr F other", "stdout F two", "stdout F ", "stdout F last", &long, short]
        );
    }

    #[test]
    fn a_renamed_log_grows_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("0.log"), folder.path().join("0.log.old"));
        let mut log = Log::open(path.clone(), Arc::new(ManualClock::default())).unwrap();
        log.write(STDOUT, b"one\n");
        fs::rename(&path, &old).unwrap();
        log.reopen().unwrap();
        log.write(STDOUT, b"two\n");
        assert!(fs::read_to_string(&old).unwrap().ends_with("one\n"));
        assert!(fs::read_to_string(&path).unwrap().ends_with("two\n"));
    }
}
