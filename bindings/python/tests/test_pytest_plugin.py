"""The plugin: run in a pytest of its own, as users have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import windlass
import windlass.aio
from windlass.pytest_plugin import ClusterFactory


INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\naddopts = --strict-markers\n"


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder for tests of their own."""
    pytester.makeini(INI)
    return pytester


def test_a_test_has_a_cluster_of_its_own(cluster: windlass.Cluster, cluster_factory: ClusterFactory) -> None:
    cluster.apply(windlass.Deployment("web", image="nginx"))
    cluster.wait("deployment/web", "Available")
    other = cluster_factory(nodes=2)
    assert other.list("nodes").names == ["node-1", "node-2"]
    assert not other.exists("deployment/web")


def test_tests_do_not_see_each_other(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest
        from windlass import ConfigMap

        @pytest.mark.parametrize("at", range(4))
        def test_alone(cluster, at):
            assert cluster.list("cm", selector="mine=yes").names == []
            cluster.create(ConfigMap(f"n{at}", {}, labels={"mine": "yes"}))
        """
    )
    inner.runpytest().assert_outcomes(passed=4)


def test_clusters_are_closed_when_their_test_ends(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest
        import windlass

        kept = []

        def test_first(cluster, cluster_factory):
            kept.extend([cluster, cluster_factory(nodes=0)])

        def test_second():
            for one in kept:
                with pytest.raises(windlass.ClosedError):
                    one.list("pods")
        """
    )
    inner.runpytest().assert_outcomes(passed=2)


def test_a_marker_and_the_ini_file_say_what_clusters_are_like(inner: pytest.Pytester) -> None:
    inner.makeini(f"{INI}windlass_nodes = 2\nwindlass_clock = virtual\n")
    inner.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.windlass(namespace="kube-system")

        def test_ini(cluster):
            assert len(cluster.list("nodes")) == 2 and cluster.namespace == "kube-system"
            cluster.run_for("1h")

        @pytest.mark.windlass(nodes=["a", "b", "c"], seed=7)
        def test_marked(cluster, cluster_factory):
            assert cluster.list("nodes").names == ["a", "b", "c"] and cluster.namespace == "kube-system"
            assert cluster.seed == 7
            assert len(cluster_factory(nodes=1).list("nodes")) == 1

        @pytest.mark.windlass(size=3)
        def test_wrong(cluster):
            pass
        """
    )
    result = inner.runpytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*takes nodes, clock, seed and namespace by name, not size*"])


def test_all_tests_begin_with_what_the_setup_prepared_once(inner: pytest.Pytester) -> None:
    inner.makeconftest(
        """
        import pytest
        from windlass import ConfigMap

        @pytest.fixture(scope="session")
        def cluster_setup():
            def prepare(c):
                print("preparing")
                c.create(ConfigMap("settings", {"k": "v"}))
            return prepare
        """
    )
    inner.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("at", range(3))
        def test_prepared(cluster, at):
            assert cluster.get("cm/settings").data.k == "v"
            cluster.delete("cm/settings")
        """
    )
    result = inner.runpytest("-s")
    result.assert_outcomes(passed=3)
    assert result.stdout.str().count("preparing") == 1


def test_a_setup_that_fails_is_what_tests_report(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def cluster_setup():
            return lambda c: c.apply("nowhere.yaml")

        def test_it(cluster):
            pass
        """
    )
    result = inner.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*nowhere.yaml*"])


FAILS = """
    import pytest

    @pytest.mark.windlass(clock="virtual")
    def test_fails(cluster):
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-", "name": "p"},
                       "spec": {"containers": [{"name": "c", "image": "x"}]}})
        cluster.run_for("1m")
        print("HISTORY", cluster.fingerprint(), "SEED", cluster.seed)
        assert False

    def test_passes(cluster):
        assert cluster.seed is None

    @pytest.mark.windlass(clock="virtual", seed=3)
    def test_fails_with_its_own_seed(cluster):
        assert cluster.seed != 3
"""


def history(result: pytest.RunResult) -> str:
    found = re.search(r"HISTORY \w+ SEED \d+", result.stdout.str())
    assert found is not None, result.stdout.str()
    return found[0]


def test_a_failure_tells_the_seed_that_repeats_it(inner: pytest.Pytester) -> None:
    inner.makepyfile(FAILS)
    first = inner.runpytest()
    first.assert_outcomes(passed=1, failed=2)
    told = re.findall(r"--windlass-seed=(\d+)", first.stdout.str())
    # Only what came from the seed of the run can be repeated by it.
    assert len(told) == 1
    again = inner.runpytest(f"--windlass-seed={told[0]}", "-k", "test_fails and not own")
    assert history(again) == history(first)
    other = inner.runpytest("--windlass-seed=1")
    assert history(other) != history(first)


def test_a_seed_that_is_none_is_refused(inner: pytest.Pytester) -> None:
    result = inner.runpytest("--windlass-seed=-1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_workers_of_xdist_share_the_seed(inner: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    inner.makepyfile(FAILS)
    alone = inner.runpytest_subprocess("--windlass-seed=11")
    spread = inner.runpytest_subprocess("--windlass-seed=11", "-n2")
    spread.assert_outcomes(passed=1, failed=2)
    spread.stdout.fnmatch_lines(["*--windlass-seed=11 repeats*"])
    assert history(spread) == history(alone)
    chosen = inner.runpytest_subprocess("-n2")
    told = set(re.findall(r"--windlass-seed=(\d+)", chosen.stdout.str()))
    assert len(told) == 1


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_coroutines_have_a_cluster_of_asyncio(inner: pytest.Pytester, clock: str) -> None:
    pytest.importorskip("pytest_asyncio")
    inner.makepyfile(
        f"""
        import asyncio
        import pytest
        from windlass import ConfigMap, Deployment

        pytestmark = [pytest.mark.asyncio, pytest.mark.windlass(nodes=2, clock={clock!r})]

        async def test_waits(aio_cluster, cluster):
            await aio_cluster.apply(Deployment("web", image="nginx", replicas=2))
            web = await aio_cluster.wait("deployment/web", "Available")
            assert web == cluster.get("deployment/web")

        async def test_several_at_once(aio_cluster):
            await asyncio.gather(*(aio_cluster.create(ConfigMap(f"n{{at}}", {{}})) for at in range(5)))
            assert not await aio_cluster.exists("deployment/web")
        """
    )
    inner.runpytest("-W", "error").assert_outcomes(passed=2)


def test_a_kubeconfig_is_a_file_that_other_clients_read(cluster: windlass.Cluster, kubeconfig: Path) -> None:
    assert kubeconfig.stat().st_mode & 0o077 == 0
    cluster.create(windlass.ConfigMap("a", {"k": "v"}))
    with windlass.connect(kubeconfig) as outside:
        assert outside.get("cm/a").data.k == "v"


def test_the_fixtures_are_listed(inner: pytest.Pytester) -> None:
    listed = inner.runpytest("--fixtures").stdout.str()
    for name in ("cluster", "aio_cluster", "cluster_factory", "cluster_setup [session scope]", "kubeconfig"):
        assert f"\n{name} -- " in listed, name
