"""Clients of others on a cluster of this process, without a socket: the official one, lightkube, kr8s and bare httpx."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import windlass
import windlass.aio

kubernetes = pytest.importorskip("kubernetes", reason="kubernetes is not installed")

from kubernetes import client, dynamic, stream, watch  # noqa: E402
from kubernetes.client.exceptions import ApiException  # noqa: E402


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects fails the test; an event loop's own pair of sockets is not a connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a client connects to something")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(params=["real", "virtual"])
def c(request: pytest.FixtureRequest) -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=2, clock=request.param) as cluster:
        yield cluster


@pytest.fixture
def k(c: windlass.Cluster) -> Any:
    return c.kubernetes_client()


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def deployment(name: str, replicas: int) -> Any:
    labels = {"app": name}
    container = client.V1Container(name="main", image="nginx:1")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=replicas, selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name, labels=labels), spec=spec)


def test_typed_calls_create_read_replace_list_and_delete(c: windlass.Cluster, k: Any) -> None:
    core, apps = client.CoreV1Api(k), client.AppsV1Api(k)
    made = core.create_namespaced_config_map("default", config_map("a", k="1"))
    assert made.metadata.uid and made.data == {"k": "1"}
    made.data["k"] = "2"
    assert core.replace_namespaced_config_map("a", "default", made).data == {"k": "2"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("a", "default", made)
    assert stale.value.status == 409 and json.loads(stale.value.body)["reason"] == "Conflict"
    apps.create_namespaced_deployment("default", deployment("web", 3))
    c.wait("deployment/web", "Available")
    read = apps.read_namespaced_deployment_status("web", "default")
    assert read.status.available_replicas == 3 and read.metadata.creation_timestamp.year >= 2026
    scale = apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1
    pods = core.list_pod_for_all_namespaces(label_selector="app=web", limit=1)
    assert len(pods.items) == 1 and pods.items[0].spec.node_name in ("node-1", "node-2")
    core.delete_namespaced_config_map("a", "default")
    assert not c.exists("cm/a")
    assert client.VersionApi(k).get_code().major == "1"


def test_errors_are_those_of_the_official_client(k: Any) -> None:
    core = client.CoreV1Api(k)
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_pod("none", "default")
    assert (missing.value.status, missing.value.reason) == (404, "Not Found")
    assert json.loads(missing.value.body)["message"] == 'pods "none" not found'
    with pytest.raises(ApiException) as invalid:
        core.create_namespaced_config_map("default", config_map("Not A Name"))
    assert invalid.value.status == 422
    assert json.loads(invalid.value.body)["details"]["causes"][0]["field"] == "metadata.name"


def test_patches_are_read_by_their_type(k: Any) -> None:
    core, apps = client.CoreV1Api(k), client.AppsV1Api(k)
    core.create_namespaced_config_map("default", config_map("a", x="1"))
    merged = core.patch_namespaced_config_map(
        "a", "default", {"data": {"x": None, "y": "2"}}, _content_type="application/merge-patch+json"
    )
    assert merged.data == {"y": "2"}
    replaced = core.patch_namespaced_config_map("a", "default", [{"op": "replace", "path": "/data/y", "value": "3"}])
    assert replaced.data == {"y": "3"}
    apps.create_namespaced_deployment("default", deployment("web", 0))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}}}
    patched = apps.patch_namespaced_deployment("web", "default", image)
    assert [one.image for one in patched.spec.template.spec.containers] == ["nginx:2"]
    applied = core.patch_namespaced_config_map(
        "b",
        "default",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "v"}},
        field_manager="me",
        _content_type="application/apply-patch+yaml",
    )
    assert applied.metadata.managed_fields[0].manager == "me"


def test_a_watch_is_told_of_changes_while_they_happen(c: windlass.Cluster, k: Any) -> None:
    core = client.CoreV1Api(k)
    core.create_namespaced_config_map("default", config_map("a", x="1"))
    seen: list[tuple[str, Any]] = []
    watching = watch.Watch()
    for event in watching.stream(core.list_namespaced_config_map, "default", field_selector="metadata.name=a"):
        seen.append((event["type"], event["object"].data))
        if len(seen) == 1:
            c.patch("cm/a", {"data": {"x": "2"}})
        elif len(seen) == 2:
            c.delete("cm/a", wait=False)
        else:
            watching.stop()
    assert seen == [("ADDED", {"x": "1"}), ("MODIFIED", {"x": "2"}), ("DELETED", {"x": "2"})]


def test_a_watch_ends_after_the_time_that_it_was_given(c: windlass.Cluster, k: Any) -> None:
    core = client.CoreV1Api(k)
    events = watch.Watch().stream(core.list_namespace, timeout_seconds=1)
    seen = {event["object"].metadata.name for event in events}
    # A second of the machine's may be over before anything was seen.
    assert c.seed is None or "default" in seen


def test_a_watch_that_is_waited_for_is_stopped_by_another_thread() -> None:
    with windlass.Cluster() as c:
        core = client.CoreV1Api(c.kubernetes_client())
        core.create_namespaced_config_map("default", config_map("a"))
        watching, first = watch.Watch(), threading.Event()
        seen: list[str] = []

        def follow() -> None:
            for event in watching.stream(core.list_namespaced_config_map, "default", field_selector="metadata.name=a"):
                seen.append(event["type"])
                first.set()

        thread = threading.Thread(target=follow)
        thread.start()
        first.wait()
        watching.stop()
        thread.join()
        assert seen == ["ADDED"]


def test_a_request_is_given_up_in_the_time_that_it_was_given(k: Any) -> None:
    import urllib3

    core = client.CoreV1Api(k)
    options = {"field_selector": "metadata.name=never", "_request_timeout": (1, 0.2)}
    with pytest.raises(urllib3.exceptions.ReadTimeoutError, match="in process: no answer within 200ms"):
        # It may be the answer's head that is late, or its body.
        core.list_namespaced_config_map("default", watch=True, _preload_content=False, **options).read()


def test_logs_are_read_and_followed(c: windlass.Cluster, k: Any) -> None:
    core = client.CoreV1Api(k)
    c.create(windlass.Pod("p", "busybox:1"))
    c.wait("pod/p", "Ready")
    assert core.read_namespaced_pod_log("p", "default") == "main runs busybox:1\n"
    followed = watch.Watch()
    for line in followed.stream(core.read_namespaced_pod_log, "p", "default"):
        assert line == "main runs busybox:1"
        followed.stop()


def test_dynamic_calls_find_resources_by_discovery(c: windlass.Cluster, k: Any) -> None:
    found = dynamic.DynamicClient(k)
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    made = maps.create(namespace="default", body={"metadata": {"name": "a"}, "data": {"k": "v"}})
    assert made.data.k == "v"
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    body = {"apiVersion": "apps/v1", "kind": "Deployment", **windlass.Deployment("web", image="nginx", replicas=0)}
    assert deployments.server_side_apply(body, namespace="default", field_manager="me").spec.replicas == 0
    maps.patch(namespace="default", name="a", body={"data": {"k": "w"}}, content_type="application/merge-patch+json")
    assert [one.metadata.name for one in maps.get(namespace="default", field_selector="metadata.name=a").items] == ["a"]
    assert c.get("cm/a").data.k == "w"
    maps.delete(namespace="default", name="a")
    with pytest.raises(dynamic.exceptions.NotFoundError):
        maps.get(namespace="default", name="a")


def test_sessions_in_virtual_time_are_refused_with_the_way_round() -> None:
    with windlass.Cluster(clock="virtual", seed=7) as c:
        c.create(windlass.Pod("p", "busybox"))
        c.wait("pod/p", "Ready")
        core = client.CoreV1Api(c.kubernetes_client())
        with pytest.raises(windlass.NotSupportedError, match=r"use c\.exec\(\)"):
            stream.stream(core.connect_get_namespaced_pod_exec, "p", "default", command=["true"], stdout=True)
        with pytest.raises(windlass.NotSupportedError, match="kubernetes.aio"):
            stream.portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports="80")
        # The client is as it was.
        assert core.read_namespaced_pod("p", "default").status.phase == "Running"


class TestSessions:
    """Exec, attach and port-forward of the official client, with the real clock."""

    @pytest.fixture
    def core(self) -> Iterator[Any]:
        with windlass.Cluster() as c:
            c.create(windlass.Pod("p", "busybox"))
            c.wait("pod/p", "Ready", timeout="1m")
            yield client.CoreV1Api(c.kubernetes_client())

    def test_a_command_is_run(self, core: Any) -> None:
        options = {"stdout": True, "stderr": True, "stdin": False, "tty": False}
        said = stream.stream(core.connect_get_namespaced_pod_exec, "p", "default", command=["echo", "a", "b"], **options)
        assert said == "a b\n"
        ended = stream.stream(
            core.connect_get_namespaced_pod_exec, "p", "default", command=["exit", "3"], _preload_content=False, **options
        )
        ended.run_forever(timeout=60)
        assert ended.returncode == 3
        ended.close()
        # The client is as it was.
        assert core.read_namespaced_pod("p", "default").status.phase == "Running"

    def test_a_command_is_talked_to(self, core: Any) -> None:
        options = {"stdout": True, "stderr": True, "stdin": True, "tty": False, "_preload_content": False}
        talk = stream.stream(core.connect_get_namespaced_pod_exec, "p", "default", command=["cat"], **options)
        for text in ("hello\n", "world\n"):
            talk.write_stdin(text)
            assert talk.readline_stdout(timeout=60) == text.strip()
        talk.close()
        assert not talk.is_open()

    def test_a_process_is_attached_to(self, core: Any) -> None:
        options = {"stdout": True, "stderr": True, "stdin": False, "tty": False}
        assert stream.stream(core.connect_get_namespaced_pod_attach, "p", "default", **options) == "main\n"

    def test_a_port_is_forwarded(self, core: Any) -> None:
        import http.client

        forward = stream.portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports="8080")
        connection = http.client.HTTPConnection("p")
        connection.sock = forward.socket(8080)
        connection.request("GET", "/status/418")
        assert connection.getresponse().status == 418
        connection.close()
        assert forward.error(8080) is None

    def test_what_is_refused_is_an_error_of_the_client(self, core: Any) -> None:
        with pytest.raises(ApiException, match="Handshake status 404"):
            stream.stream(core.connect_get_namespaced_pod_exec, "none", "default", command=["true"], stdout=True)


def asynchronous(clock: str, story: Any) -> None:
    """Runs a story with a cluster of asyncio and the official client's asyncio variant."""

    async def go() -> None:
        async with windlass.aio.Cluster(nodes=2, clock=clock) as c, c.kubernetes_client() as k:  # type: ignore[arg-type]
            await story(c, k)

    asyncio.run(go())


@pytest.mark.parametrize("clock", ["real", "virtual"])
class TestAsynchronous:
    """``kubernetes.aio``, the official client's asyncio variant."""

    def test_typed_calls_and_errors(self, clock: str) -> None:
        from kubernetes.aio import client as aio

        async def story(c: windlass.aio.Cluster, k: Any) -> None:
            core, apps = aio.CoreV1Api(k), aio.AppsV1Api(k)
            made = await core.create_namespaced_config_map("default", {"metadata": {"name": "a"}, "data": {"k": "1"}})
            assert made.metadata.uid and made.data == {"k": "1"}
            await c.apply(windlass.Deployment("web", image="nginx", replicas=2))
            await c.wait("deployment/web", "Available")
            assert (await apps.read_namespaced_deployment("web", "default")).status.available_replicas == 2
            await apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 1}})
            assert (await c.get("deployment/web")).spec.replicas == 1
            with pytest.raises(aio.ApiException) as missing:
                await core.read_namespaced_pod("none", "default")
            assert missing.value.status == 404 and "not found" in missing.value.body
            names = await asyncio.gather(*(core.read_namespace(name) for name in ("default", "kube-system")))
            assert [one.metadata.name for one in names] == ["default", "kube-system"]

        asynchronous(clock, story)

    def test_a_watch_is_told_of_changes(self, clock: str) -> None:
        from kubernetes.aio import client as aio
        from kubernetes.aio import watch as aio_watch

        async def story(c: windlass.aio.Cluster, k: Any) -> None:
            await c.create(windlass.ConfigMap("a", {"x": "1"}))
            seen = []
            async with aio_watch.Watch() as watching:
                events = watching.stream(
                    aio.CoreV1Api(k).list_namespaced_config_map, "default", field_selector="metadata.name=a"
                )
                async for event in events:
                    seen.append((event["type"], event["object"].data))
                    if len(seen) == 1:
                        await c.patch("cm/a", {"data": {"x": "2"}})
                    elif len(seen) == 2:
                        await c.delete("cm/a", wait=False)
                    else:
                        break
            assert seen == [("ADDED", {"x": "1"}), ("MODIFIED", {"x": "2"}), ("DELETED", {"x": "2"})]

        asynchronous(clock, story)

    def test_sessions_need_no_client_of_their_own(self, clock: str) -> None:
        from kubernetes.aio import client as aio

        async def story(c: windlass.aio.Cluster, k: Any) -> None:
            core = aio.CoreV1Api(k)
            await c.create(windlass.Pod("p", "busybox"))
            await c.wait("pod/p", "Ready")
            run = {"command": ["echo", "a"], "stdout": True, "stderr": True, "stdin": False, "tty": False}
            assert await core.connect_get_namespaced_pod_exec("p", "default", **run) == "a\n"
            assert (await core.read_namespaced_pod("p", "default")).status.phase == "Running"

        asynchronous(clock, story)


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_aiohttp_reaches_the_cluster(clock: Any) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def go() -> None:
        async with windlass.aio.Cluster(clock=clock) as c:
            async with aiohttp.ClientSession(connector=c.aiohttp_connector(), base_url=c.url) as http:
                async with http.get("/readyz") as response:
                    assert await response.text() == "ok"
                big = {"metadata": {"name": "big"}, "data": {"k": "v" * 500_000}}
                async with http.post("/api/v1/namespaces/default/configmaps", json=big) as response:
                    assert response.status == 201
                async with http.get("/api/v1/namespaces/default/configmaps/big") as response:
                    assert (await response.json())["data"] == big["data"]
                async with http.get("/api/v1/namespaces", params={"watch": "true"}) as response:
                    assert json.loads(await response.content.readline())["type"] == "ADDED"

    asyncio.run(go())


def test_a_connection_ends_with_its_cluster() -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def go() -> None:
        c = await windlass.aio.Cluster().start()
        async with aiohttp.ClientSession(connector=c.aiohttp_connector(), base_url=c.url) as http:
            response = await http.get("/api/v1/configmaps", params={"watch": "true", "fieldSelector": "metadata.name=never"})
            await c.close()
            with pytest.raises(aiohttp.ClientError):
                await response.read()
            with pytest.raises(windlass.ClosedError):
                await http.get("/readyz")

    asyncio.run(go())


def test_a_token_says_who_asks(c: windlass.Cluster) -> None:
    core = client.CoreV1Api(c.kubernetes_client())
    core.create_namespaced_service_account("default", client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="low")))
    spec = client.V1TokenRequestSpec(audiences=None or [], expiration_seconds=3600)
    token = core.create_namespaced_service_account_token(
        "low", "default", client.AuthenticationV1TokenRequest(spec=spec)
    ).status.token
    lowly = c.kubernetes_client()
    lowly.set_default_header("Authorization", f"Bearer {token}")
    with pytest.raises(ApiException) as refused:
        client.CoreV1Api(lowly).list_namespaced_secret("default")
    assert refused.value.status == 403 and "system:serviceaccount:default:low" in refused.value.body
    lowly.set_default_header("Authorization", "Bearer nonsense")
    with pytest.raises(ApiException) as unknown:
        client.CoreV1Api(lowly).list_namespaced_secret("default")
    assert unknown.value.status == 401


def test_threads_share_a_client(k: Any) -> None:
    core = client.CoreV1Api(k)

    def create(at: int) -> None:
        for n in range(10):
            core.create_namespaced_config_map("default", config_map(f"t{at}-{n}"))

    threads = [threading.Thread(target=create, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [one.metadata.name for one in core.list_namespaced_config_map("default").items]
    assert len([name for name in names if name.startswith("t")]) == 40


def test_a_client_outlives_its_cluster_only_to_say_so() -> None:
    c = windlass.Cluster()
    core = client.CoreV1Api(c.kubernetes_client())
    core.list_namespace()
    c.close()
    with pytest.raises(windlass.ClosedError, match="the cluster is closed"):
        core.list_namespace()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    monkeypatch.delitem(sys.modules, "kubernetes.client", raising=False)
    with windlass.Cluster() as c:
        with pytest.raises(windlass.NotSupportedError, match="pip install kubernetes"):
            c.kubernetes_client()


def test_httpx_reaches_the_cluster(c: windlass.Cluster) -> None:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(transport=c.httpx_transport(), base_url=c.url) as http:
        assert http.get("/readyz").text == "ok"
        made = http.post("/api/v1/namespaces/default/configmaps", json={"metadata": {"name": "a"}})
        assert made.status_code == 201 and made.json()["metadata"]["uid"]
        query = {"watch": "true", "fieldSelector": "metadata.name=a"}
        with http.stream("GET", "/api/v1/namespaces/default/configmaps", params=query) as response:
            lines = response.iter_lines()
            assert json.loads(next(lines))["type"] == "ADDED"
            c.delete("cm/a", wait=False)
            assert json.loads(next(lines))["type"] == "DELETED"
            with pytest.raises(windlass.NotSupportedError, match="is elsewhere"):
                http.get("https://example.com/")
        with pytest.raises(httpx.ReadTimeout):
            http.get("/api/v1/configmaps", params={**query, "resourceVersion": "0"}, timeout=0.2)


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_httpx_reaches_it_on_an_event_loop(clock: Any) -> None:
    httpx = pytest.importorskip("httpx")

    async def go() -> None:
        async with windlass.aio.Cluster(clock=clock) as c:
            async with httpx.AsyncClient(transport=c.httpx_transport(), base_url=c.url) as http:
                answers = await asyncio.gather(*(http.get(f"/api/v1/namespaces/{name}") for name in ("default", "no")))
                assert [one.status_code for one in answers] == [200, 404]
                query = {"watch": "true"}
                async with http.stream("GET", "/api/v1/namespaces", params=query) as response:
                    async for line in response.aiter_lines():
                        assert json.loads(line)["type"] == "ADDED"
                        break

    asyncio.run(go())


def test_lightkube_reaches_the_cluster(c: windlass.Cluster) -> None:
    pytest.importorskip("lightkube")
    from lightkube import ApiError
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap, Node, Pod
    from lightkube.types import PatchType

    c.apply(windlass.Deployment("web", image="nginx", replicas=2))
    k = c.lightkube_client(field_manager="me")
    assert sorted(node.metadata.name for node in k.list(Node)) == ["node-1", "node-2"]
    k.wait(Deployment, "web", for_conditions=["Available"])
    assert len(list(k.list(Pod, labels={"app": "web"}))) == 2
    made = k.create(ConfigMap(metadata=ObjectMeta(name="a"), data={"k": "1"}))
    assert made.metadata.uid
    assert k.patch(ConfigMap, "a", {"data": {"k": "2"}}, patch_type=PatchType.MERGE).data == {"k": "2"}
    kind, seen = next(k.watch(ConfigMap, fields={"metadata.name": "a"}))
    assert (kind, seen.data) == ("ADDED", {"k": "2"})
    k.delete(ConfigMap, "a")
    with pytest.raises(ApiError) as missing:
        k.get(ConfigMap, "a")
    assert missing.value.status.code == 404


def test_lightkube_reaches_it_on_an_event_loop() -> None:
    pytest.importorskip("lightkube")
    from lightkube.resources.core_v1 import Namespace, Node

    async def go() -> None:
        async with windlass.aio.Cluster(nodes=2) as c:
            k = c.lightkube_client()
            assert (await k.get(Namespace, "default")).metadata.name == "default"
            assert len([node async for node in k.list(Node)]) == 2

    asyncio.run(go())


@pytest.mark.filterwarnings("ignore:Kubernetes version")
def test_kr8s_reaches_the_cluster() -> None:
    kr8s = pytest.importorskip("kr8s")
    from kr8s.objects import ConfigMap, Deployment

    with windlass.Cluster(nodes=2) as c:
        api = c.kr8s_api()
        assert api.version()["major"] == "1"
        assert sorted(node.name for node in api.get("nodes")) == ["node-1", "node-2"]
        web = Deployment(windlass.Deployment("web", image="nginx", replicas=2).to_dict(), api=api)
        web.create()
        web.wait("condition=Available")
        assert len(list(api.get("pods", label_selector={"app": "web"}))) == 2
        web.scale(1)
        assert c.get("deployment/web").spec.replicas == 1
        made = ConfigMap({"metadata": {"name": "a"}, "data": {"k": "1"}}, api=api)
        made.create()
        made.patch({"data": {"k": "2"}})
        assert c.get("cm/a").data.k == "2"
        made.delete()
        with pytest.raises(kr8s.NotFoundError):
            ConfigMap.get("a", api=api)


@pytest.mark.filterwarnings("ignore:Kubernetes version")
def test_kr8s_reaches_it_on_an_event_loop() -> None:
    pytest.importorskip("kr8s")

    async def go() -> None:
        async with windlass.aio.Cluster(nodes=2) as c:
            api = await c.kr8s_api()
            assert len([node async for node in api.get("nodes")]) == 2

    asyncio.run(go())


def test_two_clusters_have_clients_of_their_own(c: windlass.Cluster) -> None:
    with windlass.Cluster(nodes=0) as other:
        clients = [client.CoreV1Api(one.kubernetes_client()) for one in (c, other)]
        assert [len(one.list_node().items) for one in clients] == [2, 0]
