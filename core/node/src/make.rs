//! From a pod's specification to what a runtime is told. Pure: what has to be read from the cluster is handed in.

pub(crate) mod container;
pub(crate) mod dns;
pub(crate) mod env;
pub(crate) mod expand;
pub(crate) mod fields;
pub(crate) mod hosts;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod services;

/// Labels by which everything of a pod is found again in the runtime, as every kubelet sets them.
pub(crate) mod labels {
    pub(crate) const NAME: &str = "io.kubernetes.pod.name";
    pub(crate) const NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub(crate) const UID: &str = "io.kubernetes.pod.uid";
    pub(crate) const CONTAINER: &str = "io.kubernetes.container.name";
    pub(crate) const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
    pub(crate) const RESTARTS: &str = "io.kubernetes.container.restartCount";
    pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// Which node's agent made it: pods of others are let alone.
    pub(crate) const NODE: &str = "windlass.dev/node";
    /// The devices of a container, by resource, as JSON.
    pub(crate) const DEVICES: &str = "windlass.dev/devices";
    pub(crate) const TYPE: &str = "io.kubernetes.container.type";
}
