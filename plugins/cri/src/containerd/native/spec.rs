//! OCI specifications of sandboxes and containers: what they are to be, in the words of a low-level runtime. No calls are made;
//! of the machine only its devices, capabilities, control groups and profiles of AppArmor are looked at.

mod apparmor;
mod devices;
mod mounts;
mod rights;
mod seccomp;

use std::{collections::BTreeMap, path::Path};

use nix::unistd::{SysconfVar, sysconf};
use oci_spec::{
    OciSpecError, image,
    runtime::{
        Linux, LinuxBuilder, LinuxCpuBuilder, LinuxHugepageLimitBuilder, LinuxMemoryBuilder, LinuxNamespace,
        LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResources, LinuxResourcesBuilder, Process, ProcessBuilder,
        RootBuilder, Spec, SpecBuilder, UserBuilder,
    },
};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{ContainerConfig, Namespace, Resources, SandboxConfig, Security, SecurityProfile},
};

use super::users::Identity;

/// The shim puts what has one value of this into one process.
const GROUP: &str = "io.kubernetes.cri.sandbox-id";
/// What it is, for tools that look at specifications.
const TYPE: &str = "io.kubernetes.cri.container-type";

/// A search path for images without one.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a sandbox's own process is to be.
#[derive(Debug)]
pub(super) struct Pause<'a> {
    pub(super) id: &'a str,
    pub(super) config: &'a SandboxConfig,
    pub(super) image: &'a image::Config,
    pub(super) folder: &'a Path,
    pub(super) user: &'a Identity,
    pub(super) cgroup: String,
}

/// What a container is to be, and in which sandbox.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) config: &'a ContainerConfig,
    pub(super) image: &'a image::Config,
    pub(super) sandbox: &'a str,
    pub(super) around: &'a SandboxConfig,
    /// The process of the sandbox.
    pub(super) pause: u32,
    /// The process whose process namespace is used, for [`Namespace::Target`].
    pub(super) target: Option<u32>,
    /// The folder of the sandbox.
    pub(super) folder: &'a Path,
    pub(super) user: &'a Identity,
    pub(super) cgroup: String,
}

/// A specification that cannot be made is a bug, or a number out of range.
fn unbuildable(error: OciSpecError) -> Error {
    Error::new(ErrorKind::Invalid, "cannot make the specification of a container").with_source(error)
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::NotSupported, format!("the native containerd runtime has no {what}"))
}

/// Whether this machine has one hierarchy of control groups.
pub(super) fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

impl Pause<'_> {
    pub(super) fn spec(&self) -> Result<Spec> {
        let security = &self.config.security;
        let node = security.namespaces.network == Namespace::Node;
        let mut spec = SpecBuilder::default()
            .version("1.0.2")
            .root(RootBuilder::default().path("rootfs").readonly(true).build().map_err(unbuildable)?)
            .mounts(mounts::of_pause(self.folder)?)
            .process(self.process()?)
            .annotations([(GROUP.to_owned(), self.id.to_owned()), (TYPE.to_owned(), "sandbox".to_owned())])
            .linux(self.linux()?)
            .build()
            .map_err(unbuildable)?;
        spec.set_hostname((!node && !self.config.hostname.is_empty()).then(|| self.config.hostname.clone()));
        spec.set_domainname(None);
        Ok(spec)
    }

    fn process(&self) -> Result<Process> {
        let args: Vec<String> =
            self.image.entrypoint().iter().flatten().chain(self.image.cmd().iter().flatten()).cloned().collect();
        if args.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the image of sandboxes has no command"));
        }
        let mut process = ProcessBuilder::default()
            .terminal(false)
            .user(of(self.user)?)
            .args(args)
            .env(vec![PATH.to_owned()])
            .cwd("/")
            .no_new_privileges(true)
            .capabilities(rights::of_pause()?)
            .build()
            .map_err(unbuildable)?;
        process.set_rlimits(None);
        // It goes last when memory runs out, as far as this process may say so.
        process.set_oom_score_adj(Some(rights::oom_score(-998)));
        Ok(process)
    }

    fn linux(&self) -> Result<Linux> {
        let namespaces = &self.config.security.namespaces;
        let mut kinds = vec![LinuxNamespaceType::Mount];
        if namespaces.network != Namespace::Node {
            kinds.extend([LinuxNamespaceType::Network, LinuxNamespaceType::Uts]);
        }
        if namespaces.ipc != Namespace::Node {
            kinds.push(LinuxNamespaceType::Ipc);
        }
        if namespaces.pid != Namespace::Node {
            kinds.push(LinuxNamespaceType::Pid);
        }
        let kinds: Result<Vec<_>> = kinds.into_iter().map(|kind| namespace(kind, None)).collect();
        let limits = Resources { cpu_shares: Some(2), ..Resources::default() };
        let mut linux = LinuxBuilder::default()
            .namespaces(kinds?)
            .cgroups_path(self.cgroup.as_str())
            .resources(limits_of(&limits, Some(devices::none()?))?)
            .masked_paths(rights::masked(&self.config.security))
            .readonly_paths(rights::readonly(&self.config.security))
            .build()
            .map_err(unbuildable)?;
        linux.set_sysctl(Some(self.config.sysctls.clone().into_iter().collect()));
        linux.set_seccomp(filter(&self.config.security)?);
        Ok(linux)
    }
}

impl Part<'_> {
    pub(super) fn spec(&self) -> Result<Spec> {
        let security = &self.config.security;
        if security.privileged && !self.around.security.privileged {
            return Err(Error::new(ErrorKind::Invalid, "a privileged container needs a privileged sandbox"));
        }
        if !self.config.cdi_devices.is_empty() {
            return Err(refused("CDI devices: use a runtime behind a CRI socket for them"));
        }
        let root = RootBuilder::default().path("rootfs").readonly(security.readonly_root);
        let mut spec = SpecBuilder::default()
            .version("1.0.2")
            .root(root.build().map_err(unbuildable)?)
            .mounts(mounts::of_container(self)?)
            .process(self.process()?)
            .annotations([(GROUP.to_owned(), self.sandbox.to_owned()), (TYPE.to_owned(), "container".to_owned())])
            .linux(self.linux()?)
            .build()
            .map_err(unbuildable)?;
        // The names are the sandbox's.
        spec.set_hostname(None).set_domainname(None);
        Ok(spec)
    }

    fn process(&self) -> Result<Process> {
        let (config, security) = (self.config, &self.config.security);
        let cwd = [config.working_dir.as_str(), self.image.working_dir().as_deref().unwrap_or_default(), "/"];
        let cwd = cwd.into_iter().find(|cwd| !cwd.is_empty()).unwrap_or("/");
        let mut process = ProcessBuilder::default()
            .terminal(config.tty)
            .user(of(self.user)?)
            .args(self.args()?)
            .env(self.env())
            .cwd(cwd)
            .no_new_privileges(security.no_new_privileges && !security.privileged)
            .capabilities(rights::of_container(security)?)
            .build()
            .map_err(unbuildable)?;
        // Limits of processes are the node's: Kubernetes has none of its own.
        process.set_rlimits(None);
        process.set_oom_score_adj(config.resources.oom_score_adj.map(rights::oom_score));
        process.set_apparmor_profile(apparmor::profile(security, Path::new(apparmor::KERNEL))?);
        let label = security.selinux.as_ref();
        let label = label.map(|label| format!("{}:{}:{}:{}", label.user, label.role, label.kind, label.level));
        process.set_selinux_label(label.filter(|label| label.len() > 3));
        Ok(process)
    }

    /// The image's entry point with its arguments, or what replaces them.
    fn args(&self) -> Result<Vec<String>> {
        let of_image = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        let (mut command, mut args) = (self.config.command.clone(), self.config.args.clone());
        if command.is_empty() {
            command = of_image(self.image.entrypoint());
            if args.is_empty() {
                args = of_image(self.image.cmd());
            }
        }
        command.extend(args);
        if command.is_empty() {
            let message = format!("neither container {} nor its image has a command", self.config.key.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(command)
    }

    /// The image's environment under the configuration's, each name once, in order.
    fn env(&self) -> Vec<String> {
        let mut env: Vec<(String, String)> = Vec::new();
        let host = (!self.around.hostname.is_empty()).then(|| ("HOSTNAME".to_owned(), self.around.hostname.clone()));
        let term = self.config.tty.then(|| ("TERM".to_owned(), "xterm".to_owned()));
        let path = PATH.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let image = self.image.env().iter().flatten();
        let image = image.map(|line| line.split_once('=').unwrap_or((line, ""))).map(|(a, b)| (a.into(), b.into()));
        for (name, value) in path.into_iter().chain(term).chain(host).chain(image).chain(self.config.env.clone()) {
            match env.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => env.push((name, value)),
            }
        }
        env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn linux(&self) -> Result<Linux> {
        let security = &self.config.security;
        let (devices, rules) = devices::of(&self.config.devices, security.privileged)?;
        let propagation = self.config.mounts.iter().map(|mount| mount.propagation);
        let mut linux = LinuxBuilder::default()
            .namespaces(self.namespaces()?)
            .cgroups_path(self.cgroup.as_str())
            .resources(limits_of(&self.config.resources, Some(rules))?)
            .devices(devices)
            .masked_paths(rights::masked(security))
            .readonly_paths(rights::readonly(security))
            .build()
            .map_err(unbuildable)?;
        linux.set_rootfs_propagation(mounts::of_root(propagation).map(Into::into));
        linux.set_seccomp(filter(security)?);
        Ok(linux)
    }

    fn namespaces(&self) -> Result<Vec<LinuxNamespace>> {
        let own = &self.config.security.namespaces;
        let of_pause = |name: &str| Some(format!("/proc/{}/ns/{name}", self.pause));
        let mut all = vec![namespace(LinuxNamespaceType::Mount, None)?];
        if unified() && !self.config.security.privileged {
            all.push(namespace(LinuxNamespaceType::Cgroup, None)?);
        }
        if self.around.security.namespaces.network != Namespace::Node {
            all.push(namespace(LinuxNamespaceType::Network, of_pause("net"))?);
            all.push(namespace(LinuxNamespaceType::Uts, of_pause("uts"))?);
        }
        if own.ipc != Namespace::Node && self.around.security.namespaces.ipc != Namespace::Node {
            all.push(namespace(LinuxNamespaceType::Ipc, of_pause("ipc"))?);
        }
        match &own.pid {
            Namespace::Container => all.push(namespace(LinuxNamespaceType::Pid, None)?),
            Namespace::Node => {}
            // A sandbox with the node's processes has none of its own to share.
            Namespace::Pod if self.around.security.namespaces.pid == Namespace::Node => {}
            Namespace::Pod => all.push(namespace(LinuxNamespaceType::Pid, of_pause("pid"))?),
            Namespace::Target(id) => {
                let gone = || Error::new(ErrorKind::Conflict, format!("container {id}, the target, does not run"));
                let target = self.target.ok_or_else(gone)?;
                all.push(namespace(LinuxNamespaceType::Pid, Some(format!("/proc/{target}/ns/pid")))?);
            }
        }
        Ok(all)
    }
}

fn namespace(kind: LinuxNamespaceType, path: Option<String>) -> Result<LinuxNamespace> {
    let namespace = LinuxNamespaceBuilder::default().typ(kind);
    let namespace = match path {
        Some(path) => namespace.path(path),
        None => namespace,
    };
    namespace.build().map_err(unbuildable)
}

fn of(user: &Identity) -> Result<oci_spec::runtime::User> {
    let built = UserBuilder::default().uid(user.uid).gid(user.gid).additional_gids(user.further.clone());
    built.build().map_err(unbuildable)
}

fn filter(security: &Security) -> Result<Option<oci_spec::runtime::LinuxSeccomp>> {
    match &security.seccomp {
        _ if security.privileged => Ok(None),
        None | Some(SecurityProfile::Unconfined) => Ok(None),
        Some(SecurityProfile::RuntimeDefault) => seccomp::default(&rights::names(security)).map(Some),
        Some(SecurityProfile::Localhost(path)) => seccomp::read(Path::new(path)).map(Some),
    }
}

/// Limits, with the rules of devices where a container is made.
pub(super) fn limits_of(
    limits: &Resources,
    rules: Option<Vec<oci_spec::runtime::LinuxDeviceCgroup>>,
) -> Result<LinuxResources> {
    let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).filter(|n| *n > 0);
    let mut cpu = LinuxCpuBuilder::default().build().map_err(unbuildable)?;
    cpu.set_shares(positive(limits.cpu_shares)).set_period(positive(limits.cpu_period)).set_quota(limits.cpu_quota);
    let set = |text: &String| (!text.is_empty()).then(|| text.clone());
    cpu.set_cpus(set(&limits.cpuset_cpus)).set_mems(set(&limits.cpuset_mems));
    let mut resources = LinuxResourcesBuilder::default().cpu(cpu).build().map_err(unbuildable)?;
    if limits.memory_limit.is_some() || limits.memory_swap_limit.is_some() {
        let mut memory = LinuxMemoryBuilder::default().build().map_err(unbuildable)?;
        // Without a word on swap there is none beyond the memory.
        memory.set_limit(limits.memory_limit).set_swap(limits.memory_swap_limit.or(limits.memory_limit));
        resources.set_memory(Some(memory));
    }
    let pages: Result<Vec<_>> = limits.hugepages.iter().map(|(size, bytes)| hugepages(size, *bytes)).collect();
    resources.set_hugepage_limits(Some(pages?).filter(|pages| !pages.is_empty()));
    if !limits.unified.is_empty() && unified() {
        resources.set_unified(Some(limits.unified.clone().into_iter().collect()));
    }
    resources.set_devices(rules);
    Ok(resources)
}

fn hugepages(size: &str, bytes: u64) -> Result<oci_spec::runtime::LinuxHugepageLimit> {
    // Without a limit the number is the largest one, which the wire's type does not hold.
    let limit = i64::try_from(bytes).unwrap_or(i64::MAX);
    LinuxHugepageLimitBuilder::default().page_size(size).limit(limit).build().map_err(unbuildable)
}

/// What is written over the limits of before: what is not said stays.
pub(super) fn merged(old: &Resources, new: &Resources) -> Resources {
    let text = |new: &String, old: &String| if new.is_empty() { old.clone() } else { new.clone() };
    let map = |new: &BTreeMap<String, String>, old: &BTreeMap<String, String>| {
        let mut all = old.clone();
        all.extend(new.clone());
        all
    };
    let mut hugepages = old.hugepages.clone();
    hugepages.extend(new.hugepages.clone());
    Resources {
        cpu_period: new.cpu_period.or(old.cpu_period),
        cpu_quota: new.cpu_quota.or(old.cpu_quota),
        cpu_shares: new.cpu_shares.or(old.cpu_shares),
        memory_limit: new.memory_limit.or(old.memory_limit),
        memory_swap_limit: new.memory_swap_limit.or(new.memory_limit).or(old.memory_swap_limit),
        oom_score_adj: old.oom_score_adj,
        cpuset_cpus: text(&new.cpuset_cpus, &old.cpuset_cpus),
        cpuset_mems: text(&new.cpuset_mems, &old.cpuset_mems),
        hugepages,
        unified: map(&new.unified, &old.unified),
    }
}

/// The size of a page of memory.
pub(super) fn page() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}
