//! A device plugin that notes what it is asked for, and fails or hangs where it is told to.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, channel::mpsc, future::pending};
use parking_lot::Mutex;
use windlass_kernel::{
    DevicePlugin, Error, ErrorKind, Result,
    device::{Allocation, DeviceId, DeviceLists, DeviceMount, Health, PluginDevice, Preference, Preferring, Preparing},
    runtime::Device,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    list: Vec<PluginDevice>,
    followers: Vec<mpsc::UnboundedSender<Result<Vec<PluginDevice>>>>,
    /// What fails, by call, and why.
    failures: BTreeMap<&'static str, &'static str>,
    /// The call that is never answered.
    hangs: &'static str,
    prefers: Option<Vec<DeviceId>>,
    prepares: bool,
}

impl Scripted {
    /// Has these devices from now on.
    pub(crate) fn has(&self, devices: &[(&str, Health)]) {
        let device = |&(id, health): &(&str, Health)| PluginDevice { id: id.into(), health, numa: vec![] };
        let mut state = self.0.lock();
        state.list = devices.iter().map(device).collect();
        let list = state.list.clone();
        state.followers.retain(|follower| follower.unbounded_send(Ok(list.clone())).is_ok());
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().list.len()
    }

    /// Lists nothing any more to those who follow.
    pub(crate) fn leave(&self) {
        self.0.lock().followers.clear();
    }

    pub(crate) fn prefers(&self, devices: &str) {
        self.0.lock().prefers = Some(devices.split_whitespace().map(DeviceId::from).collect());
    }

    pub(crate) fn prepares(&self) {
        self.0.lock().prepares = true;
    }

    pub(crate) fn fail(&self, call: &'static str, why: &'static str) {
        self.0.lock().failures.insert(call, why);
    }

    pub(crate) fn mend(&self) {
        self.0.lock().failures.clear();
    }

    pub(crate) fn hang(&self, call: &'static str) {
        self.0.lock().hangs = call;
    }

    /// What it was asked for since this was asked last.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().calls)
    }

    pub(crate) fn was_asked(&self, call: &str) -> bool {
        self.0.lock().calls.iter().any(|own| own.starts_with(call))
    }

    async fn step(&self, call: &'static str, about: String) -> Result<()> {
        let (hangs, failure) = {
            let mut state = self.0.lock();
            state.calls.push(format!("{call} {about}"));
            (state.hangs == call, state.failures.get(call).copied())
        };
        if hangs {
            pending::<()>().await;
        }
        failure.map_or(Ok(()), |why| Err(Error::new(ErrorKind::Internal, why)))
    }
}

fn words(ids: &[DeviceId], between: &str) -> String {
    ids.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(between)
}

#[async_trait]
impl DevicePlugin for Scripted {
    fn devices(&self) -> DeviceLists {
        let (sender, receiver) = mpsc::unbounded();
        let mut state = self.0.lock();
        // The receiver is in our hands, so it listens.
        let _ = sender.unbounded_send(Ok(state.list.clone()));
        state.followers.push(sender);
        receiver.boxed()
    }

    async fn allocate(&self, devices: &[DeviceId]) -> Result<Allocation> {
        self.step("allocate", words(devices, " ")).await?;
        let all = words(devices, ",");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Ok(Allocation {
            env: [pair("THINGS", &all), pair("OWN", "theirs")].into(),
            mounts: vec![DeviceMount {
                container_path: "/things".into(),
                host_path: format!("/host/{all}"),
                read_only: true,
            }],
            devices: vec![Device {
                container_path: "/dev/thing".into(),
                host_path: format!("/dev/{all}"),
                permissions: "rw".into(),
            }],
            annotations: [pair("example.com/told", "yes"), pair("io.kubernetes.container.restartCount", "99")].into(),
            cdi_devices: vec![format!("example.com/thing={all}")],
        })
    }

    fn preferring(&self) -> Option<&dyn Preferring> {
        self.0.lock().prefers.is_some().then_some(self)
    }

    fn preparing(&self) -> Option<&dyn Preparing> {
        self.0.lock().prepares.then_some(self)
    }
}

#[async_trait]
impl Preferring for Scripted {
    async fn prefer(&self, wanted: &Preference) -> Result<Vec<DeviceId>> {
        let Preference { available, must_include, size } = wanted;
        self.step("prefer", format!("{size} of {} with {}", words(available, " "), words(must_include, " "))).await?;
        Ok(self.0.lock().prefers.clone().unwrap_or_default())
    }
}

#[async_trait]
impl Preparing for Scripted {
    async fn prepare(&self, devices: &[DeviceId]) -> Result<()> {
        self.step("prepare", words(devices, " ")).await
    }
}
