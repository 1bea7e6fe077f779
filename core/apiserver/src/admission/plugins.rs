//! Which of upstream's admission plugins run: those that run unless somebody says otherwise, and what a command line makes
//! of them.

use std::collections::BTreeSet;

use windlass_api::features::nearest;
use windlass_kernel::{Error, ErrorKind, Result};

/// How a plugin stands here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It runs.
    On,
    /// It runs where it is asked for.
    Off,
    /// There is none here, and what to do instead.
    Absent(&'static str),
}

/// Upstream's plugins of 1.36.
const PLUGINS: [(&str, Stand); 38] = [
    ("AlwaysAdmit", Stand::Off),
    ("AlwaysDeny", Stand::Off),
    ("AlwaysPullImages", Stand::Off),
    ("CertificateApproval", Stand::On),
    ("CertificateSigning", Stand::On),
    ("CertificateSubjectRestriction", Stand::On),
    ("ClusterTrustBundleAttest", Stand::On),
    ("DefaultIngressClass", Stand::On),
    ("DefaultStorageClass", Stand::On),
    ("DefaultTolerationSeconds", Stand::On),
    ("DenyServiceExternalIPs", Stand::Off),
    ("EventRateLimit", Stand::Off),
    ("ExtendedResourceToleration", Stand::Off),
    ("ImagePolicyWebhook", Stand::Absent("use a ValidatingWebhookConfiguration")),
    ("LimitPodHardAntiAffinityTopology", Stand::Off),
    ("LimitRanger", Stand::On),
    ("MutatingAdmissionPolicy", Stand::On),
    ("MutatingAdmissionWebhook", Stand::On),
    ("NamespaceAutoProvision", Stand::Off),
    ("NamespaceExists", Stand::Off),
    ("NamespaceLifecycle", Stand::On),
    // It acts only with the gate NodeDeclaredFeatures, which is off.
    ("NodeDeclaredFeatureValidator", Stand::On),
    // Upstream leaves it to the operator, and every installer turns it on.
    ("NodeRestriction", Stand::On),
    ("OwnerReferencesPermissionEnforcement", Stand::Off),
    ("PersistentVolumeClaimResize", Stand::On),
    ("PodNodeSelector", Stand::Off),
    ("PodSecurity", Stand::On),
    ("PodTolerationRestriction", Stand::Off),
    ("PodTopologyLabels", Stand::On),
    ("Priority", Stand::On),
    ("ResourceQuota", Stand::On),
    ("RuntimeClass", Stand::On),
    ("ServiceAccount", Stand::On),
    ("StorageObjectInUseProtection", Stand::On),
    ("TaintNodesByCondition", Stand::On),
    ("ValidatingAdmissionPolicy", Stand::On),
    ("ValidatingAdmissionWebhook", Stand::On),
    ("PersistentVolumeLabel", Stand::Absent("it was removed in Kubernetes 1.31")),
];

/// Which plugins run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins(BTreeSet<&'static str>);

impl Default for Plugins {
    /// Those that run unless somebody says otherwise.
    fn default() -> Self {
        Self(PLUGINS.iter().filter(|(_, stand)| *stand == Stand::On).map(|(name, _)| *name).collect())
    }
}

impl Plugins {
    /// Whether upstream has a plugin of this name.
    pub(super) fn has(name: &str) -> bool {
        PLUGINS.iter().any(|(own, _)| *own == name)
    }

    /// Whether a plugin runs.
    #[must_use]
    pub fn run(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// All but one.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// The usual plugins, with these beside them and without those: what `--enable-admission-plugins` and
    /// `--disable-admission-plugins` say, names with commas between them.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a name that no plugin has, or that stands on both sides;
    /// [`NotSupported`](ErrorKind::NotSupported) for a plugin that there is not here.
    pub fn choose(enable: &[String], disable: &[String]) -> Result<Self> {
        let mut own = Self::default();
        let (enable, disable) = (names("enable", enable)?, names("disable", disable)?);
        let both: Vec<&str> = enable.intersection(&disable).copied().collect();
        if !both.is_empty() {
            let message =
                format!("[{}] in enable-admission-plugins and disable-admission-plugins overlapped", both.join(" "));
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for name in &enable {
            let stand = PLUGINS.iter().find(|(own, _)| own == name).map(|(_, stand)| *stand);
            if let Some(Stand::Absent(instead)) = stand {
                let message = format!("enable-admission-plugins: {name} is not supported: {instead}");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
        }
        own.0.extend(enable);
        own.0.retain(|name| !disable.contains(name));
        Ok(own)
    }
}

fn names(flag: &str, texts: &[String]) -> Result<BTreeSet<&'static str>> {
    let words = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| known(flag, word)).collect()
}

fn known(flag: &str, word: &str) -> Result<&'static str> {
    if let Some((name, _)) = PLUGINS.iter().find(|(name, _)| *name == word) {
        return Ok(name);
    }
    let close = nearest(word, &PLUGINS.map(|(name, _)| name));
    let hint = if close.is_empty() { String::new() } else { format!(": did you mean {}?", close.join(", ")) };
    let message = format!("{flag}-admission-plugins plugin {word:?} is unknown{hint}");
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(enable: &str, disable: &str, expect: Result<&[(&str, bool)], &str>) {
        let said = Plugins::choose(&[enable.to_owned()], &[disable.to_owned()]);
        match (said, expect) {
            (Ok(plugins), Ok(expect)) => {
                expect.iter().for_each(|(name, on)| assert_eq!(plugins.run(name), *on, "{name}"))
            }
            (Err(error), Err(expect)) => assert_eq!(error.message(), expect),
            (said, expect) => panic!("{said:?} {expect:?}"),
        }
    }

    #[test]
    fn plugins_are_turned_on_and_off_by_name() {
        check("", "", Ok(&[("PodSecurity", true), ("AlwaysPullImages", false)]));
        let chosen = [("PodSecurity", false), ("AlwaysPullImages", true), ("AlwaysDeny", false), ("Priority", true)];
        check("AlwaysPullImages, Priority", "PodSecurity", Ok(&chosen));
    }

    #[test]
    fn what_cannot_be_is_told_by_name() {
        check(
            "AlwaysPullImage",
            "",
            Err("enable-admission-plugins plugin \"AlwaysPullImage\" is unknown: did you mean AlwaysPullImages?"),
        );
        check("", "Nobody", Err("disable-admission-plugins plugin \"Nobody\" is unknown"));
        check(
            "Priority",
            "Priority",
            Err("[Priority] in enable-admission-plugins and disable-admission-plugins overlapped"),
        );
        check(
            "ImagePolicyWebhook",
            "",
            Err("enable-admission-plugins: ImagePolicyWebhook is not supported: use a ValidatingWebhookConfiguration"),
        );
    }
}
