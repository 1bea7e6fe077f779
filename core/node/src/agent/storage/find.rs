//! Finds out what a pod's volume is: its claim, the claim's volume, and what the cluster knows of the driver.

use std::{collections::BTreeMap, sync::Arc};

use serde::de::DeserializeOwned;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret, Volume},
    storage::v1::CSIDriver,
};
use windlass_kernel::{controller::ObjectKey, volume::Secrets};

use super::Unmounted;
use crate::{
    agent::{prepare::whole, worker::Round},
    make::env,
    volume::stored::{self, Found},
};

pub(super) const CLAIMS: &str = "persistentvolumeclaims";
const DRIVERS: &str = "csidrivers.storage.k8s.io";

impl Round<'_> {
    /// What a volume comes to.
    pub(super) async fn find(&self, pod: &Arc<Pod>, volume: &Volume) -> Result<Found, Unmounted> {
        let found = match stored::claim_of(pod, volume) {
            Some(key) => self.claimed(pod, volume, &key).await,
            None => {
                let name = volume.csi.as_ref().map(|csi| csi.driver.as_str()).unwrap_or_default();
                let object = self.driver_object(name).await;
                object
                    .and_then(|object| stored::inline(pod, volume, object.as_ref()))
                    .map(|wanted| Found::Driver(Box::new(wanted)))
            }
        };
        found.map_err(|why| Unmounted::unknown(&volume.name, &why))
    }

    async fn claimed(&self, pod: &Pod, volume: &Volume, key: &ObjectKey) -> Result<Found, String> {
        let about = |why: String| format!("error processing PVC {key}: {why}");
        let claim = self.claim(key).await.map_err(about)?;
        let name = stored::bound(pod, volume, &claim).map_err(about)?;
        let key = ObjectKey::new("", name.as_str());
        let has = self.object::<PersistentVolume>("persistentvolumes", &key).await;
        let missing = || format!("persistentvolume {name:?} not found");
        let has = has.and_then(|has| has.ok_or_else(missing));
        let has = has.map_err(|why| about(format!("failed to fetch PV {name} from API server: {why}")))?;
        stored::of_claim(pod, volume, &claim, &has).map_err(about)
    }

    pub(super) async fn claim(&self, key: &ObjectKey) -> Result<PersistentVolumeClaim, String> {
        let missing = || format!("persistentvolumeclaim {:?} not found", key.name);
        let claim = self.object(CLAIMS, key).await.and_then(|claim| claim.ok_or_else(missing));
        claim.map_err(|why| format!("failed to fetch PVC from API server: {why}"))
    }

    /// What the cluster knows of a driver.
    pub(super) async fn driver_object(&self, name: &str) -> Result<Option<CSIDriver>, String> {
        self.object(DRIVERS, &ObjectKey::new("", name)).await
    }

    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        resource: &'static str,
        key: &ObjectKey,
    ) -> Result<Option<T>, String> {
        let found = self.inner.needs.context.read(resource, key).await.map_err(|error| whole(&error))?;
        found
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| format!("{resource} {key} is unreadable: {error}"))
    }

    /// The secrets that a driver is to be given; none where the volume names none.
    pub(super) async fn secrets(&self, word: &str, key: Option<&ObjectKey>) -> Result<Secrets, String> {
        let Some(key) = key else { return Ok(Secrets::default()) };
        let about = |why: String| format!("fetching {word} {key} failed: {why}");
        let secret: Option<Secret> = self.object("secrets", key).await.map_err(about)?;
        let secret = secret.ok_or_else(|| about(format!("secrets {:?} not found", key.name)))?;
        // What cannot be read is not shown.
        let text = |(name, value): (String, Vec<u8>)| {
            let unreadable = || about(format!("the value of {name:?} is no text"));
            String::from_utf8(value).map(|value| (name.clone(), value)).map_err(|_| unreadable())
        };
        env::data(BTreeMap::new(), secret.data).into_iter().map(text).collect::<Result<_, _>>().map(Secrets)
    }
}
