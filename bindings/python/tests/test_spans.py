"""Spans of time, and lines out of chunks: what needs no cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from windlass._client import Lines
from windlass._spans import seconds, shown


@pytest.mark.parametrize(
    ("span", "expect"),
    [("2m", 120), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("1d", 86400), (3, 3), (0.25, 0.25), (timedelta(hours=1), 3600)],
)
def test_spans_are_read(span: Any, expect: float) -> None:
    assert seconds(span) == pytest.approx(expect)


@pytest.mark.parametrize("span", ["", "2", "m", "2 m", "2m!", "-1s", "1y", None, []])
def test_what_is_no_span_is_refused(span: Any) -> None:
    with pytest.raises(ValueError, match="no span of time"):
        seconds(span)


def test_spans_are_shown_as_people_read_them() -> None:
    assert [shown(span) for span in (0, 0.5, 90, 3600, 5400.25)] == ["0s", "0.5s", "1m30s", "1h", "1h30m0.25s"]


def test_lines_do_not_depend_on_how_they_were_cut() -> None:
    text = "a\n\nb\u00e9\nlast".encode()
    for size in range(1, len(text) + 1):
        lines, found = Lines(), []
        for chunk in [*(text[at : at + size] for at in range(0, len(text), size)), None]:
            if lines.feed(chunk):
                while (line := lines.pop()) is not None:
                    found.append(line)
        assert found == ["a", "", "b\u00e9", "last"]
        assert not lines.feed(None) and lines.pop() is None
