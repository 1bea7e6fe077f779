"""What the package costs: a table of figures, each with what it must reach. Nothing is asserted."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import pytest

import windlass

QUICK = "--quick" in sys.argv
MANY = 1_000 if QUICK else 10_000


def row(figure: str, limit: str, measured: str, well: bool | None) -> None:
    verdict = "" if well is None else "ok" if well else "short"
    print(f"| {figure} | {limit} | {measured} | {verdict} | {os.getloadavg()[0]:.1f} |", flush=True)


def millis(work: Callable[[], object], times: int) -> list[float]:
    """How long each of some runs takes, sorted."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def resident() -> float:
    """Resident memory in megabytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def spread(taken: list[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    return statistics.median(taken), taken[min(int(len(taken) * 0.95), len(taken) - 1)]


def package() -> None:
    timed = "import time; began = time.perf_counter(); import windlass; print(time.perf_counter() - began)"
    command = [sys.executable, "-c", timed]
    taken = sorted(float(subprocess.check_output(command)) * 1000 for _ in range(5 if QUICK else 15))
    median = statistics.median(taken)
    row("import windlass", "< 60 ms", f"{median:.0f} ms (median of {len(taken)})", median < 60)
    wheel = os.environ.get("WINDLASS_WHEEL")
    if wheel:
        size = os.path.getsize(wheel) / 1e6
        row("the wheel", "< 25 MB", f"{size:.1f} MB", size < 25)


def deployed(**options: object) -> None:
    with windlass.Cluster(**options) as c:  # type: ignore[arg-type]
        c.apply(windlass.Deployment("web", image="nginx", replicas=3))
        c.wait("deployment/web", "Available")


def cycles() -> None:
    for name, options in (("", {}), (" in virtual time", {"clock": "virtual", "seed": 1})):
        median, late = spread(millis(lambda options=options: deployed(**options), 20 if QUICK else 100))  # type: ignore[misc]
        limit = "p95 < 100 ms" if not name else ""
        figure = f"cluster{name}: created, a Deployment of 3 Available, closed"
        row(figure, limit, f"p95 {late:.0f} ms (median {median:.0f})", late < 100 if limit else None)


def forks() -> None:
    for clock in ("real", "virtual"):
        with windlass.Cluster(clock=clock) as c:  # type: ignore[arg-type]
            median, late = spread(millis(lambda c=c: c.fork().close(), 50 if QUICK else 300))  # type: ignore[misc]
        row(f"fork and close, {clock} clock", "p50 < 5 ms", f"p50 {median:.1f} ms (p95 {late:.1f})", median < 5)


FRESH = """
import pytest

@pytest.mark.windlass(clock={clock!r})
@pytest.mark.parametrize("at", range({many}))
def test_fresh(cluster, at):
    assert cluster.list("pods").names == []
"""


class Phases:
    """What setting up and tearing down takes, test by test, as pytest counts it."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            self.taken[report.nodeid] = self.taken.get(report.nodeid, 0.0) + report.duration * 1000


def fixtures() -> None:
    for clock in ("real", "virtual"):
        phases = Phases()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"test_fresh_{clock}.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(FRESH.format(clock=clock, many=50 if QUICK else 300))
            with contextlib.redirect_stdout(io.StringIO()):
                code = pytest.main(["-p", "no:cacheprovider", "-p", "no:asyncio", "--rootdir", folder, path], [phases])
        assert code == 0, f"pytest ended with {code}"
        # The first test starts the cluster that the others are forked from, the last one ends it.
        median, late = spread(sorted(list(phases.taken.values())[1:-1]))
        figure = f"fresh cluster for a test by the fixture, {clock} clock"
        row(figure, "p50 < 5 ms", f"p50 {median:.1f} ms (p95 {late:.1f})", median < 5)


def config_map(at: int) -> windlass.Object:
    return windlass.ConfigMap(f"n{at:05}", {"k": "v" * 100})


def writes() -> None:
    with windlass.Cluster(nodes=0) as c:
        trees = [config_map(at) for at in range(MANY)]
        taken = millis(lambda: [c.create(tree) for tree in trees], 1)[0] / 1000
        row(f"{MANY} objects created one by one", "< 2 s", f"{taken:.2f} s", taken < 2 * MANY / 10_000)
    with windlass.Cluster(nodes=0) as c:
        taken = millis(lambda: c.apply(trees), 1)[0] / 1000
        row(f"{MANY} objects in one apply", "< 0.7 s", f"{taken:.2f} s", taken < 0.7 * MANY / 10_000)


def lists() -> None:
    with windlass.Cluster(nodes=0) as c:
        c.create([windlass.Pod(f"p{at:05}", image="nginx", labels={"app": "web"}) for at in range(MANY)])
        folder = tempfile.mkdtemp()
        path = os.path.join(folder, "kubeconfig")
        with open(path, "w", encoding="utf-8") as file:
            file.write(c.kubeconfig())
        gc.collect()
        here = millis(lambda: c.list("pods"), 5)[2]
        row(f"list of {MANY} pods to objects, in process", "", f"{here:.0f} ms (median of 5)", None)
        read = millis(lambda: [pod.status.get("phase") for pod in c.list("pods")], 5)[2]
        row("the same, and one field of each read", "", f"{read:.0f} ms", None)
        with windlass.connect(path) as other:
            there = millis(lambda: other.list("pods"), 5)[2]
        row("the same over HTTPS", "", f"{there:.0f} ms", None)
        try:
            from kubernetes import client, config  # type: ignore[import-untyped]
        except ImportError:
            row("official client", "", "not installed", None)
            return
        api = client.CoreV1Api(config.new_client_from_config(path))
        official = millis(lambda: api.list_namespaced_pod("default"), 3)[1]
        row("the same with the official client, over HTTPS", "", f"{official:.0f} ms (median of 3)", None)
        wired = client.CoreV1Api(c.kubernetes_client())
        close = millis(lambda: wired.list_namespaced_pod("default"), 3)[1]
        row("the same with the official client, in process", "", f"{close:.0f} ms (median of 3)", None)
        times = close / here
        row("faster than the official client, both in process", ">= 10 times", f"{times:.1f} times", times >= 10)
        row("… both over HTTPS", "", f"{official / there:.1f} times", None)


def memory() -> None:
    rounds = 100 if QUICK else 1000
    sizes = []
    for at in range(rounds):
        deployed()
        if at + 1 in (rounds // 10, rounds // 2, rounds):
            gc.collect()
            sizes.append(resident())
    flat = sizes[-1] < sizes[0] * 1.1 + 5
    shown = ", ".join(f"{size:.0f}" for size in sizes)
    row(f"resident after {rounds // 10}, {rounds // 2} and {rounds} cycles", "flat", f"{shown} MB", flat)


def main() -> None:
    print("| figure | must reach | measured | | load |\n|---|---|---|---|---|")
    for figures in (package, memory, cycles, forks, fixtures, writes, lists):
        figures()


if __name__ == "__main__":
    main()
