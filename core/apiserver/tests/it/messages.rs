//! What clients are told: requests and the exact answers, from a table.
//!
//! Each line of `fixtures/messages.tsv` is: verb, resource, name, options, body, code, reason, message.

use bytes::Bytes;
use serde_json::json;
use windlass_kernel::api::{Body, FieldValidation, PatchType, Verb, VersionMatch};

use crate::rig::Rig;

const TABLE: &str = include_str!("../fixtures/messages.tsv");

#[test]
fn refusals_are_worded_as_clients_know_them() {
    let rig = Rig::new();
    rig.create("serviceaccounts", json!({"metadata": {"name": "default"}})).unwrap();
    rig.create("configmaps", json!({"metadata": {"name": "there"}})).unwrap();
    let mut wrong = Vec::new();
    for (at, line) in TABLE.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [verb, resource, name, options, body, code, reason, message] = cells[..] else {
            panic!("line {} has {} cells", at + 1, cells.len());
        };
        let mut request = rig.request(read_verb(verb), resource).named(name);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap();
            let options = &mut request.options;
            match key {
                "strict" => options.field_validation = FieldValidation::Strict,
                "manager" => options.field_manager = value.into(),
                "force" => options.force = true,
                "rv" => options.resource_version = value.into(),
                "match" if value == "Exact" => options.version_match = Some(VersionMatch::Exact),
                "match" => options.version_match = Some(VersionMatch::NotOlderThan),
                "continue" => options.continue_token = value.into(),
                "label" => options.label_selector = value.replace('~', "="),
                "field" => options.field_selector = value.replace('~', "="),
                "uid" => options.preconditions.uid = Some(value.into()),
                "ns" => request.namespace = value.into(),
                "type" => {}
                other => panic!("option {other}"),
            }
        }
        let media_type =
            options.split('&').find_map(|option| option.strip_prefix("type=")).unwrap_or_default().to_owned();
        if !body.is_empty() {
            request.body = Body::Bytes { media_type, bytes: Bytes::copy_from_slice(body.as_bytes()) };
        }
        let said = match rig.call(request) {
            Ok(response) => format!("{}\t\t", response.code),
            Err(error) => {
                let status = error.to_status();
                format!(
                    "{}\t{}\t{}",
                    status["code"],
                    status["reason"].as_str().unwrap(),
                    status["message"].as_str().unwrap()
                )
            }
        };
        let expect = format!("{code}\t{reason}\t{message}");
        if said != expect {
            wrong.push(format!("line {}\n  is      {said}\n  expects {expect}", at + 1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read_verb(verb: &str) -> Verb {
    match verb {
        "get" => Verb::Get,
        "list" => Verb::List,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "delete" => Verb::Delete,
        "deletecollection" => Verb::DeleteCollection,
        "json" => Verb::Patch(PatchType::Json),
        "merge" => Verb::Patch(PatchType::Merge),
        "strategic" => Verb::Patch(PatchType::Strategic),
        "apply" => Verb::Patch(PatchType::Apply),
        other => panic!("verb {other}"),
    }
}
