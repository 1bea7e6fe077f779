"""What a kubelet does for containers is done for functions: volumes, probes, hooks, commands, containers that stay."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import windlass
from awaited import pod, run, told
from windlass import AsyncContext, ConfigMap, Context, Request, Secret


@pytest.fixture(params=["real", "virtual"])
def c(request: pytest.FixtureRequest) -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=1, clock=request.param) as cluster:
        yield cluster


@pytest.fixture
def v() -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=1, clock="virtual", seed=5) as cluster:
        yield cluster


def mounted(*volumes: dict[str, Any], **mounts: str | dict[str, Any]) -> dict[str, Any]:
    """What a pod states to have volumes at paths: a mount is named for its volume."""
    own = [{"name": name, **(at if isinstance(at, dict) else {"mountPath": at})} for name, at in mounts.items()]
    return {"volumes": list(volumes), "container": {"volumeMounts": own}}


def test_volumes_are_folders_that_hold_what_they_hold_in_containers(c: windlass.Cluster) -> None:
    seen: dict[str, str] = {}

    @c.image("reader")
    def reader(ctx: Context) -> None:
        assert set(ctx.volumes) >= {"settings", "keys", "me", "all", "scratch"}
        for path in ("/etc/settings/colour", "/etc/keys/renamed", "/etc/me/labels", "/etc/all/colour", "/etc/all/deep/pw", "/etc/all/name"):
            seen[path] = ctx.path(path).read_text()
        seen["mode"] = oct(ctx.path("/etc/keys/renamed").stat().st_mode & 0o777)
        (ctx.volumes["scratch"] / "note").write_text("written")
        seen["scratch"] = ctx.path("/scratch/note").read_text()
        seen["token"] = ctx.path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
        with pytest.raises(FileNotFoundError, match="nothing is mounted there in container 'main'"):
            ctx.path("/usr/bin/env")

    c.apply([ConfigMap("settings", {"colour": "blue"}), Secret("keys", {"pw": "s3cret"})])
    name = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
    stated = mounted(
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys", "items": [{"key": "pw", "path": "renamed", "mode": 0o400}]}},
        {"name": "me", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"configMap": {"name": "settings"}},
                    {"secret": {"name": "keys", "items": [{"key": "pw", "path": "deep/pw"}]}},
                    {"downwardAPI": {"items": [name]}},
                ]
            },
        },
        {"name": "scratch", "emptyDir": {}},
        settings="/etc/settings",
        keys="/etc/keys",
        me="/etc/me",
        all="/etc/all",
        scratch="/scratch",
    )
    ended = run(c, "reader", **stated)
    assert ended.status.phase == "Succeeded", c.logs("pod/p")
    assert seen == {
        "/etc/settings/colour": "blue",
        "/etc/keys/renamed": "s3cret",
        "/etc/me/labels": 'a="b"',
        "/etc/all/colour": "blue",
        "/etc/all/deep/pw": "s3cret",
        "/etc/all/name": "p",
        "mode": "0o400",
        "scratch": "written",
        "token": "default",
    }


def test_a_part_of_a_volume_is_mounted_alone(v: windlass.Cluster) -> None:
    seen: list[str] = []

    @v.image("reader")
    def reader(ctx: Context) -> None:
        seen.append(ctx.path("/etc/app.conf").read_text())
        ctx.path("/data/f").write_text("x")
        seen.extend(sorted(one.name for one in ctx.volumes["data"].iterdir()))

    v.apply(ConfigMap("settings", {"app.conf": "a = 1"}))
    stated = mounted(
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "data", "emptyDir": {}},
        settings={"mountPath": "/etc/app.conf", "subPath": "app.conf"},
        data={"mountPath": "/data", "subPathExpr": "of-$(ME)"},
    )
    stated["container"]["env"] = [{"name": "ME", "value": "me"}]
    assert run(v, "reader", **stated).status.phase == "Succeeded", v.logs("pod/p")
    assert seen == ["a = 1", "of-me"]


def test_containers_share_an_empty_dir_that_outlives_their_restarts_and_goes_with_the_pod(c: windlass.Cluster) -> None:
    folders: list[Path] = []
    gone = threading.Event()

    @c.image("first")
    def first(ctx: Context) -> None:
        ctx.path("/shared/log").write_text("init\n")

    @c.image("main", ready=False)
    def main(ctx: Context) -> int:
        folders.append(ctx.volumes["shared"])
        with ctx.path("/shared/log").open("a") as log:
            log.write(f"run {ctx.restarts}\n")
        if ctx.restarts < 1:
            return 1
        print(ctx.path("/shared/log").read_text(), end="")
        ctx.ready()
        ctx.wait_stopping()
        gone.set()
        return 0

    stated = mounted({"name": "shared", "emptyDir": {"medium": "Memory"}}, shared="/shared")
    init = {"name": "init", "image": "first", "volumeMounts": stated["container"]["volumeMounts"]}
    c.apply(pod("main", restartPolicy="Always", initContainers=[init], **stated))
    c.wait("pod/p", "Ready", timeout="1m")
    assert c.logs("pod/p") == "init\nrun 0\nrun 1\n"
    c.delete("pod/p")
    assert gone.is_set() and len(set(folders)) == 1 and not folders[0].exists()


def test_a_volume_shows_what_its_object_becomes(c: windlass.Cluster) -> None:
    @c.image("reader", ready=False)
    async def reader(ctx: AsyncContext) -> None:
        await ctx.cluster.apply(ConfigMap("seen", {"colour": ctx.path("/etc/settings/colour").read_text()}))
        ctx.ready()
        while ctx.path("/etc/settings/colour").read_text() != "red":
            await ctx.sleep(0.02)
        await ctx.cluster.apply(ConfigMap("seen", {"colour": "red"}))

    c.apply(ConfigMap("settings", {"colour": "blue"}))
    c.apply(pod("reader", **mounted({"name": "settings", "configMap": {"name": "settings"}}, settings="/etc/settings")))
    c.wait("pod/p", "Ready", timeout="1m")
    assert c.get("cm/seen").data.colour == "blue"
    c.apply(ConfigMap("settings", {"colour": "red"}))
    c.wait("cm/seen", lambda one: one.data.colour == "red", timeout="1m")


def test_a_pod_waits_for_what_its_volumes_show(c: windlass.Cluster) -> None:
    c.image("reader")(lambda ctx: print(ctx.path("/etc/late/k").read_text()))
    made = c.apply(pod("reader", **mounted({"name": "late", "configMap": {"name": "late"}}, late="/etc/late")))
    failed = told(c, made, "FailedMount")
    assert failed.message == 'MountVolume.SetUp failed for volume "late" : configmap "late" not found'
    assert c.get("pod/p").status.phase == "Pending"
    c.apply(ConfigMap("late", {"k": "v"}))
    c.wait("pod/p", lambda one: one.status.phase == "Succeeded", timeout="1m")
    assert c.logs("pod/p") == "v\n"


def with_volume(c: windlass.Cluster, claim: str) -> None:
    """A claim, and a volume that it is bound to."""
    asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand"}
    volume = {**asked, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/var/lib/volume"}}
    c.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": claim}, "spec": volume})
    own = {**asked, "resources": {"requests": {"storage": "1Gi"}}}
    c.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim}, "spec": own})
    c.wait(f"pvc/{claim}", lambda one: one.status.phase == "Bound", timeout="1m")


def test_what_is_claimed_or_the_nodes_own_outlives_pods(v: windlass.Cluster) -> None:
    @v.image("counts")
    def counts(ctx: Context) -> None:
        for name in ("claimed", "host"):
            count = ctx.volumes[name] / "count"
            count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))
            print(name, count.read_text())

    stated = mounted(
        {"name": "claimed", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "host", "hostPath": {"path": "/var/lib/counts", "type": "DirectoryOrCreate"}},
        claimed="/data",
        host="/host",
    )
    with_volume(v, "data")
    for at in (1, 2):
        run(v, "counts", **stated)
        assert v.logs("pod/p") == f"claimed {at}\nhost {at}\n"
        v.delete("pod/p")
    assert not Path("/var/lib/counts").exists(), "the machine's own files are let alone"


def test_a_fork_has_a_copy_of_the_volumes(v: windlass.Cluster) -> None:
    @v.image("counts")
    def counts(ctx: Context) -> None:
        with ctx.path("/shared/log").open("a") as log:
            log.write(f"run {ctx.restarts}\n")
        print(ctx.path("/shared/log").read_text(), end="")
        ctx.wait_stopping()

    v.apply(pod("counts", restartPolicy="Always", **mounted({"name": "shared", "emptyDir": {}}, shared="/shared")))
    v.wait("pod/p", "Ready")
    with v.fork() as fork:
        fork.run_for("1m")
        assert fork.logs("pod/p") == "run 0\nrun 1\n"
    v.run_for("1m")
    assert v.logs("pod/p") == "run 0\n"


def test_volumes_go_with_the_cluster() -> None:
    folders: list[Path] = []
    with windlass.Cluster(clock="virtual", seed=1) as c:
        c.image("keeps")(lambda ctx: folders.append(ctx.volumes["shared"]) or ctx.wait_stopping())
        c.apply(pod("keeps", **mounted({"name": "shared", "emptyDir": {}}, shared="/shared")))
        c.wait("pod/p", "Ready")
        c.run_for("1s")
        assert folders[0].is_dir()
    assert not folders[0].exists()


def healthy(ctx: Context, state: dict[str, int], port: int = 8080) -> None:
    """Serves what probes ask for."""
    ctx.serve(port, lambda request: (state[request.path], "said"))


def test_a_readiness_probe_asks_what_the_function_serves(v: windlass.Cluster) -> None:
    state = {"/ready": 503}
    asked: list[Request] = []

    @v.image("server")
    def server(ctx: Context) -> None:
        def answer(request: Request) -> tuple[int, str]:
            asked.append(request)
            return state[request.path], "said"

        ctx.serve(8080, answer)
        ctx.wait_stopping()

    headers = [{"name": "X-Probe", "value": "yes"}]
    probe = {"httpGet": {"path": "/ready", "port": "web", "httpHeaders": headers}, "periodSeconds": 5}
    v.apply(pod("server", container={"ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": probe}))
    v.run_for("12s")
    one = v.get("pod/p")
    assert one.condition("Ready")["status"] == "False" and one.status.containerStatuses[0].started  # type: ignore[index]
    assert asked[0].headers["x-probe"] == "yes" and asked[0].headers["user-agent"].startswith("kube-probe/")
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in told(v, one, "Unhealthy").message
    state["/ready"] = 200
    v.wait("pod/p", "Ready", timeout="6s")
    state["/ready"] = 500
    v.wait("pod/p", "Ready=False", timeout="20s")


def test_a_port_that_nobody_serves_is_not_ready(v: windlass.Cluster) -> None:
    v.image("mute")(lambda ctx: ctx.wait_stopping())
    made = v.apply(pod("mute", container={"readinessProbe": {"tcpSocket": {"port": 80}}}))
    assert "connection refused" in told(v, made, "Unhealthy").message
    assert v.wait("pod/p", "Ready=False").status.phase == "Running"


def test_a_probe_and_the_function_have_to_agree(v: windlass.Cluster) -> None:
    @v.image("slow", ready=False)
    def slow(ctx: Context) -> None:
        healthy(ctx, {"/": 200}, 80)
        ctx.sleep("30s")
        ctx.ready()
        ctx.wait_stopping()

    v.apply(pod("slow", container={"readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1}}))
    v.run_for("20s")
    assert v.get("pod/p").condition("Ready")["status"] == "False"  # type: ignore[index]
    v.wait("pod/p", "Ready", timeout="15s")


def test_a_container_that_is_not_alive_is_started_again(c: windlass.Cluster) -> None:
    ends: list[str] = []

    @c.image("wedged")
    def wedged(ctx: Context) -> int:
        healthy(ctx, {"/alive": 200 if ctx.restarts else 500})
        ctx.wait_stopping()
        ends.append("heard")
        return 9

    probe = {"httpGet": {"path": "/alive", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    made = c.apply(pod("wedged", restartPolicy="Always", container={"livenessProbe": probe}))
    again = c.wait("pod/p", lambda one: one.at("status.containerStatuses[0].restartCount", 0) > 0, timeout="1m")
    assert "heard" in ends and again.status.containerStatuses[0].lastState.terminated.exitCode == 9
    assert told(c, made, "Killing").message == "Container main failed liveness probe, will be restarted"


def test_a_container_that_does_not_hear_is_killed_after_the_probes_grace(v: windlass.Cluster) -> None:
    @v.image("deaf")
    def deaf(ctx: Context) -> None:
        while True:
            ctx.sleep("1s")

    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 7}
    v.apply(pod("deaf", restartPolicy="Always", container={"livenessProbe": probe}))
    again = v.wait("pod/p", lambda one: one.at("status.containerStatuses[0].restartCount") == 1, timeout="1m")
    ended = again.status.containerStatuses[0].lastState.terminated
    assert ended.exitCode == 137 and seconds(ended.finishedAt) - seconds(ended.startedAt) in (7, 8)


def seconds(time: str) -> int:
    hours, minutes, rest = time.rstrip("Z").partition("T")[2].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(float(rest))


def test_other_probes_wait_until_a_container_has_started(v: windlass.Cluster) -> None:
    @v.image("slow")
    def slow(ctx: Context) -> None:
        state = {"/started": 500, "/alive": 500}
        healthy(ctx, state)
        ctx.sleep("30s")
        state.update({"/started": 200, "/alive": 200})
        ctx.wait_stopping()

    def get(path: str, **more: Any) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 2, **more}

    probes = {"startupProbe": get("/started", failureThreshold=30), "livenessProbe": get("/alive", failureThreshold=1)}
    v.apply(pod("slow", container=probes))
    v.run_for("20s")
    status = v.get("pod/p").status.containerStatuses[0]
    assert (status.started, status.ready) == (False, False)
    v.wait("pod/p", "Ready", timeout="15s")
    v.run_for("1m")
    status = v.get("pod/p").status.containerStatuses[0]
    assert (status.started, status.restartCount) == (True, 0)


def test_a_container_that_never_starts_is_started_again(v: windlass.Cluster) -> None:
    v.image("never")(lambda ctx: ctx.wait_stopping())
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 3}
    made = v.apply(pod("never", restartPolicy="Always", container={"startupProbe": probe}))
    v.wait("pod/p", lambda one: one.at("status.containerStatuses[0].restartCount") == 1, timeout="1m")
    assert "failed startup probe" in told(v, made, "Killing").message


def test_commands_are_the_functions_or_what_every_container_knows(c: windlass.Cluster) -> None:
    @c.image("has-commands", ready=False)
    async def has_commands(ctx: AsyncContext) -> None:
        def carry_out(command: list[str]) -> object:
            if command[0] == "pg_isready":
                return 0
            if command[0] == "version":
                return "16.1\n"
            if command[0] == "broken":
                raise ValueError("no")
            return (3, "three\n") if command[0] == "three" else None

        ctx.carry_out(carry_out)
        ctx.ready()
        await ctx.wait_stopping()

    c.apply(ConfigMap("settings", {"colour": "blue"}))
    stated = mounted({"name": "settings", "configMap": {"name": "settings"}}, settings="/etc/settings")
    stated["container"]["readinessProbe"] = {"exec": {"command": ["pg_isready", "-U", "me"]}, "periodSeconds": 1}
    c.apply(pod("has-commands", **stated))
    c.wait("pod/p", "Ready", timeout="1m")
    assert c.exec("pod/p", ["version"]).stdout == "16.1\n"
    assert c.exec("pod/p", ["three"])[:2] == (3, b"three\n")
    assert c.exec("pod/p", ["echo", "a"]).stdout == "a\n"
    assert c.exec("pod/p", "cat /etc/settings/colour").stdout == "blue"
    assert c.exec("pod/p", ["ls", "/etc/settings"]).stdout == "colour\n"
    assert c.exec("pod/p", ["nope"]).exit_code == 127
    broken = c.exec("pod/p", ["broken"])
    assert (broken.exit_code, broken.stdout) == (1, "ValueError: no\n") and "Traceback" in c.logs("pod/p")


def test_hooks_are_asked_after_the_start_and_before_the_end(v: windlass.Cluster) -> None:
    heard: list[str] = []

    @v.image("hooked")
    def hooked(ctx: Context) -> None:
        ctx.carry_out(lambda command: heard.append(" ".join(command)) or 0)
        ctx.wait_stopping()
        heard.append("told to end")

    lifecycle = {"postStart": {"exec": {"command": ["begin", "now"]}}, "preStop": {"exec": {"command": ["end", "now"]}}}
    v.apply(pod("hooked", container={"lifecycle": lifecycle}))
    v.wait("pod/p", "Ready")
    v.run_for("1s")
    v.delete("pod/p")
    # A function may not have begun when the first hook is asked, as in any container.
    assert heard[-2:] == ["end now", "told to end"]


def test_a_hook_that_fails_after_the_start_ends_the_container(v: windlass.Cluster) -> None:
    v.image("hooked")(lambda ctx: ctx.wait_stopping())
    lifecycle = {"postStart": {"exec": {"command": ["false"]}}}
    made = v.apply(pod("hooked", restartPolicy="Always", container={"lifecycle": lifecycle}))
    assert "PostStartHook failed" in told(v, made, "FailedPostStartHook").message
    v.wait("pod/p", lambda one: one.at("status.containerStatuses[0].restartCount", 0) >= 1, timeout="1m")


def test_init_containers_that_stay_begin_before_and_end_behind_the_others(c: windlass.Cluster) -> None:
    order: list[str] = []

    def named(ctx: Context) -> None:
        name = ctx.container.name
        order.append(f"{name} begins")
        if name == "init" or name == "main":
            order.append(f"{name} ends")
            return
        healthy(ctx, {"/": 200})
        ctx.wait_stopping()
        order.append(f"{name} ends")

    c.image("named")(named)
    stays = {"image": "named", "restartPolicy": "Always"}
    started = {"startupProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}
    init = [{"name": "proxy", **stays, **started}, {"name": "init", "image": "named"}, {"name": "agent", **stays}]
    ended = run(c, "named", initContainers=init)
    assert ended.status.phase == "Succeeded"
    begins = [one.partition(" ")[0] for one in order if one.endswith("begins")]
    # The last but one need not have got far when its follower begins: it is waited for until it runs.
    assert begins[:2] == ["proxy", "init"] and set(begins) == {"proxy", "init", "agent", "main"}
    assert order.index("init ends") > order.index("proxy begins")
    assert [one for one in order if one in ("main ends", "agent ends", "proxy ends")] == ["main ends", "agent ends", "proxy ends"]
    codes = {own.name: own.state.terminated.exitCode for own in ended.status.initContainerStatuses}
    assert codes == {"proxy": 0, "init": 0, "agent": 0}


def test_a_sidecar_that_fails_is_started_again_and_a_pod_is_ready_with_it(v: windlass.Cluster) -> None:
    @v.image("proxy", ready=False)
    def proxy(ctx: Context) -> int:
        if not ctx.restarts:
            ctx.sleep("5s")
            return 1
        ctx.sleep("20s")
        ctx.ready()
        ctx.wait_stopping()
        return 0

    v.image("main")(lambda ctx: ctx.wait_stopping())
    v.apply(pod("main", initContainers=[{"name": "proxy", "image": "proxy", "restartPolicy": "Always"}]))
    v.run_for("10s")
    one = v.get("pod/p")
    assert one.status.phase == "Running" and one.status.initContainerStatuses[0].restartCount == 1
    assert one.condition("Initialized")["status"] == "True" and one.condition("Ready")["status"] == "False"  # type: ignore[index]
    v.wait("pod/p", "Ready", timeout="30s")


def test_a_job_ends_although_its_sidecar_would_go_on(v: windlass.Cluster) -> None:
    v.image("work")(lambda ctx: ctx.sleep("10s"))
    v.image("logs")(lambda ctx: ctx.wait_stopping())
    sidecar = {"name": "logs", "image": "logs", "restartPolicy": "Always"}
    v.apply(windlass.Job("j", "work", pod={"initContainers": [sidecar]}))
    v.wait("job/j", "Complete", timeout="2m")
    assert v.list("pods", selector="job-name=j")[0].status.phase == "Succeeded"


def test_one_seed_is_one_history_with_volumes_and_probes() -> None:
    def live() -> str:
        with windlass.Cluster(clock="virtual", seed=11) as c:
            c.image("server")(lambda ctx: healthy(ctx, {"/": 200}) or ctx.wait_stopping())
            c.apply(ConfigMap("settings", {"colour": "blue"}))
            stated = mounted({"name": "settings", "configMap": {"name": "settings"}}, settings="/etc/settings")
            stated["container"]["livenessProbe"] = {"httpGet": {"port": 8080}, "periodSeconds": 1}
            c.apply(pod("server", **stated))
            c.run_for("2m")
            assert c.get("pod/p").condition("Ready")["status"] == "True"  # type: ignore[index]
            return c.fingerprint()

    assert live() == live()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_leaves_the_volumes_to_its_parent(v: windlass.Cluster) -> None:
    folders: list[Path] = []
    v.image("keeps")(lambda ctx: folders.append(ctx.volumes["shared"]) or ctx.wait_stopping())
    v.apply(pod("keeps", **mounted({"name": "shared", "emptyDir": {}}, shared="/shared")))
    v.wait("pod/p", "Ready")
    v.run_for("1s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        v.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert folders[0].is_dir()
