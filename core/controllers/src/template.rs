//! Pod templates: whether two are the same, and what names that are made of one differ by.

use windlass_api::{core::v1::PodTemplateSpec, names::SUFFIX_ALPHABET};

/// The label that tells the pods of one ReplicaSet of a Deployment from another's.
pub(crate) const HASH: &str = "pod-template-hash";

/// Whether two templates want the same pods.
pub(crate) fn same(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    bare(one) == bare(other)
}

/// A short text that differs between templates, as a label value and a part of a name.
///
/// Stable across processes and versions as long as the template's JSON is; where it changes, or two templates have one,
/// `collision_count` makes another.
pub(crate) fn hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    let json = serde_json::to_vec(&bare(template)).unwrap_or_default();
    let count = collision_count.unwrap_or(0).to_string();
    // FNV-1a.
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let number = json.iter().chain(count.as_bytes()).fold(0x811c_9dc5, mix);
    let letter = |digit: char| char::from(SUFFIX_ALPHABET[digit as usize % SUFFIX_ALPHABET.len()]);
    number.to_string().chars().map(letter).collect()
}

fn bare(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    template.metadata.labels.remove(HASH);
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_api::names;

    fn template(image: &str) -> PodTemplateSpec {
        let object = serde_json::json!({
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn templates_are_the_same_whatever_their_hash_label() {
        let (one, mut other) = (template("a"), template("a"));
        other.metadata.labels.insert(HASH.into(), "x".into());
        assert!(same(&one, &other) && !same(&one, &template("b")));
        assert_eq!(hash(&one, None), hash(&other, None));
    }

    #[test]
    fn a_hash_is_a_label_value_that_templates_and_collisions_change() {
        let hashes = [hash(&template("a"), None), hash(&template("b"), None), hash(&template("a"), Some(1))];
        assert!(hashes.iter().all(|hash| names::label_value(hash).is_empty() && !hash.is_empty()));
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
        // Stored objects carry it: it must not change from build to build.
        assert_eq!(hashes[0], "cbc5c5cc6");
    }
}
