"""Virtual time, forks and differences: what clusters of this process can do beyond what every cluster can."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, overload

from typing import SupportsIndex

from . import _native
from .objects import Object, decode

Clock = Literal["real", "virtual"]

# What differs between any two clusters and says nothing about what they are to do.
_NOISE = ("metadata.resourceVersion", "metadata.managedFields")


def seed_of(seed: int | None, clock: str) -> int | None:
    """The seed of a cluster in virtual time; ``None`` for one in the machine's."""
    if clock == "virtual":
        chosen = int.from_bytes(os.urandom(4), "big") if seed is None else seed
        if not 0 <= chosen < 2**64:
            raise ValueError(f"seed={seed!r}: a seed is a number from 0 to 2**64-1")
        return chosen
    if clock != "real":
        raise ValueError(f"clock={clock!r}: a cluster's clock is 'real' or 'virtual'")
    if seed is not None:
        raise ValueError(f"seed={seed!r}: only what lives in virtual time can be repeated; say clock='virtual' too")
    return None


class Change(NamedTuple):
    """A field that is not the same on both sides; ``None`` where a side has none."""

    path: str
    here: Any
    there: Any


class Difference(NamedTuple):
    """An object that is not the same in two clusters."""

    here: Object | None
    """As it is in the cluster that was asked; ``None`` where it has none such."""
    there: Object | None
    """As it is in the other."""

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self._any.get("kind", ""))

    @property
    def name(self) -> str:
        """The object's name."""
        return self._any.name

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self._any.namespace

    @property
    def changes(self) -> list[Change]:
        """The fields that differ, where both sides have the object."""
        if self.here is None or self.there is None:
            return []
        found = _changes("", self.here, self.there)
        return [one for one in found if not one.path.startswith(_NOISE)]

    @property
    def _any(self) -> Object:
        found = self.there if self.here is None else self.here
        assert found is not None
        return found

    def __repr__(self) -> str:
        sign = "+" if self.here is None else "-" if self.there is None else "~"
        return f"<{sign} {self._any!r}>"


class Differences(Sequence[Difference]):
    """The objects in which two clusters differ."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Difference]) -> None:
        self._items = list(items)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Difference: ...
    @overload
    def __getitem__(self, index: slice) -> Differences: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Difference | Differences:
        return Differences(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Difference]:
        return iter(self._items)

    @property
    def only_here(self) -> list[Object]:
        """What the cluster that was asked has alone."""
        return [one.here for one in self if one.here is not None and one.there is None]

    @property
    def only_there(self) -> list[Object]:
        """What the other has alone."""
        return [one.there for one in self if one.there is not None and one.here is None]

    @property
    def changed(self) -> list[Difference]:
        """What both have, but not the same."""
        return [one for one in self if one.here is not None and one.there is not None]

    def __str__(self) -> str:
        lines: list[str] = []
        for one in self:
            lines.append(repr(one)[1:-1])
            lines += [f"    {change.path}: {change.here!r} -> {change.there!r}" for change in one.changes]
        return "\n".join(lines) or "no difference"

    __repr__ = __str__


def diff(native: _native.Cluster, other: _native.Cluster) -> Differences:
    """The objects in which two clusters differ."""
    pairs = native.diff(other)
    both = (Difference(*(None if side is None else decode(side) for side in pair)) for pair in pairs)
    return Differences([one for one in both if one.here is None or one.there is None or one.changes])


def _changes(path: str, here: Any, there: Any) -> Iterator[Change]:
    if isinstance(here, dict) and isinstance(there, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            yield from _changes(f"{path}.{key}" if path else key, here.get(key), there.get(key))
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for at, (one, other) in enumerate(zip(here, there)):
            yield from _changes(f"{path}[{at}]", one, other)
    elif here != there:
        yield Change(path, here, there)
