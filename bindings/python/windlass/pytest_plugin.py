"""Clusters as pytest fixtures: ``cluster``, ``aio_cluster``, ``cluster_factory`` and ``kubeconfig``.

    def test_the_operator_makes_a_deployment(cluster):
        cluster.apply("crd.yaml")
        ...

    @pytest.mark.windlass(nodes=3, clock="virtual")
    def test_an_outage_of_a_day(cluster):
        cluster.kill_node("node-1")
        cluster.run_for("24h")

Every test has a cluster of its own, forked from one that is started once for each session and shape.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Clusters are imported by the first test that has one: pytest loads this file for everyone.
if TYPE_CHECKING:
    from . import aio
    from ._client import Cluster
    from ._nodes import Nodes

__all__ = ["ClusterFactory", "aio_cluster", "cluster", "cluster_factory", "cluster_setup", "kubeconfig"]

_SEED = pytest.StashKey[int]()
_SEEDED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("windlass")
    group.addoption(
        "--windlass-seed",
        type=_seed,
        metavar="N",
        help="the seed of clusters in virtual time; a failed test tells the one that repeats it",
    )
    parser.addini("windlass_nodes", "how many nodes clusters of the fixtures have (1)", default="1")
    parser.addini("windlass_clock", "the clock of clusters of the fixtures: real or virtual (real)", default="real")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "windlass(nodes=1, clock='real', seed=None, namespace='default'): the cluster of the test's fixtures"
    )
    given: int | None = config.getoption("--windlass-seed")
    # Workers of pytest-xdist are handed what the first process chose.
    handed: dict[str, Any] = getattr(config, "workerinput", {})
    chosen = handed.get("windlass_seed", given)
    config.stash[_SEED] = int.from_bytes(os.urandom(4), "big") if chosen is None else chosen


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist: what a worker is handed."""
    node.workerinput["windlass_seed"] = node.config.stash[_SEED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.failed and item.stash.get(_SEEDED, False):
        seed = item.config.stash[_SEED]
        report.sections.append(("windlass", f"seed {seed}: --windlass-seed={seed} repeats what the cluster did"))
    return report  # type: ignore[no-any-return]


class ClusterFactory:
    """Makes clusters that are closed when the test ends."""

    def __init__(self, bases: _Bases, item: pytest.Item, usual: dict[str, Any]) -> None:
        self._bases = bases
        self._item = item
        self._usual = usual
        self._made: list[Cluster] = []

    def __call__(
        self,
        nodes: Nodes | None = None,
        *,
        clock: str | None = None,
        seed: int | None = None,
        namespace: str | None = None,
    ) -> Cluster:
        """A fresh cluster. What is not said comes from the test's ``windlass`` marker, and then from the ini file."""
        said = {"nodes": nodes, "clock": clock, "seed": seed, "namespace": namespace}
        shape = {**self._usual, **{name: value for name, value in said.items() if value is not None}}
        own = shape.pop("seed", None)
        if shape["clock"] != "virtual":
            made = self._bases.fork(shape, own, None)
        elif own is not None:
            made = self._bases.fork(shape, own, own)
        else:
            self._item.stash[_SEEDED] = True
            run = self._item.config.stash[_SEED]
            made = self._bases.fork(shape, run, _derived(run, self._item.nodeid, len(self._made)))
        self._made.append(made)
        return made

    def close(self) -> None:
        """Closes the clusters, the last one first."""
        while self._made:
            self._made.pop().close()


class _Bases:
    """One cluster for each shape that was asked for: what others are forked from."""

    def __init__(self, setup: Callable[[Cluster], object]) -> None:
        self._setup = setup
        self._bases: dict[str, Cluster] = {}

    def fork(self, shape: dict[str, Any], base_seed: int | None, seed: int | None) -> Cluster:
        from ._client import Cluster

        nodes = shape["nodes"] if isinstance(shape["nodes"], int) else list(shape["nodes"])
        # A clock that is not real has a seed, which is what the base's history comes from.
        key = repr((nodes, shape["clock"], shape["namespace"], base_seed))
        base = self._bases.get(key)
        if base is None:
            base = Cluster(nodes, namespace=shape["namespace"], clock=shape["clock"], seed=base_seed)
            try:
                self._setup(base)
            except BaseException:
                base.close()
                raise
            self._bases[key] = base
        return base.fork(seed=seed)

    def close(self) -> None:
        for base in self._bases.values():
            base.close()


@pytest.fixture(scope="session")
def cluster_setup() -> Callable[[Cluster], object]:
    """Override it to return a function that prepares the cluster which all tests begin with: definitions, policies."""
    return lambda _: None


@pytest.fixture(scope="session")
def _windlass_bases(cluster_setup: Callable[[Cluster], object]) -> Iterator[_Bases]:
    bases = _Bases(cluster_setup)
    yield bases
    bases.close()


@pytest.fixture
def cluster_factory(request: pytest.FixtureRequest, _windlass_bases: _Bases) -> Iterator[ClusterFactory]:
    """Makes as many clusters as the test wants: ``cluster_factory(nodes=3)``. They are closed when it ends."""
    factory = ClusterFactory(_windlass_bases, request.node, _usual(request))
    yield factory
    factory.close()


@pytest.fixture
def cluster(cluster_factory: ClusterFactory) -> Cluster:
    """A cluster of the test's own. ``@pytest.mark.windlass(nodes=3)`` says what it is like."""
    return cluster_factory()


@pytest.fixture
def aio_cluster(cluster: Cluster) -> aio.Cluster:
    """The same cluster as ``cluster``, for asyncio."""
    from . import aio

    return aio.Cluster._over(cluster)


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a kubeconfig file for ``cluster``, which is served on the loopback address then."""
    path = tmp_path_factory.mktemp("windlass") / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(cluster.kubeconfig(), encoding="utf-8")
    return path


def _usual(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What clusters of a test are like: the marker nearest to it says, then the ini file."""
    config = request.config
    shape: dict[str, Any] = {
        "nodes": int(config.getini("windlass_nodes")),
        "clock": config.getini("windlass_clock"),
        "namespace": "default",
    }
    for marker in reversed(list(request.node.iter_markers("windlass"))):
        unknown = set(marker.kwargs) - {"nodes", "clock", "seed", "namespace"}
        if unknown or marker.args:
            wrong = ", ".join([*map(repr, marker.args), *sorted(unknown)])
            raise pytest.UsageError(f"the windlass marker takes nodes, clock, seed and namespace by name, not {wrong}")
        shape.update(marker.kwargs)
    return shape


def _derived(seed: int, test: str, at: int) -> int:
    """A seed of a test's own, whatever other tests ran before it."""
    digest = hashlib.sha256(f"{seed}\0{test}\0{at}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _seed(text: str) -> int:
    seed = int(text, 0)
    if not 0 <= seed < 2**64:
        raise ValueError(f"{text} is no seed: it is a number from 0 to 2**64-1")
    return seed
