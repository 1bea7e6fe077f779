"""A cluster in a line, and everything that can be asked of it."""

from __future__ import annotations

import datetime

import pytest

import windlass
from awaited import told, too_big
from windlass import ConfigMap, Deployment, Pod, SimulatedNode


def test_a_deployment_becomes_available_and_its_pods_run_on_the_nodes(c: windlass.Cluster) -> None:
    applied = c.apply(Deployment("web", image="nginx", replicas=3))
    assert applied.kind == "Deployment" and applied.metadata.uid
    web = c.wait("deployment/web", "Available", timeout="1m")
    assert web.status.availableReplicas == 3
    pods = c.list("pods", selector={"app": "web"})
    assert [pod.status.phase for pod in pods] == ["Running"] * 3
    assert {pod.spec.nodeName for pod in pods} <= {"node-1", "node-2"}
    assert all(pod.kind == "Pod" and pod.apiVersion == "v1" for pod in pods)


def test_objects_are_named_in_many_ways(c: windlass.Cluster) -> None:
    made = c.create(ConfigMap("a", {"k": "v"}))
    for found in (c.get("configmap/a"), c.get("cm", "a"), c.get("ConfigMap/a"), c.get(made)):
        assert found == made
    assert c.exists("cm/a") and not c.exists("cm/b")
    c.create(Deployment("a", image="x", replicas=0))
    # Its controller writes a status meanwhile.
    uids = {c.get(named).metadata.uid for named in ("deployments.apps/a", "deployments.v1.apps/a", "deploy/a")}
    assert len(uids) == 1
    for wrong in ("cm", "cm/"):
        with pytest.raises(windlass.InvalidError, match="name one object"):
            c.get(wrong)
    with pytest.raises(windlass.NotFoundError, match="no resource is called 'widgets'"):
        c.get("widgets/a")


def test_namespaces_are_told_apart(c: windlass.Cluster) -> None:
    c.apply(windlass.Namespace("other"))
    other = c.in_namespace("other")
    other.create(ConfigMap("a", {"in": "other"}))
    c.create(ConfigMap("a", {"in": "default"}))
    assert c.get("cm/a").data["in"] == "default"
    assert c.get("cm/a", namespace="other").data["in"] == "other"
    assert other.get("cm/a").data["in"] == "other"
    everywhere = c.list("cm", namespace=windlass.ALL, fields="metadata.name=a")
    assert sorted(one.namespace for one in everywhere) == ["default", "other"]
    assert c.list("nodes").names == ["node-1", "node-2"]


def test_a_list_comes_in_pages(c: windlass.Cluster) -> None:
    c.apply([ConfigMap(f"n{at}", {}, labels={"page": "yes"}) for at in range(5)])
    first = c.list("cm", selector="page=yes", limit=3)
    rest = c.list("cm", selector="page=yes", limit=3, continue_token=first.continue_token)
    assert first.names + rest.names == ["n0", "n1", "n2", "n3", "n4"]
    assert not rest.continue_token


def test_a_patch_is_read_by_its_type(c: windlass.Cluster) -> None:
    c.create(Deployment("web", image="nginx", replicas=0))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}}}
    assert c.patch("deploy/web", image).spec.template.spec.containers[0].image == "nginx:2"
    merged = c.patch("deploy/web", {"metadata": {"labels": {"a": "b"}}}, "merge")
    assert merged.labels == {"a": "b"}
    tested = [{"op": "test", "path": "/metadata/labels/a", "value": "b"}, {"op": "remove", "path": "/metadata/labels/a"}]
    assert not c.patch("deploy/web", tested).labels
    with pytest.raises(windlass.InvalidError, match="no type of patch"):
        c.patch("deploy/web", {}, "diff")  # type: ignore[arg-type]


def test_what_was_read_and_changed_can_be_written_back_once(c: windlass.Cluster) -> None:
    read = c.create(ConfigMap("a", {"k": "v"}))
    read.data.k = "w"
    assert c.replace(read).data == {"k": "w"}
    with pytest.raises(windlass.ConflictError) as refused:
        c.replace(read)
    assert refused.value.code == 409 and not refused.value.maybe_applied


def test_fields_have_owners(c: windlass.Cluster) -> None:
    c.apply(ConfigMap("a", {"k": "1"}), field_manager="one")
    with pytest.raises(windlass.ConflictError) as refused:
        c.apply(ConfigMap("a", {"k": "2"}), field_manager="two")
    assert refused.value.causes[0].field == ".data.k"
    assert c.apply(ConfigMap("a", {"k": "2"}), field_manager="two", force=True).data.k == "2"


def test_what_was_read_can_be_applied(c: windlass.Cluster) -> None:
    c.apply(ConfigMap("a", {"k": "1"}))
    read = c.get("cm/a")
    read.data.k = "2"
    assert c.apply(read).data.k == "2"


def test_a_dry_run_changes_nothing(c: windlass.Cluster) -> None:
    assert c.apply(ConfigMap("a", {"k": "v"}), dry_run=True).uid
    assert c.create(ConfigMap("b", {"k": "v"}), dry_run=True).uid
    assert not c.exists("cm/a") and not c.exists("cm/b")


def test_a_deletion_waits_until_the_object_is_gone(c: windlass.Cluster) -> None:
    c.apply(Deployment("web", image="nginx", replicas=2))
    c.wait("deployment/web", "Available")
    c.delete("deployment/web")
    assert not c.exists("deployment/web")
    c.wait_all("pods", "deleted")
    assert len(c.list("pods")) == 0
    with pytest.raises(windlass.NotFoundError):
        c.delete("deployment/web")
    c.delete("deployment/web", missing_ok=True)
    several = [ConfigMap("a", {}), ConfigMap("b", {})]
    c.apply(several)
    c.delete(several)
    assert not c.exists("cm/a") and not c.exists("cm/b")


def test_a_namesake_is_not_deleted(c: windlass.Cluster) -> None:
    old = c.create(ConfigMap("a", {}))
    c.delete("cm/a")
    c.create(ConfigMap("a", {}))
    with pytest.raises(windlass.ConflictError):
        c.delete(old)
    assert c.exists("cm/a")


def test_a_part_of_a_collection_is_deleted(c: windlass.Cluster) -> None:
    c.apply([ConfigMap("a", {}, labels={"x": "1"}), ConfigMap("b", {}, labels={"x": "2"})])
    c.delete_all("cm", selector="x=1")
    assert not c.exists("cm/a") and c.exists("cm/b")


def test_scaling_is_seen_by_the_pods(c: windlass.Cluster) -> None:
    c.apply(Deployment("web", image="nginx"))
    assert c.scale("deployment/web", 4) == 4
    web = c.wait("deployment/web", lambda one: one.at("status.readyReplicas") == 4)
    assert web.spec.replicas == 4


def test_a_watch_begins_with_what_is_there_and_misses_nothing(c: windlass.Cluster) -> None:
    c.create(ConfigMap("a", {"k": "1"}, labels={"seen": "yes"}))
    with c.watch("cm", selector="seen=yes") as watch:
        assert next(watch) == ("ADDED", c.get("cm/a"))
        c.patch("cm/a", {"data": {"k": "2"}})
        changed = next(watch)
        assert (changed.type, changed.object.data.k) == ("MODIFIED", "2")
        c.delete("cm/a", wait=False)
        assert next(watch).type == "DELETED"
    assert list(watch) == []


def test_a_watch_goes_on_behind_a_revision_and_ends_in_time() -> None:
    # In virtual time, a fifth of a second is enough for whatever is there.
    with windlass.Cluster(clock="virtual", seed=7) as c:
        c.create(ConfigMap("early", {}, labels={"seen": "yes"}))
        listed = c.list("cm")
        c.create(ConfigMap("late", {}, labels={"seen": "yes"}))
        span = datetime.timedelta(seconds=0.2)
        watch = c.watch("cm", selector="seen=yes", resource_version=listed.resource_version, timeout=span)
        assert [event.object.name for event in watch] == ["late"]


def test_waiting_ends_with_the_state_that_was_waited_for(c: windlass.Cluster) -> None:
    c.create(Pod("p", "busybox"))
    ready = c.wait("pod/p", "Ready")
    assert ready.condition("Ready")["status"] == "True"  # type: ignore[index]
    assert c.wait("pod/p", "ready=true").name == "p"
    assert c.wait("pod/p", "created").uid == ready.uid
    c.delete("pod/p", wait=False)
    assert c.wait(ready, "deleted").name == "p"
    assert c.wait("pod/never", "deleted").name == "never"


def test_waiting_for_several_needs_one_at_least(c: windlass.Cluster) -> None:
    c.apply([Pod("a", "x", labels={"app": "x"}), Pod("b", "x", labels={"app": "x"})])
    assert sorted(c.wait_all("pods", "Ready", selector={"app": "x"}).names) == ["a", "b"]
    with pytest.raises(windlass.TimedOutError, match="pods does not exist after 0.1s"):
        c.wait_all("pods", "Ready", selector="app=y", timeout=0.1)


def test_a_wait_that_fails_says_what_lacks(c: windlass.Cluster) -> None:
    c.create(Pod("big", "x", requests={"cpu": 1000}))
    c.wait("pod/big", too_big)
    with pytest.raises(TimeoutError) as late:
        c.wait("pod/big", "Ready", timeout="100ms")
    assert "pod/big is not Ready after 0.1s" in str(late.value) and "Insufficient cpu" in str(late.value)
    with pytest.raises(windlass.TimedOutError, match="pod/none does not exist after 0.1s"):
        c.wait("pod/none", "Ready", timeout=0.1)
    with pytest.raises(windlass.TimedOutError, match="pod/big is still there after 0.1s"):
        c.wait("pod/big", "deleted", timeout=0.1)
    with pytest.raises(ValueError, match="no span of time"):
        c.wait("pod/big", "Ready", timeout="soon")


def test_a_predicate_that_raises_ends_the_wait(c: windlass.Cluster) -> None:
    c.create(ConfigMap("a", {}))
    with pytest.raises(ZeroDivisionError):
        c.wait("cm/a", lambda _: bool(1 / 0))


def test_logs_are_text_or_lines(c: windlass.Cluster) -> None:
    c.apply(Deployment("web", image="nginx:1"))
    c.wait("deployment/web", "Available")
    assert c.logs("deployment/web") == "main runs nginx:1\n"
    assert c.logs("deployment/web", tail=0) == ""
    with c.logs("deployment/web", follow=True) as lines:
        assert next(lines) == "main runs nginx:1"
    with pytest.raises(windlass.BadRequestError, match="container nope is not valid"):
        c.logs("deployment/web", container="nope")
    with pytest.raises(windlass.InvalidError, match="has no pods of its own"):
        c.logs("node/node-1")


def test_commands_run_in_containers(c: windlass.Cluster) -> None:
    c.create(Pod("p", "busybox"))
    c.wait("pod/p", "Ready")
    said = c.exec("pod/p", ["echo", "hello", "world"])
    assert (said.exit_code, said.stdout, said.stderr) == (0, "hello world\n", "")
    assert c.exec("pod/p", "exit 3").exit_code == 3
    assert c.exec("pod/p", ["cat"], stdin="ab\u00e9").stdout == "ab\u00e9"
    missing = c.exec("pod/p", ["no-such-program"])
    assert missing.exit_code == 127 and "not found" in missing.stderr


def test_events_tell_what_happened_in_order(c: windlass.Cluster) -> None:
    c.apply(Deployment("web", image="nginx"))
    pod = c.wait_all("pods", "Ready")[0]
    told(c, pod, "Scheduled")
    events = c.events(pod)
    assert "Scheduled" in [event.reason for event in events]
    assert {event.involvedObject.name for event in events} == {pod.name}
    assert len(c.events()) >= len(events)


def test_a_pod_without_a_node_is_explained(c: windlass.Cluster) -> None:
    c.create(Pod("big", "x", requests={"cpu": 1000}))
    c.wait("pod/big", too_big)
    why = c.explain("pod/big")
    assert why.verdict.startswith("pod big is on no node: 0/2 nodes are available: 2 Insufficient cpu.")
    c.create(Pod("small", "x"))
    c.wait("pod/small", "Ready")
    assert "is on node node-" in c.explain("pod/small").verdict
    c.apply(Deployment("web", image="x", requests={"cpu": 1000}))
    c.wait_all("pods", too_big, selector="app=web")
    assert "2 Insufficient cpu" in str(c.explain("deployment/web"))


def test_nodes_are_what_they_are_said_to_be() -> None:
    gpu = SimulatedNode(
        "gpu", cpu=4, memory="8Gi", capacity={"example.com/gpu": "2"}, labels={"zone": "a"}, taints=["gpu=yes:NoSchedule"]
    )
    with windlass.Cluster(nodes=["plain", gpu]) as c:
        node = c.get("node/gpu")
        assert node.labels["zone"] == "a"
        assert node.spec.taints[0] == {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
        assert node.status.capacity["example.com/gpu"] == "2" and node.status.allocatable.cpu == "4"
        c.create(Pod("p", "x"))
        assert c.wait("pod/p", "Ready").spec.nodeName == "plain"


def test_nodes_that_make_no_sense_are_refused() -> None:
    for nodes, message in (
        (-1, "give a number of nodes"),
        (["a", "a"], "a is there twice"),
        ([SimulatedNode("a", taints=["nonsense"])], "not of the form"),
    ):
        with pytest.raises(ValueError, match=message):
            windlass.Cluster(nodes=nodes)  # type: ignore[arg-type]


def test_a_cluster_without_nodes_leaves_pods_waiting() -> None:
    with windlass.Cluster(nodes=0) as c:
        c.create(Pod("p", "x"))
        assert c.wait("pod/p", "PodScheduled=False").status.phase == "Pending"


def test_two_clusters_do_not_notice_each_other(c: windlass.Cluster) -> None:
    with windlass.Cluster(nodes=1) as other:
        c.create(ConfigMap("a", {}))
        assert not other.exists("cm/a")
