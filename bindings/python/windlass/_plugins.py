"""Controllers, filters, scores and admissions that are functions: what they are handed, and what they may answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, Union

from . import _native
from ._functions import is_plain, name_of, walk
from ._names import Names, Resource, Steps
from ._spans import seconds
from .errors import ForbiddenError, InvalidError, NotFoundError
from .objects import Object, decode, encode

__all__ = ["Admitted", "Key", "NodeView", "PodView"]

_log = logging.getLogger("windlass")

OPERATIONS = ("create", "update", "delete")


class Key(NamedTuple):
    """Which object a controller looks at."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class PodView(NamedTuple):
    """What the scheduler sees of a pod."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    priority: int
    requests: Mapping[str, float]
    """By resource: cores of ``cpu``, bytes of ``memory``, pieces of others."""
    node_selector: Mapping[str, str]
    images: list[str]


class NodeView(NamedTuple):
    """What the scheduler sees of a node, with the pods that are there or on their way. It may be a copy that is not."""

    name: str
    labels: Mapping[str, str]
    taints: list[tuple[str, str, str]]
    unschedulable: bool
    allocatable: Mapping[str, float]
    used: Mapping[str, float]
    max_pods: int
    pods: list[PodView]

    def free(self, resource: str) -> float:
        """How much of a resource no pod has asked for."""
        return self.allocatable.get(resource, 0.0) - self.used.get(resource, 0.0)


class Admitted(NamedTuple):
    """A write that an admission looks at."""

    object: Object | None
    """As it will be stored; ``None`` for a deletion."""
    old: Object | None
    """As it is stored now; ``None`` for a creation."""
    operation: str
    """``create``, ``update`` or ``delete``."""
    user: str
    groups: list[str]
    dry_run: bool


def views(pod: tuple[Any, ...], node: tuple[Any, ...]) -> tuple[PodView, NodeView]:
    """Pod and node as functions see them."""
    own = NodeView(*node)
    return PodView(*pod), own._replace(pods=[PodView(*one) for one in own.pods])


def filtering(name: str, function: Callable[[PodView, NodeView], Any]) -> Callable[..., str | None]:
    """A filter as the scheduler calls it: why the node is refused, if it is."""

    def call(pod: tuple[Any, ...], node: tuple[Any, ...]) -> str | None:
        said = function(*views(pod, node))
        if said is None or said is True:
            return None
        if said is False:
            return f"node(s) didn't satisfy plugin(s) [{name}]"
        if isinstance(said, str):
            return said
        raise TypeError(f"a filter answers True, False or why not, not {said!r}")

    return call


def scoring(name: str, function: Callable[[PodView, NodeView], float]) -> Callable[..., int]:
    """A score as the scheduler calls it."""

    def call(pod: tuple[Any, ...], node: tuple[Any, ...]) -> int:
        said = function(*views(pod, node))
        if isinstance(said, bool) or not isinstance(said, (int, float)):
            raise TypeError(f"a score is a number from 0 to 100, not {said!r}")
        return round(said)

    return call


def admitting(function: Callable[[Admitted], Any], mutates: bool) -> Callable[..., tuple[bytes | None, str | None]]:
    """An admission as the server calls it: the changed object, and why the write is denied."""

    def call(
        new: bytes | None, old: bytes | None, operation: str, user: tuple[str, list[str]], dry_run: bool
    ) -> tuple[bytes | None, str | None]:
        tree, before = (None if one is None else decode(one) for one in (new, old))
        try:
            said = function(Admitted(tree, before, operation, *user, dry_run))
        except (ForbiddenError, InvalidError) as error:
            return None, error.message
        except (ValueError, PermissionError) as error:
            return None, str(error)
        if said is False:
            return None, "it is not allowed"
        if isinstance(said, str):
            return None, said
        if not mutates or tree is None:
            return None, None
        return encode(said if isinstance(said, Mapping) else tree), None

    return call


def operations_of(operations: Iterable[str]) -> list[str]:
    """The operations that an admission looks at."""
    found = [operations] if isinstance(operations, str) else list(operations)
    for one in found:
        if one not in OPERATIONS:
            raise ValueError(f"{one!r} is no operation: there are {', '.join(OPERATIONS)}")
    return found


What = Union[str, Iterable[str]]


def resources(names: Names, what: What) -> Steps[list[Resource]]:
    """The resources that are meant."""
    found: list[Resource] = []
    for one in [what] if isinstance(what, str) else what:
        try:
            found.append((yield from names.called(one)))
        except NotFoundError:
            # A custom one whose definition comes later: plural.version.group, as in widgets.v1.example.com.
            plural, _, rest = one.partition(".")
            version, _, group = rest.partition(".")
            if not group or not version.startswith("v"):
                raise
            found.append(Resource(group, version, plural, "", plural, True))
    return found


def of_admission(names: Names, what: str) -> Steps[tuple[str, str]]:
    """Group and plural of what an admission looks at."""
    if what == "*":
        return "*", "*"
    found = yield from resources(names, what)
    return found[0].group, found[0].plural


class Reconciler:
    """A controller's function as the kernel's queue calls it."""

    def __init__(self, function: Callable[..., Any], client: Callable[[_native.Api], Any]) -> None:
        self.name = name_of(function)
        self.plain = is_plain(function)
        self._function = function
        self._client = client
        self.run: Callable[..., Any] = self._call if self.plain else self._walk

    def _call(self, api: _native.Api, namespace: str, name: str) -> float | None:
        try:
            return self._again(self._function(self._client(api), Key(namespace, name)))
        except Exception as error:
            self._tell(error, namespace, name)
            raise

    def _walk(self, api: _native.Api, namespace: str, name: str) -> Generator[_native.Op, Any, float | None]:
        try:
            body = self._function(self._client(api), Key(namespace, name))
            return self._again((yield from walk(body, api.sleep)))
        except Exception as error:
            self._tell(error, namespace, name)
            raise

    def _again(self, said: Any) -> float | None:
        return None if said is None else seconds(said)

    def _tell(self, error: Exception, namespace: str, name: str) -> None:
        _log.warning("controller %s failed for %s, trying again", self.name, Key(namespace, name), exc_info=error)
