"""The same interface over HTTPS, by a kubeconfig."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import windlass
from awaited import told
from windlass import ConfigMap, Pod, aio


@pytest.fixture
def kubeconfig(c: windlass.Cluster, tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text(c.kubeconfig())
    return file


def test_a_cluster_elsewhere_has_the_same_interface(c: windlass.Cluster, kubeconfig: Path) -> None:
    with windlass.connect(kubeconfig) as there:
        assert there.server.startswith("https://127.0.0.1:")
        there.apply(windlass.Deployment("web", image="nginx", replicas=2))
        there.wait("deployment/web", "Available")
        assert sorted(there.list("pods").names) == sorted(c.list("pods").names)
        assert there.logs("deployment/web") == "main runs nginx\n"
        assert there.exec("deployment/web", ["cat"], stdin=b"abc").output == b"abc"
        assert there.exec("deployment/web", "exit 2").exit_code == 2
        pod = there.list("pods")[0]
        assert told(there, pod, "Scheduled").reason in [event.reason for event in there.events(pod)]
        assert there.scale("deployment/web", 1) == 1
        there.delete("deployment/web")
        with pytest.raises(windlass.NotFoundError):
            c.get("deployment/web")


def test_a_watch_over_https_misses_nothing(c: windlass.Cluster, kubeconfig: Path) -> None:
    with windlass.connect(kubeconfig) as there, there.watch("cm", fields="metadata.name=a") as watch:
        c.create(ConfigMap("a", {"k": "1"}))
        assert next(watch).type == "ADDED"
        c.patch("cm/a", {"data": {"k": "2"}})
        assert next(watch).object.data.k == "2"


def test_errors_come_across_unchanged(kubeconfig: Path) -> None:
    with windlass.connect(kubeconfig) as there:
        with pytest.raises(windlass.NotFoundError, match='pods "none" not found'):
            there.get("pod/none")
        with pytest.raises(windlass.InvalidError) as refused:
            there.create(Pod("UPPER", "x"))
        assert [cause.field for cause in refused.value.causes] == ["metadata.name"]
    with pytest.raises(windlass.ClosedError):
        there.get("pod/none")


def test_the_kubeconfig_says_where_and_the_environment_names_it(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with windlass.connect(namespace="kube-system") as there:
        assert there.namespace == "kube-system" and there.list("pods") == []


def test_what_is_wrong_with_a_kubeconfig_is_named(kubeconfig: Path, tmp_path: Path) -> None:
    with pytest.raises(windlass.WindlassError, match="none.yaml"):
        windlass.connect(tmp_path / "none.yaml")
    with pytest.raises(windlass.InvalidError, match='contexts has no "nowhere"'):
        windlass.connect(kubeconfig, context="nowhere")


def test_a_server_that_is_gone_is_unavailable(kubeconfig: Path, c: windlass.Cluster) -> None:
    c.close()
    with windlass.connect(kubeconfig) as there, pytest.raises(windlass.UnavailableError):
        there.list("pods")


def test_asyncio_connects_too(kubeconfig: Path) -> None:
    async def story() -> None:
        async with aio.connect(kubeconfig) as there:
            await there.create(ConfigMap("a", {}))
            assert (await there.wait("cm/a", "created")).name == "a"

    asyncio.run(story())
