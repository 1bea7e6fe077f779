"""Objects as tables, with the columns that the server defines for each kind."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from . import _native

if TYPE_CHECKING:
    from .objects import Object

_GAP = 3


def text(objects: Sequence[Object], now: str, *, wide: bool, everywhere: bool) -> str:
    """Aligned columns, a table for each run of objects of one kind."""
    if not objects:
        return "no objects"
    tables = list(_tables(objects, now, wide, everywhere))
    return "\n\n".join("\n".join(_aligned([head, *rows])) for _, head, rows in tables)


def html(objects: Sequence[Object], now: str, *, everywhere: bool) -> str:
    """The same as HTML, for notebooks."""
    from html import escape

    if not objects:
        return "<em>no objects</em>"
    parts: list[str] = []
    for kind, head, rows in _tables(objects, now, False, everywhere):
        cells = "".join(f"<th>{escape(name)}</th>" for name in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        caption = f"<caption>{escape(kind)}</caption>"
        parts.append(f"<table>{caption}<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>")
    return "".join(parts)


def _tables(
    objects: Iterable[Object], now: str, wide: bool, everywhere: bool
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    if not now:
        from datetime import datetime, timezone

        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    kinds = itertools.groupby(objects, key=lambda one: (one.get("apiVersion", ""), one.get("kind", "Object")))
    for (api_version, kind), group in kinds:
        shown = list(group)
        columns, rows = _native.table(api_version.rpartition("/")[0], kind, json.dumps(shown).encode(), now)
        wanted = [at for at, (_, priority) in enumerate(columns) if wide or priority == 0]
        head = [columns[at][0].upper() for at in wanted]
        cells = [[row[at] if at < len(row) else "" for at in wanted] for row in rows]
        namespaces = [one.namespace for one in shown]
        if len(set(namespaces)) > 1 or (everywhere and any(namespaces)):
            head.insert(0, "NAMESPACE")
            for row, namespace in zip(cells, namespaces):
                row.insert(0, namespace)
        yield kind, head, cells


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) + _GAP for column in zip(*rows)]
    for row in rows:
        yield "".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
