//! Security contexts as rights that a runtime understands. Pure.

use std::path::Path;

use windlass_api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
};
use windlass_kernel::runtime::{
    GroupsPolicy, MASKED_PATHS, Namespace, Namespaces, READONLY_PATHS, Security, SecurityProfile, Selinux, User,
};

/// Why a container must not be started.
pub(crate) fn refused(pod: &Pod, container: &Container, image_user: Option<&User>) -> Option<String> {
    let (of_pod, own) = contexts(pod, container);
    let non_root = own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true);
    let user = own.run_as_user.or(of_pod.run_as_user);
    let name = format!(
        "(pod: \"{}_{}({})\", container: {})",
        pod.metadata.name.as_deref().unwrap_or_default(),
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.uid.as_deref().unwrap_or_default(),
        container.name
    );
    if !non_root {
        return None;
    }
    match (user, image_user) {
        (Some(0), _) => Some(format!("container's runAsUser breaks non-root policy {name}")),
        (Some(_), _) => None,
        (None, Some(User::Id(0)) | None) => {
            Some(format!("container has runAsNonRoot and image will run as root {name}"))
        }
        (None, Some(User::Name(user))) if !user.is_empty() => Some(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {name}"
        )),
        (None, Some(_)) => None,
    }
}

fn contexts(pod: &Pod, container: &Container) -> (PodSecurityContext, SecurityContext) {
    (
        pod.spec.security_context.as_deref().cloned().unwrap_or_default(),
        container.security_context.as_deref().cloned().unwrap_or_default(),
    )
}

fn privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|context| context.privileged) == Some(true)
}

/// The namespaces that a pod's containers use.
fn namespaces(pod: &Pod) -> Namespaces {
    let node = |wanted: Option<bool>| if wanted == Some(true) { Namespace::Node } else { Namespace::Pod };
    let pid = match (pod.spec.host_pid, pod.spec.share_process_namespace) {
        (Some(true), _) => Namespace::Node,
        (_, Some(true)) => Namespace::Pod,
        _ => Namespace::Container,
    };
    Namespaces { network: node(pod.spec.host_network), ipc: node(pod.spec.host_ipc), pid, users: None }
}

/// The rights of a pod's sandbox.
pub(crate) fn of_sandbox(pod: &Pod, seccomp_root: &Path) -> Security {
    let context = pod.spec.security_context.clone().unwrap_or_default();
    let groups = groups(&context);
    Security {
        namespaces: namespaces(pod),
        privileged: crate::pod::containers(pod).any(|(container, _)| privileged(container)),
        user: context.run_as_user.map(User::Id),
        group: context.run_as_user.and(context.run_as_group),
        supplemental_groups: groups,
        groups_policy: policy(&context),
        seccomp: Some(
            context.seccomp_profile.as_ref().map_or(SecurityProfile::RuntimeDefault, |one| seccomp(one, seccomp_root)),
        ),
        selinux: context.se_linux_options.as_ref().map(selinux),
        ..Security::default()
    }
}

/// The rights of one container.
pub(crate) fn of_container(pod: &Pod, container: &Container, seccomp_root: &Path) -> Security {
    let (of_pod, own) = contexts(pod, container);
    let user = own.run_as_user.or(of_pod.run_as_user);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let plain = |names: Vec<String>| -> Vec<String> {
        names.into_iter().map(|name| name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)).collect()
    };
    let privileged = privileged(container);
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let apparmor = own.app_armor_profile.as_ref().or(of_pod.app_armor_profile.as_ref());
    // An unmasked /proc needs user namespaces or a privileged pod; the API server sees to that.
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    Security {
        namespaces: namespaces(pod),
        privileged,
        add_capabilities: plain(capabilities.add),
        drop_capabilities: plain(capabilities.drop),
        user: user.map(User::Id),
        group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups: groups(&of_pod),
        groups_policy: policy(&of_pod),
        readonly_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked || privileged { Some(vec![]) } else { Some(strings(&MASKED_PATHS)) },
        readonly_paths: if unmasked || privileged { Some(vec![]) } else { Some(strings(&READONLY_PATHS)) },
        // Without a profile there is no filter, unless the cluster says otherwise.
        seccomp: if privileged { None } else { profile.map(|one| seccomp(one, seccomp_root)) },
        apparmor: apparmor.map(apparmor_profile),
        selinux: own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref()).map(selinux),
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn groups(context: &PodSecurityContext) -> Vec<i64> {
    context.fs_group.into_iter().chain(context.supplemental_groups.iter().copied()).collect()
}

fn policy(context: &PodSecurityContext) -> GroupsPolicy {
    match context.supplemental_groups_policy.as_deref() {
        Some("Strict") => GroupsPolicy::Strict,
        _ => GroupsPolicy::Merge,
    }
}

fn seccomp(profile: &SeccompProfile, root: &Path) -> SecurityProfile {
    match profile.type_.as_str() {
        "Unconfined" => SecurityProfile::Unconfined,
        "Localhost" => {
            let path = root.join(profile.localhost_profile.as_deref().unwrap_or_default());
            SecurityProfile::Localhost(path.to_string_lossy().into_owned())
        }
        _ => SecurityProfile::RuntimeDefault,
    }
}

fn apparmor_profile(profile: &AppArmorProfile) -> SecurityProfile {
    match profile.type_.as_str() {
        "Unconfined" => SecurityProfile::Unconfined,
        "Localhost" => SecurityProfile::Localhost(profile.localhost_profile.clone().unwrap_or_default()),
        _ => SecurityProfile::RuntimeDefault,
    }
}

fn selinux(options: &SELinuxOptions) -> Selinux {
    Selinux {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        kind: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(context: Value, own: Value) -> Pod {
        let spec = json!({"securityContext": context, "containers": [{"name": "c", "securityContext": own}]});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn check(context: Value, own: Value, image: Option<User>, expect: Option<&str>) {
        let pod = pod(context, own);
        let refused = refused(&pod, &pod.spec.containers[0], image.as_ref());
        assert_eq!(refused.is_some(), expect.is_some(), "{refused:?}");
        assert!(refused.unwrap_or_default().contains(expect.unwrap_or_default()));
    }

    #[test]
    fn root_is_refused_where_a_pod_must_not_run_as_root() {
        let must = json!({"runAsNonRoot": true});
        check(json!({}), json!({}), None, None);
        check(must.clone(), json!({}), Some(User::Id(0)), Some("image will run as root"));
        check(must.clone(), json!({"runAsUser": 0}), None, Some("breaks non-root policy"));
        check(must.clone(), json!({"runAsUser": 5}), None, None);
        check(must.clone(), json!({}), Some(User::Id(7)), None);
        check(must, json!({}), Some(User::Name("web".into())), Some("non-numeric user (web)"));
    }

    #[test]
    fn a_containers_own_word_goes_before_the_pods() {
        let pod = pod(
            json!({"runAsUser": 1, "fsGroup": 9, "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsUser": 2, "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}}),
        );
        let security = of_container(&pod, &pod.spec.containers[0], Path::new("/s"));
        assert_eq!(security.user, Some(User::Id(2)));
        assert_eq!(security.supplemental_groups, [9]);
        assert_eq!(security.add_capabilities, ["NET_ADMIN"]);
        assert_eq!(security.seccomp, Some(SecurityProfile::RuntimeDefault));
    }
}
