//! What a plugin answers on the wire: its manners, beside what it does to networks.
//!
//! These checks cite the specification only; the trait's contract has no words for bytes.

use std::path::Path;

use futures::FutureExt;
use serde_json::{Value, json};

use super::{Check, Fixture, INTERFACE, Raw, RawAnswer, RawCall};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "version_lists_the_versions",
        clause: "VERSION: cniVersion and supportedVersions",
        needs: without_raw,
        run: |f| versions(f).boxed(),
    },
    Check {
        name: "every_listed_version_is_answered_in_itself",
        clause: "Success: cniVersion, the same version supplied on input",
        needs: without_raw,
        run: |f| each_version(f).boxed(),
    },
    Check {
        name: "an_unknown_version_is_code_1",
        clause: "Error: 1, incompatible CNI version",
        needs: without_raw,
        run: |f| unknown_version(f).boxed(),
    },
    Check {
        name: "a_missing_variable_is_code_4",
        clause: "Error: 4, invalid necessary environment variables; the names must be in the message",
        needs: without_raw,
        run: |f| missing_variable(f).boxed(),
    },
    Check {
        name: "an_unknown_verb_is_an_error",
        clause: "CNI_COMMAND; Error: 4",
        needs: without_raw,
        run: |f| unknown_verb(f).boxed(),
    },
    Check {
        name: "input_that_is_no_configuration_is_code_6",
        clause: "Error: 6, failed to decode content",
        needs: without_raw,
        run: |f| garbage(f).boxed(),
    },
    Check {
        name: "unknown_fields_are_let_pass",
        clause: "Network configuration: plugins may define additional fields; args and unknown keys are not errors",
        needs: without_raw,
        run: |f| unknown_fields(f).boxed(),
    },
    Check {
        name: "del_check_and_status_say_nothing_where_all_is_well",
        clause: "Success: plugins must exit with a return code of 0, and output a result for ADD and VERSION only",
        needs: without_raw,
        run: |f| silence(f).boxed(),
    },
];

fn without_raw(fixture: &Fixture) -> Option<&'static str> {
    fixture.raw.is_none().then_some("the network is not made of plugins")
}

impl Raw {
    fn config(&self, version: &str) -> Value {
        let mut config = self.config.clone();
        config["cniVersion"] = version.into();
        config
    }

    async fn call(&self, verb: &str, words: &[(&'static str, &str)], input: &[u8]) -> RawAnswer {
        let mut environment = vec![("CNI_COMMAND", verb.to_owned())];
        environment.extend(words.iter().map(|(name, value)| (*name, (*value).to_owned())));
        (self.run)(RawCall { environment, input: input.to_vec() }).await
    }

    async fn versions(&self) -> Vec<String> {
        let answer = self.call("VERSION", &[], br#"{"cniVersion":"1.0.0"}"#).await;
        assert_eq!(answer.code, Some(0), "VERSION failed: {}", text(&answer));
        let json = read(&answer);
        assert!(json["cniVersion"].is_string(), "no cniVersion: {json}");
        let versions = json["supportedVersions"].as_array().cloned().unwrap_or_default();
        versions.iter().map(|version| version.as_str().expect("a version is a string").to_owned()).collect()
    }

    /// The newest version that the plugin lists and that has been released.
    async fn newest(&self) -> String {
        let versions = self.versions().await;
        let known = ["1.1.0", "1.0.0", "0.4.0", "0.3.1"];
        let newest = known.into_iter().find(|known| versions.iter().any(|version| version == known));
        newest.expect("the plugin speaks a version from 0.3.1 to 1.1.0").to_owned()
    }
}

fn text(answer: &RawAnswer) -> String {
    String::from_utf8_lossy(&answer.output).trim().to_owned()
}

fn read(answer: &RawAnswer) -> Value {
    serde_json::from_slice(&answer.output).unwrap_or_else(|error| panic!("no JSON ({error}): {}", text(answer)))
}

/// An error as the specification has it.
#[track_caller]
fn refused(answer: &RawAnswer) -> Value {
    assert!(answer.code.is_some_and(|code| code != 0), "it ended with {:?}: {}", answer.code, text(answer));
    let json = read(answer);
    assert!(json["code"].as_u64().is_some_and(|code| code > 0), "no code: {json}");
    assert!(json["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "no msg: {json}");
    json
}

fn raw(fixture: &Fixture) -> Raw {
    fixture.raw.clone().expect("the check needs it")
}

async fn versions(fixture: Fixture) {
    let versions = raw(&fixture).versions().await;
    assert!(!versions.is_empty(), "no version is listed");
    for version in &versions {
        let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        assert_eq!(numbers, 3, "{version:?} is no version");
    }
}

async fn each_version(fixture: Fixture) {
    let before = fixture.before().await;
    let raw = raw(&fixture);
    let pod = fixture.pod("a");
    let (sandbox, path) = (pod.wanted.key.sandbox.to_string(), pod.namespace.display().to_string());
    let words = [("CNI_CONTAINERID", sandbox.as_str()), ("CNI_NETNS", &path), ("CNI_IFNAME", INTERFACE)];
    for version in raw.versions().await.iter().filter(|version| version.as_str() >= "0.3.0") {
        let config = raw.config(version).to_string();
        let added = raw.call("ADD", &words, config.as_bytes()).await;
        assert_eq!(added.code, Some(0), "ADD in {version} failed: {}", text(&added));
        let result = read(&added);
        assert_eq!(result["cniVersion"], version.as_str(), "the answer to {version}");
        result_is_well_formed(&result, version, &pod.namespace);
        let deleted = raw.call("DEL", &words, config.as_bytes()).await;
        assert_eq!(deleted.code, Some(0), "DEL in {version} failed: {}", text(&deleted));
    }
    fixture.end(&before, &[&pod]);
}

fn result_is_well_formed(result: &Value, version: &str, namespace: &Path) {
    let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
    let inside = list("interfaces").iter().position(|one| one["sandbox"] == namespace.to_string_lossy().as_ref());
    let inside = inside.unwrap_or_else(|| panic!("no interface in the namespace: {result}"));
    assert_eq!(list("interfaces")[inside]["name"], INTERFACE, "{result}");
    for ip in list("ips") {
        let address = ip["address"].as_str().unwrap_or_default();
        let net: ipnet::IpNet = address.parse().unwrap_or_else(|_| panic!("{address:?} is no address: {result}"));
        let family = if net.addr().is_ipv4() { "4" } else { "6" };
        if version < "1.0.0" {
            assert_eq!(ip["version"], family, "addresses say their version before 1.0.0: {result}");
        } else {
            assert!(ip["version"].is_null(), "addresses do not say their version from 1.0.0 on: {result}");
        }
    }
}

async fn unknown_version(fixture: Fixture) {
    let raw = raw(&fixture);
    for version in ["99.0.0", "no version"] {
        let words = [("CNI_CONTAINERID", "x"), ("CNI_NETNS", "/dev/null"), ("CNI_IFNAME", INTERFACE)];
        let answer = raw.call("ADD", &words, raw.config(version).to_string().as_bytes()).await;
        let error = refused(&answer);
        // A text that is no version cannot be decoded either.
        let codes: &[u64] = if version == "99.0.0" { &[1] } else { &[1, 6] };
        assert!(error["code"].as_u64().is_some_and(|code| codes.contains(&code)), "{error}");
    }
}

async fn missing_variable(fixture: Fixture) {
    let raw = raw(&fixture);
    let config = raw.config(&raw.newest().await).to_string();
    let all = [("CNI_CONTAINERID", "x"), ("CNI_NETNS", "/dev/null"), ("CNI_IFNAME", INTERFACE)];
    for left_out in 0..all.len() {
        let words: Vec<_> = all.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, word)| *word).collect();
        let error = refused(&raw.call("ADD", &words, config.as_bytes()).await);
        let (name, said) = (all[left_out].0, error.to_string());
        assert_eq!(error["code"], 4, "without {name}: {error}");
        assert!(said.contains(name), "{name} is not named: {said}");
    }
}

async fn unknown_verb(fixture: Fixture) {
    let raw = raw(&fixture);
    let config = raw.config(&raw.newest().await).to_string();
    let words = [("CNI_CONTAINERID", "x"), ("CNI_NETNS", "/dev/null"), ("CNI_IFNAME", INTERFACE)];
    refused(&raw.call("DANCE", &words, config.as_bytes()).await);
}

async fn garbage(fixture: Fixture) {
    let raw = raw(&fixture);
    let words = [("CNI_CONTAINERID", "x"), ("CNI_NETNS", "/dev/null"), ("CNI_IFNAME", INTERFACE)];
    for input in [&b""[..], b"{", b"[]", b"\xff\xfe"] {
        let error = refused(&raw.call("ADD", &words, input).await);
        assert_eq!(error["code"], 6, "{:?}: {error}", String::from_utf8_lossy(input));
    }
}

async fn unknown_fields(fixture: Fixture) {
    let before = fixture.before().await;
    let raw = raw(&fixture);
    let pod = fixture.pod("a");
    let (sandbox, path) = (pod.wanted.key.sandbox.to_string(), pod.namespace.display().to_string());
    let words = [
        ("CNI_CONTAINERID", sandbox.as_str()),
        ("CNI_NETNS", &path),
        ("CNI_IFNAME", INTERFACE),
        ("CNI_ARGS", "IgnoreUnknown=1;EXAMPLE=x"),
    ];
    let mut config = raw.config(&raw.newest().await);
    config["args"] = json!({"cni": {"example": 1}});
    config["example.com/unknown"] = json!({"deep": [1, 2, 3]});
    let config = config.to_string();
    for verb in ["ADD", "DEL"] {
        let answer = raw.call(verb, &words, config.as_bytes()).await;
        assert_eq!(answer.code, Some(0), "{verb} failed: {}", text(&answer));
    }
    fixture.end(&before, &[&pod]);
}

async fn silence(fixture: Fixture) {
    let before = fixture.before().await;
    let raw = raw(&fixture);
    let version = raw.newest().await;
    let pod = fixture.pod("a");
    let (sandbox, path) = (pod.wanted.key.sandbox.to_string(), pod.namespace.display().to_string());
    let words = [("CNI_CONTAINERID", sandbox.as_str()), ("CNI_NETNS", &path), ("CNI_IFNAME", INTERFACE)];
    let mut config = raw.config(&version);
    let added = raw.call("ADD", &words, config.to_string().as_bytes()).await;
    assert_eq!(added.code, Some(0), "ADD failed: {}", text(&added));
    config["prevResult"] = read(&added);
    let verbs: &[&str] = if version == "1.1.0" { &["CHECK", "STATUS", "DEL"] } else { &["CHECK", "DEL"] };
    for verb in verbs {
        let words = if *verb == "STATUS" { &[][..] } else { &words[..] };
        let answer = raw.call(verb, words, config.to_string().as_bytes()).await;
        assert_eq!((answer.code, text(&answer).as_str()), (Some(0), ""), "{verb}");
    }
    fixture.end(&before, &[&pod]);
}
