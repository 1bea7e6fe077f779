use serde_json::{Value, json};

use super::*;

/// Reads a claim such as `on=v bound phase=Bound class=fast`.
fn claim(text: &str) -> PersistentVolumeClaim {
    let mut object = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "u", "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    });
    for word in text.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("on", name) => object["spec"]["volumeName"] = name.into(),
            ("class", name) => object["spec"]["storageClassName"] = name.into(),
            ("phase", phase) => object["status"]["phase"] = phase.into(),
            ("bound", _) => object["metadata"]["annotations"][BOUND] = "yes".into(),
            (other, _) => panic!("{other}"),
        }
    }
    serde_json::from_value(object).unwrap()
}

/// Reads a volume such as `v 5Gi for=ns/c/u chosen phase=Bound keep=Delete`.
fn volume(text: &str) -> Arc<PersistentVolume> {
    let mut words = text.split_whitespace();
    let (name, size) = (words.next().unwrap(), words.next().unwrap());
    let mut object = json!({
        "metadata": {"name": name, "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": size}},
    });
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("for", owner) => {
                let parts: Vec<_> = owner.split('/').collect();
                object["spec"]["claimRef"] = json!({"namespace": parts[0], "name": parts[1], "uid": parts.get(2)});
            }
            ("class", name) => object["spec"]["storageClassName"] = name.into(),
            ("phase", phase) => object["status"]["phase"] = phase.into(),
            ("keep", policy) => object["spec"]["persistentVolumeReclaimPolicy"] = policy.into(),
            ("chosen", _) => object["metadata"]["annotations"][CHOSEN] = "yes".into(),
            (other, _) => panic!("{other}"),
        }
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

fn told(plan: &Plan) -> String {
    let mut said = Vec::new();
    match &plan.write {
        None => {}
        Some(Write::Claim(claim)) => {
            let on = claim.spec.volume_name.as_deref().unwrap_or("-");
            said.push(format!("claim on {on}{}", if is_bound(claim) { " bound" } else { "" }));
        }
        Some(Write::ClaimStatus(claim)) => said.push(format!("claim {}", claim.status.phase.as_deref().unwrap())),
        Some(Write::Volume(volume)) => {
            let owner = volume.spec.claim_ref.as_ref();
            let owner = owner.map_or("-".into(), |own| own.uid.clone().unwrap_or_else(|| "anyone".into()));
            let chosen = if volume.metadata.annotations.contains_key(CHOSEN) { " chosen" } else { "" };
            said.push(format!("{} for {owner}{chosen}", volume.metadata.name.as_deref().unwrap()));
        }
        Some(Write::VolumeStatus(volume)) => said.push(format!("volume {}", volume.status.phase.as_deref().unwrap())),
    }
    said.extend(plan.news.iter().map(|(_, reason, _)| (*reason).to_owned()));
    said.join("; ")
}

#[track_caller]
fn check_unnamed(text: &str, class: &Value, volumes: &str, expect: &str) {
    let volumes: Vec<_> = volumes.lines().map(str::trim).filter(|line| !line.is_empty()).map(volume).collect();
    let class: Option<StorageClass> = serde_json::from_value(class.clone()).unwrap();
    assert_eq!(told(&unnamed(&claim(text), (class.as_ref(), None), &mut volumes.iter())), expect, "{text} {class:?}");
}

#[test]
fn a_claim_that_says_nothing_of_a_class_gets_the_default_one_where_no_volume_suits() {
    let check = |text: &str, volumes: &[&str], expect: Option<&str>| {
        let volumes: Vec<_> = volumes.iter().map(|text| volume(text)).collect();
        let plan = unnamed(&claim(text), (None, Some("standard")), &mut volumes.iter());
        let class = match plan.write {
            Some(Write::Claim(claim)) => claim.spec.storage_class_name,
            _ => None,
        };
        assert_eq!(class.as_deref(), expect, "{text}");
    };
    check("", &[], Some("standard"));
    check("", &["c 1Gi"], Some("standard"));
    check("", &["c 5Gi"], None);
    check("class=fast", &[], None);
}

#[track_caller]
fn check_named(text: &str, held: &str, expect: &str) {
    let held = (!held.is_empty()).then(|| volume(held));
    assert_eq!(told(&named(&claim(text), held.as_deref())), expect, "{text}");
}

#[test]
fn a_claim_gets_the_smallest_volume_that_suits() {
    let none = Value::Null;
    check_unnamed("", &none, "a 10Gi\n b 5Gi\n c 1Gi\n d 2Gi class=fast\n e 2Gi for=ns/other", "b for u chosen");
    check_unnamed("class=fast", &none, "a 10Gi\n d 2Gi class=fast", "d for u chosen");
    check_unnamed("", &none, "a 2Gi\n b 5Gi for=ns/c", "b for u");
    check_unnamed("", &none, "b 5Gi for=ns/c/u chosen", "claim on b bound");
    check_unnamed("", &none, "c 1Gi", "FailedBinding");
    check_unnamed("bound", &none, "", "claim Lost; ClaimLost");
}

#[test]
fn without_a_volume_the_class_says_who_makes_one() {
    let class = |mode: &str| json!({"provisioner": "p.example.com", "volumeBindingMode": mode});
    check_unnamed("class=fast", &class("Immediate"), "", "claim on -; ExternalProvisioning");
    check_unnamed("class=fast", &class("WaitForFirstConsumer"), "a 5Gi class=fast", "WaitForFirstConsumer");
    check_unnamed("class=fast", &Value::Null, "", "ProvisioningFailed");
}

#[test]
fn a_claim_that_names_a_volume_gets_that_or_none() {
    check_named("on=v", "v 5Gi", "v for u chosen");
    check_named("on=v", "v 5Gi for=ns/c/u", "claim on v bound");
    check_named("on=v", "v 1Gi", "VolumeMismatch");
    check_named("on=v", "v 5Gi for=ns/other/x", "FailedBinding");
    check_named("on=v", "", "");
    check_named("on=v bound", "v 5Gi for=ns/c/u", "claim Bound");
    check_named("on=v bound phase=Bound", "", "claim Lost; ClaimLost");
    check_named("on=v bound phase=Bound", "v 5Gi for=ns/other/x", "claim Lost; ClaimMisbound");
}

#[track_caller]
fn check_volume(text: &str, owner: Option<&str>, expect: &str) {
    let (volume, owner) = (volume(text), owner.map(claim));
    let now = Timestamp::UNIX_EPOCH;
    let plan = if claimed_by(&volume).is_none() { free(&volume, now) } else { taken(&volume, owner.as_ref(), now) };
    assert_eq!(told(&plan), expect, "{text}");
}

#[test]
fn a_volume_says_what_became_of_it() {
    check_volume("v 1Gi", None, "volume Available");
    check_volume("v 1Gi for=ns/c", None, "volume Available");
    check_volume("v 1Gi for=ns/c/u", Some("on=v"), "volume Bound");
    check_volume("v 1Gi for=ns/c/u phase=Bound", Some("on=v"), "");
    check_volume("v 1Gi for=ns/c/u phase=Bound", None, "volume Released");
    check_volume("v 1Gi for=ns/c/u phase=Bound keep=Delete", None, "volume Failed; VolumeFailedDelete");
    // The claim took another one.
    check_volume("v 1Gi for=ns/c/u chosen", Some("on=w"), "v for -");
    check_volume("v 1Gi for=ns/c/u", Some("on=w"), "v for anyone");
}
