"""Functions as pods: exit codes, logs, readiness, crash loops, signals, environments, on both clocks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import windlass
from awaited import pod, run
from windlass import AsyncContext, Context, Request


@pytest.fixture(params=["real", "virtual"])
def c(request: pytest.FixtureRequest) -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=1, clock=request.param) as cluster:
        yield cluster


@pytest.fixture
def v() -> Iterator[windlass.Cluster]:
    with windlass.Cluster(nodes=1, clock="virtual", seed=5) as cluster:
        yield cluster


def code(one: windlass.Object) -> int:
    return int(one.status.containerStatuses[0].state.terminated.exitCode)


def plain(ctx: Context) -> int:
    print("hello from", ctx.name)
    ctx.log("args", ctx.args)
    return 3


async def awaits(ctx: AsyncContext) -> int:
    print("hello from", ctx.name)
    await ctx.sleep(0.01)
    ctx.log("args", ctx.args)
    return 3


def steps(ctx: AsyncContext) -> Generator[Any, None, int]:
    print("hello from", ctx.name)
    yield 0.01
    ctx.log("args", ctx.args)
    return 3


@pytest.mark.parametrize("function", [plain, awaits, steps])
def test_a_function_of_each_sort_runs_as_a_pod(c: windlass.Cluster, function: Any) -> None:
    c.image("worker:v1")(function)
    ended = run(c, "worker:v1", container={"args": ["x", "y"]})
    assert (ended.status.phase, code(ended)) == ("Failed", 3)
    assert c.logs("pod/p") == "hello from p\nargs ['x', 'y']\n"


def ends_well() -> None:
    pass


def exits(ctx: Context) -> None:
    sys.exit(4)


def exits_with_words(ctx: Context) -> None:
    sys.exit("no more")


def raises(ctx: Context) -> None:
    raise ValueError("broken")


async def raises_later(ctx: AsyncContext) -> None:
    await ctx.sleep(0.01)
    raise ValueError("broken")


def returns_a_text(ctx: Context) -> str:
    return "x"


@pytest.mark.parametrize(
    ("function", "phase", "exit_code", "said"),
    [
        (ends_well, "Succeeded", 0, ""),
        (exits, "Failed", 4, ""),
        (exits_with_words, "Failed", 1, "no more\n"),
        (raises, "Failed", 1, "ValueError: broken\n"),
        (raises_later, "Failed", 1, "ValueError: broken\n"),
        (returns_a_text, "Failed", 1, "not 'x'\n"),
    ],
)
def test_the_end_of_a_function_is_the_exit_code(
    v: windlass.Cluster, function: Any, phase: str, exit_code: int, said: str
) -> None:
    v.image("worker")(function)
    ended = run(v, "worker:latest")
    assert (ended.status.phase, code(ended)) == (phase, exit_code)
    assert v.logs("pod/p").endswith(said)
    assert ("Traceback" in v.logs("pod/p")) == (function in (raises, raises_later))


def test_a_function_that_fails_is_run_again_with_back_off(v: windlass.Cluster) -> None:
    began: list[str] = []

    @v.image("worker")
    def worker(ctx: Context) -> int:
        began.append(v_now(ctx))
        print("run", ctx.restarts)
        return 1

    def v_now(ctx: Context) -> str:
        return ctx.cluster.now()

    v.apply(pod("worker", restartPolicy="Always"))
    v.run_for("1m")
    seconds = [int(float(one.rstrip("Z").split(":")[-1])) + 60 * int(one.split(":")[1]) for one in began]
    pauses = [later - before for before, later in zip(seconds, seconds[1:])]
    assert pauses == [0, 10, 20]
    status = v.get("pod/p").status.containerStatuses[0]
    assert status.restartCount == 3 and status.state.waiting.reason == "CrashLoopBackOff"
    assert "back-off 40s restarting failed container=main pod=p_default(" in status.state.waiting.message
    assert status.lastState.terminated.exitCode == 1
    assert (v.logs("pod/p"), v.logs("pod/p", previous=True)) == ("run 3\n", "run 2\n")


def test_a_container_is_ready_when_its_function_says_so(v: windlass.Cluster) -> None:
    @v.image("slow", ready=False)
    async def slow(ctx: AsyncContext) -> None:
        await ctx.sleep("30s")
        ctx.ready()
        await ctx.sleep("30s")
        ctx.ready(False)
        await ctx.wait_stopping()

    v.apply(pod("slow"))
    v.run_for("10s")
    assert v.get("pod/p").condition("Ready")["status"] == "False"  # type: ignore[index]
    v.wait("pod/p", "Ready", timeout="25s")
    v.wait("pod/p", "Ready=False", timeout="35s")


def test_a_function_hears_of_the_end_and_may_take_its_time(c: windlass.Cluster) -> None:
    heard = threading.Event()

    @c.image("polite", ready=False)
    def polite(ctx: Context) -> int:
        assert ctx.wait_stopping(timeout=0.01) is False
        ctx.ready()
        ctx.wait_stopping()
        assert ctx.stopping
        heard.set()
        return 7

    c.apply(pod("polite"))
    c.wait("pod/p", "Ready")
    c.delete("pod/p", grace_period=20)
    assert heard.is_set() and not c.exists("pod/p")


@pytest.mark.parametrize("sort", ["plain", "async", "busy"])
def test_a_function_that_never_ends_is_killed_after_its_grace_period(c: windlass.Cluster, sort: str) -> None:
    ended = threading.Event()
    if sort == "busy" and c.seed is not None:
        pytest.skip("what never waits stands in virtual time's way, until Ctrl-C")

    def stubborn(ctx: Context) -> None:
        try:
            while True:
                if sort == "plain":
                    ctx.sleep(0.05)
        finally:
            ended.set()

    async def stubborn_too(ctx: AsyncContext) -> None:
        try:
            while True:
                await ctx.sleep(0.05)
        finally:
            ended.set()

    c.image("stubborn")(stubborn_too if sort == "async" else stubborn)
    c.apply(pod("stubborn"))
    c.wait("pod/p", "Ready")
    c.delete("pod/p", grace_period=1)
    if c.seed is not None:
        # Whoever was killed has a turn of its own to notice.
        c.run_for("1s")
    assert ended.wait(60)


def test_a_function_that_computes_for_ever_holds_virtual_time_until_ctrl_c(v: windlass.Cluster) -> None:
    begun = threading.Event()

    @v.image("busy")
    def busy(ctx: Context) -> None:
        begun.set()
        while True:
            pass

    def interrupt() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    v.apply(pod("busy"))
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        v.run_for("1h")
    thread.join()
    # It was killed, and the cluster goes on.
    assert code(v.wait("pod/p", lambda one: one.status.phase == "Failed", timeout="1m")) == 137


def test_the_environment_is_that_of_the_spec(v: windlass.Cluster) -> None:
    seen: dict[str, str] = {}

    @v.image("worker")
    def worker(ctx: Context) -> None:
        seen.update(ctx.env)

    v.apply(windlass.ConfigMap("settings", {"colour": "blue"}))
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2"},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
    ]
    run(v, "worker", container={"env": env})
    assert seen == {"A": "1", "B": "12", "ME": "p", "NODE": "node-1", "COLOUR": "blue"}


def test_a_container_whose_environment_cannot_be_made_waits_for_it(v: windlass.Cluster) -> None:
    v.image("worker")(lambda: None)
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]
    v.apply(pod("worker", container={"env": env}))
    v.run_for("5s")
    waiting = v.get("pod/p").status.containerStatuses[0].state.waiting
    assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", 'configmap "late" not found')
    v.apply(windlass.ConfigMap("late", {"k": "v"}))
    v.wait("pod/p", lambda one: one.status.phase == "Succeeded", timeout="1m")


def test_functions_ask_their_cluster(c: windlass.Cluster) -> None:
    @c.image("plain")
    def plain_one(ctx: Context) -> None:
        ctx.cluster.create(windlass.ConfigMap("by-plain", {"pod": ctx.cluster.get("pod/p").name}))

    @c.image("async")
    async def async_one(ctx: AsyncContext) -> None:
        await ctx.cluster.wait("cm/by-plain", "created")
        await ctx.cluster.create(windlass.ConfigMap("by-async", {}))

    run(c, "plain")
    c.delete("pod/p")
    run(c, "async")
    assert c.get("cm/by-plain").data.pod == "p" and c.exists("cm/by-async")


def test_init_containers_come_first_and_a_job_counts_its_functions(v: windlass.Cluster) -> None:
    order: list[str] = []

    @v.image("first")
    def first(ctx: Context) -> None:
        order.append(ctx.container.name)

    @v.image("work")
    def work(ctx: Context) -> int:
        order.append(ctx.container.name)
        return 0 if ctx.restarts else 1

    ended = run(v, "work", initContainers=[{"name": "init", "image": "first"}], restartPolicy="OnFailure")
    assert order == ["init", "main", "main"]
    assert ended.status.phase == "Succeeded" and ended.status.containerStatuses[0].restartCount == 1


def test_functions_begin_anew_in_a_fork(v: windlass.Cluster) -> None:
    @v.image("worker")
    def worker(ctx: Context) -> None:
        ctx.log("run", ctx.restarts, "of", ctx.cluster.get("pod/p").uid == ctx.pod.uid)
        ctx.wait_stopping()

    v.apply(pod("worker", restartPolicy="Always"))
    v.wait("pod/p", "Ready")
    with v.fork() as fork:
        fork.run_for("1m")
        assert fork.get("pod/p").status.containerStatuses[0].restartCount == 1
        assert fork.logs("pod/p") == "run 1 of True\n"
    assert v.get("pod/p").status.containerStatuses[0].restartCount == 0


def test_the_log_of_a_function_is_followed_to_its_end(c: windlass.Cluster) -> None:
    @c.image("worker")
    async def worker(ctx: AsyncContext) -> None:
        for at in range(3):
            print(at)
            await ctx.sleep(0.02)

    c.apply(pod("worker"))
    c.wait("pod/p", lambda one: one.at("status.phase") != "Pending")
    assert list(c.logs("pod/p", follow=True)) == ["0", "1", "2"]


def test_what_a_coroutine_cannot_await_is_said(v: windlass.Cluster) -> None:
    import asyncio

    @v.image("worker")
    async def worker(ctx: AsyncContext) -> None:
        await asyncio.sleep(1)

    run(v, "worker")
    assert "event loop" in v.logs("pod/p")
    with pytest.raises(TypeError, match="async generator"):

        @v.image("other")
        async def other(ctx: AsyncContext) -> Any:
            yield 1


def test_a_cluster_closes_with_functions_that_run() -> None:
    c = windlass.Cluster(nodes=1)
    c.image("worker")(lambda ctx: ctx.sleep("1h"))
    c.apply(pod("worker"))
    c.wait("pod/p", "Ready")
    c.close()
    with pytest.raises(windlass.ClosedError):
        c.get("pod/p")


def test_a_function_serves_a_port(c: windlass.Cluster) -> None:
    @c.image("server", ready=False)
    async def server(ctx: AsyncContext) -> None:
        def answer(request: Request) -> object:
            print("asked for", request.path)
            if request.path == "/broken":
                raise ValueError("no")
            if request.method == "POST":
                return 201, request.body.upper()
            return {"path": request.path, "pod": ctx.name}

        ctx.serve(8080, answer)
        ctx.ready()
        await ctx.wait_stopping()

    c.apply(pod("server"))
    c.apply(windlass.Service("web", ports=[(80, 8080)], selector={"a": "b"}))
    c.wait("pod/p", "Ready")
    answered = c.request("pod/p", 8080, "/x?y=z")
    assert (answered.status, answered.json()) == (200, {"path": "/x?y=z", "pod": "p"})
    assert c.request("service/web", 80, method="POST", body="abc").text == "ABC"
    broken = c.request("pod/p", 8080, "/broken")
    assert broken.status == 500 and "ValueError: no" in broken.text
    assert "asked for /x?y=z\n" in c.logs("pod/p") and "Traceback" in c.logs("pod/p")
    with pytest.raises(windlass.UnavailableError, match="connection refused"):
        c.request("pod/p", 9090)
