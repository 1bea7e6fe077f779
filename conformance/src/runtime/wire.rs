//! What CRI servers answer to messages word by word.

use std::time::Duration;

use futures::FutureExt;

use super::{Check, ContainerState, Fixture, Program, RawAnswer, RawCall};
use crate::proto::{Message, field, find};

const OK: i32 = 0;
const CANCELLED: i32 = 1;
const DEADLINE_EXCEEDED: i32 = 4;
const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;

/// An id that nothing has.
const NEVER: &str = "0123456789abcdef";

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "an_empty_message_is_refused_where_fields_are_required",
        clause: "RunPodSandboxRequest.config, CreateContainerRequest, ExecRequest and others: required fields",
        needs: without_raw,
        run: |f| empty(f).boxed(),
    },
    Check {
        name: "garbage_is_refused_and_the_runtime_lives_on",
        clause: "gRPC: a message that cannot be read is an error of that call",
        needs: without_raw,
        run: |f| garbage(f).boxed(),
    },
    Check {
        name: "a_call_that_nobody_has_is_unimplemented",
        clause: "gRPC: UNIMPLEMENTED for a method that is not known",
        needs: without_raw,
        run: |f| unknown(f).boxed(),
    },
    Check {
        name: "what_is_not_there_is_not_found",
        clause: "PodSandboxStatus, ContainerStatus, ExecSync and others: an error where it is not present (NOT_FOUND)",
        needs: without_raw,
        run: |f| absent(f).boxed(),
    },
    Check {
        name: "an_image_that_is_not_there_is_an_empty_answer",
        clause: "ImageStatusResponse.image: not set where the image is not present, and no error",
        needs: without_raw,
        run: |f| absent_image(f).boxed(),
    },
    Check {
        name: "each_opposite_succeeds_on_what_is_gone",
        clause: "StopPodSandbox, RemovePodSandbox, StopContainer, RemoveContainer, RemoveImage: idempotent",
        needs: without_raw,
        run: |f| opposites(f).boxed(),
    },
    Check {
        name: "what_runs_is_removed_without_having_been_stopped",
        clause: "RemoveContainer, RemovePodSandbox: what runs is forcibly terminated and removed",
        needs: without_raw,
        run: |f| removed_running(f).boxed(),
    },
    Check {
        name: "a_session_without_streams_or_with_too_many_is_refused",
        clause: "ExecRequest, AttachRequest: one of stdin, stdout and stderr must be true; stderr is false with tty",
        needs: without_raw,
        run: |f| streams(f).boxed(),
    },
    Check {
        name: "a_passed_deadline_ends_the_call_and_nothing_else",
        clause: "gRPC: DEADLINE_EXCEEDED; ExecSyncRequest.timeout of 0 runs for as long as the caller waits",
        needs: without_raw,
        run: |f| deadline(f).boxed(),
    },
];

fn without_raw(fixture: &Fixture) -> Option<&'static str> {
    fixture.raw.is_none().then_some("there is no server that could be talked to directly")
}

impl Fixture {
    async fn raw(&self, method: &'static str, message: Vec<u8>) -> RawAnswer {
        self.raw_within(RawCall { method, message, deadline: None }).await
    }

    async fn raw_within(&self, call: RawCall) -> RawAnswer {
        let raw = self.raw.clone().expect("the check needs it");
        let (method, length) = (call.method, call.message.len());
        self.trace.note(format!("-> {method}, {length} bytes, deadline {:?}", call.deadline));
        let answer = raw(call).await;
        self.trace.note(format!("<- {method}: code {}, {} bytes", answer.code, answer.body.len()));
        answer
    }

    /// The server answers, whatever it was told before.
    async fn lives(&self) {
        self.runtime.version().await.expect("the runtime answers after all that");
    }
}

/// The methods that do nothing without fields.
const REQUIRED: &[&str] = &[
    "/runtime.v1.RuntimeService/RunPodSandbox",
    "/runtime.v1.RuntimeService/PodSandboxStatus",
    "/runtime.v1.RuntimeService/CreateContainer",
    "/runtime.v1.RuntimeService/StartContainer",
    "/runtime.v1.RuntimeService/ContainerStatus",
    "/runtime.v1.RuntimeService/UpdateContainerResources",
    "/runtime.v1.RuntimeService/ReopenContainerLog",
    "/runtime.v1.RuntimeService/ExecSync",
    "/runtime.v1.RuntimeService/Exec",
    "/runtime.v1.RuntimeService/Attach",
    "/runtime.v1.RuntimeService/PortForward",
    "/runtime.v1.RuntimeService/ContainerStats",
    "/runtime.v1.ImageService/PullImage",
];

/// Those that do, or may.
const OPTIONAL: &[&str] = &[
    "/runtime.v1.RuntimeService/Version",
    "/runtime.v1.RuntimeService/Status",
    "/runtime.v1.RuntimeService/ListPodSandbox",
    "/runtime.v1.RuntimeService/ListContainers",
    "/runtime.v1.RuntimeService/ListContainerStats",
    "/runtime.v1.RuntimeService/StopPodSandbox",
    "/runtime.v1.RuntimeService/RemovePodSandbox",
    "/runtime.v1.RuntimeService/StopContainer",
    "/runtime.v1.RuntimeService/RemoveContainer",
    "/runtime.v1.RuntimeService/UpdateRuntimeConfig",
    "/runtime.v1.ImageService/ListImages",
    "/runtime.v1.ImageService/ImageStatus",
    "/runtime.v1.ImageService/RemoveImage",
    "/runtime.v1.ImageService/ImageFsInfo",
];

/// Contract 3: of each method.
async fn empty(fixture: Fixture) {
    for method in REQUIRED {
        let answer = fixture.raw(method, Vec::new()).await;
        assert_ne!(answer.code, OK, "{method} took an empty message");
    }
    for method in OPTIONAL {
        fixture.raw(method, Vec::new()).await;
        fixture.lives().await;
    }
    // There is a configuration, and in it is nothing.
    for method in ["/runtime.v1.RuntimeService/RunPodSandbox", "/runtime.v1.ImageService/PullImage"] {
        let answer = fixture.raw(method, field(1, &[])).await;
        assert_ne!(answer.code, OK, "{method} took an empty configuration");
    }
    let pod = fixture.sandbox("a").await;
    let nothing = Message::default().text(1, pod.id.as_str()).bytes(2, &[]).bytes(3, &[]).done();
    let answer = fixture.raw("/runtime.v1.RuntimeService/CreateContainer", nothing).await;
    assert_ne!(answer.code, OK, "a container was made of an empty configuration");
    fixture.lives().await;
    pod.remove().await;
}

/// Contract 3: no bytes stop a runtime.
async fn garbage(fixture: Fixture) {
    for method in REQUIRED.iter().chain(OPTIONAL) {
        for bytes in [vec![0xff; 64], field(1, &[0xc3, 0x28])[..3].to_vec(), vec![0x0a, 0x7f, b'x']] {
            let answer = fixture.raw(method, bytes).await;
            // A method without fields need not read what it skips.
            let read = !method.ends_with("/ImageFsInfo");
            assert!(answer.code != OK || !read, "{method} took garbage for a request");
        }
    }
    fixture.lives().await;
}

/// Contract 3: methods and services.
async fn unknown(fixture: Fixture) {
    for method in ["/runtime.v1.RuntimeService/NoSuchMethod", "/runtime.v9.RuntimeService/Version"] {
        assert_eq!(fixture.raw(method, Vec::new()).await.code, UNIMPLEMENTED, "{method}");
    }
}

/// Contract 3: by code, since that is how callers know what is gone.
async fn absent(fixture: Fixture) {
    let named = field(1, NEVER.as_bytes());
    let command = Message::default().text(1, NEVER).text(2, "true").done();
    let session = Message::default().text(1, NEVER).text(2, "true").number(5, 1).done();
    let attached = Message::default().text(1, NEVER).number(4, 1).done();
    for (method, message) in [
        ("/runtime.v1.RuntimeService/PodSandboxStatus", named.clone()),
        ("/runtime.v1.RuntimeService/ContainerStatus", named.clone()),
        ("/runtime.v1.RuntimeService/StartContainer", named.clone()),
        ("/runtime.v1.RuntimeService/ContainerStats", named.clone()),
        ("/runtime.v1.RuntimeService/ReopenContainerLog", named.clone()),
        ("/runtime.v1.RuntimeService/UpdateContainerResources", named),
        ("/runtime.v1.RuntimeService/ExecSync", command),
        ("/runtime.v1.RuntimeService/Exec", session),
        ("/runtime.v1.RuntimeService/Attach", attached),
    ] {
        let answer = fixture.raw(method, message).await;
        assert_eq!(answer.code, NOT_FOUND, "{method} of what never was answered {}", answer.code);
    }
}

/// Contract 3: absent is a value there.
async fn absent_image(fixture: Fixture) {
    let named = Message::default().bytes(1, &field(1, b"registry.invalid/none:1")).done();
    let answer = fixture.raw("/runtime.v1.ImageService/ImageStatus", named).await;
    assert_eq!(answer.code, OK, "an image that is not there is no error");
    assert_eq!(find(&answer.body, 1), None, "there is an image that is not there");
}

/// Contract 2: without anybody between who takes an error for success.
async fn opposites(fixture: Fixture) {
    let named = field(1, NEVER.as_bytes());
    let image = Message::default().bytes(1, &field(1, b"registry.invalid/none:1")).done();
    for (method, message) in [
        ("/runtime.v1.RuntimeService/StopPodSandbox", named.clone()),
        ("/runtime.v1.RuntimeService/RemovePodSandbox", named.clone()),
        ("/runtime.v1.RuntimeService/StopContainer", named.clone()),
        ("/runtime.v1.RuntimeService/RemoveContainer", named),
        ("/runtime.v1.ImageService/RemoveImage", image),
    ] {
        let answer = fixture.raw(method, message).await;
        assert_eq!(answer.code, OK, "{method} of what never was answered {}", answer.code);
    }
}

/// Contract 7, 8: a container, then a sandbox with another.
async fn removed_running(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("one", &Program::Stubborn).await;
    let other = pod.start("two", &Program::Stubborn).await;
    let answer = fixture.raw("/runtime.v1.RuntimeService/RemoveContainer", field(1, id.as_str().as_bytes())).await;
    assert_eq!(answer.code, OK, "a running container is not removed");
    let message = field(1, pod.id.as_str().as_bytes());
    let answer = fixture.raw("/runtime.v1.RuntimeService/RemovePodSandbox", message).await;
    assert_eq!(answer.code, OK, "a running sandbox is not removed");
    assert_eq!(pod.state().await, None);
    for id in [&id, &other] {
        assert_eq!(fixture.runtime.container(id).await.expect("a status is told"), None, "a container is left");
    }
}

/// Contract 11: none opens.
async fn streams(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let exec = || Message::default().text(1, id.as_str()).text(2, "true");
    let attach = || Message::default().text(1, id.as_str());
    for (method, message, what) in [
        ("/runtime.v1.RuntimeService/Exec", exec(), "no streams"),
        ("/runtime.v1.RuntimeService/Attach", attach(), "no streams"),
        ("/runtime.v1.RuntimeService/Exec", exec().number(3, 1).number(5, 1).number(6, 1), "a terminal and stderr"),
        ("/runtime.v1.RuntimeService/Attach", attach().number(3, 1).number(4, 1).number(5, 1), "a terminal and stderr"),
    ] {
        let answer = fixture.raw(method, message.done()).await;
        assert_ne!(answer.code, OK, "{method} with {what} was not refused");
    }
    let answer = fixture.raw("/runtime.v1.RuntimeService/Exec", exec().number(5, 1).done()).await;
    let url = find(&answer.body, 1).map(String::from_utf8_lossy).unwrap_or_default();
    assert!(url.starts_with("http://") || url.starts_with("https://"), "the endpoint is no URL: {url:?}");
    pod.remove().await;
}

/// Contract 10: the container goes on, and so does the next command.
async fn deadline(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let mut message = Message::default().text(1, id.as_str());
    for word in (fixture.command)(&Program::Stubborn) {
        message = message.text(2, &word);
    }
    let deadline = Some(Duration::from_secs(1));
    let call = RawCall { method: "/runtime.v1.RuntimeService/ExecSync", message: message.done(), deadline };
    let answer = fixture.within("an answer after the deadline", fixture.raw_within(call)).await;
    // Whichever side's clock was the first.
    let ended = [CANCELLED, DEADLINE_EXCEEDED].contains(&answer.code);
    assert!(ended, "a command past the caller's deadline answered {}", answer.code);
    assert_eq!(fixture.status(&id).await.container.state, ContainerState::Running);
    let done = fixture.runtime.exec(&id, &(fixture.command)(&Program::Exit(0)), None).await;
    assert_eq!(done.expect("the next command runs").code, 0);
    pod.remove().await;
}
