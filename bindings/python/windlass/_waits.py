"""Waiting for what a cluster will come to, and asking why it has not: steps over lists and watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Union

from . import _native
from ._calls import Calls, Selector, What, selected, uid_of
from ._names import Place, Resource, Steps
from ._spans import Span, seconds, shown
from .errors import CompactedError, InvalidError, NotFoundError, TimedOutError, UnavailableError
from .objects import Event, Node, Object, ObjectList, decode, decode_list

Condition = Union[str, Callable[[Object], bool]]
"""``"Available"``, ``"Ready=False"``, ``"deleted"``, ``"created"``, or a function that says whether it holds."""


class Follow:
    """A watch that goes on where the server ended it. It is gapless, or raises ``CompactedError``."""

    def __init__(self, calls: Calls, resource: Resource, namespace: str, options: dict[str, Any]) -> None:
        self._calls = calls
        self._resource = resource
        self._namespace = namespace
        self._options = {**options, "bookmarks": True}
        self._events: _native.Events | None = None
        self._closed = False

    def next(self, within: float | None = None) -> Steps[Event | None]:
        """The next event; ``None`` after the close. ``TimedOutError`` where it does not come in time."""
        uptime = self._calls.api.uptime
        deadline = None if within is None else uptime() + within
        while not self._closed:
            events = self._events
            if events is None:
                events = yield self._calls.api.watch(self._resource.key, self._namespace, self._options)
                self._events = events
                if self._closed:
                    events.close()
                    break
            op = events.next()
            left = None if deadline is None else max(deadline - uptime(), 0.0)
            came = yield op if left is None else op.within(left)
            if came is None:
                self._events = None
                continue
            type, json = came
            tree = decode(json)
            self._options["resource_version"] = tree.resource_version
            if type != "BOOKMARK":
                return Event(type, tree)
        return None

    def close(self) -> None:
        """Ends the watch."""
        self._closed = True
        if self._events is not None:
            self._events.close()
            self._events = None


def follow(
    calls: Calls,
    what: str,
    namespace: str | None,
    selector: Selector | None,
    fields: Selector | None,
    resource_version: str,
) -> Steps[Follow]:
    """A watch of a part of a collection. Without a resource version it begins with what there is."""
    resource = yield from calls.names.called(what)
    options = {**selected(selector, fields), "resource_version": resource_version}
    return Follow(calls, resource, calls.space(resource, namespace), options)


# The first look may take so many seconds, however short the wait: only what was seen can be told of.
_LOOK = 5.0


class Wait:
    """One wait: for one object, or for all that a selector matches."""

    def __init__(self, calls: Calls, condition: Condition, timeout: Span) -> None:
        self._calls = calls
        self._condition = condition
        self._span = seconds(timeout)
        self._deadline = calls.api.uptime() + self._span

    def one(self, what: What, name: str | None, namespace: str | None) -> Steps[Object]:
        """Waits for one object and returns its state then, or the last that was known where it is gone."""
        place = yield from self._calls.place(what, name, namespace)
        uid = uid_of(what)
        options = {"field_selector": f"metadata.name={place.name}"}
        key, last = f"{place.namespace}/{place.name}", identity(place, uid)

        def done(found: dict[str, Object]) -> bool:
            nonlocal last
            tree = found.get(key)
            last = tree or last
            if self._condition == "deleted":
                return tree is None or bool(uid and tree.uid != uid)
            return tree is not None and self._holds(tree)

        found = yield from self._until(place.resource, place.namespace, options, done, str(place))
        return found.get(key, last)

    def all(
        self, what: str, namespace: str | None, selector: Selector | None, fields: Selector | None
    ) -> Steps[ObjectList]:
        """Waits for every object that is selected, and for at least one."""
        resource = yield from self._calls.names.called(what)
        options = selected(selector, fields)

        def done(found: dict[str, Object]) -> bool:
            if self._condition == "deleted":
                return not found
            return bool(found) and all(self._holds(tree) for tree in found.values())

        space = self._calls.space(resource, namespace)
        found = yield from self._until(resource, space, options, done, what)
        return ObjectList(found.values(), now=self._calls.api.now(), everywhere=not space)

    def _until(
        self,
        resource: Resource,
        namespace: str,
        options: dict[str, Any],
        done: Callable[[dict[str, Object]], bool],
        shown_as: str,
    ) -> Steps[dict[str, Object]]:
        found: dict[str, Object] = {}
        patience = _LOOK
        try:
            while True:
                op = self._calls.api.call("list", resource.key, namespace, options=options)
                listed = decode_list((yield op.within(max(self._left(), patience))))
                patience = 0.0
                found = {_key(tree): tree for tree in listed}
                if done(found):
                    return found
                rest = {**options, "resource_version": listed.resource_version}
                watch = Follow(self._calls, resource, namespace, rest)
                try:
                    while (event := (yield from watch.next(self._left()))) is not None:
                        if event.type == "DELETED":
                            found.pop(_key(event.object), None)
                        else:
                            found[_key(event.object)] = event.object
                        if done(found):
                            return found
                except CompactedError:
                    pass
                finally:
                    watch.close()
        except TimedOutError as error:
            if self._calls.api.uptime() < self._deadline:
                raise
            raise self._late(shown_as, found) from error

    def _left(self) -> float:
        return max(self._deadline - self._calls.api.uptime(), 0.0)

    def _holds(self, tree: Object) -> bool:
        if not isinstance(self._condition, str):
            return bool(self._condition(tree))
        if self._condition == "created":
            return True
        type, _, status = self._condition.partition("=")
        condition = next((own for own in tree.at("status.conditions", ()) if own["type"].lower() == type.lower()), None)
        if condition is None or condition["status"].lower() != (status or "True").lower():
            return False
        # What was observed of an older generation says nothing about this one.
        observed = condition.get("observedGeneration", tree.at("status.observedGeneration"))
        return observed is None or observed >= tree.at("metadata.generation", 0)

    def _late(self, shown_as: str, found: dict[str, Object]) -> TimedOutError:
        wanted = self._condition if isinstance(self._condition, str) else "as wanted"
        if self._condition == "deleted":
            left = ", ".join(tree.name for tree in found.values())
            return TimedOutError(f"{shown_as} is still there after {shown(self._span)} ({left})")
        if not found:
            return TimedOutError(f"{shown_as} does not exist after {shown(self._span)}")
        behind = [tree for tree in found.values() if not self._holds(tree)]
        why = "; ".join(verdict(tree) for tree in behind[:3])
        more = f"; and {len(behind) - 3} more" if len(behind) > 3 else ""
        return TimedOutError(f"{shown_as} is not {wanted} after {shown(self._span)}: {why}{more}")


def verdict(tree: Object) -> str:
    """What an object's status says about what is not well, in one line."""
    parts = [
        f"{own['type']}={own['status']}" + "".join(f" ({own[key]})" for key in ("reason", "message") if own.get(key))
        for own in tree.at("status.conditions", ())
        if own["status"] != "True"
    ]
    phase = tree.at("status.phase")
    return f"{tree.name}: " + (", ".join(parts) or (f"its phase is {phase}" if phase else "its status says nothing"))


def deleted(
    calls: Calls, doomed: list[tuple[Place, str | None]], options: Mapping[str, Any], missing_ok: bool, wait: Span | None
) -> Steps[None]:
    """Deletes, and waits until all is gone unless told not to."""
    gone: list[tuple[Place, str | None]] = []
    for place, uid in doomed:
        try:
            if uid is None and wait is not None:
                # A namesake that comes meanwhile is not what was deleted.
                uid = decode((yield calls.at("get", place))).uid
            yield from calls.delete(place, uid, **options)
            gone.append((place, uid))
        except NotFoundError:
            if not missing_ok:
                raise
    if wait is None:
        return
    for place, uid in gone:
        yield from Wait(calls, "deleted", wait).one(identity(place, uid), None, None)


def identity(place: Place, uid: str | None) -> Object:
    """An object of which no more is known than where it is."""
    meta = {"name": place.name, "namespace": place.namespace, "uid": uid}
    known = Node({key: value for key, value in meta.items() if value})
    return Object(apiVersion=place.resource.api_version, kind=place.resource.kind, metadata=known)


def _key(tree: Object) -> str:
    return tree.namespace + "/" + tree.name
