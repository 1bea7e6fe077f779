"""Kubernetes objects as Python reads them: dicts whose fields are attributes too."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import keyword
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex, overload

from . import _native, _show

__all__ = ["Event", "Node", "Object", "ObjectList"]

# So many bytes make a list large.
_LARGE = 256 * 1024


class Node(dict[str, Any]):
    """A part of an object: a dict whose fields are attributes too.

    Fields have their own names (``creationTimestamp``) or Python's (``creation_timestamp``). A name that a method or
    a keyword of Python has is written with a ``_`` behind it: ``from_``, ``items_``.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        field = self._field(name)
        if field is None:
            raise AttributeError(self._missing(name), name=name, obj=self)
        value = self[field]
        # What was put in as a plain dict or list becomes one that reads like the rest.
        if type(value) is dict or (type(value) is list and any(type(item) is dict for item in value)):
            value = self[field] = tree_of(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") or isinstance(getattr(type(self), name, None), property):
            raise AttributeError(f"{name!r} is no field: fields of the metadata are set there", name=name, obj=self)
        self[self._field(name) or _camel(name)] = tree_of(value, name)

    def __delattr__(self, name: str) -> None:
        field = self._field(name)
        if field is None:
            raise AttributeError(self._missing(name), name=name, obj=self)
        del self[field]

    def __dir__(self) -> list[str]:
        taken = dir(dict)
        safe = [f"{key}_" if key in taken or keyword.iskeyword(key) else key for key in self if key.isidentifier()]
        return [*super().__dir__(), *safe]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return type(self)({key: copy.deepcopy(value, memo) for key, value in self.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (dict(self),))

    def at(self, path: str, default: Any = None) -> Any:
        """The field at a path such as ``status.conditions[0].type``; ``default`` where it is absent."""
        found: Any = self
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            try:
                found = found[int(index)] if index else found[name]
            except (KeyError, IndexError, TypeError):
                return default
        return found

    def to_dict(self) -> dict[str, Any]:
        """A copy made of plain dicts and lists."""
        plain: dict[str, Any] = json.loads(encode(self))
        return plain

    def json(self, *, indent: int | None = None) -> str:
        """The JSON text."""
        return json.dumps(self, ensure_ascii=False, indent=indent)

    def yaml(self) -> str:
        """The YAML text."""
        return _native.to_yaml(encode(self))

    def _field(self, name: str) -> str | None:
        """The field that an attribute means, where there is one."""
        if name in self:
            return name
        bare = name[:-1] if name.endswith("_") else name
        if bare in self:
            return bare
        # Kubernetes writes some abbreviations in capitals (podIP) and others not (nodeName).
        flat = bare.replace("_", "").lower()
        return next((key for key in self if key.lower() == flat), None) if flat != bare else None

    def _missing(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name, self, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"there is no field {name!r}{hint} (optional fields: obj.get({name!r}) or obj.at('a.b'))"


class Object(Node):
    """One Kubernetes object."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return str(self.at("metadata.name", ""))

    @property
    def namespace(self) -> str:
        """``metadata.namespace``; empty where it is in none."""
        return str(self.at("metadata.namespace", ""))

    @property
    def uid(self) -> str:
        """``metadata.uid``."""
        return str(self.at("metadata.uid", ""))

    @property
    def labels(self) -> Mapping[str, str]:
        """``metadata.labels``."""
        labels: Mapping[str, str] = self.at("metadata.labels", {})
        return labels

    @property
    def annotations(self) -> Mapping[str, str]:
        """``metadata.annotations``."""
        annotations: Mapping[str, str] = self.at("metadata.annotations", {})
        return annotations

    @property
    def resource_version(self) -> str:
        """``metadata.resourceVersion``."""
        return str(self.at("metadata.resourceVersion", ""))

    def condition(self, type: str) -> Node | None:
        """The condition of that type of the object's status."""
        for condition in self.at("status.conditions", ()):
            if condition["type"] == type:
                found: Node = condition
                return found
        return None

    def __repr__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"<{self.get('kind', 'Object')} {place}{self.name}>"

    def __str__(self) -> str:
        return str(ObjectList([self]))

    def _repr_html_(self) -> str:
        return ObjectList([self])._repr_html_()


class ObjectList(Sequence[Object]):
    """Objects that were read together. Shows itself as ``kubectl get`` would."""

    __slots__ = ("_everywhere", "_items", "_now", "continue_token", "resource_version")

    def __init__(
        self,
        items: Iterable[Object],
        *,
        now: str = "",
        resource_version: str = "",
        continue_token: str = "",
        everywhere: bool = False,
    ) -> None:
        self._items = list(items)
        self._now = now
        self._everywhere = everywhere
        self.resource_version = resource_version
        """The revision of the state that was read."""
        self.continue_token = continue_token
        """Where the next page begins; empty on the last."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Object: ...
    @overload
    def __getitem__(self, index: slice) -> ObjectList: ...
    @overload
    def __getitem__(self, index: str) -> Object: ...
    def __getitem__(self, index: SupportsIndex | slice | str) -> Object | ObjectList:
        if isinstance(index, slice):
            return self._of(self._items[index])
        if isinstance(index, str):
            for item in self._items:
                if item.name == index:
                    return item
            raise KeyError(index)
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def names(self) -> list[str]:
        """The names of the objects."""
        return [item.name for item in self._items]

    def where(self, holds: Callable[[Object], bool]) -> ObjectList:
        """The objects for which ``holds`` is true."""
        return self._of(item for item in self._items if holds(item))

    def _of(self, items: Iterable[Object]) -> ObjectList:
        """Some of the objects, of the same reading."""
        return ObjectList(
            items, now=self._now, resource_version=self.resource_version, everywhere=self._everywhere
        )

    def table(self, *, wide: bool = False) -> str:
        """The objects as rows of text, a table for each kind."""
        return _show.text(self._items, self._now, wide=wide, everywhere=self._everywhere)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        if len(self) > 8:
            return f"<{len(self)} objects: {self._items[0]!r} … {self._items[-1]!r}>"
        return f"[{', '.join(map(repr, self._items))}]"

    def _repr_html_(self) -> str:
        return _show.html(self._items, self._now, everywhere=self._everywhere)


class Event(tuple[str, Object]):
    """One event of a watch: ``type`` is ``ADDED``, ``MODIFIED`` or ``DELETED``."""

    __slots__ = ()

    def __new__(cls, type: str, object: Object) -> Event:
        return super().__new__(cls, (type, object))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    @property
    def type(self) -> str:
        """What happened."""
        return self[0]

    @property
    def object(self) -> Object:
        """The object afterwards; of a deleted one its last state."""
        return self[1]

    def __repr__(self) -> str:
        return f"<{self.type} {self.object!r}>"


def _camel(name: str) -> str:
    """The wire's name for one of Python's: ``node_name`` is ``nodeName``."""
    first, *rest = (name[:-1] if name.endswith("_") else name).split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def encode(tree: Any) -> bytes:
    """The JSON of a tree, as it is sent."""
    try:
        return _dumps(tree)
    except (TypeError, ValueError):
        # Mappings and sequences of other types are fine; what else there is, is named with its field.
        return _dumps(tree_of(tree, ""))


def _dumps(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(text: bytes) -> Object:
    """An object from its JSON."""
    object: Object = _read(text, Object)
    return object


def parse(text: bytes) -> Any:
    """A tree from its JSON."""
    return _read(text, Node)


def _read(text: bytes, outer: type[Node]) -> Any:
    try:
        return _native.parse(text, outer, Node)
    except ValueError:
        tree = _python_reads(text)
        return outer(tree) if isinstance(tree, Node) else tree


def _python_reads(text: bytes) -> Any:
    """What is seldom: numbers of any size, nesting that is deep, and errors with their place."""
    return json.loads(text, object_hook=Node)


def decode_list(listed: _native.Listed, now: str = "", *, everywhere: bool = False) -> ObjectList:
    """A list as it was read. Items of a list do not say of which kind they are; here they do.

    One that was read ``everywhere``, in all namespaces, shows them.
    """
    with _uncollected(listed.size()):
        items: list[Object] = listed.objects(Object, Node, _python_reads)
    return ObjectList(
        items,
        now=now,
        resource_version=listed.resource_version(),
        continue_token=listed.continue_token(),
        everywhere=everywhere,
    )


@contextlib.contextmanager
def _uncollected(size: int) -> Iterator[None]:
    """Keeps the collector of cycles still: a large tree that grows has none, and looking costs more than growing."""
    pause = size > _LARGE and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            if not gc.get_freeze_count():
                # What has grown counts as old now: a look at the young would go through all of it.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def tree_of(value: Any, where: str = "the object") -> Any:
    """A copy made of what JSON has; whatever else there is, is named with its field."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: a field's name is a string, not {key!r}")
        return Node({key: tree_of(item, f"{where}.{key}" if where else key) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return [tree_of(item, f"{where}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} cannot be {value}: JSON has no such number")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"{where} cannot be a {type(value).__name__}: only what JSON has can be sent")
