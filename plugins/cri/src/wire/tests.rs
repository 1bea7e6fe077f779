//! What is sent is read back, and what the wire says means what it should.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use proptest::prelude::*;
use windlass_kernel::{
    node::Streams,
    runtime::{
        Change, Container, ContainerExit, ContainerId, ContainerKey, ContainerStats, ContainerStatus, CpuUsage, Dns,
        FsUsage, Image, InterfaceUsage, MemoryUsage, RuntimeEvent, Sandbox, SandboxStats, SandboxStatus, Security,
        Subject,
    },
};

use super::{
    answers::{started, state_from_wire},
    *,
};

fn word() -> impl Strategy<Value = String> {
    "[a-z]{0,6}"
}

fn number() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(1i64..1 << 40)
}

fn mappings() -> impl Strategy<Value = Vec<IdMapping>> {
    let mapping = any::<(u32, u32, u32)>();
    prop::collection::vec(mapping.prop_map(|(host, container, length)| IdMapping { host, container, length }), 0..3)
}

prop_compose! {
    fn any_resources()(
        numbers in prop::array::uniform6(number()),
        cpus in word(),
        mems in word(),
        hugepages in prop::collection::btree_map(word(), any::<u64>(), 0..3),
        unified in prop::collection::btree_map(word(), word(), 0..3),
    ) -> Resources {
        let [cpu_period, cpu_quota, cpu_shares, memory_limit, memory_swap_limit, oom_score_adj] = numbers;
        Resources {
            cpu_period, cpu_quota, cpu_shares, memory_limit, memory_swap_limit, oom_score_adj,
            cpuset_cpus: cpus, cpuset_mems: mems, hugepages, unified,
        }
    }
}

prop_compose! {
    fn any_mount()(
        (container_path, host_path, image, image_sub_path) in (word(), word(), prop::option::of("[a-z]{1,6}"), word()),
        flags in prop::array::uniform3(any::<bool>()),
        propagation in prop::sample::select(&[Propagation::Private, Propagation::FromHost, Propagation::Both][..]),
        (uid_mappings, gid_mappings) in (mappings(), mappings()),
    ) -> Mount {
        let [readonly, recursive_readonly, selinux_relabel] = flags;
        Mount {
            container_path, host_path, image: image.map(Into::into), image_sub_path, readonly, recursive_readonly,
            selinux_relabel, propagation, uid_mappings, gid_mappings,
        }
    }
}

fn namespace() -> impl Strategy<Value = Namespace> {
    prop_oneof![Just(Namespace::Pod), Just(Namespace::Container), Just(Namespace::Node)]
}

prop_compose! {
    fn any_namespaces()(
        network in namespace(),
        pid in prop_oneof![namespace(), "[a-z]{1,6}".prop_map(|id| Namespace::Target(ContainerId::from(id)))],
        ipc in namespace(),
        users in prop::option::of(mappings()),
    ) -> Namespaces {
        Namespaces { network, pid, ipc, users }
    }
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(), 0..3)
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(word(), word(), 0..3)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,6}"
}

fn any_profile() -> impl Strategy<Value = Option<SecurityProfile>> {
    prop::option::of(prop_oneof![
        Just(SecurityProfile::RuntimeDefault),
        Just(SecurityProfile::Unconfined),
        name().prop_map(SecurityProfile::Localhost),
    ])
}

prop_compose! {
    /// What both sandboxes and containers have.
    fn any_rights()(
        namespaces in any_namespaces(),
        flags in prop::array::uniform2(any::<bool>()),
        (user, group) in (number(), number()),
        supplemental_groups in prop::collection::vec(1i64..1000, 0..3),
        groups_policy in prop::sample::select(&[GroupsPolicy::Merge, GroupsPolicy::Strict][..]),
        (seccomp, apparmor) in (any_profile(), any_profile()),
        selinux in prop::option::of((word(), word(), word(), word())),
    ) -> Security {
        let [privileged, readonly_root] = flags;
        let selinux = selinux.map(|(user, role, kind, level)| Selinux { user, role, kind, level });
        Security {
            namespaces, privileged, user: user.map(User::Id), group, supplemental_groups, groups_policy, readonly_root,
            seccomp, apparmor, selinux, ..Security::default()
        }
    }
}

prop_compose! {
    fn any_sandbox_config()(
        (name, namespace, uid, attempt) in (name(), name(), name(), any::<u32>()),
        (hostname, log_directory, cgroup_parent, handler) in (word(), word(), word(), word()),
        dns in prop::option::of((words(), words(), words())),
        ports in prop::collection::vec(
            (prop::sample::select(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp][..]), any::<(u16, u16)>(), word()), 0..3),
        (labels, annotations, sysctls) in (pairs(), pairs(), pairs()),
        (overhead, resources) in (prop::option::of(any_resources()), prop::option::of(any_resources())),
        security in any_rights(),
    ) -> SandboxConfig {
        let port = |(protocol, (container_port, host_port), host_ip)| PortMapping {
            protocol, container_port, host_port, host_ip,
        };
        SandboxConfig {
            key: SandboxKey { name, namespace, uid, attempt },
            hostname, log_directory, cgroup_parent, handler, labels, annotations, sysctls, overhead, resources, security,
            dns: dns.map(|(servers, searches, options)| Dns { servers, searches, options }),
            ports: ports.into_iter().map(port).collect(),
        }
    }
}

prop_compose! {
    fn any_container_config()(
        (name, attempt, image, user_image) in (name(), any::<u32>(), name(), word()),
        (command, args, working_dir, log_path) in (words(), words(), word(), word()),
        env in prop::collection::vec((word(), word()), 0..3),
        mounts in prop::collection::vec(any_mount(), 0..3),
        devices in prop::collection::vec((word(), word(), word()), 0..3),
        (cdi_devices, labels, annotations) in (words(), pairs(), pairs()),
        flags in prop::array::uniform4(any::<bool>()),
        (resources, rights) in (any_resources(), any_rights()),
        lists in prop::array::uniform4(words()),
        user in prop::option::of(name()),
        stop_signal in prop::sample::select(&["", "SIGTERM", "SIGRTMIN+3", "SIGRTMAX-3", "SIGRTMAX"][..]),
    ) -> ContainerConfig {
        let [stdin, stdin_once, tty, no_new_privileges] = flags;
        let [add_capabilities, drop_capabilities, masked, readonly] = lists;
        let device = |(container_path, host_path, permissions)| Device { container_path, host_path, permissions };
        ContainerConfig {
            key: ContainerKey { name, attempt },
            image: image.into(),
            user_image, command, args, working_dir, env, mounts, cdi_devices, labels, annotations, log_path, stdin,
            stdin_once, tty, resources,
            devices: devices.into_iter().map(device).collect(),
            security: Security {
                add_capabilities, drop_capabilities, no_new_privileges,
                masked_paths: Some(masked),
                readonly_paths: Some(readonly),
                user: user.map(User::Name).or(rights.user.clone()),
                ..rights
            },
            stop_signal: stop_signal.into(),
        }
    }
}

fn at() -> impl Strategy<Value = Timestamp> {
    (1i64..1 << 60).prop_map(|nanoseconds| Timestamp::from_nanosecond(nanoseconds.into()).expect("a time"))
}

prop_compose! {
    fn any_sandbox_status()(
        (id, name, namespace, uid, attempt) in (name(), word(), word(), word(), any::<u32>()),
        ready in any::<bool>(),
        (created, labels, annotations, handler) in (at(), pairs(), pairs(), word()),
        ips in prop::collection::vec(any::<IpAddr>(), 0..3),
        namespaces in any_namespaces(),
    ) -> SandboxStatus {
        let key = SandboxKey { name, namespace, uid, attempt };
        let state = if ready { SandboxState::Ready } else { SandboxState::NotReady };
        let sandbox = Sandbox { id: id.into(), key, state, created, labels, annotations, handler };
        SandboxStatus { sandbox, ips, namespaces }
    }
}

prop_compose! {
    fn any_container_status()(
        (id, name, attempt, image, image_id) in (name(), word(), any::<u32>(), word(), name()),
        (created, labels, annotations) in (at(), pairs(), pairs()),
        times in prop::option::of((at(), at())),
        (exited, code) in any::<(bool, i32)>(),
        (reason, message, log_path) in (word(), word(), word()),
        mounts in prop::collection::vec(any_mount(), 0..3),
        resources in prop::option::of(any_resources()),
        user in prop::option::of((1i64..9, 1i64..9, prop::collection::vec(1i64..9, 0..3))),
    ) -> ContainerStatus {
        let exit = times.filter(|_| exited).map(|(a, b)| ContainerExit { code, finished: a.max(b) });
        let state = match (times, exit) {
            (None, _) => ContainerState::Created,
            (_, None) => ContainerState::Running,
            _ => ContainerState::Exited,
        };
        let container = Container {
            id: id.into(), sandbox: "".into(), key: ContainerKey { name, attempt }, image: image.into(),
            image_id: image_id.into(), state, created, labels, annotations,
        };
        let started = times.map(|(a, b)| a.min(b));
        ContainerStatus { container, started, exit, reason, message, log_path, mounts, resources, user }
    }
}

prop_compose! {
    fn any_container_stats()(
        (id, name, attempt, labels) in (name(), word(), any::<u32>(), pairs()),
        cpu in prop::option::of((at(), any::<u64>())),
        memory in prop::option::of((at(), any::<[u64; 5]>(), prop::option::of(any::<u64>()))),
        layer in prop::option::of((at(), word(), any::<(u64, u64)>())),
    ) -> ContainerStats {
        ContainerStats {
            id: id.into(),
            key: ContainerKey { name, attempt },
            labels,
            cpu: cpu.map(|(at, nanoseconds)| CpuUsage { at, used: Duration::from_nanos(nanoseconds) }),
            memory: memory.map(|(at, [working_set, usage, rss, page_faults, major_page_faults], available)| MemoryUsage {
                at, working_set, available, usage, rss, page_faults, major_page_faults,
            }),
            layer: layer.map(|(at, mountpoint, (bytes, inodes))| FsUsage { at, mountpoint, bytes, inodes }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_asked_for_is_read_back(
        sandbox in any_sandbox_config(),
        container in any_container_config(),
        (id, labels) in (prop::option::of(name()), pairs()),
    ) {
        let read = sandbox_config_from_wire(Some(sandbox_config(&sandbox)), sandbox.handler.clone());
        prop_assert_eq!(read.unwrap(), sandbox);
        let read = container_config_from_wire(Some(container_config(&container).unwrap()));
        prop_assert_eq!(read.unwrap(), container);
        let state = Some(SandboxState::NotReady);
        let filter = SandboxFilter { id: id.clone().map(Into::into), state, labels: labels.clone() };
        prop_assert_eq!(sandbox_filter_from_wire(Some(sandbox_filter(&filter))), filter);
        let (sandbox, state) = (id.clone().map(Into::into), Some(ContainerState::Exited));
        let filter = ContainerFilter { id: id.map(Into::into), sandbox, state, labels };
        prop_assert_eq!(container_filter_from_wire(Some(container_filter(&filter))), filter);
    }

    #[test]
    fn what_is_answered_is_read_back(
        pod in any_sandbox_status(),
        main in any_container_status(),
        usage in any_container_stats(),
        (tags, digests, size, pinned) in (words(), words(), any::<u64>(), any::<bool>()),
        user in prop::option::of(prop_oneof![name().prop_map(User::Name), (0i64..9).prop_map(User::Id)]),
    ) {
        prop_assert_eq!(sandbox_status(Some(sandbox_status_to_wire(pod.clone()))).unwrap(), pod.clone());
        prop_assert_eq!(sandbox(sandbox_to_wire(pod.sandbox.clone())), pod.sandbox.clone());
        prop_assert_eq!(container_status(Some(container_status_to_wire(main.clone()))).unwrap(), main.clone());
        prop_assert_eq!(container(container_to_wire(main.container.clone())), main.container.clone());
        prop_assert_eq!(container_stats(container_stats_to_wire(usage.clone())).unwrap(), usage.clone());
        let whole = SandboxStats {
            id: pod.sandbox.id, key: pod.sandbox.key, labels: pod.sandbox.labels, cpu: usage.cpu, memory: usage.memory,
            interfaces: vec![InterfaceUsage { name: "eth0".into(), rx_bytes: size, ..InterfaceUsage::default() }; 2],
            processes: Some(size), containers: vec![usage],
        };
        prop_assert_eq!(sandbox_stats(sandbox_stats_to_wire(whole.clone())).unwrap(), whole);
        let one = Image { id: main.container.image_id, tags, digests, size, user, pinned };
        prop_assert_eq!(image(image_to_wire(one.clone())), one);
    }
}

#[test]
fn what_is_told_of_an_event_is_read_back() {
    for what in [Change::Created, Change::Started, Change::Exited, Change::Removed] {
        let told = event_to_wire("c", what, Timestamp::UNIX_EPOCH, None, Vec::new()).unwrap();
        assert_eq!(event(told), RuntimeEvent::Changed { subject: Subject::Either("c".into()), what });
    }
    assert_eq!(event_to_wire("c", Change::OutOfMemory, Timestamp::UNIX_EPOCH, None, Vec::new()), None);
}

#[test]
fn what_is_required_is_refused_by_name() {
    let refused =
        |config: wire::PodSandboxConfig| sandbox_config_from_wire(Some(config), String::new()).unwrap_err().to_string();
    assert!(refused(wire::PodSandboxConfig::default()).contains("config.metadata: is required"));
    let metadata = Some(wire::PodSandboxMetadata { name: "a".into(), uid: "u".into(), ..Default::default() });
    let config = wire::PodSandboxConfig { metadata, ..Default::default() };
    assert!(refused(config).contains("config.metadata.namespace: is required"));
    let taken = |stdout, stderr, tty| streams(Streams { stdin: false, stdout, stderr, tty }).is_ok();
    assert_eq!([taken(false, false, false), taken(true, true, true), taken(true, false, true)], [false, false, true]);
}

#[test]
fn states_keep_their_meaning() {
    use ContainerState::{Created, Exited, Running, Unknown};
    for state in [Created, Running, Exited, Unknown] {
        assert_eq!(state_from_wire(container_state(state)), state);
    }
}

#[test]
fn nothing_ends_before_it_started() {
    for (start, end, exited, expect) in [
        (0, 0, false, None),
        (5, 0, false, Some(5)),
        (5, 9, true, Some(5)),
        (9, 5, true, Some(5)),
        // An end that the runtime does not tell bounds nothing, nor is there a start where there was none.
        (5, 0, true, Some(5)),
        (0, 5, true, None),
    ] {
        let started = started(start, end, exited);
        assert_eq!(started.map(|at| at.as_nanosecond()), expect, "{start} {end} {exited}");
    }
}

#[test]
fn signals_have_their_names() {
    for (name, expect) in [
        ("", Some(wire::Signal::RuntimeDefault)),
        ("SIGTERM", Some(wire::Signal::Sigterm)),
        ("SIGRTMIN+3", Some(wire::Signal::Sigrtminplus3)),
        ("SIGRTMAX-3", Some(wire::Signal::Sigrtmaxminus3)),
        ("SIGNONE", None),
    ] {
        assert_eq!(stop_signal(name).ok(), expect, "{name}");
    }
}

#[test]
fn waits_are_never_shorter_than_asked_for() {
    for (millis, expect) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
        assert_eq!(seconds(Duration::from_millis(millis)), expect);
    }
}

#[test]
fn only_the_end_of_a_containers_own_process_is_its_exit() {
    let event = |topic: &str, id: &str| {
        let subject = events::Subject { container_id: "c".into(), id: id.into() };
        let value = prost::Message::encode_to_vec(&subject);
        let event = Some(prost_types::Any { type_url: String::new(), value });
        containerd_event(&events::Envelope { topic: topic.into(), event, ..events::Envelope::default() })
    };
    let exited = RuntimeEvent::Changed { subject: Subject::Either("c".into()), what: Change::Exited };
    assert_eq!(event("/tasks/exit", "c"), Some(exited));
    assert_eq!(event("/tasks/exit", "exec-1"), None);
    assert_eq!(event("/images/create", ""), Some(RuntimeEvent::Images));
    assert_eq!(event("/snapshot/prepare", ""), None);
}
