//! `windlass down`: ends the control plane or the node where it runs, removes what its nodes left on the machine, and with `--purge`
//! the data directory.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use windlass::{
    kernel::{Clock, Error, ErrorKind},
    real::{Leftovers, native_note, remove_folder, socket_note},
    rim::{SystemClock, TokioSpawn},
};

use crate::{args::Down, containers::carrier, data::DataDir};

/// So long a control plane may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn run(down: &Down) -> Result<()> {
    let data = DataDir::of(&down.place);
    if !data.path().exists() {
        println!("there is no cluster in {}", data.path().display());
        return Ok(());
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(end(&data))?;
    runtime.block_on(clear(&data, down.purge))?;
    let (what, command) = if data.store().exists() { ("cluster", "up") } else { ("node", "node") };
    if down.purge {
        purge(&data)?;
        println!("the {what} in {} is gone", data.path().display());
    } else {
        println!("the {what} in {} is down; `windlass {command}` starts it again", data.path().display());
    }
    Ok(())
}

/// Removes what nodes with real containers left, while nobody starts any. Fake ones ended with their process.
async fn clear(data: &DataDir, purge: bool) -> Result<()> {
    let data_dir = std::path::absolute(data.path()).context("cannot tell where the data directory is")?;
    let note = socket_note(&data_dir);
    let socket = fs::read_to_string(&note).ok().map(|socket| socket.trim().into());
    let (clock, spawn) = (Arc::new(SystemClock::new()), Arc::new(TokioSpawn::current()));
    let carrier = native_note(&data_dir).exists().then(carrier).transpose()?;
    let leftovers = Leftovers { data_dir, socket, carrier, clock, spawn };
    if leftovers.exist() {
        println!("pods and their networks are removed");
        leftovers.remove(purge).await?;
    }
    Ok(())
}

/// Tells the process that holds the store or the node to end, and waits until it lets go.
async fn end(data: &DataDir) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let end = clock.uptime() + PATIENCE;
    let mut told = None;
    while let Some(holder) = holder(&data.store_lock())?.or(holder(&data.node_lock())?) {
        if told != Some(holder) {
            println!("process {holder} runs the cluster: told to end");
            kill(Pid::from_raw(holder), Signal::SIGTERM).map_err(|error| {
                let message = format!("cannot end process {holder}, which runs the cluster");
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            })?;
            told = Some(holder);
        }
        if clock.uptime() >= end {
            let message = format!("process {holder} does not end and holds {}", data.path().display());
            return Err(Error::new(ErrorKind::Unavailable, message).into());
        }
        clock.sleep_until(clock.uptime() + PAUSE).await;
    }
    Ok(())
}

/// Which process has the lock.
fn holder(path: &Path) -> Result<Option<i32>> {
    let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("cannot open {}", path.display());
            return Err(Error::new(ErrorKind::Unavailable, message).with_source(error).into());
        }
    };
    if file.try_lock().is_ok() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let pid = text.trim().strip_prefix("process ").and_then(|pid| pid.parse().ok());
    let unknown = || Error::new(ErrorKind::Unavailable, format!("another process holds {}: end it", path.display()));
    Ok(Some(pid.ok_or_else(unknown)?))
}

/// Removes a data directory, which must look like one: not any folder that a typing error names.
fn purge(data: &DataDir) -> Result<()> {
    if !(data.store_lock().exists() || data.node_lock().exists()) {
        let message = format!("{} holds no cluster and no node: nothing was removed", data.path().display());
        return Err(Error::new(ErrorKind::Invalid, message).into());
    }
    // A volume that is still mounted in there is not deleted with it.
    Ok(remove_folder(data.path())?)
}
