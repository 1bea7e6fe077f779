//! What the disk itself can do: small appends, each made durable before the next.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Appends of 2 KB in a second, one at a time, into a file that is there already (as a log's segment is).
#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
pub(super) fn synced_appends(folder: &Path, time: Duration) -> Result<f64> {
    fs::create_dir_all(folder)?;
    let path = folder.join("appends");
    let chunk = [7_u8; 2048];
    let size = 64 << 20;
    fs::write(&path, vec![0; size]).with_context(|| format!("cannot write {}", path.display()))?;
    let mut file = File::options().write(true).open(&path)?;
    file.sync_all()?;
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < time && (done as usize) < size / chunk.len() {
        file.write_all(&chunk)?;
        file.sync_data()?;
        done += 1;
    }
    let rate = f64::from(done) / started.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(rate)
}
