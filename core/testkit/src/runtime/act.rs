//! What a fake process does.

use std::time::Duration;

use windlass_kernel::runtime::ContainerConfig;

/// A process that is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The container that it is, or is run in.
    pub container: &'a ContainerConfig,
    /// Its command and arguments.
    pub command: &'a [String],
    /// Whether it is a command beside the container's own process.
    pub exec: bool,
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub(super) runs: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) every: Option<(Duration, Vec<u8>)>,
    pub(super) ends: Ends,
    /// Its exit code when it is asked to end; `None` takes no notice.
    pub(super) on_stop: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    After(Duration, i32),
    /// It copies its input to its output until then.
    WithInput(i32),
    Never,
}

impl Act {
    /// Runs until it is asked to end, then exits with 0.
    #[must_use]
    pub fn run() -> Self {
        Self { runs: true, stdout: Vec::new(), stderr: Vec::new(), every: None, ends: Ends::Never, on_stop: Some(0) }
    }

    /// Exits at once.
    #[must_use]
    pub fn exit(code: i32) -> Self {
        Self { ends: Ends::After(Duration::ZERO, code), ..Self::run() }
    }

    /// Exits after a while.
    #[must_use]
    pub fn exit_after(span: Duration, code: i32) -> Self {
        Self { ends: Ends::After(span, code), ..Self::run() }
    }

    /// Copies its input to its output until the input ends.
    #[must_use]
    pub fn copy() -> Self {
        Self { ends: Ends::WithInput(0), ..Self::run() }
    }

    /// Cannot be run.
    #[must_use]
    pub fn missing() -> Self {
        Self { runs: false, ..Self::run() }
    }

    /// Writes to its outputs when it begins.
    #[must_use]
    pub fn saying(mut self, stdout: impl Into<Vec<u8>>, stderr: impl Into<Vec<u8>>) -> Self {
        (self.stdout, self.stderr) = (stdout.into(), stderr.into());
        self
    }

    /// Writes to its standard output over and over.
    #[must_use]
    pub fn repeating(mut self, every: Duration, text: impl Into<Vec<u8>>) -> Self {
        self.every = Some((every, text.into()));
        self
    }

    /// Exits with `code` when it is asked to end.
    #[must_use]
    pub fn stopping_with(mut self, code: i32) -> Self {
        self.on_stop = Some(code);
        self
    }

    /// Takes no notice when it is asked to end.
    #[must_use]
    pub fn stubborn(mut self) -> Self {
        self.on_stop = None;
        self
    }

    /// What the words of its command say.
    ///
    /// `exit CODE [SECONDS]`, `say OUT ERR CODE`, `copy`, `tick`, `wait`, `stubborn` and `missing` are known. With any other word a
    /// container runs until it is asked to end, and a command in one exits with 0.
    #[must_use]
    pub fn of_words(launch: &Launch<'_>) -> Self {
        let words: Vec<&str> = launch.command.iter().map(String::as_str).collect();
        let code = |text: &str| text.parse().unwrap_or(1);
        match words[..] {
            ["exit", exit] => Self::exit(code(exit)),
            ["exit", exit, seconds] => {
                Self::exit_after(Duration::from_secs(seconds.parse().unwrap_or_default()), code(exit))
            }
            ["say", out, err, exit] => Self::exit(code(exit)).saying(format!("{out}\n"), format!("{err}\n")),
            ["copy"] => Self::copy(),
            ["wait"] => Self::run().saying("ready\n", ""),
            ["tick"] => Self { on_stop: None, ..Self::run().repeating(Duration::from_millis(50), "tick\n") },
            ["stubborn"] => Self::run().stubborn().saying("ready\n", ""),
            ["missing"] => Self::missing(),
            _ if launch.exec => Self::exit(0),
            _ => Self::run(),
        }
    }
}
