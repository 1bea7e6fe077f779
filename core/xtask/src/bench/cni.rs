//! CNI ADD by our bridge and by Debian's, in turn, in namespaces of this process.
//!
//! The lab must be entered before there are threads, so the measuring is a process of its own that prints what it measured.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use windlass_cni::lab::Lab;

use super::table::{
    Figures,
    Limit::{AtLeast, None as Beside},
};

const DEBIAN: &str = "/usr/lib/cni";

/// Why it cannot be measured here, if it cannot.
fn missing() -> Option<String> {
    let absent = ["bridge", "host-local"].iter().any(|plugin| !Path::new(DEBIAN).join(plugin).exists());
    Lab::missing().or_else(|| absent.then(|| "not measured: no containernetworking-plugins".into()))
}

/// Has it measured, and adds the figures.
pub(super) fn run(table: &mut Figures, bridge: Option<&Path>, runs: usize) -> Result<()> {
    let figure = "CNI ADD by windlass-bridge, times as fast as Debian's bridge";
    let why = missing().or_else(|| bridge.is_none().then(|| "not measured: no --bridge".into()));
    let (Some(bridge), None) = (bridge, &why) else {
        table.absent(figure, ">= 2", &why.unwrap_or_default());
        return Ok(());
    };
    let own = std::env::current_exe().context("cannot tell which program this is")?;
    let measured = Command::new(own)
        .args(["bench", "--measure-cni"])
        .arg(bridge)
        .args(["--runs", &runs.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run the measuring of CNI")?;
    let json: Value = serde_json::from_slice(&measured.stdout).context("the measuring of CNI said nothing")?;
    for case in ["plain", "masquerade"] {
        let median = |who: &str| json[case][who].as_f64().context("a median is missing");
        let (ours, theirs) = (median("windlass")?, median("debian")?);
        let beside = format!("{case}: {ours:.1} ms against {theirs:.1} ms, medians of {runs}");
        table.add(figure, AtLeast(2.0), theirs / ours, "", &beside);
        let del = |who: &str| json[case][format!("{who} del")].as_f64().context("a median is missing");
        let beside = format!("{case}: Debian's {:.1} ms", del("debian")?);
        table.add("CNI DEL by windlass-bridge", Beside, del("windlass")?, "ms", &beside);
    }
    Ok(())
}

/// Measures, and prints medians in milliseconds.
pub(super) fn measure(bridge: &Path, runs: usize) -> Result<()> {
    let lab = Lab::enter()?;
    let mut all = json!({});
    for (at, case) in ["plain", "masquerade"].into_iter().enumerate() {
        let ours = Plugin::new(bridge, "windlass-bridge", at, case == "masquerade");
        let theirs = Plugin::new(&Path::new(DEBIAN).join("bridge"), "bridge", at + 2, case == "masquerade");
        let mut took = [vec![], vec![], vec![], vec![]];
        for run in 0..=runs {
            for (who, plugin) in [(0, &ours), (1, &theirs)] {
                let pod = lab.pod(&format!("{case}-{run}-{who}"))?;
                let add = plugin.call("ADD", &pod)?;
                let del = plugin.call("DEL", &pod)?;
                lab.remove_pod(&pod)?;
                // The first of each makes the bridge.
                if run > 0 {
                    took[who].push(add);
                    took[who + 2].push(del);
                }
            }
        }
        let [ours, theirs, ours_del, theirs_del] = took.map(median);
        all[case] = json!({"windlass": ours, "debian": theirs, "windlass del": ours_del, "debian del": theirs_del});
    }
    println!("{all}");
    Ok(())
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took.get(took.len() / 2).map_or(f64::NAN, |middle| middle.as_secs_f64() * 1e3)
}

struct Plugin {
    program: PathBuf,
    config: String,
}

impl Plugin {
    fn new(program: &Path, kind: &str, number: usize, masquerade: bool) -> Self {
        let config = json!({
            "cniVersion": "1.0.0", "name": format!("bench{number}"), "type": kind, "bridge": format!("bench{number}"),
            "isGateway": true, "ipMasq": masquerade, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "subnet": format!("10.{}.0.0/16", 100 + number), "routes": [{"dst": "0.0.0.0/0"}],
            },
        });
        Self { program: program.to_owned(), config: config.to_string() }
    }

    /// One call, from before the process starts until it has ended.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
    fn call(&self, verb: &str, pod: &Path) -> Result<Duration> {
        let name = pod.file_name().unwrap_or_default();
        let mut command = Command::new(&self.program);
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", name).env("CNI_NETNS", pod);
        command.env("CNI_IFNAME", "eth0").env("CNI_PATH", DEBIAN);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        child.stdin.take().context("a plugin has an input")?.write_all(self.config.as_bytes())?;
        let done = child.wait_with_output()?;
        let took = started.elapsed();
        if !done.status.success() {
            bail!("{} {verb}: {}", self.program.display(), String::from_utf8_lossy(&done.stdout));
        }
        Ok(took)
    }
}
