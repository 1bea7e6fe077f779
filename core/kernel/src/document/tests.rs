use serde_json::json;

use super::*;

fn entry(object: &Value, revision: u64) -> Arc<Entry> {
    let mut encoder = Encoder::new();
    encoder.index(Index::Uid, "", "u1").index(Index::Label, "app", "web").index(Index::Field, "spec.nodeName", "");
    let value = encoder.finish(object).unwrap();
    Arc::new(Entry::new("/a".into(), Revision(1), Revision(revision), value, None))
}

#[test]
fn the_resource_version_is_spliced_into_the_metadata() {
    for meta in [json!({}), json!({"name": "x", "annotations": {"metadata": "{}"}})] {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"metadata": {}}});
        let document = Document::stored(entry(&object, 120)).unwrap();
        let mut expected = object.clone();
        expected["metadata"]["resourceVersion"] = "120".into();
        assert_eq!(document.value().unwrap(), expected);
    }
}

#[test]
fn a_deleted_object_carries_the_revision_of_its_deletion() {
    let object = json!({"metadata": {"name": "x"}});
    let document = Document::deleted(entry(&object, 5), Revision(9)).unwrap();
    assert_eq!(document.value().unwrap()["metadata"]["resourceVersion"], "9");
}

#[test]
fn the_header_answers_without_decoding() {
    let document = Document::stored(entry(&json!({"metadata": {}}), 1)).unwrap();
    assert_eq!(document.uid(), "u1");
    assert_eq!(document.label("app"), Some("web"));
    assert_eq!(document.find(Index::Field, "spec.nodeName"), Some(""));
    assert_eq!(document.label("none"), None);
}

#[test]
fn the_metadata_is_decoded_alone() {
    let object = json!({"kind": "Pod", "metadata": {"labels": {"a": "b"}, "name": "x", "namespace": "n"}, "spec": 5});
    let document = Document::stored(entry(&object, 1)).unwrap();
    assert_eq!(document.metadata::<Value>().unwrap(), object["metadata"]);
    assert_eq!(document.object_key().unwrap(), ObjectKey::new("n", "x"));
    let nameless = Document::stored(entry(&json!({"metadata": {}}), 1)).unwrap();
    assert_eq!(nameless.object_key().unwrap(), ObjectKey::default());
}

#[test]
fn a_type_is_decoded_once_while_it_is_held() {
    let document = Document::stored(entry(&json!({"metadata": {}}), 1)).unwrap();
    let first = document.typed::<Value>().unwrap();
    assert!(Arc::ptr_eq(&first, &document.typed::<Value>().unwrap()));
}

#[test]
fn a_keeping_document_is_decoded_once_for_all_who_are_shown_it() {
    let document = Document::stored(entry(&json!({"metadata": {}}), 1)).unwrap().keeping();
    let first = Arc::downgrade(&document.typed::<Value>().unwrap());
    assert!(Arc::ptr_eq(&first.upgrade().unwrap(), &document.typed::<Value>().unwrap()));
    drop(document);
    assert!(first.upgrade().is_none());
}

#[test]
fn recent_documents_are_decoded_once_for_all_who_follow_them() {
    let (recent, own) = (Arc::new(Recent::of(1)), entry(&json!({"metadata": {}}), 1));
    let document = || Document::stored(Arc::clone(&own)).unwrap().shared(&recent);
    let first = Arc::downgrade(&document().typed::<Value>().unwrap());
    assert!(Arc::ptr_eq(&first.upgrade().unwrap(), &document().typed::<Value>().unwrap()));
    Document::stored(entry(&json!({"metadata": {}}), 2)).unwrap().shared(&recent).typed::<Value>().unwrap();
    assert!(first.upgrade().is_none(), "more are held than was said");
}

#[test]
fn a_text_is_found_or_not() {
    let document = Document::stored(entry(&json!({"metadata": {"name": "x"}}), 1)).unwrap();
    assert!(document.mentions("\"name\"") && !document.mentions("\"app\""));
}

#[test]
fn the_header_follows_from_metadata() {
    let owners = json!([{"uid": "o1"}, {"uid": "o2", "controller": true}]);
    let meta = json!({"namespace": "n", "name": "x", "uid": "u", "labels": {"a": "b"}, "ownerReferences": owners});
    let document = Document::foreign(&json!({"metadata": meta})).unwrap();
    assert_eq!(document.object_key().unwrap(), ObjectKey::new("n", "x"));
    assert_eq!((document.uid(), document.label("a")), ("u", Some("b")));
    let owners: Vec<_> = document.indexed(Index::Owner).collect();
    assert_eq!(owners, [("", "o1"), ("controller", "o2")]);
}

#[test]
fn bytes_in_another_form_are_refused() {
    let entry = Entry::new("/a".into(), Revision(1), Revision(1), Bytes::from_static(b"{}"), None);
    assert!(Document::stored(Arc::new(entry)).unwrap_err().is(ErrorKind::Corrupt));
}

#[test]
fn what_is_received_is_the_same_without_being_decoded() {
    let own = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"a\"b": "c"},
            "ownerReferences": [{"uid": "o", "controller": true}], "annotations": {"z": "\u{1f600}"}},
        "spec": {"containers": [{"args": ["\\", 1.5, null]}]},
    });
    let (foreign, text) = (Document::foreign(&own).unwrap(), serde_json::to_string_pretty(&own).unwrap());
    let received = Document::received(&text, ("v1", "Pod")).unwrap();
    assert_eq!((received.value().unwrap(), received.revision()), (own.clone(), Revision(7)));
    for index in [Index::Uid, Index::Label, Index::Owner, Index::Key] {
        assert_eq!(received.indexed(index).collect::<Vec<_>>(), foreign.indexed(index).collect::<Vec<_>>());
    }
    assert_eq!(received.metadata::<Value>().unwrap(), foreign.metadata::<Value>().unwrap());
}

#[test]
fn items_say_what_they_are_and_empty_metadata_is_enough() {
    for (text, expect) in [
        (r#"{"metadata":{}}"#, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}})),
        (
            r#"{"spec":{},"metadata":{"resourceVersion":"9"},"kind":"Own"}"#,
            json!({"apiVersion": "v1", "kind": "Own", "metadata": {"resourceVersion": "9"}, "spec": {}}),
        ),
    ] {
        assert_eq!(Document::received(text, ("v1", "Pod")).unwrap().value().unwrap(), expect);
    }
    for wrong in ["[]", "{}", r#"{"metadata":[]}"#, r#"{"metadata":{"labels":}}"#] {
        assert!(Document::received(wrong, ("v1", "Pod")).unwrap_err().is(ErrorKind::Internal));
    }
}
