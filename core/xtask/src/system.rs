//! What the commands need from the operating system, and how they get it: Debian packages, announced first.

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

/// A tool, and the package that holds it.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// What real containers, networks and services need on a node.
pub(crate) const NODE: &[Tool] = &[
    Tool { program: "containerd", package: "containerd" },
    Tool { program: "runc", package: "runc" },
    Tool { program: "/usr/lib/cni/bridge", package: "containernetworking-plugins" },
    Tool { program: "iptables", package: "iptables" },
    Tool { program: "nft", package: "nftables" },
    Tool { program: "conntrack", package: "conntrack" },
    Tool { program: "ip", package: "iproute2" },
    Tool { program: "busybox", package: "busybox-static" },
];

/// What the client of containerd's own services is built with.
pub(crate) const PROTOC: &[Tool] = &[
    Tool { program: "protoc", package: "protobuf-compiler" },
    Tool { program: "/usr/include/google/protobuf/descriptor.proto", package: "libprotobuf-dev" },
];

/// What the example images and tests are made of.
pub(crate) const EXAMPLES: &[Tool] = &[
    Tool { program: "cc", package: "gcc" },
    Tool { program: "redis-server", package: "redis-server" },
    Tool { program: "/usr/sbin/nginx", package: "nginx-light" },
    Tool { program: "/usr/sbin/mariadbd", package: "mariadb-server-core" },
    Tool { program: "/usr/bin/mariadb", package: "mariadb-client-core" },
];

/// What the Python package is built and tested with.
pub(crate) const PYTHON: &[Tool] = &[Tool { program: "python3", package: "python3-venv" }];

/// Installs what is missing. Says what and how before it does, and does nothing where all is there.
pub(crate) fn install(tools: &[&[Tool]]) -> Result<()> {
    let missing: Vec<&str> =
        tools.iter().copied().flatten().filter(|tool| !present(tool.program)).map(|tool| tool.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing system packages: {}", missing.join(" "));
    if !present("apt-get") {
        bail!("cannot install them without apt-get: install them by hand, or use --runtime fake");
    }
    let mut sudo: Vec<&str> = if root() { vec![] } else { vec!["sudo"] };
    if !root() && !present("sudo") {
        bail!("cannot install them without root or sudo: run as root, or use --runtime fake");
    }
    sudo.extend(["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q", "-y"]);
    let quiet = Quiet::begin();
    run(&[&sudo[..], &["update"]].concat())?;
    run(&[&sudo[..], &["install", "--no-install-recommends"], &missing[..]].concat())?;
    drop(quiet);
    Ok(())
}

/// While it lives, packages that are installed start no daemons: we want programs, not a web server on port 80.
#[derive(Debug)]
struct Quiet(Option<&'static Path>);

impl Quiet {
    fn begin() -> Self {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        // Debian's way to ask (invoke-rc.d): 101 forbids. One that is there already is the administrator's.
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(policy);
        let written = made.and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n"));
        Self(written.is_ok().then_some(policy))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            // Were it to stay, it would only keep daemons from starting, as it did.
            let _ = fs::remove_file(policy);
        }
    }
}

/// Runs this same command as root in this one's place. Root has no Rust toolchain of its own, so it gets the user's.
pub(crate) fn again_as_root() -> Result<()> {
    let own = |name: &str, folder: &str| {
        let usual = || env::var_os("HOME").map(|home| Path::new(&home).join(folder).into_os_string());
        env::var_os(name).or_else(usual)
    };
    let mut command = Command::new("sudo");
    command.arg("env");
    for (name, value) in [
        ("PATH", env::var_os("PATH")),
        ("CARGO_HOME", own("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME", own("RUSTUP_HOME", ".rustup")),
        ("CARGO_TARGET_DIR", env::var_os("CARGO_TARGET_DIR")),
    ] {
        if let Some(value) = value {
            let mut word = OsString::from(format!("{name}="));
            word.push(value);
            command.arg(word);
        }
    }
    command.arg(env::current_exe().context("cannot tell which program this is")?).args(env::args_os().skip(1));
    println!("real containers need root: this goes on by sudo");
    Err(command.exec()).context("cannot run sudo")
}

/// Whether the process may do everything.
pub(crate) fn root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a program is on the path, or a file is there.
pub(crate) fn present(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    // Daemons live where users' paths do not always look.
    let extra = ["/usr/sbin", "/sbin"].map(Into::into);
    env::split_paths(&paths).chain(extra).any(|folder| folder.join(program).is_file())
}

/// Runs a command, shown first, and fails where it does.
pub(crate) fn run(command: &[&str]) -> Result<()> {
    println!("$ {}", command.join(" "));
    let status =
        Command::new(command[0]).args(&command[1..]).status().with_context(|| format!("cannot run {}", command[0]))?;
    if !status.success() {
        bail!("{} ended with {status}", command.join(" "));
    }
    Ok(())
}
