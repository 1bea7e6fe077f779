//! The few commands that every simulated container knows. They do what they do everywhere, as far as they go.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use windlass_kernel::runtime::ExecOutput;

/// Runs `echo`, `true`, `false`, `exit N`, and on what is mounted `cat`, `ls` and `test`; other commands are not found.
/// `at` says where a path of the container is.
pub(super) fn run(command: &[String], at: &dyn Fn(&str) -> Option<PathBuf>) -> ExecOutput {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let words = match words[..] {
        ["sh" | "/bin/sh", "-c", line] => line.split_whitespace().collect(),
        _ => words,
    };
    match words[..] {
        ["echo", ..] => said(0, format!("{}\n", words[1..].join(" "))),
        ["true" | "cat"] => said(0, ""),
        ["false"] => said(1, ""),
        ["exit", code] => said(code.parse().unwrap_or(2), ""),
        ["cat", ..] => each(&words, at, |path| fs::read(path)),
        ["ls", ..] => each(&words, at, list),
        ["test", what, path] => said(i32::from(!at(path).is_some_and(|path| holds(what, &path))), ""),
        _ => failed(127, &format!("{}: not found\n", words.first().unwrap_or(&""))),
    }
}

/// What is done with each path that follows the command's name.
fn each(
    words: &[&str],
    at: &dyn Fn(&str) -> Option<PathBuf>,
    work: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> ExecOutput {
    let (mut out, mut err) = (Vec::new(), String::new());
    for word in &words[1..] {
        let missing = || io::Error::from_raw_os_error(2);
        match at(word).ok_or_else(missing).and_then(|path| work(&path)) {
            Ok(text) => out.extend(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                err.push_str(&format!("{}: {word}: No such file or directory\n", words[0]));
            }
            Err(error) => err.push_str(&format!("{}: {word}: {error}\n", words[0])),
        }
    }
    ExecOutput { code: i32::from(!err.is_empty()), stdout: out.into(), stderr: err.into() }
}

fn list(path: &Path) -> io::Result<Vec<u8>> {
    if !path.is_dir() {
        return fs::metadata(path).map(|_| format!("{}\n", path.display()).into_bytes());
    }
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names.iter().map(|name| format!("{name}\n")).collect::<String>().into_bytes())
}

fn holds(what: &str, path: &Path) -> bool {
    match what {
        "-e" => path.exists(),
        "-f" => path.is_file(),
        "-d" => path.is_dir(),
        "-s" => fs::metadata(path).is_ok_and(|meta| meta.len() > 0),
        _ => false,
    }
}

fn said(code: i32, out: impl Into<String>) -> ExecOutput {
    ExecOutput { code, stdout: out.into().into(), ..ExecOutput::default() }
}

fn failed(code: i32, err: &str) -> ExecOutput {
    ExecOutput { code, stderr: err.to_owned().into(), ..ExecOutput::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, code: i32, out: &str, err: &str) {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path();
        fs::create_dir(folder.join("sub")).unwrap();
        fs::write(folder.join("a"), "1\n").unwrap();
        let at = |path: &str| path.strip_prefix("/etc/x").map(|rest| folder.join(rest.trim_start_matches('/')));
        let ran = run(&["sh".into(), "-c".into(), line.into()], &at);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!((ran.code, &*text(&ran.stdout), &*text(&ran.stderr)), (code, out, err), "{line}");
    }

    #[test]
    fn commands_do_what_they_do_everywhere() {
        check("echo a b", 0, "a b\n", "");
        check("exit 3", 3, "", "");
        check("cat /etc/x/a /etc/x/a", 0, "1\n1\n", "");
        check("cat /etc/x/b", 1, "", "cat: /etc/x/b: No such file or directory\n");
        check("cat /elsewhere", 1, "", "cat: /elsewhere: No such file or directory\n");
        check("ls /etc/x", 0, "a\nsub\n", "");
        check("test -f /etc/x/a", 0, "", "");
        check("test -f /etc/x/sub", 1, "", "");
        check("nope", 127, "", "nope: not found\n");
    }
}
