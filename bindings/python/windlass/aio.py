"""The same interface for asyncio: every call of :class:`windlass.Cluster` as a coroutine.

    async with windlass.aio.Cluster(nodes=3) as c:
        await c.apply("deploy.yaml")
        await c.wait("deployment/web", "Available", timeout="2m")
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _client, _native, _nodes, _pods, _waits, _worlds
from ._calls import ALL, Calls, Selector, What
from ._client import MANAGER, Lines, PatchType, Propagation
from ._extend import Extensible
from ._loop import arun
from ._loop import wait as _wait
from ._nodes import Nodes, SimulatedNode, specs
from ._pods import ExecResult, Explanation, Response
from ._reach import Reachable
from ._spans import Span, seconds
from ._waits import Condition, Follow
from ._worlds import Clock, Differences, seed_of
from .errors import ClosedError, NotFoundError, TimedOutError
from .manifests import Source, Sources
from .objects import Event, Object, ObjectList

if TYPE_CHECKING:
    import kr8s.asyncio
    import kubernetes.aio
    import lightkube
    from typing_extensions import Self

__all__ = ["ALL", "Client", "Cluster", "Connection", "LogLines", "Watch", "connect"]


class Client:
    """Calls on a cluster, from any event loop."""

    def __init__(self, api: _native.Api, namespace: str, owner: object) -> None:
        self._calls = Calls(api, namespace, MANAGER, owner)

    @property
    def namespace(self) -> str:
        """The namespace where none is named."""
        return self._calls.namespace

    def now(self) -> str:
        """The cluster's time (RFC 3339)."""
        return self._calls.api.now()

    def in_namespace(self, namespace: str) -> Client:
        """The same cluster, with another namespace where none is named."""
        return Client(self._calls.api, namespace, self._calls.owner)

    # Reading.

    async def get(self, what: What, name: str | None = None, *, namespace: str | None = None) -> Object:
        """See :meth:`windlass.Client.get`."""
        return await arun(self._calls.get(what, name, namespace))

    async def list(
        self,
        what: str,
        *,
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """See :meth:`windlass.Client.list`."""
        return await arun(self._calls.listed(what, namespace, selector, fields, limit, continue_token))

    async def exists(self, what: What, name: str | None = None, *, namespace: str | None = None) -> bool:
        """See :meth:`windlass.Client.exists`."""
        try:
            await self.get(what, name, namespace=namespace)
        except NotFoundError:
            return False
        return True

    def watch(
        self,
        what: str,
        *,
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
        resource_version: str = "",
        timeout: Span | None = None,
    ) -> Watch:
        """See :meth:`windlass.Client.watch`. Iterate with ``async for``."""
        opening = _waits.follow(self._calls, what, namespace, selector, fields, resource_version)
        return Watch(self._calls, opening, timeout)

    # Writing.

    @overload
    async def apply(
        self,
        source: Mapping[str, Any],
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> Object: ...
    @overload
    async def apply(
        self,
        source: Sources,
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> ObjectList: ...
    async def apply(
        self,
        source: Source,
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> Object | ObjectList:
        """See :meth:`windlass.Client.apply`."""
        applied = await arun(self._calls.apply(source, namespace, force, dry_run, field_manager))
        return applied[0] if isinstance(source, Mapping) and len(applied) == 1 else applied

    @overload
    async def create(
        self, source: Mapping[str, Any], *, namespace: str | None = None, dry_run: bool = False
    ) -> Object: ...
    @overload
    async def create(self, source: Sources, *, namespace: str | None = None, dry_run: bool = False) -> ObjectList: ...
    async def create(
        self, source: Source, *, namespace: str | None = None, dry_run: bool = False
    ) -> Object | ObjectList:
        """See :meth:`windlass.Client.create`."""
        created = await arun(self._calls.create(source, namespace, dry_run))
        return created[0] if isinstance(source, Mapping) and len(created) == 1 else created

    async def replace(self, tree: Mapping[str, Any], *, subresource: str = "", dry_run: bool = False) -> Object:
        """See :meth:`windlass.Client.replace`."""
        return await arun(self._calls.replace(tree, subresource, dry_run))

    async def patch(
        self,
        what: What,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        type: PatchType | None = None,
        *,
        name: str | None = None,
        namespace: str | None = None,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """See :meth:`windlass.Client.patch`."""
        return await arun(self._calls.patch(what, patch, type, name, namespace, subresource, dry_run))

    async def scale(self, what: What, replicas: int, *, name: str | None = None, namespace: str | None = None) -> int:
        """See :meth:`windlass.Client.scale`."""
        return await arun(self._calls.scale(what, replicas, name, namespace))

    async def delete(
        self,
        what: What | Sequence[Mapping[str, Any]],
        name: str | None = None,
        *,
        namespace: str | None = None,
        grace_period: int | None = None,
        propagation: Propagation = "Background",
        missing_ok: bool = False,
        wait: bool = True,
        timeout: Span = "1m",
    ) -> None:
        """See :meth:`windlass.Client.delete`."""
        doomed = await arun(self._calls.doomed(what, name, namespace))
        options = {"grace_period": grace_period, "propagation": propagation}
        await arun(_waits.deleted(self._calls, doomed, options, missing_ok, timeout if wait else None))

    async def delete_all(
        self,
        what: str,
        *,
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
        propagation: Propagation = "Background",
    ) -> None:
        """See :meth:`windlass.Client.delete_all`."""
        await arun(self._calls.delete_all(what, namespace, selector, fields, propagation))

    # Waiting and looking.

    async def wait(
        self,
        what: What,
        condition: Condition,
        *,
        timeout: Span = "30s",
        name: str | None = None,
        namespace: str | None = None,
    ) -> Object:
        """See :meth:`windlass.Client.wait`."""
        return await arun(_waits.Wait(self._calls, condition, timeout).one(what, name, namespace))

    async def wait_all(
        self,
        what: str,
        condition: Condition,
        *,
        timeout: Span = "30s",
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
    ) -> ObjectList:
        """See :meth:`windlass.Client.wait_all`."""
        return await arun(_waits.Wait(self._calls, condition, timeout).all(what, namespace, selector, fields))

    async def events(
        self, what: What | None = None, name: str | None = None, *, namespace: str | None = None
    ) -> ObjectList:
        """See :meth:`windlass.Client.events`."""
        return await arun(_pods.events(self._calls, what, name, namespace))

    async def explain(self, what: What, name: str | None = None, *, namespace: str | None = None) -> Explanation:
        """See :meth:`windlass.Client.explain`."""
        return await arun(_pods.explain(self._calls, what, name, namespace))

    # Pods.

    async def request(
        self,
        what: What,
        port: int,
        path: str = "/",
        *,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] = {},
        name: str | None = None,
        namespace: str | None = None,
    ) -> Response:
        """See :meth:`windlass.Client.request`."""
        return await arun(_pods.request(self._calls, what, port, path, method, body, headers, name, namespace))

    @overload
    async def logs(
        self,
        what: What,
        name: str | None = None,
        *,
        follow: Literal[False] = False,
        namespace: str | None = None,
        container: str | None = None,
        previous: bool = False,
        timestamps: bool = False,
        tail: int | None = None,
        since: Span | None = None,
    ) -> str: ...
    @overload
    async def logs(
        self,
        what: What,
        name: str | None = None,
        *,
        follow: Literal[True],
        namespace: str | None = None,
        container: str | None = None,
        previous: bool = False,
        timestamps: bool = False,
        tail: int | None = None,
        since: Span | None = None,
    ) -> LogLines: ...
    async def logs(
        self,
        what: What,
        name: str | None = None,
        *,
        follow: bool = False,
        namespace: str | None = None,
        container: str | None = None,
        previous: bool = False,
        timestamps: bool = False,
        tail: int | None = None,
        since: Span | None = None,
    ) -> str | LogLines:
        """See :meth:`windlass.Client.logs`. With ``follow``, iterate with ``async for``."""
        one = await arun(_pods.pod(self._calls, what, name, namespace))
        chunks = await arun(
            _pods.logs(
                self._calls,
                one,
                container=container,
                follow=follow,
                previous=previous,
                timestamps=timestamps,
                tail=tail,
                since=since,
            )
        )
        return LogLines(chunks) if follow else await arun(_pods.text(chunks))

    async def exec(
        self,
        what: What,
        command: str | Sequence[str],
        *,
        name: str | None = None,
        namespace: str | None = None,
        container: str | None = None,
        stdin: str | bytes | None = None,
    ) -> ExecResult:
        """See :meth:`windlass.Client.exec`."""
        one = await arun(_pods.pod(self._calls, what, name, namespace))
        return await arun(_pods.execute(self._calls, one, command, container, stdin))


class Watch(AsyncIterator[Event]):
    """The events of a watch. Leaving its ``async with`` block, or the end of the iteration, ends it."""

    def __init__(self, calls: Calls, opening: Generator[_native.Op, Any, Follow], timeout: Span | None) -> None:
        self._opening: Generator[_native.Op, Any, Follow] | None = opening
        self._follow: Follow | None = None
        self._uptime: Callable[[], float] = calls.api.uptime
        self._deadline = None if timeout is None else self._uptime() + seconds(timeout)

    async def __anext__(self) -> Event:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._follow = await arun(opening)
        if self._follow is None:
            raise StopAsyncIteration
        left = None if self._deadline is None else max(self._deadline - self._uptime(), 0.0)
        try:
            event = await arun(self._follow.next(left))
        except TimedOutError:
            if self._deadline is None or self._uptime() < self._deadline:
                raise
            event = None
        if event is None:
            self.close()
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Ends the watch."""
        self._opening = None
        if self._follow is not None:
            self._follow.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class LogLines(AsyncIterator[str]):
    """The lines of a log, while they come."""

    def __init__(self, chunks: _native.Chunks) -> None:
        self._chunks = chunks
        self._lines = Lines()

    async def __anext__(self) -> str:
        while (line := self._lines.pop()) is None:
            if not self._lines.feed(await _wait(self._chunks.next())):
                raise StopAsyncIteration
        return line

    def close(self) -> None:
        """Ends the stream."""
        self._chunks.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Cluster(Extensible, Reachable, Client):
    """A whole cluster inside this process, for asyncio. ``async with`` it, or :meth:`start` and :meth:`close` it."""

    def __init__(
        self, nodes: Nodes = 1, *, namespace: str = "default", clock: Clock = "real", seed: int | None = None
    ) -> None:
        self._nodes = nodes
        self._seed = seed_of(seed, clock)
        self._namespace = namespace
        self._owner: _client._Owner[_native.Cluster] | None = None

    async def start(self) -> Self:
        """Starts the cluster; it can be used then."""
        self._take(await _wait(_native.launch(list(specs(self._nodes)), self._seed)))
        return self

    @classmethod
    def _over(cls, cluster: _client.Cluster) -> Cluster:
        """The same cluster as a blocking one, which it ends with."""
        same = cls(namespace=cluster.namespace)
        same._owner = cluster
        Client.__init__(same, cluster._calls.api, cluster.namespace, cluster._calls.owner)
        return same

    def _take(self, launched: _native.Cluster) -> None:
        self._owner = _client._Owner(launched)
        Client.__init__(self, launched.api(_client.agent()), self._namespace, launched)

    @property
    def seed(self) -> int | None:
        """See :attr:`windlass.Cluster.seed`."""
        return self._native_cluster.seed()

    async def run_for(self, span: Span) -> None:
        """See :meth:`windlass.Cluster.run_for`."""
        await _wait(self._native_cluster.run_for(seconds(span)))

    async def fork(self, *, seed: int | None = None) -> Cluster:
        """See :meth:`windlass.Cluster.fork`."""
        fork = Cluster(namespace=self._namespace)
        fork._take(await _wait(self._native_cluster.fork(seed_of(seed, "virtual") if seed is not None else None)))
        return fork

    async def diff(self, other: Cluster) -> Differences:
        """See :meth:`windlass.Cluster.diff`."""
        return _worlds.diff(self._native_cluster, other._native_cluster)

    async def fingerprint(self) -> str:
        """See :meth:`windlass.Cluster.fingerprint`."""
        return self._native_cluster.fingerprint()

    async def explain(self, what: What, name: str | None = None, *, namespace: str | None = None) -> Explanation:
        """See :meth:`windlass.Cluster.explain`."""
        found = await super().explain(what, name, namespace=namespace)
        return found._replace(turn=_pods.turn(self._native_cluster.explanation(found.object.uid)))

    async def add_node(self, node: str | SimulatedNode) -> None:
        """See :meth:`windlass.Cluster.add_node`."""
        await _wait(self._native_cluster.add_node(*_nodes.one(node)))

    async def kill_node(self, name: str) -> None:
        """See :meth:`windlass.Cluster.kill_node`."""
        await _wait(self._native_cluster.kill_node(name))

    @property
    def _native_cluster(self) -> _native.Cluster:
        if self._owner is None:
            raise ClosedError("the cluster is not started: use 'async with', or await start()")
        return self._owner._held

    async def close(self) -> None:
        """See :meth:`windlass.Cluster.close`."""
        if self._owner is not None:
            await asyncio.to_thread(self._owner.close)

    async def kubeconfig(self) -> str:
        """See :meth:`windlass.Cluster.kubeconfig`."""
        text: str = await _wait(self._native_cluster.kubeconfig())
        return text

    def kubernetes_client(self) -> kubernetes.aio.client.ApiClient:
        """The ``ApiClient`` of ``kubernetes.aio``, the official package's asyncio variant, without a socket::

            async with c.kubernetes_client() as api:
                core = kubernetes.aio.client.CoreV1Api(api)

        It does what it does anywhere, in virtual time too: exec, attach and port-forward need no ``WsApiClient``.
        """
        from ._clients import kubernetes_aio_client

        return kubernetes_aio_client(self._native_cluster)

    def lightkube_client(self, **options: Any) -> lightkube.AsyncClient:
        """A ``lightkube.AsyncClient`` for this cluster, without a socket. Options are those of its class."""
        from ._clients import lightkube_client

        options.setdefault("namespace", self.namespace)
        return lightkube_client(self._native_cluster, "AsyncClient", options)  # type: ignore[no-any-return]

    async def kr8s_api(self) -> kr8s.asyncio.Api:
        """A ``kr8s.asyncio.Api`` for this cluster, without a socket; hand it to kr8s as ``api=``."""
        from ._clients import kr8s_async_api

        return await kr8s_async_api(self._native_cluster, self.namespace)

    def __getattr__(self, name: str) -> Any:
        if name == "_calls":
            raise ClosedError("the cluster is not started: use 'async with', or await start()")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Connection(Client):
    """A cluster that is reached over HTTPS. Made by :func:`connect`."""

    def __init__(self, native: _native.Connection, api: _native.Api, server: str, namespace: str) -> None:
        super().__init__(api, namespace, native)
        self._owner = _client._Owner(native)
        self.server = server
        """The server's URL."""

    async def close(self) -> None:
        """See :meth:`windlass.Connection.close`."""
        await asyncio.to_thread(self._owner.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def connect(
    kubeconfig: str | os.PathLike[str] | None = None, *, context: str = "", namespace: str | None = None
) -> Connection:
    """See :func:`windlass.connect`. Nothing is sent before the first call."""
    api, server, usual, native = _native.connect(_client.path_of(kubeconfig), context, _client.agent())
    return Connection(native, api, server, namespace or usual)
