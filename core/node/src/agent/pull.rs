//! Gets a container's image, with back-off and the words that Kubernetes has for what goes wrong.

use std::sync::Arc;

use futures::future::{Either, select};
use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    Result,
    runtime::{Image, ImageRef, Pull, RegistryAuth},
};

use super::{prepare::whole, worker::Round};
use crate::{
    image::{self, Policy},
    make::env::Kind,
    pod::{Backoff, Pulling, Waiting},
};

impl Round<'_> {
    /// The image, once it is there; `None` where the container has to wait.
    pub(super) async fn image(&mut self, pod: &Arc<Pod>, container: &Container) -> Result<Option<(ImageRef, Image)>> {
        let images = Arc::clone(&self.inner.needs.images);
        let (name, text) = (container.name.as_str(), container.image.clone().unwrap_or_default());
        let wanted = ImageRef::from(text.as_str());
        let now = self.now();
        let later = now.checked_add(std::time::Duration::from_secs(10)).unwrap_or(now);
        if text.is_empty()
            || text.contains(char::is_whitespace)
            || text.chars().any(|c| c.is_ascii_uppercase() && !text.contains('/') && !text.contains(':'))
        {
            let why = format!(
                "Failed to apply default image tag \"{text}\": couldn't parse image name \"{text}\": invalid reference format"
            );
            self.event(pod, Some(name), "Warning", "InspectFailed", &why);
            self.memo.records.wait(name, Waiting::new("InvalidImageName", why), later);
            return Ok(None);
        }
        let policy = image::policy(container);
        let present = images.image(&wanted).await?;
        if let Some(present) = present.filter(|_| policy != Policy::Always) {
            let said = format!("Container image \"{text}\" already present on machine");
            self.event(pod, Some(name), "Normal", "Pulled", &said);
            self.memo.records.pulls.remove(&text);
            return Ok(Some((wanted, present)));
        }
        if policy == Policy::Never {
            let why = format!("Container image \"{text}\" is not present with pull policy of Never");
            self.event(pod, Some(name), "Warning", "ErrImageNeverPull", &why);
            self.event(pod, Some(name), "Warning", "Failed", "Error: ErrImageNeverPull");
            self.memo.records.wait(name, Waiting::new("ErrImageNeverPull", why), later);
            return Ok(None);
        }
        if let Some(failed) = self.memo.records.pulls.get(&text).cloned() {
            let until = failed.backoff.until(failed.backoff.raised);
            if until > now {
                let said = format!("Back-off pulling image \"{text}\"");
                self.event(pod, Some(name), "Normal", "BackOff", &said);
                self.event(pod, Some(name), "Warning", "Failed", "Error: ImagePullBackOff");
                let waiting = Waiting::new("ImagePullBackOff", format!("{said}: ErrImagePull: {}", failed.error));
                self.memo.records.wait(name, waiting, until);
                return Ok(None);
            }
        }
        let auths = self.auths(pod, &text).await?;
        self.event(pod, Some(name), "Normal", "Pulling", &format!("Pulling image \"{text}\""));
        let began = self.inner.needs.clock.uptime();
        match self.pull(&text, auths).await {
            None => Ok(None),
            Some(Ok(pulled)) => {
                let took = self.inner.needs.clock.uptime().saturating_sub(began);
                let found = match images.image(&pulled).await? {
                    Some(found) => Some(found),
                    None => images.image(&wanted).await?,
                };
                let size = found.as_ref().map_or(0, |found| found.size);
                let took = std::time::Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                let said = format!(
                    "Successfully pulled image \"{text}\" in {took:?} ({took:?} including waiting). Image size: {size} bytes."
                );
                self.event(pod, Some(name), "Normal", "Pulled", &said);
                self.memo.records.pulls.remove(&text);
                Ok(found.map(|found| (pulled, found)))
            }
            Some(Err(why)) => {
                self.event(pod, Some(name), "Warning", "Failed", &format!("Failed to pull image \"{text}\": {why}"));
                self.event(pod, Some(name), "Warning", "Failed", "Error: ErrImagePull");
                let before = self.memo.records.pulls.get(&text).map(|failed| failed.backoff);
                let backoff = Backoff::next(before, self.now());
                self.memo.records.wait(name, Waiting::new("ErrImagePull", why.clone()), self.now());
                // The next look says that it waits; the one after the delay tries again.
                self.memo.records.pulls.insert(text, Pulling { backoff, error: why });
                Ok(None)
            }
        }
    }

    /// Tries each secret in turn. `None` if the pod is to end meanwhile.
    async fn pull(&self, text: &str, auths: Vec<Option<RegistryAuth>>) -> Option<Result<ImageRef, String>> {
        let images = &self.inner.needs.images;
        let all = async {
            let mut failed = String::new();
            for auth in auths {
                match images.pull(&Pull { image: text.into(), auth, ..Pull::default() }).await {
                    Ok(pulled) => return Ok(pulled),
                    Err(error) => failed = whole(&error),
                }
            }
            Err(failed)
        };
        match select(Box::pin(all), Box::pin(self.handle.sooner(None))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// The pod's secrets for an image's registry; one try without, where there are none.
    async fn auths(&self, pod: &Arc<Pod>, text: &str) -> Result<Vec<Option<RegistryAuth>>> {
        let names = pod.spec.image_pull_secrets.iter().map(|secret| (Kind::Secret, secret.name.clone()));
        let found = self.read(pod, names.collect()).await?;
        let auths = found.data.values().flatten().filter_map(|data| image::auth(text, data));
        let mut auths: Vec<_> = auths.map(Some).collect();
        if auths.is_empty() {
            auths.push(None);
        }
        Ok(auths)
    }
}
