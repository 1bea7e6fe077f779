"""What the tests share: a cluster each."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import windlass

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> Iterator[None]:
    """Ctrl-C raises, although a shell starts what runs in the background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def c() -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY
