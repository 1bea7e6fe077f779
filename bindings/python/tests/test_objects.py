"""Objects read as attributes and as dicts, round-trip exactly, and show themselves."""

from __future__ import annotations

import copy
import json
import pickle
import types

import pytest

import windlass
from windlass import ConfigMap, Deployment, Object, ObjectList, Pod

TEXT = """{"apiVersion":"example.com/v1","kind":"Odd","metadata":{"name":"\u00e9\U0001f600","labels":{}},"spec":{"zero":0,\
"big":9007199254740993,"huge":123456789012345678901234567890,"float":1.0,"small":1e-7,"no":false,"nothing":null,"list":[[],{},""],\
"items":{"values":[1]},"from":"here","podIP":"10.0.0.1","a-b":"\\u0000\\n\\"\\\\"}}"""


def odd() -> Object:
    from windlass.objects import decode

    return decode(TEXT.encode())


def test_an_object_is_written_as_it_was_read() -> None:
    from windlass.objects import encode

    assert encode(odd()) == json.dumps(json.loads(TEXT), ensure_ascii=False, separators=(",", ":")).encode()
    assert json.loads(odd().json()) == json.loads(TEXT)
    assert odd().to_dict() == odd() and type(odd().to_dict()["spec"]) is dict


def test_yaml_reads_back_as_the_same_object() -> None:
    deployment = Deployment("web", image="nginx", env={"A": "yes", "B": "1", "C": "multi\nline"})
    assert windlass.load(deployment.yaml())[0].object == deployment


def test_fields_are_attributes_under_both_names() -> None:
    spec = odd().spec
    assert spec.zero == 0 and spec.podIP == spec.pod_ip == "10.0.0.1"
    assert spec.from_ == "here" and spec.items_.values_ == [1]
    assert spec["a-b"] == '\0\n"\\'
    with pytest.raises(AttributeError, match="did you mean 'zero'"):
        spec.zeros  # noqa: B018
    assert not hasattr(spec, "absent") and spec.get("absent") is None
    assert {"zero", "from_", "items_", "podIP"} <= set(dir(spec))


def test_fields_are_set_and_removed_as_attributes() -> None:
    pod = Pod("p", "nginx")
    pod.spec.node_name = "node-1"
    pod.spec.tolerations = [{"key": "a", "operator": "Exists"}]
    pod.spec.containers[0]["securityContext"] = {"runAsUser": 7}
    assert pod["spec"]["nodeName"] == "node-1"
    assert pod.spec.tolerations[0].operator == "Exists"
    assert pod.spec.containers[0].security_context.run_as_user == 7
    del pod.spec.node_name
    assert "nodeName" not in pod.spec
    with pytest.raises(AttributeError, match="'name' is no field"):
        pod.name = "q"  # type: ignore[misc]


def test_a_path_reaches_deep_fields() -> None:
    pod = Pod("p", "nginx", ports=[80])
    assert pod.at("spec.containers[0].ports[0].containerPort") == 80
    assert pod.at("spec.containers[1].image", "none") == "none"
    assert pod.at("status.phase") is None


def test_objects_are_copied_and_pickled_whole() -> None:
    one = odd()
    for other in (copy.deepcopy(one), copy.copy(one), pickle.loads(pickle.dumps(one))):
        assert other == one and type(other) is Object and other.spec.items_.values_ == [1]
    deep = copy.deepcopy(one)
    deep.spec.zero = 1
    assert one.spec.zero == 0


def test_what_cannot_be_sent_is_named_with_its_field(c: windlass.Cluster) -> None:
    broken = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": [1, {"x": object()}]}}
    with pytest.raises(TypeError, match=r"data\.k\[1\]\.x cannot be a object"):
        c.apply(broken)
    broken["data"] = {"k": float("nan")}
    with pytest.raises(ValueError, match=r"data\.k cannot be nan"):
        c.apply(broken)
    broken["data"] = {("k",): "v"}
    with pytest.raises(TypeError, match=r"data: a field's name is a string, not \('k',\)"):
        c.apply(broken)


def test_mappings_of_other_types_are_sent_too(c: windlass.Cluster) -> None:
    data = types.MappingProxyType({"k": "v"})
    tree = types.MappingProxyType({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
    assert c.apply(tree).data.k == "v"
    assert tree["metadata"] == {"name": "a"}, "what is applied is left as it was"


def test_objects_show_themselves_as_tables(c: windlass.Cluster) -> None:
    c.apply([ConfigMap("a", {"k": "v"}), ConfigMap("b", {})])
    found = c.list("cm", fields="metadata.name!=kube-root-ca.crt")
    head, first, second = str(found).splitlines()
    assert head.split() == ["NAME", "DATA", "AGE"]
    assert first.split()[:2] == ["a", "1"] and second.split()[:2] == ["b", "0"]
    assert str(found[0]).splitlines()[0].split() == ["NAME", "DATA", "AGE"]
    assert repr(found) == "[<ConfigMap default/a>, <ConfigMap default/b>]"
    assert str(ObjectList([])) == "no objects"


def test_what_is_read_in_all_namespaces_shows_them_however_many_there_are(c: windlass.Cluster) -> None:
    c.apply(Pod("p", image="i"))
    ready = c.wait_all("pods", "Ready", namespace=windlass.ALL)
    listed = c.list("pods", namespace=windlass.ALL)
    told = c.events(namespace=windlass.ALL)
    for shown in (listed, listed[:1], listed.where(lambda _: True), ready, told):
        assert shown and {one.namespace for one in shown} == {"default"}
        head, first = str(shown).splitlines()[:2]
        assert (head.split()[0], first.split()[0]) == ("NAMESPACE", "default")
    assert "<th>NAMESPACE</th>" in listed._repr_html_()
    for shown in (c.list("pods"), c.list("nodes"), c.events()):
        assert "NAMESPACE" not in str(shown).splitlines()[0]


def test_notebooks_get_html_that_is_escaped() -> None:
    html = ObjectList([Object(apiVersion="v1", kind="ConfigMap", metadata={"name": "<b>"})])._repr_html_()
    assert "<caption>ConfigMap</caption>" in html and "&lt;b&gt;" in html and "<b>" not in html
    assert odd()._repr_html_().startswith("<table>")


def test_a_list_is_a_sequence_that_knows_names() -> None:
    made = ObjectList([ConfigMap("a", {}), ConfigMap("b", {})])
    assert made["b"] is made[1] and made[-1].name == "b" and made[:1].names == ["a"]
    assert made.where(lambda one: one.name > "a").names == ["b"]
    with pytest.raises(KeyError):
        made["c"]
    assert made == [ConfigMap("a", {}), ConfigMap("b", {})]
