"""Objects from files, folders, texts and Python's own values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

from . import _native
from .errors import InvalidError, ManifestError
from .objects import Object, parse

__all__ = ["Manifest", "Source", "Sources", "load"]

Sources = Union[str, "os.PathLike[str]", Sequence[Union["os.PathLike[str]", Mapping[str, Any]]]]
"""A YAML or JSON text, the path of a file or folder, or several mappings and paths."""
Source = Union[Mapping[str, Any], Sources]
"""A mapping, a YAML or JSON text, the path of a file or folder, or several of them."""

_ENDINGS = {".yaml", ".yml", ".json"}


class Manifest(NamedTuple):
    """An object, and where it was stated."""

    object: Object
    place: str
    """The file and which of its documents; empty for Python's own values."""


def load(source: Source) -> list[Manifest]:
    """Every object that the source states, in its order.

    A string is a text where it holds a line break or begins with ``{``, and a path otherwise.
    """
    if isinstance(source, Mapping):
        return _collect(source, "")
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return _parse(source, "<text>")
    if isinstance(source, (str, os.PathLike)):
        return [one for file in _files(Path(source)) for one in _read(file)]
    if isinstance(source, Iterable):
        return [one for item in source for one in load(item)]
    raise TypeError(f"a {type(source).__name__} states no objects: use a mapping, a path, a text, or several of them")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in _ENDINGS)
    return [path]


def _read(file: Path) -> list[Manifest]:
    return _parse(file.read_text(encoding="utf-8"), str(file))


def _parse(text: str, file: str) -> list[Manifest]:
    documents, wrong = _native.documents(text)
    if wrong is not None:
        number, line, column, message = wrong
        raise ManifestError(message, file=file, document=number, line=line, column=column)
    return [one for number, json in documents for one in _collect(parse(json), f"{file}, document {number}")]


def _collect(tree: Any, place: str) -> list[Manifest]:
    """An object, or the items of a list."""
    if not isinstance(tree, Mapping) or not tree.get("apiVersion") or not tree.get("kind"):
        raise InvalidError("an object states its apiVersion and kind", place=place)
    if str(tree["kind"]).endswith("List") and isinstance(tree.get("items"), list):
        items = enumerate(tree["items"], 1)
        prefix = f"{place}, " if place else ""
        return [one for at, item in items for one in _collect(item, f"{prefix}item {at}")]
    # A copy, because its metadata will be completed.
    return [Manifest(Object(tree), place)]
