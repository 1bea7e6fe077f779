"""Virtual time, forks and differences."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import windlass
import windlass.aio
from windlass import ConfigMap, Deployment

STORY = """
import sys, windlass
with windlass.Cluster(nodes=3, seed=int(sys.argv[1]), clock="virtual") as c:
    c.apply(windlass.Deployment("web", image="nginx", replicas=5))
    c.wait("deployment/web", "Available", timeout="2m")
    c.kill_node("node-1")
    c.run_for("10m")
    c.scale("deployment/web", 2)
    c.run_for("1m")
    print(c.fingerprint(), c.now(), [pod.name for pod in c.list("pods")])
"""


@pytest.fixture
def v() -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=2, seed=7, clock="virtual") as cluster:
        yield cluster


def told(seed: int, folder: Path) -> str:
    command = [sys.executable, "-c", STORY, str(seed)]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_one_seed_is_one_history_in_every_process(tmp_path: Path) -> None:
    first = told(7, tmp_path)
    assert first == told(7, tmp_path)
    assert first.split()[0] != told(8, tmp_path).split()[0]


def test_an_hour_passes_when_it_is_told_to(v: windlass.Cluster) -> None:
    before = v.now()
    v.run_for("1h")
    assert before < "2026-01-01T00:01" and v.now().startswith("2026-01-01T01:0")
    assert v.get("node/node-1").condition("Ready")["status"] == "True"  # type: ignore[index]


def test_a_wait_lets_virtual_time_pass_and_ends_in_it(v: windlass.Cluster) -> None:
    v.apply(Deployment("web", image="nginx", replicas=3))
    assert v.wait("deployment/web", "Available", timeout="1m").status.availableReplicas == 3
    with pytest.raises(windlass.TimedOutError, match="does not exist after 10 hours|does not exist after 10h"):
        v.wait("cm/never", "created", timeout="10h")
    assert "2026-01-01T10" <= v.now() < "2026-01-01T11"


def test_pods_of_a_dead_node_are_made_anew_elsewhere(v: windlass.Cluster) -> None:
    v.apply(Deployment("web", image="nginx", replicas=4))
    v.wait("deployment/web", "Available")
    v.kill_node("node-1")
    v.run_for("10m")
    assert v.get("node/node-1").condition("Ready")["status"] == "Unknown"  # type: ignore[index]
    living = [pod for pod in v.list("pods", selector="app=web") if not pod.metadata.get("deletionTimestamp")]
    assert {pod.spec.nodeName for pod in living} == {"node-2"} and len(living) == 4
    with pytest.raises(windlass.NotFoundError, match="no node 'node-1' is alive|no node \"node-1\" is alive"):
        v.kill_node("node-1")
    v.add_node("node-1")
    v.wait("node/node-1", "Ready", timeout="5m")


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_a_fork_goes_on_by_itself(clock: windlass._worlds.Clock) -> None:
    with windlass.Cluster(nodes=2, clock=clock) as c:
        c.apply(Deployment("web", image="nginx", replicas=2))
        c.wait("deployment/web", "Available")
        names = c.list("pods").names
        with c.fork() as other:
            other.create(ConfigMap("only-there", {"a": "b"}))
            c.create(ConfigMap("only-here", {}))
            other.scale("deployment/web", 3)
            other.wait("deployment/web", lambda web: web.at("status.availableReplicas") == 3)
            assert set(names) < set(other.list("pods").names)
            assert c.list("pods").names == names
            found = c.diff(other)
            # What controllers bring about in their own time may be on one side only, for now.
            assert "only-here" in [one.name for one in found.only_here]
            assert "only-there" in [one.name for one in found.only_there]
            assert not {"only-here", "only-there"} & {one.name for one in found.changed}
            web = next(one for one in found.changed if (one.kind, one.name) == ("Deployment", "web"))
            assert windlass.Change("spec.replicas", 2, 3) in web.changes
            assert "spec.replicas: 2 -> 3" in str(found)
        assert c.get("deployment/web").spec.replicas == 2


def test_forks_of_one_moment_have_one_history(v: windlass.Cluster) -> None:
    def live(seed: int | None = None) -> str:
        with v.fork(seed=seed) as fork:
            fork.apply(Deployment("web", image="nginx", replicas=3))
            fork.run_for("5m")
            return fork.fingerprint()

    before = v.fingerprint()
    assert live() == live() != live(seed=3)
    assert v.fingerprint() == before


def test_a_fork_outlives_its_origin() -> None:
    c = windlass.Cluster(seed=1, clock="virtual")
    fork = c.fork()
    c.close()
    with fork:
        fork.create(ConfigMap("a", {}))
        fork.run_for("1h")
        assert fork.exists("cm/a")
    with pytest.raises(windlass.ClosedError):
        c.fork()


def test_what_a_clock_cannot_do_is_refused() -> None:
    with windlass.Cluster(nodes=0) as c:
        assert c.seed is None
        with pytest.raises(windlass.NotSupportedError, match="clock=\"virtual\""):
            c.run_for("1m")
    with windlass.Cluster(nodes=0, clock="virtual") as c:
        assert c.seed is not None
        with pytest.raises(windlass.NotSupportedError, match="cannot be reached through a socket"):
            c.kubeconfig()
    with pytest.raises(ValueError, match="clock='virtual' too"):
        windlass.Cluster(seed=3)
    with pytest.raises(ValueError, match="'real' or 'virtual'"):
        windlass.Cluster(clock="fast")  # type: ignore[arg-type]


def test_asyncio_lets_virtual_time_pass_for_whoever_waits() -> None:
    async def live() -> tuple[str, str]:
        async with windlass.aio.Cluster(seed=7, clock="virtual") as c:
            waiting = asyncio.create_task(c.wait("cm/late", "created", timeout="2h"))
            await c.run_for("1h")
            await c.create(ConfigMap("late", {}))
            assert (await waiting).name == "late"
            fork = await c.fork()
            await fork.delete("cm/late")
            found = await c.diff(fork)
            assert [one.name for one in found.only_here] == ["late"]
            await fork.close()
            return await c.fingerprint(), c.now()

    first = asyncio.run(live())
    assert first == asyncio.run(live()) and first[1].startswith("2026-01-01T01:0")
