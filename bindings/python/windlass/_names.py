"""Which resource is meant: by the names that people use, or by an object's kind."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeVar

from . import _native
from .errors import ForbiddenError, InvalidError, NotFoundError, NotSupportedError
from .objects import decode_list

T = TypeVar("T")
Steps = Generator[_native.Op, Any, T]
"""A piece of work that yields each call that it needs and is sent its answer, whoever waits for it and however."""

_DEFINITIONS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")


class Resource(NamedTuple):
    """A resource that an API serves."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """As calls name it."""
        return self[:3]

    @property
    def shown(self) -> str:
        """As messages name it."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    @property
    def api_version(self) -> str:
        """As objects name its group and version."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Place(NamedTuple):
    """Where one object is."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.shown}/{self.name}"


class Names:
    """Finds resources: built-in ones at once, custom ones by their definitions."""

    def __init__(self, api: _native.Api) -> None:
        self._api = api
        self._custom: list[tuple[Resource, frozenset[str]]] = []

    def called(self, name: str) -> Steps[Resource]:
        """The resource that is called so: plural, singular, kind or short name, with or without its group."""
        found = _native.called(name)
        if found is not None:
            return Resource(*found)
        bare = name.lower()
        custom = yield from self._find(lambda resource, names: bare in names or resource.kind.lower() == bare)
        if custom is None:
            raise NotFoundError(f"no resource is called {name!r}, neither a built-in nor a custom one")
        return custom

    def built_in(self, tree: Mapping[str, Any]) -> bool:
        """Whether the object's kind is a built-in one."""
        return _native.of_kind(str(tree.get("apiVersion", "")), str(tree.get("kind", ""))) is not None

    def of(self, tree: Mapping[str, Any]) -> Steps[Resource]:
        """The resource whose objects are of this object's kind."""
        api_version, kind = str(tree.get("apiVersion", "")), str(tree.get("kind", ""))
        if not api_version or not kind:
            raise InvalidError("an object states its apiVersion and kind")
        found = _native.of_kind(api_version, kind)
        if found is not None:
            return Resource(*found)
        custom = yield from self._find(
            lambda resource, _: resource.kind == kind and resource.api_version == api_version
        )
        if custom is None:
            raise NotFoundError(f"no kind {kind!r} of {api_version!r} is known, neither built-in nor custom")
        return custom

    def _find(self, means: Any) -> Steps[Resource | None]:
        for resource, names in self._custom:
            if means(resource, names):
                return resource
        # Definitions come and go: a name that is not known yet may be by now.
        self._custom = yield from self._definitions()
        return next((resource for resource, names in self._custom if means(resource, names)), None)

    def _definitions(self) -> Steps[list[tuple[Resource, frozenset[str]]]]:
        try:
            listed = decode_list((yield self._api.call("list", _DEFINITIONS)))
        except (ForbiddenError, NotFoundError, NotSupportedError):
            return []
        known: list[tuple[Resource, frozenset[str]]] = []
        for definition in listed:
            spec = definition["spec"]
            names, group = spec["names"], spec["group"]
            calls = {names["plural"], names.get("singular") or names["kind"].lower(), *names.get("shortNames", ())}
            calls |= {f"{call}.{group}" for call in calls}
            served = [version["name"] for version in spec["versions"] if version.get("served")]
            for version in served:
                singular = names.get("singular") or names["kind"].lower()
                scope = spec["scope"] == "Namespaced"
                resource = Resource(group, version, names["plural"], names["kind"], singular, scope)
                known.append((resource, frozenset(calls)))
        return known
