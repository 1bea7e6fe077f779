//! A CRI server over a containerd whose CRI plugin is disabled, with pods on a bridge: for `crictl`, `critest` or a kubelet.
//!
//! ```text
//! CONTAINER_RUNTIME_ENDPOINT=unix:///run/windlass-cri.sock cargo run -p windlass-examples --features containerd --example containerd_cri
//! ```
//!
//! `CONTAINERD_ADDRESS` is containerd's socket, `STATE_DIR` a short folder for what does not outlive a reboot, `SANDBOX_IMAGE` the image
//! of sandboxes, `REGISTRY_MIRRORS` where images are looked for first (`registry.k8s.io=http://127.0.0.1:5000,…`). `containerd_cri carry …` is what this program starts beside each container.

use std::{env, process::ExitCode, sync::Arc};

use windlass::{
    cni::{bridge::Bridge, skel as cni, wire::PluginConfig},
    cri::{
        containerd::{Containerd, Mirror, Mirrors, Native, carry},
        skel::{self, Plugin},
    },
    kernel::{Error, ErrorKind, PodNetwork, Result, Spawn},
};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("carry") {
        return carry(arguments);
    }
    skel::main(async |setup| {
        let given = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        let unknown = |error| Error::new(ErrorKind::Internal, "cannot tell which program this is").with_source(error);
        let this = env::current_exe().map_err(unknown)?.display().to_string();
        let (socket, state) =
            (given("CONTAINERD_ADDRESS", "/run/containerd/containerd.sock"), given("STATE_DIR", "/run/windlass-cri"));
        let network = network(&state, Arc::clone(&setup.spawn))?;
        let mut native = Native::new(socket, state, vec![this, "carry".into()]);
        native.sandbox_image = given("SANDBOX_IMAGE", native.sandbox_image.as_str()).into();
        native.mirrors = mirrors(&given("REGISTRY_MIRRORS", ""))?;
        Ok(Plugin::of(Containerd::connect(native, network, setup).await?))
    })
}

/// Who is asked before a registry is.
fn mirrors(text: &str) -> Result<Mirrors> {
    let wrong = |one: &str| Error::new(ErrorKind::Invalid, format!("REGISTRY_MIRRORS has {one:?}, not REGISTRY=URL"));
    let named = text.split(',').filter(|one| !one.is_empty()).map(|one| {
        let (registry, url) = one.split_once('=').ok_or_else(|| wrong(one))?;
        Ok((registry.to_owned(), vec![Mirror::at(url)?]))
    });
    named.collect()
}

/// The pods' bridge.
fn network(state: &str, spawn: Arc<dyn Spawn>) -> Result<Arc<dyn PodNetwork>> {
    let config = serde_json::json!({
        "cniVersion": "1.1.0", "name": "windlass-cri", "type": "windlass-bridge",
        "bridge": "wcri0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
        "stateDir": format!("{state}/network"),
        "ipam": {
            "type": "host-local", "dataDir": format!("{state}/addresses"), "ranges": [[{ "subnet": "10.99.0.0/24" }]],
        },
    });
    let unusable = |error| Error::new(ErrorKind::Internal, "cannot describe the bridge").with_source(error);
    let config: PluginConfig = serde_json::from_value(config).map_err(unusable)?;
    Ok(Arc::new(Bridge::new(&cni::Setup::of(config, spawn)?)?))
}
