"""What the tests share: a cluster each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import windlass

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def c() -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY
