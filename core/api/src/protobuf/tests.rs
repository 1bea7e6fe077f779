use super::*;
use crate::decode::{Strictness, decode_json, normalize, unknown_fields};
use crate::r#gen::schema::{KINDS, MESSAGES};
use crate::schema::{Codec, Field, Kind, Shape, Zero};
use serde_json::{Map, json};

/// A small generator of numbers, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn text(&mut self) -> String {
        ["a", "ü-ber", "name.value", "x/y", "0"][self.roll(5) as usize].to_owned()
    }

    fn message(&mut self, of: &Message, depth: u64) -> Value {
        match of.codec {
            Codec::Plain => {
                let mut object = Map::new();
                let topped = of.fields.iter().any(|f| f.json == "metadata");
                for field in
                    of.fields.iter().filter(|f| !(f.inline || topped && ["apiVersion", "kind"].contains(&f.json)))
                {
                    let carried = field.number != 0 || of.fields.iter().any(|f| f.inline);
                    if carried && self.roll(2 + depth) < 2 && depth < 9 {
                        object.insert(field.json.to_owned(), self.field(field, depth));
                    }
                }
                Value::Object(object)
            }
            Codec::Time => "2026-01-02T03:04:05Z".into(),
            Codec::MicroTime => "1969-12-31T23:59:59.000123Z".into(),
            Codec::Quantity => "100m".into(),
            Codec::IntOrString if self.roll(2) == 0 => json!(-7),
            Codec::IntOrString => "http".into(),
            Codec::RawExtension | Codec::FieldsV1 | Codec::Json => json!({"f:a": [1, null, "x"]}),
            Codec::SchemaOrBool if self.roll(2) == 0 => json!(false),
            Codec::SchemaOrArray if self.roll(2) == 0 => json!([{"type": "object"}, {}]),
            Codec::SchemaOrStrings | Codec::Strings => json!(["a", ""]),
            Codec::SchemaOrBool | Codec::SchemaOrArray => json!({"type": "string", "$ref": "x", "maximum": 1.5}),
            Codec::Duration => ["0s", "10.5s", "-1m0s", "2h0m0.25s", "1.5ms", "7ns"][self.roll(6) as usize].into(),
        }
    }

    fn field(&mut self, field: &Field, depth: u64) -> Value {
        let count = 1 + self.roll(2);
        match field.shape {
            Shape::One => self.one(field.of, depth, field.zero == Zero::Omit),
            Shape::List => (0..count).map(|_| self.one(field.of, depth, false)).collect(),
            Shape::Map => {
                let entries = (0..count).map(|_| (self.text(), self.one(field.of, depth, false)));
                Value::Object(entries.collect())
            }
        }
    }

    fn one(&mut self, of: Kind, depth: u64, filled: bool) -> Value {
        match of {
            Kind::String => self.text().into(),
            Kind::Bytes => "AP8=".into(),
            Kind::Bool => (filled || self.roll(2) == 0).into(),
            Kind::Int32 => [i32::MIN, -1, 5, i32::MAX][self.roll(4) as usize].into(),
            Kind::Int64 => [i64::MIN, -1, 5, i64::MAX][self.roll(4) as usize].into(),
            Kind::Double => 0.25.into(),
            Kind::Message(of) => self.message(of, depth + 1),
        }
    }
}

#[test]
fn every_kind_survives_the_way_there_and_back() {
    for (at, (group, version, kind, of)) in KINDS.iter().enumerate() {
        if of.field("kind").is_none() {
            continue;
        }
        for seed in 1..6 {
            let mut value = Dice((at as u64 + 1) * 7919 * seed).message(of, 0);
            let object = value.as_object_mut().unwrap();
            object.insert("kind".into(), (*kind).into());
            let api_version = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
            object.insert("apiVersion".into(), api_version.into());
            // Types that upstream writes in JSON only.
            if of.fields.iter().all(|f| f.number == 0) {
                continue;
            }
            let bytes = encode(&value, of).unwrap();
            assert_eq!(decode(&bytes).unwrap(), value, "{group}/{version} {kind}, seed {seed}");
        }
    }
}

#[test]
fn every_format_normalizes_to_the_same_object() {
    for (at, (group, version, kind, of)) in KINDS.iter().enumerate() {
        if of.fields.iter().all(|f| f.number == 0) || of.field("kind").is_none() {
            continue;
        }
        let mut value = Dice((at as u64 + 1) * 104_729).message(of, 0);
        value["kind"] = (*kind).into();
        value["apiVersion"] = if group.is_empty() { (*version).into() } else { format!("{group}/{version}").into() };
        normalize(&mut value, of).unwrap();
        assert_eq!(unknown_fields(&value, of), [""; 0], "{group}/{version} {kind}");

        let mut from_json = decode_json(value.to_string().as_bytes(), Strictness::default()).unwrap().value;
        normalize(&mut from_json, of).unwrap();
        assert_eq!(from_json, value, "{group}/{version} {kind}");
        let mut from_protobuf = decode(&encode(&value, of).unwrap()).unwrap();
        normalize(&mut from_protobuf, of).unwrap();
        assert_eq!(from_protobuf, value, "{group}/{version} {kind}");
    }
}

#[test]
fn cut_or_damaged_input_is_an_error_or_another_object_but_never_a_panic() {
    let pod = Message::of_kind("", "v1", "Pod").unwrap();
    let mut value = Dice(42).message(pod, 0);
    value["apiVersion"] = "v1".into();
    value["kind"] = "Pod".into();
    let bytes = encode(&value, pod).unwrap();
    for cut in 0..bytes.len() {
        let _ = decode(&bytes[..cut]);
    }
    let mut dice = Dice(7);
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        let at = dice.roll(damaged.len() as u64) as usize;
        damaged[at] = dice.roll(256) as u8;
        let _ = decode(&damaged);
        for of in MESSAGES.iter().take(40) {
            let _ = decode_message(&damaged[4..], of);
        }
    }
}

fn check(raw: &[u8], expect: &str) {
    let of = Message::of_kind("", "v1", "Pod").unwrap();
    assert_eq!(decode_message(raw, of).unwrap_err().to_string(), expect);
}

#[test]
fn lies_are_named() {
    check(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "cannot read protobuf: unexpected end: a length exceeds what is left");
    check(&[0x0a, 0x03, 0x0a, 0x01, 0xff], "cannot read protobuf field metadata.name: a string is not UTF-8");
    check(&[0x0a, 0x02, 0x08, 0x01], "cannot read protobuf field metadata.name: wrong wire type for a string");
    check(&[0x0f], "cannot read protobuf: illegal wire type 7");
    check(&[0x00], "cannot read protobuf: illegal tag 0");
    check(&[0x80; 11], "cannot read protobuf: a number has more than 64 bits");
    assert_eq!(decode(b"{}"), Err(DecodeError::NotEnveloped));
}

#[test]
fn nesting_has_a_limit() {
    let schema = Message::named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").unwrap();
    let not = schema.field("not").unwrap().number;
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let mut outer = Vec::new();
        put_bytes(&mut outer, not, &bytes);
        bytes = outer;
    }
    let error = decode_message(&bytes, schema).unwrap_err().to_string();
    assert!(error.ends_with("messages nest deeper than 100"), "{error}");
}

#[test]
fn zero_values_are_left_out_where_json_leaves_them_out() {
    let spec = Message::named("io.k8s.api.core.v1.PodSpec").unwrap();
    let mut bytes = Vec::new();
    for name in ["hostNetwork", "automountServiceAccountToken"] {
        put_int(&mut bytes, spec.field(name).unwrap().number, 0);
    }
    put_bytes(&mut bytes, spec.field("nodeName").unwrap().number, b"");
    assert_eq!(decode_message(&bytes, spec).unwrap(), json!({"automountServiceAccountToken": false}));
}

#[test]
fn options_are_found_in_every_group_and_packed_lists_are_read() {
    let bytes = encode(
        &json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}),
        message_of("apps/v1", "DeleteOptions").unwrap(),
    );
    assert_eq!(decode(&bytes.unwrap()).unwrap()["gracePeriodSeconds"], 0);
    let context = Message::named("io.k8s.api.core.v1.PodSecurityContext").unwrap();
    let number = context.field("supplementalGroups").unwrap().number;
    let mut packed = Vec::new();
    put_bytes(&mut packed, number, &[1, 2]);
    assert_eq!(decode_message(&packed, context).unwrap(), json!({"supplementalGroups": [1, 2]}));
}

#[test]
fn watch_frames_carry_their_length() {
    let frame = encode_watch_event("ADDED", b"k8s\0");
    assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
}

#[test]
fn an_unknown_kind_is_named() {
    let kind = json!({"apiVersion": "example.com/v1", "kind": "Widget"});
    let bytes = encode(&kind, Message::of_kind("", "v1", "Pod").unwrap()).unwrap();
    let expect = DecodeError::UnknownKind { api_version: "example.com/v1".into(), kind: "Widget".into() };
    assert_eq!(decode(&bytes), Err(expect));
}
