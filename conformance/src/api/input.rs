//! Bad input: whatever arrives is answered by the right Status, within bounded time and memory, and the next request as ever.

mod connections;

use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Check,
    answer::says,
    objects::map,
    world::{APPLY, JSON, MERGE, PATCH, STRATEGIC, World, YAML},
};

const AREA: &str = "input";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        AREA,
        "nesting_without_end_is_a_bad_request",
        "RFC 8259, 9: a parser may set limits on the depth of nesting",
        |w| deep(w).boxed(),
    ),
    Check::new(
        AREA,
        "what_is_too_large_is_not_read",
        "RFC 9110, 15.5.14: 413 Content Too Large; KEP-1929 and kube-apiserver limit bodies to 3 MiB",
        |w| large(w).boxed(),
    ),
    Check::new(AREA, "many_fields_are_many_and_no_more", "RFC 8259, 4: Objects", |w| many(w).boxed()),
    Check::new(AREA, "what_is_no_text_is_never_stored", "RFC 8259, 8.1: Character Encoding", |w| text(w).boxed()),
    Check::new(AREA, "numbers_that_do_not_fit_are_refused", "RFC 8259, 6: Numbers", |w| numbers(w).boxed()),
    Check::new(
        AREA,
        "protobuf_that_lies_is_a_bad_request",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding-idl",
        |w| protobuf(w).boxed(),
    ),
    Check::new(AREA, "a_packed_body_is_not_unpacked_without_bounds", "RFC 9110, 8.4: Content-Encoding", |w| {
        packed(w).boxed()
    }),
    Check::new(AREA, "a_patch_that_grows_is_bounded", "RFC 6902: JSON Patch, 4.5 copy", |w| growing(w).boxed()),
    Check::new(AREA, "a_path_is_only_what_it_says", "RFC 3986, 2.1 and 6.2.2.3", |w| paths(w).boxed()),
    Check::new(AREA, "queries_without_end_are_refused_or_answered", "RFC 9110, 15.5.15: 414 URI Too Long", |w| {
        queries(w).boxed()
    }),
    Check::new(AREA, "half_open_connections_are_in_nobodys_way", "RFC 8446: TLS 1.3, 4.1.2 Client Hello", |w| {
        connections::half_open(w).boxed()
    }),
    Check::new(AREA, "requests_that_never_end_are_in_nobodys_way", "RFC 9112, 6: Message Body", |w| {
        connections::slow(w).boxed()
    }),
    Check::new(
        AREA,
        "messages_of_two_lengths_are_refused",
        "RFC 9112, 6.1: Transfer-Encoding and Content-Length",
        |w| connections::smuggled(w).boxed(),
    ),
    Check::new(AREA, "streams_reset_in_a_row_are_in_nobodys_way", "RFC 9113, 10.5; CVE-2023-44487", |w| {
        connections::reset(w).boxed()
    }),
];

/// The server answers as ever.
async fn lives(w: &World) {
    w.get(&w.path("configmaps")).await.ok();
}

async fn deep(w: World) {
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let depth = 100_000;
    let lists = format!("{{\"metadata\": {{\"name\": \"x\"}}, \"data\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for text in [lists, objects, "[".repeat(depth), "{\"a\":".repeat(depth)] {
        let answer = w.send("POST", &w.path("configmaps"), &[("content-type", JSON)], text.clone().into()).await;
        answer.refused(400, "BadRequest");
        for how in [MERGE, STRATEGIC, PATCH] {
            let answer = w.send("PATCH", &w.at("configmaps", "a"), &[("content-type", how)], text.clone().into()).await;
            assert!(matches!(answer.code, 400 | 422), "{how}: {} {}", answer.code, answer.text());
        }
        let target = w.at("configmaps", "a") + "?fieldManager=me";
        let answer = w.send("PATCH", &target, &[("content-type", APPLY)], text.into()).await;
        assert!(matches!(answer.code, 400 | 422), "apply: {} {}", answer.code, answer.text());
    }
    for nested in ["[".repeat(depth), "a: ".to_owned() + &"{b: ".repeat(depth), "- ".repeat(depth)] {
        w.send("POST", &w.path("configmaps"), &[("content-type", YAML)], nested.into())
            .await
            .refused(400, "BadRequest");
    }
    // Aliases that stand for more aliases.
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(","));
    }
    let answer = w.send("POST", &w.path("configmaps"), &[("content-type", YAML)], bomb.into()).await;
    assert!((400..500).contains(&answer.code), "{} {}", answer.code, answer.text());
    lives(&w).await;
}

async fn large(w: World) {
    let mut object = map("a");
    object["data"]["k"] = "x".repeat(3 << 20).into();
    let status = w.create(&w.path("configmaps"), &object).await.refused(413, "RequestEntityTooLarge");
    says(&status, &["limit is 3145728"]);
    // Smaller than that, and more than a ConfigMap holds.
    object["data"]["k"] = "x".repeat(3 << 19).into();
    let status = w.create(&w.path("configmaps"), &object).await.refused(422, "Invalid");
    says(&status, &["1048576"]);
    lives(&w).await;
}

async fn many(w: World) {
    let keys: Vec<String> = (0..180_000).map(|number| format!("\"k{number}\":\"\"")).collect();
    let text = format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{{}}}}}", keys.join(","));
    assert!(text.len() < 3 << 20);
    let answer = w.send("POST", &w.path("configmaps"), &[("content-type", JSON)], text.into()).await;
    // Every key is a key; together they are more than a ConfigMap holds.
    assert!(matches!(answer.code, 201 | 413 | 422), "{} {}", answer.code, answer.text());
    let unknown: Vec<String> = (0..100_000).map(|number| format!("\"k{number}\":1")).collect();
    let text = format!("{{\"metadata\":{{\"name\":\"b\"}},{}}}", unknown.join(","));
    let strict = format!("{}?fieldValidation=Strict", w.path("configmaps"));
    w.send("POST", &strict, &[("content-type", JSON)], text.clone().into()).await.refused(400, "BadRequest");
    let warned = w.send("POST", &w.path("configmaps"), &[("content-type", JSON)], text.into()).await;
    warned.with(201);
    let told: usize = warned.warnings().iter().map(|warning| warning.len()).sum();
    assert!(told < 64 * 1024, "{told} bytes of warnings");
    let each: Vec<String> = (0..100_000).map(|number| format!("\"k{number}\":\"\",\"k{number}\":\"\"")).collect();
    let twice = format!("{{\"metadata\":{{\"name\":\"c\"}},\"data\":{{{}}}}}", each.join(","));
    w.send("POST", &strict, &[("content-type", JSON)], twice.into()).await.refused(400, "BadRequest");
    lives(&w).await;
}

async fn text(w: World) {
    let bytes: &[u8] = b"{\"metadata\": {\"name\": \"a\"}, \"data\": {\"k\": \"\xff\xfe\x80\"}}";
    let answer = w.send("POST", &w.path("configmaps"), &[("content-type", JSON)], Bytes::from_static(bytes)).await;
    assert!(matches!(answer.code, 201 | 400), "{} {}", answer.code, answer.text());
    let read = w.get(&w.path("configmaps")).await;
    assert!(std::str::from_utf8(&read.body).is_ok(), "what is no text was stored");
    let lonely = "{\"metadata\": {\"name\": \"b\"}, \"data\": {\"k\": \"\\ud800\"}}";
    let answer = w.send("POST", &w.path("configmaps"), &[("content-type", JSON)], lonely.into()).await;
    assert!(matches!(answer.code, 201 | 400), "half of a pair: {} {}", answer.code, answer.text());
    for text in
        ["", "{", "{\"metadata\"", "nul", "{\"metadata\": {\"name\": \"c\"}} trailing", "\u{0}", "{'metadata': 1}"]
    {
        w.send("POST", &w.path("configmaps"), &[("content-type", JSON)], text.into()).await.refused(400, "BadRequest");
    }
    lives(&w).await;
}

async fn numbers(w: World) {
    let set = |replicas: &str| {
        format!(
            "{{\"metadata\": {{\"name\": \"a\"}}, \"spec\": {{\"replicas\": {replicas}, \"selector\": {{\"matchLabels\": {{\"a\": \"b\"}}}},
            \"template\": {{\"metadata\": {{\"labels\": {{\"a\": \"b\"}}}}, \"spec\": {{\"containers\": [{{\"name\": \"c\", \"image\": \"i\"}}]}}}}}}}}"
        )
    };
    for replicas in ["1.5", "1e30", "99999999999", "-9223372036854775809", "\"3\"", "true", "[]", "1e"] {
        let answer =
            w.send("POST", &w.path("apps/v1/replicasets"), &[("content-type", JSON)], set(replicas).into()).await;
        answer.refused(400, "BadRequest");
    }
    let negative = w.send("POST", &w.path("apps/v1/replicasets"), &[("content-type", JSON)], set("-1").into()).await;
    negative.invalid(&["spec.replicas"]);
    lives(&w).await;
}

async fn protobuf(w: World) {
    let known = windlass_api::resources::find("", "v1", "configmaps").expect("ConfigMaps are built in");
    let fine = windlass_api::protobuf::encode(&map("a"), known.message).expect("a ConfigMap as protobuf");
    let mut cases: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"k8s\0".to_vec(),
        b"k8s\0\x0a\xff\xff\xff\xff\x0f".to_vec(),
        b"k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"nonsense".to_vec(),
        fine[4..].to_vec(),
    ];
    // Cut anywhere.
    cases.extend((5..fine.len()).step_by(3).map(|end| fine[..end].to_vec()));
    for bytes in cases {
        let answer = w.send("POST", &w.path("configmaps"), &[("content-type", PROTOBUF)], bytes.clone().into()).await;
        // A cut between two fields leaves an object without a name.
        assert!(matches!(answer.code, 400 | 415 | 422), "{bytes:?}: {} {}", answer.code, answer.text());
    }
    // One byte is another: whatever comes of it, it is an answer.
    for at in 4..fine.len() {
        let mut bytes = fine.clone();
        bytes[at] ^= 0x81;
        let answer =
            w.send("POST", &(w.path("configmaps") + "?dryRun=All"), &[("content-type", PROTOBUF)], bytes.into()).await;
        assert!(answer.code < 500, "a flipped byte at {at}: {} {}", answer.code, answer.text());
    }
    lives(&w).await;
}

async fn packed(w: World) {
    let bytes =
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\x56\x4a\xcb\x57\xb2\x52\x4a\x4a\x2c\x52\xaa\x05\0\xf4\x5a\x63\x96\x0d\0\0\0";
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    let answer = w.send("POST", &w.path("configmaps"), &headers, Bytes::from_static(bytes)).await;
    assert!((400..500).contains(&answer.code), "{} {}", answer.code, answer.text());
    lives(&w).await;
}

async fn growing(w: World) {
    let mut object = map("a");
    object["metadata"]["annotations"] = json!({"a": "x".repeat(1000)});
    let made = w.create(&w.path("configmaps"), &object).await.with(201);
    // Each copies all that was copied before it into itself.
    let copies: Vec<Value> = (0..60)
        .map(|number| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/annotations/c{number}")}))
        .collect();
    let answer = w.patch(&w.at("configmaps", "a"), PATCH, &copies.into()).await;
    assert!((400..500).contains(&answer.code), "{} {}", answer.code, answer.text());
    assert_eq!(w.get(&w.at("configmaps", "a")).await.ok(), made);
}

async fn paths(w: World) {
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    for target in [
        w.path("configmaps") + "/..%2f..%2fkube-system%2fconfigmaps",
        w.path("configmaps") + "/%00",
        w.path("configmaps") + "/a%2Fb",
        w.path("configmaps") + "/%2e%2e",
        "/api/v1/namespaces/%2e%2e/configmaps/a".into(),
        "/api/v1/namespaces//configmaps/a".into(),
        "/api/v1/namespaces/a%20b/configmaps/a".into(),
        format!("/api/v1/namespaces/{}/configmaps/{}", w.namespace, "a".repeat(3000)),
        "/".to_owned() + &"a/".repeat(1000),
    ] {
        let answer = w.get(&target).await;
        assert!((300..500).contains(&answer.code), "GET {target}: {} {}", answer.code, answer.text());
    }
    lives(&w).await;
}

async fn queries(w: World) {
    let terms = vec!["a%3Db"; 3000].join("%2C");
    for query in [
        format!("labelSelector={terms}"),
        format!("fieldSelector={}", vec!["metadata.name%3Db"; 1000].join("%2C")),
        format!("labelSelector=a%20in%20%28{}%29", vec!["x"; 8000].join("%2C")),
        format!("continue={}", "A".repeat(20_000)),
        format!("resourceVersion={}", "9".repeat(5000)),
        "limit=-1".into(),
        format!("limit={}", "9".repeat(30)),
        "limit=1&limit=2".into(),
        "%ff=%fe".into(),
        "&&&=&=".into(),
    ] {
        let answer = w.tried("GET", &format!("{}?{query}", w.path("configmaps")), &[], Bytes::new()).await;
        // A server may end the connection of who asks for so much.
        if let Ok(answer) = answer {
            let told = answer.code < 500 || (query.starts_with("resourceVersion") && answer.code < 505);
            assert!(told, "{}: {} {}", query.chars().take(60).collect::<String>(), answer.code, answer.text());
        }
    }
    lives(&w).await;
}
