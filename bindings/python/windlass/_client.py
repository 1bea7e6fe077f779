"""The blocking interface: everything that can be asked of a cluster, wherever it is."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from typing import TYPE_CHECKING

from . import _native, _nodes, _pods, _waits, _worlds
from ._calls import ALL, Calls, Selector, What
from ._drive import run
from ._extend import Extensible
from ._nodes import Nodes, SimulatedNode, specs
from ._pods import ExecResult, Explanation, Response
from ._reach import Reachable
from ._spans import Span, seconds
from ._waits import Condition, Follow
from ._worlds import Clock, Differences, seed_of
from .errors import NotFoundError, TimedOutError
from .manifests import Source, Sources
from .objects import Event, Object, ObjectList

if TYPE_CHECKING:
    import kr8s
    import kubernetes
    import lightkube
    from typing_extensions import Self

__all__ = ["ALL", "Client", "Cluster", "Connection", "LogLines", "Watch", "connect"]

Propagation = Literal["Background", "Foreground", "Orphan"]
PatchType = Literal["strategic", "merge", "json"]

# The field manager, and the user agent's first part.
MANAGER = "windlass-python"


class Client:
    """Calls on a cluster. Safe to share between threads; not across a fork."""

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

    def get(self, what: What, name: str | None = None, *, namespace: str | None = None) -> Object:
        """Reads one object: ``get("pod/web")``, ``get("pod", "web")``, or ``get(pod)`` to read it anew."""
        return run(self._calls.get(what, name, namespace))

    def list(
        self,
        what: str,
        *,
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """Reads a collection: ``list("pods")``. ``namespace="*"`` reads all namespaces."""
        return run(self._calls.listed(what, namespace, selector, fields, limit, continue_token))

    def exists(self, what: What, name: str | None = None, *, namespace: str | None = None) -> bool:
        """Whether there is such an object."""
        try:
            self.get(what, name, namespace=namespace)
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
        """Follows a collection: what is there comes first as ``ADDED``, then every change, once and in order.

        With a resource version it begins behind that. ``timeout`` is how long the iteration goes on altogether.
        """
        follow = run(_waits.follow(self._calls, what, namespace, selector, fields, resource_version))
        return Watch(self._calls, follow, timeout)

    # Writing.

    @overload
    def apply(
        self,
        source: Mapping[str, Any],
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> Object: ...
    @overload
    def apply(
        self,
        source: Sources,
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> ObjectList: ...
    def apply(
        self,
        source: Source,
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> Object | ObjectList:
        """Applies objects (server-side): a mapping, a YAML or JSON text, the path of a file or folder, or several.

        One object that is refused does not keep the others: the error tells of all in ``failures``. ``force`` takes
        over fields that others own.
        """
        applied = run(self._calls.apply(source, namespace, force, dry_run, field_manager))
        return applied[0] if isinstance(source, Mapping) and len(applied) == 1 else applied

    @overload
    def create(self, source: Mapping[str, Any], *, namespace: str | None = None, dry_run: bool = False) -> Object: ...
    @overload
    def create(self, source: Sources, *, namespace: str | None = None, dry_run: bool = False) -> ObjectList: ...
    def create(
        self, source: Source, *, namespace: str | None = None, dry_run: bool = False
    ) -> Object | ObjectList:
        """Creates objects, from whatever :meth:`apply` takes."""
        created = run(self._calls.create(source, namespace, dry_run))
        return created[0] if isinstance(source, Mapping) and len(created) == 1 else created

    def replace(self, tree: Mapping[str, Any], *, subresource: str = "", dry_run: bool = False) -> Object:
        """Replaces an object by one that was read and changed; ``ConflictError`` where it changed meanwhile."""
        return run(self._calls.replace(tree, subresource, dry_run))

    def patch(
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
        """Patches an object. Without a type, a list is a JSON patch and a mapping a strategic merge patch (a merge
        patch for custom resources)."""
        return run(self._calls.patch(what, patch, type, name, namespace, subresource, dry_run))

    def scale(self, what: What, replicas: int, *, name: str | None = None, namespace: str | None = None) -> int:
        """Sets how many replicas a workload wants."""
        return run(self._calls.scale(what, replicas, name, namespace))

    def delete(
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
        """Deletes objects and waits until they are gone, unless told not to."""
        doomed = run(self._calls.doomed(what, name, namespace))
        options = {"grace_period": grace_period, "propagation": propagation}
        run(_waits.deleted(self._calls, doomed, options, missing_ok, timeout if wait else None))

    def delete_all(
        self,
        what: str,
        *,
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
        propagation: Propagation = "Background",
    ) -> None:
        """Deletes a part of a collection, without waiting."""
        run(self._calls.delete_all(what, namespace, selector, fields, propagation))

    # Waiting and looking.

    def wait(
        self,
        what: What,
        condition: Condition,
        *,
        timeout: Span = "30s",
        name: str | None = None,
        namespace: str | None = None,
    ) -> Object:
        """Waits until a condition of an object holds, and returns the object as it is then.

        The condition is a type (``"Available"``), a type and a status (``"Ready=False"``), ``"created"``, ``"deleted"``
        or a function of the object. The object need not exist yet; of one that was waited to be gone the
        last known state is returned. ``TimedOutError`` says what still lacks.
        """
        return run(_waits.Wait(self._calls, condition, timeout).one(what, name, namespace))

    def wait_all(
        self,
        what: str,
        condition: Condition,
        *,
        timeout: Span = "30s",
        namespace: str | None = None,
        selector: Selector | None = None,
        fields: Selector | None = None,
    ) -> ObjectList:
        """Waits until a condition holds for every selected object, and for one at least."""
        return run(_waits.Wait(self._calls, condition, timeout).all(what, namespace, selector, fields))

    def events(
        self, what: What | None = None, name: str | None = None, *, namespace: str | None = None
    ) -> ObjectList:
        """Events, the oldest first: of an object, or of a namespace."""
        return run(_pods.events(self._calls, what, name, namespace))

    def explain(self, what: What, name: str | None = None, *, namespace: str | None = None) -> Explanation:
        """Why a pod is where it is or nowhere, or why something else is not as it should be."""
        return run(_pods.explain(self._calls, what, name, namespace))

    # Pods.

    def request(
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
        """Asks a port of a pod by HTTP, or of a pod of a workload or Service (by the Service's port)."""
        return run(_pods.request(self._calls, what, port, path, method, body, headers, name, namespace))

    @overload
    def logs(
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
    def logs(
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
    def logs(
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
        """The log of a pod, or of a pod of a workload: as text, or with ``follow`` as lines while they come."""
        one = run(_pods.pod(self._calls, what, name, namespace))
        chunks = run(
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
        return LogLines(chunks) if follow else run(_pods.text(chunks))

    def exec(
        self,
        what: What,
        command: str | Sequence[str],
        *,
        name: str | None = None,
        namespace: str | None = None,
        container: str | None = None,
        stdin: str | bytes | None = None,
    ) -> ExecResult:
        """Runs a command in a pod, or in a pod of a workload. A string is a line for the container's shell."""
        one = run(_pods.pod(self._calls, what, name, namespace))
        return run(_pods.execute(self._calls, one, command, container, stdin))


class Watch(Iterator[Event]):
    """The events of a watch. Leaving its ``with`` block, or the end of the iteration, ends it."""

    def __init__(self, calls: Calls, follow: Follow, timeout: Span | None) -> None:
        self._follow = follow
        self._uptime: Callable[[], float] = calls.api.uptime
        self._deadline = None if timeout is None else self._uptime() + seconds(timeout)

    def __next__(self) -> Event:
        left = None if self._deadline is None else max(self._deadline - self._uptime(), 0.0)
        try:
            event = run(self._follow.next(left))
        except TimedOutError:
            if self._deadline is None or self._uptime() < self._deadline:
                raise
            event = None
        if event is None:
            self.close()
            raise StopIteration
        return event

    def close(self) -> None:
        """Ends the watch."""
        self._follow.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LogLines(Iterator[str]):
    """The lines of a log, while they come."""

    def __init__(self, chunks: _native.Chunks) -> None:
        self._chunks = chunks
        self._lines = Lines()

    def __next__(self) -> str:
        while (line := self._lines.pop()) is None:
            if not self._lines.feed(self._chunks.next().wait()):
                raise StopIteration
        return line

    def close(self) -> None:
        """Ends the stream."""
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Lines:
    """Lines out of chunks."""

    def __init__(self) -> None:
        self._text = b""
        self._ended = False

    def feed(self, chunk: bytes | None) -> bool:
        """Takes the next chunk, ``None`` at the end. Whether there may be a line now."""
        if chunk is None:
            rest, self._ended = bool(self._text) and not self._ended, True
            return rest
        self._text += chunk
        return True

    def pop(self) -> str | None:
        """The next whole line, or what is left at the end."""
        line, found, rest = self._text.partition(b"\n")
        if not found and not (self._ended and self._text):
            return None
        self._text = rest
        return line.decode(errors="replace")


Closes = TypeVar("Closes", _native.Cluster, _native.Connection)

_open: weakref.WeakSet[_Owner[Any]] = weakref.WeakSet()


class _Owner(Generic[Closes]):
    """Closes what it owns once: by hand, at the end of a ``with`` block, or when the interpreter ends."""

    def __init__(self, native: Closes) -> None:
        self._held: Closes = native
        _open.add(self)

    def close(self) -> None:
        """Ends it. Calls that are under way in other threads raise ``ClosedError``; so do all later ones."""
        self._held.close()
        _open.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@atexit.register
def _close_all() -> None:
    for owner in list(_open):
        owner.close()


class Cluster(_Owner[_native.Cluster], Extensible, Reachable, Client):
    """A whole cluster inside this process: API, controllers, scheduler and simulated nodes.

    It can be used when the constructor returns. Use it as a context manager, or :meth:`close` it.
    """

    def __init__(
        self, nodes: Nodes = 1, *, namespace: str = "default", clock: Clock = "real", seed: int | None = None
    ) -> None:
        """With ``clock="virtual"`` time passes only while somebody waits, and then as fast as the machine can: what
        takes a day takes seconds. All that happens comes from the seed then, which is chosen unless it is given."""
        self._take(_native.launch(list(specs(nodes)), seed_of(seed, clock)).wait(), namespace)

    def _take(self, launched: _native.Cluster, namespace: str) -> None:
        _Owner.__init__(self, launched)
        Client.__init__(self, launched.api(agent()), namespace, launched)

    @property
    def _native_cluster(self) -> _native.Cluster:
        return self._held

    @property
    def seed(self) -> int | None:
        """The seed of a cluster in virtual time."""
        return self._held.seed()

    def run_for(self, span: Span) -> None:
        """Lets so much virtual time pass: ``c.run_for("24h")``. ``NotSupportedError`` with a real clock."""
        self._held.run_for(seconds(span)).wait()

    def fork(self, *, seed: int | None = None) -> Cluster:
        """Another cluster, which goes on from this moment by itself: close it too.

        State is shared until it changes, so it costs the same for any. Simulated pods go on where they are; functions
        begin anew, as after a crash of their containers. In virtual time, forks of one moment have the same history
        as long as the same is done to them, unless they are given seeds of their own.
        """
        fork = Cluster.__new__(Cluster)
        fork._take(self._held.fork(seed_of(seed, "virtual") if seed is not None else None).wait(), self.namespace)
        return fork

    def diff(self, other: Cluster) -> Differences:
        """The objects in which this cluster and another differ: what forks became, for instance.

        Events, leases, resource versions and managed fields are no difference.
        """
        return _worlds.diff(self._held, other._held)

    def fingerprint(self) -> str:
        """A hash of the state, and in virtual time of everything that ran so far: equal histories have equal ones."""
        return self._held.fingerprint()

    def explain(self, what: What, name: str | None = None, *, namespace: str | None = None) -> Explanation:
        """Why a pod is where it is or nowhere, or why something else is not as it should be.

        For a pod that has no node, ``turn`` tells each node's first refusal by plugin.
        """
        found = super().explain(what, name, namespace=namespace)
        return found._replace(turn=_pods.turn(self._held.explanation(found.object.uid)))

    def add_node(self, node: str | SimulatedNode) -> None:
        """Adds a simulated node, or starts one again that was killed."""
        self._held.add_node(*_nodes.one(node)).wait()

    def kill_node(self, name: str) -> None:
        """Cuts a node's power: it and its pods are gone, and nobody is told."""
        self._held.kill_node(name).wait()

    def kubeconfig(self) -> str:
        """The text of a kubeconfig for other clients. The first call begins to serve the API on the loopback address."""
        text: str = self._held.kubeconfig().wait()
        return text

    def kubernetes_client(self) -> kubernetes.client.ApiClient:
        """The official ``kubernetes`` package's ``ApiClient`` for this cluster, without a socket::

            core = kubernetes.client.CoreV1Api(c.kubernetes_client())

        It does what it does anywhere, in virtual time too; exec, attach and port-forward need the real clock.
        """
        from ._clients import kubernetes_client

        return kubernetes_client(self._native_cluster)

    def lightkube_client(self, **options: Any) -> lightkube.Client:
        """A ``lightkube.Client`` for this cluster, without a socket. Options are those of its class."""
        from ._clients import lightkube_client

        options.setdefault("namespace", self.namespace)
        return lightkube_client(self._native_cluster, "Client", options)  # type: ignore[no-any-return]

    def kr8s_api(self) -> kr8s.Api:
        """A ``kr8s.Api`` for this cluster, without a socket; hand it to kr8s as ``api=``."""
        from ._clients import kr8s_api

        return kr8s_api(self._native_cluster, self.namespace)

    def __repr__(self) -> str:
        return f"<windlass.Cluster at {id(self):#x}>"


class Connection(_Owner[_native.Connection], Client):
    """A cluster that is reached over HTTPS. Made by :func:`connect`."""

    def __init__(self, native: _native.Connection, api: _native.Api, server: str, namespace: str) -> None:
        _Owner.__init__(self, native)
        Client.__init__(self, api, namespace, native)
        self.server = server
        """The server's URL."""

    def __repr__(self) -> str:
        return f"<windlass.Connection to {self.server}>"


def connect(
    kubeconfig: str | os.PathLike[str] | None = None, *, context: str = "", namespace: str | None = None
) -> Connection:
    """The same interface over any Kubernetes cluster, as a kubeconfig file says.

    Without a file, the first one of ``$KUBECONFIG`` or ``~/.kube/config``. Nothing is sent before the first call.
    """
    api, server, usual, native = _native.connect(path_of(kubeconfig), context, agent())
    return Connection(native, api, server, namespace or usual)


def path_of(kubeconfig: str | os.PathLike[str] | None) -> str:
    """The kubeconfig file that is meant."""
    if kubeconfig is not None:
        return os.path.expanduser(kubeconfig)
    named = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    return named[0] if named else os.path.expanduser("~/.kube/config")


def agent() -> str:
    """How requests name this client."""
    return f"{MANAGER}/{_native.version()}"
