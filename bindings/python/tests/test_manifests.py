"""Objects from files, folders and texts, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import windlass
from windlass import ConfigMap

TWO = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
# nothing
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: b}
"""


def test_a_text_a_file_and_a_folder_state_the_same(c: windlass.Cluster, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(TWO)
    (tmp_path / "two.json").write_text(ConfigMap("c", {}).json())
    (tmp_path / "notes.txt").write_text("nothing")
    assert c.apply(TWO).names == ["a", "b"]
    assert c.apply(tmp_path / "one.yaml").names == ["a", "b"]
    assert c.apply(str(tmp_path / "two.json")).names == ["c"]
    assert c.apply(tmp_path).names == ["a", "b", "c"]
    assert c.apply([tmp_path / "two.json", ConfigMap("d", {})]).names == ["c", "d"]
    assert c.apply(ConfigMap("e", {}).json()).names == ["e"]
    assert [one.place for one in windlass.load(TWO)] == ["<text>, document 1", "<text>, document 3, item 1"]


def test_wrong_yaml_names_file_line_and_column(c: windlass.Cluster, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(TWO + "---\na:\n  - b\n c: [\n")
    with pytest.raises(windlass.ManifestError) as broken:
        c.apply(file)
    error = broken.value
    assert (error.file, error.document, error.line, error.column) == (str(file), 4, 16, 2)
    assert str(error).startswith(f"{file}:16:2, document 4: ")
    assert not c.exists("cm/a"), "nothing is applied of a file that cannot be read whole"
    with pytest.raises(windlass.ManifestError, match="duplicate"):
        c.apply("a: 1\na: 2\n")


def test_a_wrong_type_names_the_field(c: windlass.Cluster) -> None:
    wrong = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: many}\n"
    with pytest.raises(windlass.WindlassError, match=r"replicas") as refused:
        c.apply(wrong)
    assert refused.value.place == "<text>, document 1"
    with pytest.raises(windlass.BadRequestError, match=r"replicas"):
        c.create(wrong)


def test_an_unknown_field_is_named(c: windlass.Cluster) -> None:
    pod = windlass.Pod("p", "x")
    pod.spec.containers[0].imagePolicy = "Always"
    with pytest.raises(windlass.BadRequestError, match=r'unknown field "spec.containers\[0\].imagePolicy"'):
        c.create(pod)
    with pytest.raises(windlass.WindlassError, match=r"imagePolicy: field not declared in schema"):
        c.apply(pod)


def test_an_invalid_value_is_named_with_its_causes(c: windlass.Cluster) -> None:
    with pytest.raises(windlass.InvalidError) as refused:
        c.apply(windlass.Pod("UPPER", "x"))
    assert [cause.field for cause in refused.value.causes] == ["metadata.name"]
    assert refused.value.status()["details"]["kind"] == "Pod"


def test_one_refused_object_does_not_keep_the_others(c: windlass.Cluster) -> None:
    with pytest.raises(windlass.InvalidError, match="2 of 4 objects were not applied") as refused:
        c.apply([ConfigMap("a", {}), ConfigMap("B", {}), windlass.Namespace("C"), ConfigMap("d", {})])
    assert len(refused.value.failures) == 2
    assert c.exists("cm/a") and c.exists("cm/d")
    with pytest.raises(windlass.NotFoundError, match="no kind 'Y' of 'x/v1'.*2 of 3 objects were not applied"):
        c.apply([{"apiVersion": "x/v1", "kind": "Y"}, ConfigMap("e", {}, namespace="other"), ConfigMap("f", {})])
    assert c.exists("cm/f")


def test_what_states_no_object_says_so(c: windlass.Cluster, tmp_path: Path) -> None:
    for text in ("kind: Pod\n", "- 1\n", '{"apiVersion": "v1"}'):
        with pytest.raises(windlass.InvalidError, match="<text>, document 1: an object states its apiVersion and kind"):
            c.apply(text)
    with pytest.raises(windlass.NotFoundError, match="<text>, document 1: no kind 'Y' of 'x/v1'"):
        c.apply("apiVersion: x/v1\nkind: Y\nmetadata: {name: a}\n")
    with pytest.raises(windlass.InvalidError, match="has a metadata.name"):
        c.apply({"apiVersion": "v1", "kind": "ConfigMap"})
    with pytest.raises(windlass.InvalidError, match="in namespace 'x', not in 'y'"):
        c.apply(ConfigMap("a", {}, namespace="x"), namespace="y")
    with pytest.raises(FileNotFoundError):
        c.apply(tmp_path / "none.yaml")
    with pytest.raises(TypeError, match="a int states no objects"):
        c.apply(3)  # type: ignore[call-overload]
