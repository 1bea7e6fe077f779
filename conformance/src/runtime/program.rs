//! What containers of the suite do.

/// What a container of the suite does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Writes [`READY`](Self::READY), and runs until it gets its stop signal, then exits with 0.
    Wait,
    /// Writes [`READY`](Self::READY), and runs and takes no notice of its stop signal.
    Stubborn,
    /// Exits at once.
    Exit(i32),
    /// Writes a line to each output, then exits.
    Say {
        /// The line of the standard output.
        stdout: String,
        /// The line of the standard error.
        stderr: String,
        /// The exit code.
        code: i32,
    },
    /// Copies its input to its output until the input ends.
    Copy,
    /// Writes `tick` over and over, some times a second.
    Tick,
    /// Cannot be run.
    Missing,
    /// Says a line to each who connects to a TCP port.
    Serve(u16),
    /// Writes the size of its terminal for each line that it reads, until one is `end`; then a line to its standard error.
    Terminal,
    /// Writes where it is, who it is, a variable of its environment and its arguments, each on a line.
    Tell {
        /// The variable's name.
        variable: &'static str,
    },
}

impl Program {
    /// What programs write that wait for a signal, once they have said how they take it.
    pub const READY: &str = "ready";

    /// What [`Serve`](Self::Serve) says.
    pub const GREETING: &str = "hello from a port\n";

    /// The program as a command for images with a POSIX shell, `cat`, `stty`, a `sleep` that takes fractions, and an `nc`
    /// that listens with `-l -p`: busybox has all of it.
    #[must_use]
    pub fn shell(&self) -> Vec<String> {
        let script = match self {
            Self::Wait => format!("trap 'exit 0' TERM; echo {}; while :; do sleep 0.05; done", Self::READY),
            Self::Stubborn => format!("trap '' TERM; echo {}; while :; do sleep 0.05; done", Self::READY),
            Self::Exit(code) => format!("exit {code}"),
            Self::Say { stdout, stderr, code } => format!("echo '{stdout}'; echo '{stderr}' >&2; exit {code}"),
            Self::Copy => "exec cat".to_owned(),
            Self::Tick => "while :; do echo tick; sleep 0.05; done".to_owned(),
            Self::Missing => return vec!["/does/not/exist".into()],
            Self::Serve(port) => format!(
                "command -v nc >/dev/null && nc=nc || nc='busybox nc'; while :; do echo '{}' | $nc -l -p {port}; done",
                Self::GREETING.trim_end()
            ),
            Self::Terminal => {
                "while read line && [ \"$line\" != end ]; do stty size; done; echo to-err >&2; exit 4".to_owned()
            }
            // The arguments of a shell's script begin with its name.
            Self::Tell { variable } => format!("pwd; id -u; echo \"${variable}\"; echo \"$0 $*\""),
        };
        vec!["/bin/sh".into(), "-c".into(), script]
    }

    /// The program as words, for runtimes that play what their commands say, as the testkit's fake does.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Wait => &["wait"],
            Self::Stubborn => &["stubborn"],
            Self::Exit(code) => &["exit", &code.to_string()],
            Self::Say { stdout, stderr, code } => &["say", stdout, stderr, &code.to_string()],
            Self::Copy => &["copy"],
            Self::Tick => &["tick"],
            Self::Missing => &["missing"],
            Self::Serve(port) => &["serve", &port.to_string()],
            Self::Terminal => &["terminal"],
            Self::Tell { variable } => &["tell", variable],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}
