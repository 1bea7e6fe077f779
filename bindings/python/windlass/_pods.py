"""What can be done with pods, and with whatever has pods: logs, commands, events and explanations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import _native
from ._calls import Calls, What, of_pods
from ._names import Place, Steps
from ._spans import Span, seconds
from ._waits import verdict
from .errors import InvalidError, NotFoundError, WindlassError
from .objects import Object, ObjectList, decode, decode_list

_PODS = ("", "v1", "pods")
_EVENTS = ("", "v1", "events")


class ExecResult(NamedTuple):
    """How a command in a container ended, and what it wrote."""

    exit_code: int
    output: bytes
    """Standard output, as it came."""
    errors: bytes
    """Standard error, as it came."""

    @property
    def stdout(self) -> str:
        """Standard output as text."""
        return self.output.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Standard error as text."""
        return self.errors.decode(errors="replace")


class Response(NamedTuple):
    """What a port of a pod answered."""

    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def request(
    calls: Calls,
    what: What,
    port: int,
    path: str,
    method: str,
    body: str | bytes | None,
    headers: Mapping[str, str],
    name: str | None,
    namespace: str | None,
) -> Steps[Response]:
    """Asks a port of a pod by HTTP: of a Service's, of one of its pods that is ready."""
    place = yield from calls.place(what, name, namespace)
    one = yield from pod(calls, what, name, namespace)
    if place.resource.key == ("", "v1", "services"):
        service = decode((yield calls.at("get", place)))
        port = _target(service, one, port)
    given = body.encode() if isinstance(body, str) else body or b""
    sent = {"host": place.name, "content-length": str(len(given)), **{key.lower(): own for key, own in headers.items()}}
    op = calls.api.request(one.namespace, one.name, port, method, path, list(sent.items()), given)
    status, received, answer = yield op
    return Response(status, dict(received), answer)


def _target(service: Object, one: Object, port: int) -> int:
    """The port of a pod behind a port of its service."""
    own = next((own for own in service.at("spec.ports", ()) if own["port"] == port), None)
    if own is None:
        raise NotFoundError(f"service/{service.name} has no port {port}")
    target = own.get("targetPort", port)
    if isinstance(target, int):
        return target
    named = (own for container in one.at("spec.containers", ()) for own in container.get("ports", ()))
    for own in named:
        if own.get("name") == target:
            return int(own["containerPort"])
    raise NotFoundError(f"pod/{one.name} has no port that is called {target!r}")


class Refusal(NamedTuple):
    """Why one node was refused for a pod."""

    node: str
    plugin: str
    """The first filter that refused it."""
    reasons: tuple[str, ...]
    curable: bool
    """Whether the pod could go there if other pods left."""


class Turn(NamedTuple):
    """What the scheduler found at a pod's last turn, where that gave it no node."""

    nodes: int
    """How many nodes there were."""
    overall: tuple[str, str] | None
    """What was said before any node was looked at, and by which plugin (plugin, reason)."""
    refusals: tuple[Refusal, ...]
    """One for each node that was looked at."""
    absent: tuple[str, str] | None
    """What was said of the nodes that were not looked at."""
    room: str | None
    """What was said about making room."""

    @property
    def by_plugin(self) -> dict[str, list[Refusal]]:
        """The refusals by who refused."""
        found: dict[str, list[Refusal]] = {}
        for one in self.refusals:
            found.setdefault(one.plugin, []).append(one)
        return found


def turn(told: Any) -> Turn | None:
    """A turn as ``windlass._native`` tells it."""
    if told is None:
        return None
    nodes, overall, refusals, absent, room = told
    each = (Refusal(node, plugin, tuple(reasons), curable) for node, plugin, reasons, curable in refusals)
    return Turn(nodes, overall, tuple(each), absent, room)


class Explanation(NamedTuple):
    """Why an object is as it is."""

    object: Object
    verdict: str
    """The answer in one line."""
    details: tuple[str, ...] = ()
    """What the object's conditions, its pods and its events say, line by line."""
    turn: Turn | None = None
    """For a pod without a node, in a cluster of this process: what the scheduler found, node by node."""

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"  {line}" for line in self.details)])


def pod(calls: Calls, what: What, name: str | None, namespace: str | None) -> Steps[Object]:
    """The pod itself, or a pod of a workload: a ready one where there is one, the oldest of them."""
    place = yield from calls.place(what, name, namespace)
    tree = decode((yield calls.at("get", place)))
    if place.resource.key == _PODS:
        return tree
    pods = yield from pods_of(calls, place, tree)
    if not pods:
        raise NotFoundError(f"{place} has no pods")

    def rank(one: Object) -> tuple[bool, bool, str, str]:
        ready = one.condition("Ready")
        running = one.at("status.phase") == "Running"
        return (ready is None or ready["status"] != "True", not running, one.metadata.creationTimestamp, one.name)

    return min(pods, key=rank)


def pods_of(calls: Calls, place: Place, tree: Object) -> Steps[ObjectList]:
    """The pods that an object selects."""
    selector = of_pods(tree)
    if not selector:
        raise InvalidError(f"{place} has no pods of its own: name a pod or a workload")
    listed = yield calls.api.call("list", _PODS, place.namespace, options={"label_selector": selector})
    return decode_list(listed, calls.api.now())


def logs(
    calls: Calls,
    one: Object,
    *,
    container: str | None,
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail: int | None,
    since: Span | None,
) -> Steps[_native.Chunks]:
    """The log of a container of a pod, in chunks."""
    query = {
        "container": container,
        "follow": "true" if follow else None,
        "previous": "true" if previous else None,
        "timestamps": "true" if timestamps else None,
        "tailLines": None if tail is None else str(tail),
        "sinceSeconds": None if since is None else str(max(int(seconds(since)), 1)),
    }
    options = {"query": [(key, value) for key, value in query.items() if value is not None]}
    chunks: _native.Chunks = yield calls.api.call("get", _PODS, one.namespace, one.name, "log", options)
    return chunks


def text(chunks: _native.Chunks) -> Steps[str]:
    """Everything that comes, as text."""
    parts: list[bytes] = []
    while (chunk := (yield chunks.next())) is not None:
        parts.append(chunk)
    return b"".join(parts).decode(errors="replace")


def execute(
    calls: Calls, one: Object, command: str | Sequence[str], container: str | None, stdin: str | bytes | None
) -> Steps[ExecResult]:
    """Runs a command in a container of a pod. A string is a line for the container's shell."""
    words = ["sh", "-c", command] if isinstance(command, str) else list(command)
    query = [("command", word) for word in words] + [("stdout", "true"), ("stderr", "true")]
    if container:
        query.append(("container", container))
    fed = stdin.encode() if isinstance(stdin, str) else stdin
    if fed is not None:
        query.append(("stdin", "true"))
    output, errors, code = yield calls.api.exec(one.namespace, one.name, query, fed)
    return ExecResult(code, output, errors)


def events(calls: Calls, what: What | None, name: str | None, namespace: str | None) -> Steps[ObjectList]:
    """Events, the oldest first: of one object, or of a namespace."""
    options = {}
    space = "" if namespace == "*" else namespace or calls.namespace
    if what is not None:
        place = yield from calls.place(what, name, namespace)
        # Events about what has no namespace are in `default`.
        space = place.namespace or "default"
        selector = f"involvedObject.name={place.name},involvedObject.kind={place.resource.kind}"
        options["field_selector"] = selector
    listed = decode_list((yield calls.api.call("list", _EVENTS, space, options=options)), calls.api.now())
    ordered = sorted(listed, key=_when)
    return ObjectList(
        ordered, now=calls.api.now(), resource_version=listed.resource_version, everywhere=not space
    )


def explain(calls: Calls, what: What, name: str | None, namespace: str | None) -> Steps[Explanation]:
    """Why a pod is where it is or nowhere, or why something else is not as it should be."""
    place = yield from calls.place(what, name, namespace)
    tree = decode((yield calls.at("get", place)))
    told = yield from events(calls, tree, None, None)
    lines = [_told(event) for event in told]
    if place.resource.key == _PODS:
        return Explanation(tree, _of_pod(tree), tuple(lines))
    try:
        pods = yield from pods_of(calls, place, tree)
    except WindlassError:
        pods = ObjectList([])
    behind = [one for one in pods if (ready := one.condition("Ready")) is None or ready["status"] != "True"]
    lines = [_of_pod(one) for one in behind] + lines
    return Explanation(tree, verdict(tree), tuple(lines))


def _of_pod(tree: Object) -> str:
    scheduled = tree.condition("PodScheduled")
    node = tree.at("spec.nodeName")
    if node:
        state = verdict(tree).partition(": ")[2]
        ready = tree.condition("Ready")
        well = ready is not None and ready["status"] == "True"
        return f"pod {tree.name} is on node {node}" + (" and ready" if well else f": {state}")
    if scheduled is None:
        return f"pod {tree.name} has not been looked at by a scheduler yet"
    return f"pod {tree.name} is on no node: {scheduled.get('message') or scheduled.get('reason', 'no reason was given')}"


def _told(event: Object) -> str:
    times = event.get("count") or event.at("series.count") or 1
    often = f" (x{times})" if times > 1 else ""
    return f"{event.get('type', 'Normal')} {event.get('reason', '')}{often}: {event.get('message') or event.get('note', '')}"


def _when(event: Object) -> tuple[str, int]:
    when = event.get("lastTimestamp") or event.get("eventTime") or event.at("metadata.creationTimestamp", "")
    return str(when), int(event.resource_version or 0)
