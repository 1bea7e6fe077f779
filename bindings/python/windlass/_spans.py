"""Spans of time, as Python and Kubernetes write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from datetime import timedelta

Span = Union[str, float, "timedelta"]
"""Seconds, a ``timedelta``, or a text such as ``"2m"``, ``"1h30m"`` and ``"500ms"``."""

_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(span: Span) -> float:
    """The span in seconds."""
    if isinstance(span, str):
        parts = _PART.findall(span)
        if span and "".join(number + unit for number, unit in parts) == span:
            return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    elif isinstance(span, (int, float)):
        return float(span)
    elif hasattr(span, "total_seconds"):
        return span.total_seconds()
    raise ValueError(f"{span!r} is no span of time: use seconds, a timedelta, or a text such as '2m' and '1h30m'")


def shown(span: float) -> str:
    """Seconds as people read them."""
    hours, rest = divmod(span, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{int(hours)}h" if hours else "", f"{int(minutes)}m" if minutes else "", f"{left:g}s" if left else ""]
    return "".join(parts) or "0s"
