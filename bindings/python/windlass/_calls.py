"""What can be asked of a cluster, once: as steps that the blocking and the async interface both walk through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from . import _native, manifests
from ._names import Names, Place, Resource, Steps
from .errors import InvalidError, WindlassError
from .manifests import Manifest, Source
from .objects import Node, Object, ObjectList, decode, decode_list, encode

What = Union[str, Mapping[str, Any]]
"""An object: as ``"pod/web"``, or as something that was read before."""

ALL = "*"
"""All namespaces."""

_AT_ONCE = 16


class Calls:
    """Calls on one API, in one namespace where none is named."""

    def __init__(self, api: _native.Api, namespace: str, manager: str, owner: object) -> None:
        # Whoever can still call keeps alive what answers.
        self.owner = owner
        self.api = api
        self.names = Names(api)
        self.namespace = namespace
        self.manager = manager

    # Where things are.

    def place(self, what: What, name: str | None, namespace: str | None) -> Steps[Place]:
        """The place of one object."""
        if isinstance(what, Mapping):
            resource = yield from self.names.of(what)
            meta = what.get("metadata", {})
            named, own = meta.get("name", ""), namespace or meta.get("namespace")
        else:
            kind, slash, rest = what.partition("/")
            if bool(slash) == (name is not None):
                raise InvalidError(f"name one object, as in 'pod/web', instead of {what!r}; list() reads several")
            resource = yield from self.names.called(kind)
            named, own = name or rest, namespace
        if not named:
            raise InvalidError(f"name one object, as in '{resource.singular}/web'")
        return Place(resource, self.space(resource, own), named)

    def space(self, resource: Resource, namespace: str | None) -> str:
        """The namespace of a call; empty for all, and where the resource has none."""
        if not resource.namespaced or namespace == ALL:
            return ""
        return namespace or self.namespace

    # Reading.

    def get(self, what: What, name: str | None, namespace: str | None) -> Steps[Object]:
        place = yield from self.place(what, name, namespace)
        return decode((yield self.at("get", place)))

    def listed(
        self,
        what: str,
        namespace: str | None,
        selector: Selector | None,
        fields: Selector | None,
        limit: int,
        continue_token: str,
    ) -> Steps[ObjectList]:
        resource = yield from self.names.called(what)
        options = {**selected(selector, fields), "limit": limit, "continue_token": continue_token}
        space = self.space(resource, namespace)
        listed = yield self.api.call("list", resource.key, space, options=options)
        return decode_list(listed, self.api.now(), everywhere=not space)

    # Writing.

    def create(self, source: Source, namespace: str | None, dry_run: bool) -> Steps[ObjectList]:
        def create(one: Manifest, resource: Resource, space: str) -> _native.Op:
            options = {"dry_run": dry_run, "field_manager": self.manager}
            return self.api.call("create", resource.key, space, options=options, body=encode(one.object))

        return (yield from self._each(manifests.load(source), namespace, create, "created"))

    def apply(
        self, source: Source, namespace: str | None, force: bool, dry_run: bool, manager: str | None
    ) -> Steps[ObjectList]:
        options = {"dry_run": dry_run, "force": force, "field_manager": manager or self.manager}

        def apply(one: Manifest, resource: Resource, space: str) -> _native.Op:
            if not one.object.name:
                message = "an object that is applied has a metadata.name; create() knows generateName"
                raise InvalidError(message)
            # Whose fields these are is what the call itself says.
            one.object["metadata"].pop("managedFields", None)
            return self.api.call(
                "apply", resource.key, space, one.object.name, options=options, body=encode(one.object)
            )

        return (yield from self._each(manifests.load(source), namespace, apply, "applied"))

    def replace(self, tree: Mapping[str, Any], subresource: str, dry_run: bool) -> Steps[Object]:
        place = yield from self.place(tree, None, None)
        options = {"dry_run": dry_run, "field_manager": self.manager}
        return decode((yield self.at("update", place, subresource, options, encode(tree))))

    def patch(
        self,
        what: What,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        type: str | None,
        name: str | None,
        namespace: str | None,
        subresource: str,
        dry_run: bool,
    ) -> Steps[Object]:
        place = yield from self.place(what, name, namespace)
        if type is None:
            built_in = _native.of_kind(place.resource.api_version, place.resource.kind) is not None
            type = ("strategic" if built_in else "merge") if isinstance(patch, Mapping) else "json"
        if type not in ("strategic", "merge", "json"):
            raise InvalidError(f"{type!r} is no type of patch: use 'strategic', 'merge' or 'json'")
        options = {"dry_run": dry_run, "field_manager": self.manager}
        return decode((yield self.at(type, place, subresource, options, encode(patch))))

    def scale(self, what: What, replicas: int, name: str | None, namespace: str | None) -> Steps[int]:
        place = yield from self.place(what, name, namespace)
        body = encode({"spec": {"replicas": replicas}})
        scale = decode((yield self.at("merge", place, "scale", {"field_manager": self.manager}, body)))
        return int(scale.at("spec.replicas", 0))

    # Deleting.

    def doomed(
        self, what: What | Sequence[Mapping[str, Any]], name: str | None, namespace: str | None
    ) -> Steps[list[tuple[Place, str | None]]]:
        """The places of what is to be deleted, each with the uid that it must have, where one is known."""
        if isinstance(what, (str, Mapping)):
            place = yield from self.place(what, name, namespace)
            return [(place, uid_of(what))]
        places: list[tuple[Place, str | None]] = []
        # What came last leans on what came first, not the other way round.
        for tree in reversed([one.object for one in manifests.load(what)]):
            places.append(((yield from self.place(tree, None, namespace)), uid_of(tree)))
        return places

    def delete(self, place: Place, uid: str | None, grace_period: int | None, propagation: str) -> Steps[Any]:
        options: dict[str, Any] = {"propagation": propagation}
        if grace_period is not None:
            options["grace_period"] = grace_period
        if uid:
            options["uid"] = uid
        return (yield self.at("delete", place, options=options))

    def delete_all(
        self, what: str, namespace: str | None, selector: Selector | None, fields: Selector | None, propagation: str
    ) -> Steps[None]:
        resource = yield from self.names.called(what)
        options = {**selected(selector, fields), "propagation": propagation}
        yield self.api.call("deletecollection", resource.key, self.space(resource, namespace), options=options)

    # Beneath.

    def at(
        self,
        verb: str,
        place: Place,
        subresource: str = "",
        options: dict[str, Any] | None = None,
        body: bytes | None = None,
    ) -> _native.Op:
        """A call on one object."""
        return self.api.call(verb, place.resource.key, place.namespace, place.name, subresource, options, body)

    def _each(self, found: list[Manifest], namespace: str | None, call: Any, done: str) -> Steps[ObjectList]:
        """Makes a call for each object: neighbours of one kind together, kinds one after the other.

        One object that is refused does not keep the others.
        """
        answers: list[Object] = []
        failures: list[WindlassError] = []
        run: list[tuple[str, _native.Op]] = []
        last: Resource | None = None
        for one in found:
            try:
                if run and not self.names.built_in(one.object):
                    # Its definition may be among those that wait.
                    yield from self._together(run, answers, failures)
                resource = yield from self.names.of(one.object)
                op = call(one, resource, self._own_space(one, resource, namespace))
            except WindlassError as error:
                error.place = error.place or one.place
                failures.append(error)
                continue
            if resource != last:
                yield from self._together(run, answers, failures)
            last = resource
            run.append((one.place, op))
        yield from self._together(run, answers, failures)
        if failures:
            raise _summary(failures, len(found), done)
        return ObjectList(answers, now=self.api.now())

    def _own_space(self, one: Manifest, resource: Resource, namespace: str | None) -> str:
        meta = one.object.get("metadata") or {}
        if not isinstance(meta, Mapping):
            raise InvalidError("metadata is no mapping")
        meta = one.object["metadata"] = Node(meta)
        if not resource.namespaced:
            return ""
        own = meta.get("namespace")
        if own and namespace and own != namespace:
            raise InvalidError(f"the object is in namespace {own!r}, not in {namespace!r}")
        meta["namespace"] = own or namespace or self.namespace
        return str(meta["namespace"])

    def _together(
        self, run: list[tuple[str, _native.Op]], answers: list[Object], failures: list[WindlassError]
    ) -> Steps[None]:
        """Makes the calls that were collected, several at a time, and empties their list."""
        if not run:
            return
        outcome: list[Any] = yield _native.gather([op for _, op in run], _AT_ONCE)
        for (place, _), answer in zip(run, outcome):
            if isinstance(answer, WindlassError):
                answer.place = answer.place or place
                failures.append(answer)
            else:
                answers.append(decode(answer))
        run.clear()


Selector = Union[str, Mapping[str, str]]
"""``"app=web,tier!=db"``, or the labels that objects must have."""


def selected(selector: Selector | None, fields: Selector | None) -> dict[str, Any]:
    """The options that select."""
    return {"label_selector": _selector(selector), "field_selector": _selector(fields)}


def _selector(selector: Selector | None) -> str:
    if isinstance(selector, Mapping):
        return ",".join(f"{key}={value}" for key, value in selector.items())
    return selector or ""


def of_pods(tree: Object) -> str:
    """The selector of an object's pods; empty where it has none."""
    selector = tree.at("spec.selector")
    if not isinstance(selector, Mapping):
        return ""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return _selector(selector)
    parts = [_selector(selector.get("matchLabels"))]
    for one in selector.get("matchExpressions", ()):
        key, values = one["key"], ",".join(one.get("values", ()))
        written = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(written.get(one["operator"], f"!{key}"))
    return ",".join(part for part in parts if part)


def uid_of(what: What) -> str | None:
    """The uid that an object was read with."""
    return None if isinstance(what, str) else what.get("metadata", {}).get("uid")


def _summary(failures: list[WindlassError], total: int, done: str) -> WindlassError:
    first = failures[0]
    if total > 1:
        first.failures = tuple(failures)
        first.message = f"{first.message} ({len(failures)} of {total} objects were not {done})"
    return first

