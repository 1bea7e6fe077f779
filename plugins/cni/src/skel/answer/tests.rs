//! The protocol's manners on a network that does nothing.

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use serde_json::json;
use windlass_kernel::{
    Error, ErrorKind,
    network::{Attached, Attachment, AttachmentKey},
};

use super::*;
use crate::skel::Inline;

/// Tells what it was asked.
#[derive(Debug, Default)]
struct Echo {
    refuse: bool,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn say(&self, what: String) -> Result<()> {
        self.seen.lock().push(what);
        let error = || Error::new(ErrorKind::Unavailable, "not now").with_source("it rains");
        if self.refuse { Err(error()) } else { Ok(()) }
    }
}

#[async_trait]
impl PodNetwork for Echo {
    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        let pod = attachment.pod.clone().unwrap_or_default().name;
        let words = format!("{:?} {}", attachment.arguments, attachment.wishes.ports.len());
        self.say(format!("attach {} {:?} {pod} {words}", attachment.key, attachment.namespace))
            .map(|()| Attached::default())
    }

    async fn detach(&self, attachment: &Attachment) -> Result<()> {
        self.say(format!("detach {} {:?}", attachment.key, attachment.namespace))
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        self.say(format!("check {}", attachment.key))
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        self.say(format!("collect {valid:?}"))
    }

    async fn ready(&self) -> Result<()> {
        self.say("ready".into())
    }
}

fn call(verb: &str, words: &str, config: &Value, refuse: bool) -> (Answer, String) {
    let mut all: BTreeMap<String, String> = words
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (format!("CNI_{name}"), value.to_owned()))
        .collect();
    all.insert("CNI_COMMAND".into(), verb.into());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let echo = Echo { refuse, seen: Arc::clone(&seen) };
    let input = config.to_string();
    let answer = block_on(answer(&all, input.as_bytes(), Arc::new(Inline), |_| Ok(echo)));
    let seen = seen.lock().join(", ");
    (answer, seen)
}

fn config(version: &str, more: Value) -> Value {
    let mut config = json!({"cniVersion": version, "name": "pods", "type": "echo"});
    let Value::Object(more) = more else { panic!("fields are an object") };
    config.as_object_mut().unwrap().extend(more);
    config
}

const WORDS: &str = "CONTAINERID=abc NETNS=/x IFNAME=eth0";

#[test]
fn each_verb_becomes_a_call() {
    let check = |verb: &str, words: &str, more: Value, expect: &str, output: &str| {
        let (answer, seen) = call(verb, words, &config("1.1.0", more), false);
        assert_eq!((seen.as_str(), answer.output.as_str(), answer.code), (expect, output, 0), "{verb}");
    };
    let ports = json!({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 2}]}});
    let words = format!("{WORDS} ARGS=IgnoreUnknown=1;K8S_POD_NAME=web;A=b");
    let seen = r#"attach abc/eth0 Some("/x") web {"A": "b"} 1"#;
    check("ADD", &words, ports, seen, r#"{"cniVersion":"1.1.0"}"#);
    check("DEL", "CONTAINERID=abc IFNAME=eth0", json!({}), "detach abc/eth0 None", "");
    check("CHECK", WORDS, json!({"prevResult": {}}), "check abc/eth0", "");
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "b"}]});
    check("GC", "PATH=/bin", valid, r#"collect [AttachmentKey { sandbox: a, interface: "b" }]"#, "");
    check("STATUS", "", json!({}), "ready", "");
}

#[test]
fn what_cannot_be_understood_never_reaches_the_network() {
    let check = |verb: &str, words: &str, config: &Value, code: u32, names: &str| {
        let (answer, seen) = call(verb, words, config, false);
        assert_eq!((answer.code, seen.as_str()), (1, ""), "{verb} {words}");
        let error: CniError = serde_json::from_str(&answer.output).unwrap();
        assert!(error.code == code && error.to_string().contains(names), "{error}");
    };
    let fine = config("1.0.0", json!({}));
    check("ADD", "NETNS=/x", &fine, code::INVALID_ENVIRONMENT, "CNI_CONTAINERID, CNI_IFNAME");
    check("ADD", "CONTAINERID=abc NETNS=/x IFNAME=a/b", &fine, code::INVALID_ENVIRONMENT, "a/b");
    check("ADD", &format!("{WORDS} ARGS=nonsense"), &fine, code::INVALID_ENVIRONMENT, "nonsense");
    check("DANCE", WORDS, &fine, code::INVALID_ENVIRONMENT, "DANCE");
    check("ADD", WORDS, &config("0.2.0", json!({})), code::INCOMPATIBLE_VERSION, "0.2.0");
    check("CHECK", WORDS, &config("0.3.1", json!({"prevResult": {}})), code::INCOMPATIBLE_VERSION, "0.4.0");
    check("GC", WORDS, &fine, code::INCOMPATIBLE_VERSION, "1.1.0");
    check("CHECK", WORDS, &fine, code::INVALID_CONFIG, "prevResult");
    check("GC", WORDS, &config("1.1.0", json!({})), code::INVALID_CONFIG, "valid-attachments");
    check("ADD", WORDS, &json!({"cniVersion": "1.0.0"}), code::INVALID_CONFIG, "name");
    check("ADD", WORDS, &json!([]), code::DECODING, "cannot be read");
    check("ADD", WORDS, &config("1.0.0", json!({"prevResult": []})), code::INVALID_CONFIG, "prevResult");
}

#[test]
fn a_refusal_has_a_code_a_sentence_and_its_cause() {
    let (answer, _) = call("ADD", WORDS, &config("0.4.0", json!({})), true);
    let error: CniError = serde_json::from_str(&answer.output).unwrap();
    let expect = CniError::new(code::TRY_AGAIN, "not now").with_details("it rains");
    assert_eq!((answer.code, error), (1, CniError { cni_version: "0.4.0".into(), ..expect }));
    let (answer, _) = call("STATUS", "", &config("1.1.0", json!({})), true);
    assert_eq!(serde_json::from_str::<CniError>(&answer.output).unwrap().code, code::NOT_AVAILABLE);
}

#[test]
fn version_is_answered_without_a_network() {
    let check = |asked: Value, said: &str| {
        let (answer, seen) = call("VERSION", "", &asked, true);
        let info: VersionInfo = serde_json::from_str(&answer.output).unwrap();
        assert_eq!((info.cni_version.as_str(), seen.as_str(), answer.code), (said, "", 0));
        assert_eq!(info.supported_versions, ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    };
    check(json!({"cniVersion": "0.4.0"}), "0.4.0");
    check(json!({"cniVersion": "9.9.9"}), "1.1.0");
    check(json!(null), "1.1.0");
}
