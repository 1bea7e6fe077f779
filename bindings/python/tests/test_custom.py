"""Custom resources: defined, and then asked for like any other, by ours and by others' clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import windlass
import windlass.aio
from windlass import Client, Key

DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Size, type: string, jsonPath: .spec.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: string, enum: [small, large]}
              replicas: {type: integer, minimum: 0, default: 1}
          status:
            type: object
            x-kubernetes-preserve-unknown-fields: true
"""

WIDGET = """\
apiVersion: shop.example.com/v1
kind: Widget
metadata: {name: a, labels: {app: shop}}
spec: {size: small}
"""


@pytest.fixture(params=["real", "virtual"])
def c(request: pytest.FixtureRequest) -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=1, clock=request.param) as cluster:
        yield cluster


@pytest.fixture
def w(c: windlass.Cluster) -> windlass.Cluster:
    """A cluster that knows widgets."""
    c.apply(DEFINITION)
    c.wait("crd/widgets.shop.example.com", "Established", timeout="1m")
    return c


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


def test_a_definition_and_its_objects_are_applied_together(c: windlass.Cluster) -> None:
    definition, made = c.apply(DEFINITION + "---\n" + WIDGET)
    assert definition.kind == "CustomResourceDefinition" and made.spec == {"size": "small", "replicas": 1}


def test_objects_are_named_listed_and_shown_like_any_other(w: windlass.Cluster) -> None:
    made = w.apply(WIDGET)[0]
    for name in ("widget/a", "widgets/a", "wd/a", "Widget/a", "widgets.shop.example.com/a", "wd.shop.example.com/a"):
        assert w.get(name) == made
    assert w.get("widget", "a") == w.get(made) == made
    w.create(widget("b", size="large", replicas=3))
    assert w.list("widgets").names == ["a", "b"]
    assert w.list("wd", selector="app=shop").names == ["a"]
    assert w.list("widgets", namespace=windlass.ALL)["b"].spec.replicas == 3
    head, first, _ = str(w.list("widgets")).splitlines()
    assert head.split()[0] == "NAME" and first.split()[0] == "a"
    assert "<caption>Widget</caption>" in w.list("widgets")._repr_html_()


def test_objects_are_written_in_every_way(w: windlass.Cluster) -> None:
    w.apply(WIDGET)
    assert w.patch("widget/a", {"spec": {"replicas": 2}}).spec.replicas == 2
    assert w.patch("widget/a", [{"op": "replace", "path": "/spec/size", "value": "large"}]).spec.size == "large"
    assert w.scale("widget/a", 5) == 5 and w.get("widget/a").spec.replicas == 5
    read = w.get("widget/a")
    read.status = {"phase": "Done", "replicas": 5}
    assert w.replace(read, subresource="status").status.phase == "Done"
    read = w.get("widget/a")
    read.spec.replicas = 1
    assert w.replace(read).status.phase == "Done"
    with pytest.raises(windlass.UnsupportedMediaTypeError, match="accepted media types"):
        w.patch("widget/a", {"spec": {"size": "small"}}, "strategic")
    w.delete("widget/a")
    assert not w.exists("widget/a")
    w.create([widget("b", size="small"), widget("c", size="small")])
    w.delete_all("widgets")
    w.wait_all("widgets", "deleted")


def test_objects_are_watched_and_waited_for(w: windlass.Cluster) -> None:
    with w.watch("widgets") as watch:
        w.apply(WIDGET)
        assert next(watch).type == "ADDED"
        w.patch("widget/a", {"spec": {"replicas": 2}})
        assert next(watch).object.spec.replicas == 2
    ready = {"type": "Ready", "status": "True"}
    w.patch("widget/a", {"status": {"conditions": [ready]}}, subresource="status")
    assert w.wait("widget/a", "Ready").name == "a"
    assert w.wait("widget/a", lambda one: one.spec.replicas == 2).name == "a"
    w.delete("widget/a", wait=False)
    w.wait("widget/a", "deleted")


def test_what_breaks_the_schema_is_named(w: windlass.Cluster) -> None:
    with pytest.raises(windlass.InvalidError) as refused:
        w.create(widget("a", size="huge", replicas=-1))
    assert {cause.field for cause in refused.value.causes} == {"spec.size", "spec.replicas"}
    with pytest.raises(windlass.InvalidError, match="spec.size"):
        w.create(widget("a", replicas=1))
    with pytest.raises(windlass.BadRequestError, match=r'unknown field "spec.colour"'):
        w.create(widget("a", size="small", colour="red"))


def test_kinds_that_are_gone_are_unknown(w: windlass.Cluster) -> None:
    w.apply(WIDGET)
    w.delete("crd/widgets.shop.example.com")
    with pytest.raises(windlass.NotFoundError):
        w.get("widget/a")
    # The server may take the last of a kind for ending a little longer than its definition is there.
    with pytest.raises((windlass.NotFoundError, windlass.MethodNotAllowedError)):
        w.apply(WIDGET)


def test_a_controller_named_before_its_resource_reconciles_it(c: windlass.Cluster) -> None:
    @c.controller(watches="widgets.v1.shop.example.com", owns="deployments")
    def reconcile(k: Client, key: Key) -> None:
        try:
            own = k.get("widget", key.name, namespace=key.namespace)
        except windlass.NotFoundError:
            return
        made = windlass.Deployment(own.name, image="shop", replicas=own.spec.replicas)
        owner = {"apiVersion": own.apiVersion, "kind": own.kind, "name": own.name, "uid": own.uid, "controller": True}
        made.metadata.ownerReferences = [owner]
        k.apply(made)

    c.apply(DEFINITION)
    c.wait("crd/widgets.shop.example.com", "Established", timeout="1m")
    c.apply(widget("shop", size="small", replicas=2))
    c.wait("deployment/shop", "created", timeout="1m")
    c.wait("deployment/shop", "Available", timeout="1m")
    c.scale("widget/shop", 3)
    c.wait("deployment/shop", lambda one: one.spec.replicas == 3, timeout="1m")
    c.delete("widget/shop")
    # What it owned goes with it.
    c.wait("deployment/shop", "deleted", timeout="1m")


def test_a_fork_knows_the_kinds_too(w: windlass.Cluster) -> None:
    w.apply(WIDGET)
    with w.fork() as fork:
        fork.scale("widget/a", 4)
        fork.create(widget("b", size="large"))
        assert {(one.kind, one.name) for one in w.diff(fork)} >= {("Widget", "a"), ("Widget", "b")}
        assert fork.list("widgets").names == ["a", "b"]
    assert w.list("widgets").names == ["a"]


def test_asyncio_has_the_same() -> None:
    async def story() -> None:
        async with windlass.aio.Cluster(clock="virtual", seed=3) as c:
            await c.apply(DEFINITION)
            await c.wait("crd/widgets.shop.example.com", "Established")
            await c.apply(WIDGET)
            async with c.watch("widgets") as watch:
                assert (await watch.__anext__()).object.name == "a"
            assert await c.scale("widget/a", 2) == 2

    asyncio.run(story())


def test_the_official_client_reaches_custom_objects(w: windlass.Cluster) -> None:
    pytest.importorskip("kubernetes")
    from kubernetes import client, dynamic

    k = w.kubernetes_client()
    custom = client.CustomObjectsApi(k)
    at = ("shop.example.com", "v1", "default", "widgets")
    made = custom.create_namespaced_custom_object(*at, widget("a", size="small"))
    assert made["spec"] == {"size": "small", "replicas": 1}
    listed = custom.list_namespaced_custom_object(*at)
    assert [one["metadata"]["name"] for one in listed["items"]] == ["a"]
    widgets = dynamic.DynamicClient(k).resources.get(api_version="shop.example.com/v1", kind="Widget")
    widgets.patch(name="a", namespace="default", body={"spec": {"replicas": 4}}, content_type="application/merge-patch+json")
    assert widgets.get(name="a", namespace="default").spec.replicas == 4
    for event in widgets.watch(namespace="default", timeout=5):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "a")
        break
    widgets.delete(name="a", namespace="default")
    assert not w.exists("widget/a")


def test_lightkube_reaches_custom_objects(w: windlass.Cluster) -> None:
    pytest.importorskip("lightkube")
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.types import PatchType

    kind = create_namespaced_resource("shop.example.com", "v1", "Widget", "widgets")
    k = w.lightkube_client(field_manager="me")
    k.create(kind(metadata={"name": "a"}, spec={"size": "small"}))
    assert k.get(kind, "a").spec["replicas"] == 1
    k.patch(kind, "a", {"spec": {"replicas": 2}}, patch_type=PatchType.MERGE)
    assert [one.spec["replicas"] for one in k.list(kind)] == [2]
    kind_of, seen = next(k.watch(kind))
    assert (kind_of, seen.metadata.name) == ("ADDED", "a")
    k.delete(kind, "a")
    assert not w.exists("widget/a")


@pytest.mark.filterwarnings("ignore:Kubernetes version")
def test_kr8s_reaches_custom_objects() -> None:
    kr8s = pytest.importorskip("kr8s")
    from kr8s.objects import new_class

    with windlass.Cluster(nodes=0) as c:
        c.apply(DEFINITION)
        c.wait("crd/widgets.shop.example.com", "Established", timeout="1m")
        api = c.kr8s_api()
        kind: Any = new_class("Widget", version="shop.example.com/v1", namespaced=True, asyncio=False)
        made = kind(widget("a", size="small"), api=api)
        made.create()
        made.patch({"spec": {"replicas": 2}})
        assert c.get("widget/a").spec.replicas == 2
        assert [one.name for one in api.get("widgets.shop.example.com")] == ["a"]
        made.delete()
        with pytest.raises(kr8s.NotFoundError):
            kind.get("a", api=api)
