//! The Python package: its wheel is built, installed in a clean virtual environment, and tested there.
//!
//! What comes from PyPI is kept in `target/python`, so that later runs need no network.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{test::Counts, tidy::root};

/// What builds the wheel.
const MATURIN: &str = "maturin==1.16.0";
/// What the tests import, with exact versions.
const REQUIREMENTS: &str = "bindings/python/tests/requirements.txt";
/// What the figures compare with.
const COMPARED: &str = "bindings/python/benches/requirements.txt";

/// How the wheel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As tests are: cheap, and it checks its own arithmetic.
    Dev,
    /// As users get it.
    Release,
}

/// Builds the wheel, installs it where nothing else is, and runs its tests there.
pub(crate) fn test(place: &Place, arguments: &[String]) -> Result<Counts> {
    let wheel = place.wheel(Profile::Dev)?;
    let python = place.environment("test", &wheel)?;
    let tests = root().join("bindings/python");
    // By its own name: `python -m` would find the package's source in this folder instead of the wheel.
    let mut pytest = Command::new(python.with_file_name("pytest"));
    pytest.args(["--color=no", "-q", "-ra"]).args(arguments).current_dir(tests);
    pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("WINDLASS_WHEEL_IN", place.folder.join("test"));
    println!("$ pytest (bindings/python)");
    let mut child = pytest.stdout(Stdio::piped()).spawn().context("cannot run pytest")?;
    let output = child.stdout.take().context("pytest has an output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what pytest prints")?;
        counts.add_pytest(&line);
        println!("{line}");
    }
    let status = child.wait().context("cannot wait for pytest")?;
    if counts.none() {
        bail!("pytest ended with {status} and ran no test");
    }
    if !status.success() && counts.sound() {
        bail!("pytest ended with {status}");
    }
    Ok(counts)
}

/// Builds the wheel as users get it and measures it.
pub(crate) fn bench(quick: bool) -> Result<()> {
    let place = Place::open()?;
    let wheel = place.wheel(Profile::Release)?;
    let python = place.environment("bench", &wheel)?;
    let compared = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", COMPARED];
    if let Err(error) = run(&python, compared) {
        println!("what it is compared with is not there: {error}");
    }
    let mut figures = Command::new(&python);
    // Elsewhere than beside the package's source, so that the wheel is what is imported.
    figures.arg(root().join("bindings/python/benches/figures.py")).current_dir(&place.folder);
    figures.env("WINDLASS_WHEEL", &wheel);
    if quick {
        figures.arg("--quick");
    }
    let status = figures.status().context("cannot run the figures")?;
    if !status.success() {
        bail!("the figures ended with {status}");
    }
    Ok(())
}

/// Where wheels and environments are kept.
pub(crate) struct Place {
    python: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Finds an interpreter and makes the folder.
    pub(crate) fn open() -> Result<Self> {
        let python = interpreter()?;
        let folder = root().join("target/python");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { python, folder })
    }

    /// Builds the wheel.
    pub(crate) fn wheel(&self, profile: Profile) -> Result<PathBuf> {
        let tools = self.virtualenv("tools")?;
        if !tools.with_file_name("maturin").is_file() {
            run(&tools, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MATURIN])?;
        }
        let profile = if profile == Profile::Release { "release" } else { "dev" };
        let out = self.folder.join("wheels").join(profile);
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
        }
        let mut maturin = Command::new(tools.with_file_name("maturin"));
        maturin.args(["build", "--quiet", "--locked", "--profile", profile, "--interpreter"]).arg(&self.python);
        maturin.arg("--out").arg(&out).current_dir(root().join("bindings/python"));
        println!("$ maturin build --profile {profile}");
        if !maturin.status().context("cannot run maturin")?.success() {
            bail!("cannot build the wheel");
        }
        let made = fs::read_dir(&out).context("cannot list the wheels")?.next().context("maturin made no wheel")?;
        Ok(made?.path())
    }

    /// A new environment with the wheel and what its tests import. Says where its interpreter is.
    pub(crate) fn environment(&self, name: &str, wheel: &Path) -> Result<PathBuf> {
        let kept = self.requirements()?;
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let python = self.virtualenv(name)?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--find-links"];
        let rest = [kept.as_os_str(), "-r".as_ref(), REQUIREMENTS.as_ref(), wheel.as_os_str()];
        run(&python, install.iter().map(OsStr::new).chain(rest))?;
        Ok(python)
    }

    /// What the tests import, downloaded once for each list of it and each interpreter.
    fn requirements(&self) -> Result<PathBuf> {
        let list = fs::read_to_string(root().join(REQUIREMENTS));
        let list = list.with_context(|| format!("cannot read {REQUIREMENTS}"))?;
        let asked = Command::new(&self.python).arg("-VV").output().context("cannot run python")?;
        let wanted = format!("{}{list}", String::from_utf8_lossy(&asked.stdout));
        let (kept, note) = (self.folder.join("kept"), self.folder.join("kept/requirements.txt"));
        if fs::read_to_string(&note).is_ok_and(|known| known == wanted) {
            return Ok(kept);
        }
        let download =
            ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS, "--dest"];
        run(&self.python, download.iter().map(OsStr::new).chain([kept.as_os_str()]))?;
        fs::write(&note, wanted).with_context(|| format!("cannot write {}", note.display()))?;
        Ok(kept)
    }

    fn virtualenv(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        let python = folder.join("bin/python");
        if !python.exists() {
            run(&self.python, [OsStr::new("-m"), "venv".as_ref(), folder.as_os_str()])?;
        }
        Ok(python)
    }
}

/// The Python that the package is built and tested for: `$PYTHON`, or the first new enough one on the path.
fn interpreter() -> Result<PathBuf> {
    if let Some(named) = env::var_os("PYTHON") {
        return Ok(named.into());
    }
    for name in ["python3", "python3.13", "python3.12", "python3.11", "python3.10"] {
        let fits = "import sys, venv; sys.exit(sys.version_info < (3, 10))";
        let check = Command::new(name).args(["-c", fits]).stderr(Stdio::null()).status();
        if check.is_ok_and(|status| status.success()) {
            return Ok(name.into());
        }
    }
    bail!("no python3 of 3.10 or newer with its venv module: install one, or name it in PYTHON")
}

fn run(python: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let mut command = Command::new(python);
    command.args(arguments).current_dir(root());
    let status = command.status().with_context(|| format!("cannot run {}", python.display()))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
