//! Runs one plugin: a process that is handed its words by environment and standard input, and answers on its output.
//!
//! Blocking. Who calls decides where that is, and ends it from elsewhere by [`Leash::kill`].

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use parking_lot::Mutex;
use windlass_kernel::{Error, ErrorKind, network::Attachment};

use crate::wire;

/// What a plugin may write to each of its outputs.
const LIMIT: u64 = 1 << 20;

/// What is run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    /// What the specification puts into the environment. All other `CNI_*` of our own are left out.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) input: Vec<u8>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
}

/// Ends a process that takes too long. Clones hold the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leash(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    group: Option<Pid>,
    cut: bool,
}

impl Leash {
    /// Kills the process with all that it started in its group; one that is still to be started is killed at its start.
    pub(crate) fn kill(&self) {
        let mut held = self.0.lock();
        held.cut = true;
        if let Some(group) = held.group {
            // It has not been waited for, so the number is still its own; it may have ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs it to its end.
pub(crate) fn run(job: &Job, leash: &Leash) -> io::Result<Done> {
    let (mut output, mut errors) = (paper()?, paper()?);
    let mut command = Command::new(&job.program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CNI_")) {
        command.env_remove(name);
    }
    command.envs(job.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(errors.try_clone()?).process_group(0);
    let mut child = start(&mut command, leash)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input to the end may still have done its work: its answer says so.
        let _ = input.write_all(&job.input);
    }
    let status = wait(&mut child, leash)?;
    Ok(Done { status, output: written(&mut output)?, errors: written(&mut errors)? })
}

fn start(command: &mut Command, leash: &Leash) -> io::Result<Child> {
    let mut held = leash.0.lock();
    // A program that was just written is busy while another thread's child still holds it open, between fork and exec.
    let child = loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && !held.cut => std::thread::yield_now(),
            done => break done?,
        }
    };
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    held.group = Some(group);
    if held.cut {
        let _ = killpg(group, Signal::SIGKILL);
    }
    Ok(child)
}

/// Waits without taking the status first, so that a kill never hits a number that was given to another process.
fn wait(child: &mut Child, leash: &Leash) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(nix::errno::Errno::EINTR) => {}
            done => break done.map(drop)?,
        }
    }
    let mut held = leash.0.lock();
    held.group = None;
    child.wait()
}

/// A file in memory that takes so much and no more: no pipe has to be emptied, and what the plugin leaves running keeps
/// nobody waiting.
fn paper() -> io::Result<File> {
    let file = File::from(memfd_create("cni", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(LIMIT)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW))?;
    Ok(file)
}

/// What was written: the file's position is shared with whoever wrote.
fn written(file: &mut File) -> io::Result<Vec<u8>> {
    let end = file.stream_position()?.min(LIMIT);
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(end).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the environment says of a call.
pub(crate) fn words(
    verb: &str,
    attachment: Option<&Attachment>,
    folders: &[PathBuf],
) -> Result<Vec<(&'static str, String)>, Error> {
    let path = std::env::join_paths(folders).map_err(|error| {
        Error::new(ErrorKind::Invalid, "a folder of plugins has ':' in its name").with_source(error)
    })?;
    let mut words = vec![("CNI_COMMAND", verb.to_owned()), ("CNI_PATH", path.to_string_lossy().into_owned())];
    if let Some(attachment) = attachment {
        // A namespace that is gone is not named: plugins clean up what they can without it.
        let namespace = attachment.namespace.as_ref().filter(|path| path.exists());
        let arguments = wire::arguments_to_wire(attachment);
        let arguments: Vec<_> = arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        words.extend([
            ("CNI_CONTAINERID", attachment.key.sandbox.to_string()),
            ("CNI_IFNAME", attachment.key.interface.clone()),
            ("CNI_NETNS", namespace.map(|path| path.display().to_string()).unwrap_or_default()),
            ("CNI_ARGS", arguments.join(";")),
        ]);
    }
    Ok(words)
}

/// The first of the folders that has the program.
///
/// A name is a single word: it cannot lead out of the folders.
pub(crate) fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return None;
    }
    folders.iter().map(|folder| folder.join(name)).find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What it said where it should have answered: the first line or so, for a message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let end = text.char_indices().nth(200).map_or(text.len(), |(at, _)| at);
    if end < text.len() { format!("{:?}…", &text[..end]) } else { format!("{text:?}") }
}
