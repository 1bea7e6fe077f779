//! What containers are made with: commands, environments, users and mounts.

use std::path::Path;

use futures::FutureExt;
use windlass_kernel::runtime::{Mount, Namespace, User};

use super::{Check, Fixture, Program, always, without_containers};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_container_has_its_command_environment_user_and_folder",
        clause: "ContainerConfig: command, args, working_dir, envs; LinuxContainerSecurityContext.run_as_user",
        needs: without_containers,
        run: |f| told(f).boxed(),
    },
    Check {
        name: "a_mount_is_seen_and_one_for_reading_cannot_be_written",
        clause: "Mount: container_path, host_path, readonly",
        needs: without_containers,
        run: |f| mounts(f).boxed(),
    },
    Check {
        name: "a_root_that_cannot_be_written_is_not",
        clause: "LinuxContainerSecurityContext.readonly_rootfs",
        needs: without_containers,
        run: |f| read_only_root(f).boxed(),
    },
    Check {
        name: "a_sandbox_has_its_host_name",
        clause: "PodSandboxConfig.hostname",
        needs: without_containers,
        run: |f| hostname(f).boxed(),
    },
    Check {
        name: "a_sandbox_of_the_node_has_the_nodes_network",
        clause: "NamespaceOption.network: NODE; PodSandboxNetworkStatus.ip is empty then",
        needs: always,
        run: |f| node_network(f).boxed(),
    },
    Check {
        name: "containers_that_share_processes_see_each_other",
        clause: "NamespaceOption.pid: POD shares one namespace of processes",
        needs: without_containers,
        run: |f| shared_processes(f).boxed(),
    },
];

/// What a log says on its standard output, once its container has ended.
async fn said(fixture: &Fixture, id: &windlass_kernel::runtime::ContainerId) -> Vec<String> {
    let status = fixture.exited(id).await;
    assert_eq!(status.exit.map(|exit| exit.code), Some(0), "{status:?}");
    let text = fixture.until("the log", || async { (fixture.read)(&status.log_path).filter(|text| !text.is_empty()) });
    let lines = text.await;
    lines.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned).collect()
}

/// Contract 13: what it was made with is what it finds.
async fn told(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let mut config = fixture.container_config("web", &Program::Tell { variable: "SUITE" });
    config.args = vec!["one".into(), "two words".into()];
    config.working_dir = "/tmp".into();
    config.env = vec![("SUITE".into(), "a value".into())];
    config.security.user = Some(User::Id(1000));
    let id = pod.create(&config).await;
    fixture.runtime.start_container(&id).await.expect("a container starts");
    let lines = fixture
        .until("four lines", || async {
            let lines = said(&fixture, &id).await;
            (lines.len() >= 4).then_some(lines)
        })
        .await;
    assert_eq!(lines, ["/tmp", "1000", "a value", "one two words"]);
    pod.remove().await;
}

fn shell(script: String) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script]
}

/// Contract 6, 10: a folder of the node, twice.
async fn mounts(fixture: Fixture) {
    let folder = Path::new(&fixture.logs).join(format!("{}-mount", fixture.prefix));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("given"), "from the node").expect("a file");
    let pod = fixture.sandbox("a").await;
    let mut config = fixture.container_config("web", &Program::Wait);
    let host_path = folder.display().to_string();
    config.mounts = [("/written", false), ("/read", true)]
        .map(|(at, readonly)| Mount {
            container_path: at.into(),
            host_path: host_path.clone(),
            readonly,
            ..Mount::default()
        })
        .to_vec();
    let id = pod.create(&config).await;
    fixture.runtime.start_container(&id).await.expect("a container starts");
    let run = async |script: &str| {
        let done = fixture.runtime.exec(&id, &shell(script.to_owned()), None).await.expect("a command runs");
        (done.code == 0, String::from_utf8_lossy(&done.stdout).into_owned())
    };
    for at in ["/written", "/read"] {
        assert_eq!(run(&format!("cat {at}/given")).await, (true, "from the node".into()), "at {at}");
    }
    assert!(run("echo back > /written/answer").await.0, "the mount cannot be written");
    assert_eq!(std::fs::read_to_string(folder.join("answer")).expect("the file is on the node"), "back\n");
    assert!(!run("echo back > /read/other").await.0, "a mount for reading was written");
    let seen = fixture.status(&id).await.mounts;
    for mount in &config.mounts {
        let told = seen.iter().find(|told| told.container_path == mount.container_path);
        assert!(
            told.is_some_and(|told| told.readonly == mount.readonly),
            "the status does not tell {mount:?}: {seen:?}"
        );
    }
    pod.remove().await;
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

/// Contract 10: and a command in it sees that.
async fn read_only_root(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    for (name, readonly) in [("free", false), ("fixed", true)] {
        let mut config = fixture.container_config(name, &Program::Wait);
        config.security.readonly_root = readonly;
        let id = pod.create(&config).await;
        fixture.runtime.start_container(&id).await.expect("a container starts");
        let written = fixture.runtime.exec(&id, &shell("echo x > /written".into()), None).await;
        assert_eq!(written.expect("a command runs").code != 0, readonly, "the root of {name}");
    }
    pod.remove().await;
}

/// Contract 10: told by the kernel, not by a file.
async fn hostname(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let told = fixture.runtime.exec(&id, &shell("cat /proc/sys/kernel/hostname".into()), None).await;
    let told = told.expect("a command runs");
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), pod.config.hostname);
    pod.remove().await;
}

/// Contract 7: there is no address to free.
async fn node_network(fixture: Fixture) {
    let mut config = fixture.sandbox_config("a");
    config.hostname = String::new();
    config.security.namespaces.network = Namespace::Node;
    let id = fixture.runtime.run_sandbox(&config).await.expect("a sandbox runs");
    let status = fixture.runtime.sandbox(&id).await.expect("a status is told").expect("it is there");
    assert_eq!(status.namespaces.network, Namespace::Node);
    assert!(status.ips.is_empty(), "a sandbox of the node has an address of its own: {:?}", status.ips);
    fixture.runtime.remove_sandbox(&id).await.expect("a sandbox is removed");
}

/// Contract 10: the first process of the pod is not the container's own.
async fn shared_processes(fixture: Fixture) {
    let mut config = fixture.sandbox_config("a");
    config.security.namespaces.pid = Namespace::Pod;
    let id = fixture.runtime.run_sandbox(&config).await.expect("a sandbox runs");
    let mut own = fixture.container_config("web", &Program::Wait);
    own.security.namespaces.pid = Namespace::Pod;
    let container = fixture.runtime.create_container(&id, &own, &config).await.expect("a container is created");
    fixture.runtime.start_container(&container).await.expect("a container starts");
    let first = fixture.runtime.exec(&container, &shell("cat /proc/1/comm".into()), None).await;
    let first = String::from_utf8_lossy(&first.expect("a command runs").stdout).into_owned();
    assert!(!first.is_empty() && first.trim() != "sh", "the first process is the container's: {first:?}");
    fixture.runtime.remove_sandbox(&id).await.expect("a sandbox is removed");
}
