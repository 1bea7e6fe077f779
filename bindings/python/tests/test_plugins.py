"""Controllers, filters, scores and admissions in Python, and explanations by plugin."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import windlass
import windlass.aio
from windlass import Admitted, ConfigMap, Key, NodeView, Pod, PodView, SimulatedNode


@pytest.fixture(params=["real", "virtual"])
def c(request: pytest.FixtureRequest) -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=2, clock=request.param) as cluster:
        yield cluster


@pytest.fixture
def v() -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=2, clock="virtual", seed=5) as cluster:
        yield cluster


def test_a_controller_brings_about_what_its_objects_want(c: windlass.Cluster) -> None:
    @c.controller(watches="configmaps", owns="secrets")
    def reconcile(k: windlass.Client, key: Key) -> None:
        if not key.name.startswith("want-"):
            return
        try:
            own = k.get("cm", key.name, namespace=key.namespace)
        except windlass.NotFoundError:
            return
        secret = windlass.Secret(key.name, {"from": own.data.text}, namespace=key.namespace)
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": own.name, "uid": own.uid, "controller": True}
        secret.metadata.ownerReferences = [owner]
        k.apply(secret)

    c.create(ConfigMap("want-a", {"text": "x"}))
    c.wait("secret/want-a", "created")
    first = c.get("secret/want-a").uid
    # What it owns is made again.
    c.delete("secret/want-a", wait=False)
    c.wait("secret/want-a", lambda one: one.uid != first)


def test_a_coroutine_reconciles_too(c: windlass.Cluster) -> None:
    @c.controller(watches="configmaps")
    async def reconcile(k: windlass.aio.Client, key: Key) -> None:
        if key.name == "a":
            await k.apply(ConfigMap("of-a", {"of": str(key)}))

    c.create(ConfigMap("a", {}))
    assert c.wait("cm/of-a", "created").data.of == "default/a"


def test_what_fails_is_tried_again_with_back_off(v: windlass.Cluster, caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []

    @v.controller(watches="configmaps")
    def reconcile(k: windlass.Client, key: Key) -> None:
        if key.name == "a":
            tries.append(k._calls.api.uptime())
            if len(tries) < 5:
                raise RuntimeError("not yet")

    with caplog.at_level(logging.WARNING, "windlass"):
        v.create(ConfigMap("a", {}))
        v.run_for("1m")
    assert len(tries) == 5 and tries == sorted(tries) and tries[0] < tries[-1]
    assert caplog.text.count("RuntimeError: not yet") == 4
    assert "controller reconcile failed for default/a, trying again" in caplog.text


def test_a_key_comes_again_after_the_span_that_is_returned(v: windlass.Cluster) -> None:
    looked: list[str] = []

    @v.controller(watches="nodes")
    def reconcile(k: windlass.Client, key: Key) -> str | None:
        if key.name == "node-1":
            looked.append(k.now())
            return "10m"
        return None

    v.run_for("1h")
    assert len({one[:15] for one in looked}) >= 6


def test_a_controller_works_in_forks_too(v: windlass.Cluster) -> None:
    @v.controller(watches="configmaps")
    def reconcile(k: windlass.Client, key: Key) -> None:
        if key.name == "a":
            k.apply(ConfigMap("of-a", {}))

    with v.fork() as fork:
        fork.create(ConfigMap("a", {}))
        fork.wait("cm/of-a", "created")
    assert not v.exists("cm/of-a")


def test_a_filter_and_a_score_decide_where_pods_go(c: windlass.Cluster) -> None:
    c.add_node(SimulatedNode("big", cpu=64))

    @c.filter
    def not_the_first(pod: PodView, node: NodeView) -> bool | str:
        return "it is the first" if node.name == "node-1" else True

    @c.score
    def the_biggest(pod: PodView, node: NodeView) -> float:
        return min(node.allocatable["cpu"], 100)

    c.score(the_biggest, weight=100)
    # Where one pod can only go to the new node and is there, the scheduler knows it as it is.
    c.apply(Pod("first", image="x", spec={"nodeSelector": {"kubernetes.io/hostname": "big"}}))
    c.wait("pod/first", "PodScheduled", timeout="1m")
    for at in range(3):
        c.apply(Pod(f"p{at}", image="x", requests={"cpu": "1"}))
        assert c.wait(f"pod/p{at}", "PodScheduled", timeout="1m").spec.nodeName == "big"


def test_an_explanation_names_each_node_and_the_plugin_that_refused_it(c: windlass.Cluster) -> None:
    c.filter(lambda pod, node: node.name != "node-2" or "not this one", name="picky")
    on_second = {"nodeSelector": {"kubernetes.io/hostname": "node-2"}}
    c.apply(Pod("asks", image="x", spec=on_second))
    # Nothing but the filter refuses the second node: the scheduler knows that it is ready.
    c.wait("pod/asks", lambda pod: "not this one" in (pod.condition("PodScheduled") or {}).get("message", ""), timeout="1m")
    c.apply(Pod("p", image="x", requests={"cpu": "4"}))
    c.wait("pod/p", "PodScheduled")
    assert c.explain("pod/p").turn is None
    c.apply(Pod("q", image="x", requests={"cpu": "30"}))

    def refused(pod: windlass.Object) -> bool:
        scheduled = pod.condition("PodScheduled")
        return scheduled is not None and "0/2" in scheduled.get("message", "")

    c.wait("pod/q", refused, timeout="1m")
    turn = c.explain("pod/q").turn
    assert turn is not None and turn.nodes == 2
    assert {one.node: (one.plugin, one.reasons, one.curable) for one in turn.refusals} == {
        "node-1": ("NodeResourcesFit", ("Insufficient cpu",), True),
        "node-2": ("picky", ("not this one",), True),
    }
    assert set(turn.by_plugin) == {"NodeResourcesFit", "picky"}


def test_a_filter_that_fails_is_named_and_the_pod_waits(v: windlass.Cluster) -> None:
    @v.filter
    def broken(pod: PodView, node: NodeView) -> bool:
        raise ValueError("no idea")

    v.apply(Pod("p", image="x"))
    v.run_for("5s")
    told = " ".join(event.get("message", "") for event in v.events("pod/p"))
    assert "plugin broken panicked: ValueError: no idea" in told
    assert not v.get("pod/p").spec.get("nodeName")


def test_a_filter_cannot_ask_the_cluster(v: windlass.Cluster) -> None:
    @v.filter
    def nosy(pod: PodView, node: NodeView) -> bool:
        return v.exists("cm/a")

    v.apply(Pod("p", image="x"))
    v.run_for("5s")
    told = " ".join(event.get("message", "") for event in v.events("pod/p"))
    assert "cannot be asked from within its own work" in told


def test_an_admission_changes_and_denies_writes(c: windlass.Cluster) -> None:
    @c.mutate("configmaps")
    def stamp(write: Admitted) -> None:
        assert write.object is not None
        write.object.metadata.setdefault("labels", {})["stamped"] = write.operation

    @c.validate("configmaps")
    def no_evil(write: Admitted) -> str | None:
        if write.operation == "delete":
            assert write.old is not None and write.object is None
            return "it stays" if write.old.name == "kept" else None
        assert write.object is not None
        if write.object.get("data", {}).get("evil"):
            raise ValueError("no evil here")
        return None

    assert c.create(ConfigMap("a", {})).labels["stamped"] == "create"
    assert c.patch("cm/a", {"data": {"k": "v"}}).labels["stamped"] == "update"
    with pytest.raises(windlass.ForbiddenError, match="admission \"no_evil\" denied the request: no evil here"):
        c.apply(ConfigMap("b", {"evil": "yes"}))
    c.create(ConfigMap("kept", {}))
    with pytest.raises(windlass.ForbiddenError, match="it stays"):
        c.delete("cm/kept")
    c.delete("cm/a")
    assert not c.exists("cm/b")


def test_an_admission_that_breaks_lets_nothing_pass(c: windlass.Cluster) -> None:
    @c.validate("secrets", operations="create")
    def broken(write: Admitted) -> None:
        raise RuntimeError("out of order")

    with pytest.raises(windlass.InternalError, match="failed calling admission \"broken\": RuntimeError: out of order"):
        c.create(windlass.Secret("a", {}))
    c.create(ConfigMap("a", {}))
    with pytest.raises(ValueError, match="'read' is no operation"):
        c.validate("secrets", operations="read")(broken)
