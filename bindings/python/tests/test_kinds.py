"""Whatever the builders make, the server takes as it is."""

from __future__ import annotations

import base64

import pytest

import windlass
from windlass import kinds

MADE = [
    windlass.Pod("p", "nginx", command=["a"], args=["b"], env={"A": "1"}, ports=[80], limits={"cpu": 1, "memory": "1Gi"}),
    windlass.Pod("q", containers=[windlass.Container("x", name="one"), {"name": "two", "image": "y"}], restart_policy="Never"),
    windlass.Deployment("d", "nginx", replicas=0, pod={"nodeSelector": {"a": "b"}}, spec={"revisionHistoryLimit": 3}),
    windlass.StatefulSet("s", "nginx", replicas=0),
    windlass.DaemonSet("ds", "nginx", pod={"nodeSelector": {"none": "such"}}),
    windlass.Job("j", "nginx", completions=2, backoff_limit=1),
    windlass.CronJob("cj", "0 0 1 1 *", windlass.Job("x", "nginx", labels={"a": "b"})),
    windlass.Service("svc", [80, (443, 8443)]),
    windlass.Service("headless", [{"port": 80, "protocol": "UDP"}], headless=True, selector={"x": "y"}),
    windlass.ConfigMap("cm", {"text": "t", "raw": b"\xff"}, immutable=True),
    windlass.Secret("sec", {"user": "me", "key": b"\x00"}, labels={"a": "b"}, annotations={"c": "d"}),
    windlass.Namespace("ns", labels={"a": "b"}),
]


def test_every_builder_has_an_example() -> None:
    assert {one.kind for one in MADE} == set(kinds.__all__) - {"Container"}


@pytest.mark.parametrize("one", MADE, ids=lambda one: f"{one.kind}-{one.name}")
def test_what_is_built_is_valid(c: windlass.Cluster, one: windlass.Object) -> None:
    applied = c.apply(one)
    assert applied.uid and applied.kind == one.kind
    assert c.create(one, dry_run=True, namespace="kube-public").kind == one.kind if one.kind != "Namespace" else True


def test_values_of_secrets_are_given_as_they_are() -> None:
    data = windlass.Secret("s", {"text": "a", "raw": b"\x00"}).data
    assert base64.b64decode(data.text) == b"a" and base64.b64decode(data.raw) == b"\x00"


def test_a_pod_without_containers_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="give image= or containers="):
        windlass.Pod("p")
    with pytest.raises(TypeError, match="image=, which is missing"):
        windlass.Pod("p", command=["x"], containers=[{"name": "a", "image": "b"}])


def test_what_is_laid_over_is_merged() -> None:
    spec = {"strategy": {"rollingUpdate": {"maxSurge": 2}}, "replicas": 5}
    made = windlass.Deployment("d", "x", spec=spec)
    assert made.spec.replicas == 5 and made.spec.strategy.rollingUpdate.maxSurge == 2
    assert made.spec.template.spec.containers[0].image == "x"
