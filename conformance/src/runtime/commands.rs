//! Commands and logs.

use std::time::Duration;

use futures::FutureExt;
use windlass_kernel::ErrorKind;

use super::{Check, ContainerState, Fixture, Program, always, refused};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_command_gives_its_outputs_and_its_code",
        clause: "ExecSync: stdout, stderr and exit_code of a command",
        needs: always,
        run: |f| command(f).boxed(),
    },
    Check {
        name: "a_command_past_its_timeout_is_a_timeout",
        clause: "ExecSyncRequest.timeout: seconds after which the command is stopped (DEADLINE_EXCEEDED)",
        needs: always,
        run: |f| timeout(f).boxed(),
    },
    Check {
        name: "a_command_needs_a_running_container",
        clause: "ExecSync: in a container that runs",
        needs: always,
        run: |f| not_running(f).boxed(),
    },
    Check {
        name: "a_log_has_a_record_per_line",
        clause: "ContainerConfig.log_path: below log_directory, in the format of CRI logs",
        needs: always,
        run: |f| log(f).boxed(),
    },
    Check {
        name: "a_renamed_log_is_made_anew",
        clause: "ReopenContainerLog: a new file at log_path",
        needs: always,
        run: |f| reopen(f).boxed(),
    },
];

pub(super) fn say(code: i32) -> Program {
    Program::Say { stdout: "to out".into(), stderr: "to err".into(), code }
}

/// Contract 10: two outputs and a code.
async fn command(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    for code in [0, 7] {
        let timeout = Some(Duration::from_secs(30));
        let done = fixture.runtime.exec(&id, &(fixture.command)(&say(code)), timeout).await.expect("a command runs");
        assert_eq!((done.code, &done.stdout[..], &done.stderr[..]), (code, &b"to out\n"[..], &b"to err\n"[..]));
    }
    pod.remove().await;
}

/// Contract 10: past the timeout.
async fn timeout(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let command = (fixture.command)(&Program::Stubborn);
    let answer = fixture.runtime.exec(&id, &command, Some(Duration::from_secs(1))).await;
    refused(answer, ErrorKind::Timeout);
    assert_eq!(fixture.status(&id).await.container.state, ContainerState::Running);
    pod.remove().await;
}

/// Contract 10: not in a container that does not run.
async fn not_running(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Exit(0)).await;
    fixture.exited(&id).await;
    refused(fixture.runtime.exec(&id, &(fixture.command)(&say(0)), None).await, ErrorKind::Conflict);
    pod.remove().await;
}

/// Contract 13: time, stream, tag, text.
async fn log(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &say(0)).await;
    let status = fixture.exited(&id).await;
    assert_eq!(status.log_path, format!("{}/{}-web.log", fixture.logs, fixture.prefix));
    let lines = fixture
        .until("both lines in the log", || async {
            let text = (fixture.read)(&status.log_path).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (lines.len() >= 2).then_some(lines)
        })
        .await;
    let mut records: Vec<_> = lines.iter().map(|line| line.splitn(4, ' ').collect::<Vec<_>>()).collect();
    records.sort_by_key(|record| record.get(1).copied());
    for record in &records {
        record[0].parse::<jiff::Timestamp>().expect("a record begins with a time");
    }
    let records: Vec<_> = records.iter().map(|record| record[1..].join(" ")).collect();
    assert_eq!(records, ["stderr F to err", "stdout F to out"]);
    pod.remove().await;
}

/// Contract 13: after a rename and a reopen there is a new file, and the old one grows no more.
async fn reopen(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Tick).await;
    let path = fixture.status(&id).await.log_path;
    let old = format!("{path}.old");
    let written = || async { (fixture.read)(&path).filter(|text| text.contains("tick")) };
    fixture.until("a first line", written).await;
    (fixture.rename)(&path, &old);
    fixture.runtime.reopen_log(&id).await.expect("a log is opened again");
    fixture.until("a line in the new log", written).await;
    let kept = (fixture.read)(&old);
    assert!(kept.as_ref().is_some_and(|text| text.contains("tick")), "the old log is there");
    pod.remove().await;
}
