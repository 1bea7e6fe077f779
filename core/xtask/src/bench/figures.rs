//! Which figures there are, and in what order they are taken. Each group has a cluster of its own in an empty folder.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};

use super::{
    Bench, Figure, agent,
    client::{Protocol, Target},
    cni, disk, etcd,
    list::{self, Plain},
    load::{self, Kind, Outcome, Until},
    pod,
    process::{self, Usage},
    rules,
    server::Server,
    table::{
        Figures,
        Limit::{AtLeast, None as Beside, Under},
    },
};
use crate::system;

const CREATED: usize = 1536;
const LISTED: usize = 2048;
const MIB: f64 = 1024.0 * 1024.0;

struct Run<'a> {
    bench: &'a Bench,
    windlass: &'a Path,
    table: Figures,
}

pub(super) fn run(bench: &Bench) -> Result<()> {
    if let Some(bridge) = &bench.measure_cni {
        return cni::measure(bridge, bench.runs.unwrap_or(1));
    }
    // One thread, so that the generator leaves the other cores to what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(bytes) = bench.serve_bytes {
        return runtime.block_on(list::serve(bytes));
    }
    let windlass = bench.windlass.as_deref().context("say which --windlass to measure")?;
    let mut run = Run { bench, windlass, table: Figures::new() };
    let done = runtime.block_on(run.all());
    // What was measured before something failed took minutes.
    println!("{}\n\n{}", machine(), run.table);
    done
}

impl Run<'_> {
    async fn all(&mut self) -> Result<()> {
        if self.wants(Figure::Start) {
            self.start()?;
        }
        if self.wants(Figure::InProcess) {
            self.in_process()?;
        }
        if self.wants(Figure::Idle) || self.wants(Figure::List) {
            self.rest().await?;
        }
        if self.wants(Figure::Create) {
            self.creates().await?;
        }
        if self.wants(Figure::Raw) {
            self.raw().await?;
        }
        if self.wants(Figure::Cni) {
            let runs = self.bench.runs.unwrap_or(if self.bench.quick { 21 } else { 101 }).max(1);
            cni::run(&mut self.table, self.bench.bridge.as_deref(), runs)?;
        }
        if let Some(kubeconfig) = &self.bench.kubeconfig {
            self.peer(&Target::read(kubeconfig)?).await?;
        }
        if self.wants(Figure::Pod) {
            pod::run(&mut self.table);
        }
        if self.wants(Figure::Rules) {
            rules::run(&mut self.table);
        }
        if self.wants(Figure::Agent) {
            agent::run(self.windlass, &mut self.table);
        }
        Ok(())
    }

    fn wants(&self, figure: Figure) -> bool {
        self.bench.only.is_empty() || self.bench.only.contains(&figure)
    }

    fn or(&self, asked: Option<u64>, quick: u64, usual: u64) -> Duration {
        Duration::from_secs(asked.unwrap_or(if self.bench.quick { quick } else { usual }))
    }

    fn server(&self) -> Result<Server> {
        Server::start(self.windlass, &self.bench.data_dir.join("cluster"))
    }

    fn start(&mut self) -> Result<()> {
        let runs = self.bench.runs.unwrap_or(if self.bench.quick { 11 } else { 31 }).max(1);
        let took: Result<Vec<f64>> = (0..runs).map(|_| Ok(self.server()?.took.as_secs_f64() * 1e3)).collect();
        let mut took = took?;
        took.sort_unstable_by(f64::total_cmp);
        let beside = format!("median of {runs}, {:.0} to {:.0}", took[0], took[runs - 1]);
        self.table.add("process start to the API answering", Under(100.0), took[runs / 2], "ms", &beside);
        Ok(())
    }

    fn in_process(&mut self) -> Result<()> {
        let figures = [
            ("in-process cluster with memory store, to its first answer", Under(20.0), "ms"),
            ("  create of a pod of 1.5 KB with full admission", Under(60.0), "us"),
            ("  get of a pod", Under(2.0), "us"),
        ];
        let Some(program) = &self.bench.in_process else {
            for (figure, limit, unit) in figures {
                self.table.absent(figure, &limit.text(unit), "not measured: no --in-process");
            }
            return Ok(());
        };
        let output = Command::new(program).arg("--bench").output().context("cannot run the in-process benchmark")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |name: &str| {
            let word = text.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
            word.and_then(|digits| digits.parse::<f64>().ok()).with_context(|| format!("it did not say {name}"))
        };
        let beside = format!("first of its process; median of later ones {:.1}", number("median_us=")? / 1e3);
        let measured = [number("first_us=")? / 1e3, number("create_ns=")? / 1e3, number("get_ns=")? / 1e3];
        let beside = [beside.as_str(), "one after the other, without controllers", ""];
        for (((figure, limit, unit), value), beside) in figures.into_iter().zip(measured).zip(beside) {
            self.table.add(figure, limit, value, unit, beside);
        }
        Ok(())
    }

    /// The idle cluster; the large list; the same cluster idle again.
    async fn rest(&mut self) -> Result<()> {
        let server = self.server()?;
        let pid = [server.pid()];
        if self.wants(Figure::Idle) {
            let settle = self.or(self.bench.settle, 10, 60);
            sleep(settle).await;
            kubectl_get(&server).await?;
            let beside = format!("{} s after ready", settle.as_secs());
            let resident = process::resident(server.pid())? as f64 / MIB;
            self.table.add("resident memory of the idle control plane", Under(30.0), resident, "MB", &beside);
            self.idle("idle", server.pid()).await?;
        }
        let target = server.target()?;
        let before = process::resident(server.pid())?;
        load::namespace(&target, "bench-rest").await?;
        let place = ("bench-rest", Kind::Running, LISTED);
        let made = load::create(&target, &pid, place, self.bench.clients, Until::Count(self.bench.pods)).await?;
        quiet(server.pid()).await?;
        if self.wants(Figure::List) {
            self.list(&target, "bench-rest").await?;
        }
        if self.wants(Figure::Idle) {
            let held = (process::resident(server.pid())?.saturating_sub(before)) as f64 / made.done as f64 / 1024.0;
            self.table.add("resident memory for each running pod of 2 KB", Beside, held, "KB", "");
            self.idle(&format!("idle with {} pods", made.done), server.pid()).await?;
        }
        Ok(())
    }

    async fn idle(&mut self, what: &str, pid: u32) -> Result<()> {
        let period = self.or(self.bench.idle, 60, 600);
        let before = Usage::of(&[pid])?;
        sleep(period).await;
        let used = Usage::of(&[pid])? - before;
        let beside = format!("in {} s", period.as_secs());
        // The limit is for ten minutes; a shorter period must write less.
        let limit = 100.0 * (period.as_secs_f64() / 600.0);
        let written = used.written as f64 / 1024.0;
        self.table.add(&format!("{what}: bytes written"), Under(limit), written, "KB", &beside);
        let cpu = used.cpu.as_secs_f64() / period.as_secs_f64() * 100.0;
        self.table.add(&format!("{what}: CPU"), Under(0.5), cpu, "% of a core", &beside);
        Ok(())
    }

    async fn list(&mut self, target: &Target, namespace: &str) -> Result<()> {
        let times = if self.bench.quick { 5 } else { 15 };
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        for protocol in [Protocol::One, Protocol::Two] {
            let ours = list::read(target, &path, protocol, times).await?;
            let plain = Plain::start(ours.bytes)?;
            let same = list::read(&plain.target, "/", Protocol::One, times).await?;
            let ratio = ours.median.as_secs_f64() / same.median.as_secs_f64();
            let beside = format!(
                "{:.1} MB in {:.1} ms; the same bytes in {:.1} ms",
                ours.bytes as f64 / 1e6,
                ours.median.as_secs_f64() * 1e3,
                same.median.as_secs_f64() * 1e3,
            );
            let figure = format!("LIST {} pods over HTTP/{}", self.bench.pods, version(protocol));
            self.table.add(&figure, Under(3.0), ratio, "times the same bytes", &beside);
        }
        Ok(())
    }

    async fn creates(&mut self) -> Result<()> {
        for (kind, name) in [(Kind::Pending, "pods"), (Kind::ConfigMap, "config maps")] {
            let server = self.server()?;
            let target = server.target()?;
            load::namespace(&target, "bench-load").await?;
            let made = self.load(&target, &[server.pid()], "bench-load", kind).await?;
            let figure = format!("durable creates of {name} of 1.5 KB, {} HTTPS clients", self.bench.clients);
            self.table.add(&figure, AtLeast(5000.0), made.rate(), "/s", &latency(&made));
            self.table.add("  server CPU for each", Under(200.0), made.cpu_micros(), "us", "");
        }
        Ok(())
    }

    async fn load(&self, target: &Target, pids: &[u32], namespace: &str, kind: Kind) -> Result<Outcome> {
        let until = Until::After(self.or(self.bench.seconds, 5, 20));
        load::create(target, pids, (namespace, kind, CREATED), self.bench.clients, until).await
    }

    async fn raw(&mut self) -> Result<()> {
        let (folder, time) = (&self.bench.data_dir, self.or(self.bench.seconds, 3, 10));
        let appends = disk::synced_appends(folder, time)?;
        let each = format!("{:.2} ms each", 1e3 / appends);
        self.table.add("raw: appends of 2 KB with fdatasync, one by one", Beside, appends, "/s", &each);
        let figure = format!("raw: etcd puts of 1.5 KB, {} clients in the clear", self.bench.clients);
        match etcd::puts(folder, self.bench.clients, CREATED, time).await? {
            None => self.table.absent(&figure, "", "absent: no etcd on the path"),
            Some(puts) => {
                self.table.add(&figure, Beside, puts.rate, "/s", &format!("{:.0} us of CPU each", puts.cpu_micros));
            }
        }
        Ok(())
    }

    /// Another API server: what can be asked from outside.
    async fn peer(&mut self, target: &Target) -> Result<()> {
        let namespace = format!("bench-{}", std::process::id());
        load::namespace(target, &namespace).await?;
        let pids = &self.bench.pid;
        for (kind, name) in [(Kind::Pending, "pods"), (Kind::ConfigMap, "config maps")] {
            let made = self.load(target, pids, &namespace, kind).await?;
            let figure = format!("peer: durable creates of {name} of 1.5 KB, {} clients", self.bench.clients);
            self.table.add(&figure, Beside, made.rate(), "/s", &latency(&made));
            if !pids.is_empty() {
                self.table.add("  peer CPU for each", Beside, made.cpu_micros(), "us", "");
            }
        }
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let read = list::read(target, &path, Protocol::Two, 5).await?;
        let took = read.median.as_secs_f64() * 1e3;
        self.table.add("peer: LIST of those pods", Beside, took, "ms", &format!("{:.1} MB", read.bytes as f64 / 1e6));
        for pid in pids {
            let resident = process::resident(*pid)? as f64 / MIB;
            self.table.add(&format!("peer: resident memory of process {pid}"), Beside, resident, "MB", "afterwards");
        }
        load::forget(target, &namespace).await
    }
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::One => "1.1",
        Protocol::Two => "2",
    }
}

fn latency(made: &Outcome) -> String {
    format!("median {:.1} ms, 99th {:.1} ms", made.median.as_secs_f64() * 1e3, made.slow.as_secs_f64() * 1e3)
}

/// What the first `kubectl get` asks; kubectl itself where it is installed.
async fn kubectl_get(server: &Server) -> Result<()> {
    if system::present("kubectl") {
        let mut command = Command::new("kubectl");
        // Its cache of discovery must not spare the server the questions.
        let fresh = server.kubeconfig().with_file_name("kube-cache");
        command.args(["get", "nodes", "--cache-dir"]).arg(fresh).arg("--kubeconfig").arg(server.kubeconfig());
        let output = command.output().context("cannot run kubectl")?;
        if !output.status.success() {
            bail!("kubectl get nodes failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        return Ok(());
    }
    let mut connection = server.target()?.connect(Protocol::Two).await?;
    for path in ["/api", "/apis", "/api/v1/nodes?limit=500"] {
        let (status, _) = connection.send(Method::GET, path, Bytes::new()).await?;
        if status != StatusCode::OK {
            bail!("GET {path} answered {status}");
        }
    }
    Ok(())
}

/// Waits until a process rests: a node takes its time to start thousands of pods.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
async fn quiet(pid: u32) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(900) {
        let before = Usage::of(&[pid])?;
        sleep(Duration::from_secs(2)).await;
        if (Usage::of(&[pid])? - before).cpu < Duration::from_millis(30) {
            return Ok(());
        }
    }
    eprintln!("the server is still busy a quarter of an hour after the last create; what follows is not rest");
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The machine, in a line.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let memory = read("/proc/meminfo");
    let kib: u64 = memory.split_ascii_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    format!(
        "{} cores of {}, {} GB, Linux {}",
        cpu.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        kib >> 20,
        read("/proc/sys/kernel/osrelease").trim(),
    )
}
