"""Exceptions are one to one with the kinds of ``docs/errors.md``."""

from __future__ import annotations

from pathlib import Path

import pytest

import windlass
from windlass import _native, errors


def test_the_table_in_the_documentation_is_true(repository: Path) -> None:
    table = (repository / "docs/errors.md").read_text().split("\n## ")[1]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")]
    told = [(kind, int(code), reason, name) for kind, code, reason, _, name, _ in rows]
    known = [(kind, code, reason, errors.KINDS[kind].__name__) for kind, code, reason in _native.kinds()]
    assert told == known
    assert len(errors.KINDS) == len(known)
    for kind, code, reason, name in told:
        cls = getattr(windlass, name)
        assert (cls.kind, cls.code, cls.reason) == (kind, code, reason)


def test_every_error_is_a_windlass_error() -> None:
    for name in errors.__all__:
        cls = getattr(errors, name)
        assert name == "Cause" or issubclass(cls, windlass.WindlassError)
    assert issubclass(windlass.TimedOutError, TimeoutError)


def test_an_error_carries_what_a_status_says(c: windlass.Cluster) -> None:
    with pytest.raises(windlass.NotFoundError) as missing:
        c.get("pod/none")
    status = missing.value.status()
    assert str(missing.value) == 'pods "none" not found'
    assert status["code"] == 404 and status["reason"] == "NotFound"
    assert status["details"] == {"name": "none", "kind": "pods"}
    assert not missing.value.retryable and not missing.value.maybe_applied


def test_an_old_revision_is_told_from_a_future_one(c: windlass.Cluster) -> None:
    with pytest.raises(windlass.FutureRevisionError) as future:
        next(c.watch("cm", resource_version="999999999"))
    assert future.value.retryable
