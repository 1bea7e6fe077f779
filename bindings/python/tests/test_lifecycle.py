"""Closing, forking, threads, signals, and interpreters that end with clusters open."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

import windlass
from windlass import ConfigMap


def test_everything_raises_after_the_close_and_closing_again_does_nothing() -> None:
    c = windlass.Cluster()
    watch = c.watch("cm")
    c.close()
    c.close()
    for call in (
        lambda: c.get("cm/a"),
        lambda: c.apply(ConfigMap("a", {})),
        lambda: c.list("pods"),
        lambda: next(watch),
        lambda: c.kubeconfig(),
        lambda: c.wait("cm/a", "created"),
    ):
        with pytest.raises(windlass.ClosedError, match="the cluster is closed"):
            call()


def test_a_call_of_another_thread_ends_with_the_cluster() -> None:
    c = windlass.Cluster()
    caught: list[BaseException] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        try:
            c.wait("cm/never", "created", timeout="1h")
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    c.close()
    thread.join()
    assert isinstance(caught[0], windlass.ClosedError)


def test_a_watch_that_is_waited_for_can_be_closed(c: windlass.Cluster) -> None:
    watch = c.watch("cm", fields="metadata.name=never")
    begun = threading.Event()
    seen: list[object] = []

    def wait() -> None:
        begun.set()
        seen.extend(watch)
        seen.append("ended")

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    watch.close()
    thread.join()
    assert seen == ["ended"]


def test_a_part_of_a_cluster_keeps_it_alive() -> None:
    part = windlass.Cluster().in_namespace("default")
    gc.collect()
    part.apply(windlass.Deployment("web", image="nginx"))
    assert part.wait("deployment/web", "Available").name == "web"


def test_threads_share_a_cluster(c: windlass.Cluster) -> None:
    def create(at: int) -> None:
        for number in range(50):
            c.create(ConfigMap(f"n{at}-{number}", {}, labels={"by": "threads"}))

    threads = [threading.Thread(target=create, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(c.list("cm", selector="by=threads")) == 400


def test_other_threads_run_while_one_waits(c: windlass.Cluster) -> None:
    begun = threading.Event()

    def create() -> None:
        begun.wait()
        c.create(ConfigMap("a", {}))

    thread = threading.Thread(target=create)
    thread.start()
    begun.set()
    # Only the other thread can end this wait.
    assert c.wait("cm/a", "created", timeout="1m").name == "a"
    thread.join()


def test_ctrl_c_ends_a_wait_and_leaves_the_cluster_usable(c: windlass.Cluster) -> None:
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        begun.set()
        c.wait("cm/never", "created", timeout="1h")
    thread.join()
    assert c.create(ConfigMap("a", {})).name == "a"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_refused_and_may_have_its_own(c: windlass.Cluster) -> None:
    c.create(ConfigMap("a", {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            c.get("cm/a")
        except windlass.ForkedError:
            c.close()
            with windlass.Cluster() as own:
                code = 2 if own.exists("cm/a") else 42
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42
    assert c.get("cm/a").name == "a"


ENDINGS = {
    "open": "c = windlass.Cluster()\n",
    "open for asyncio": "c = windlass.aio.Cluster()\nasyncio.run(c.start())\n",
    "waited for by a daemon": (
        "c = windlass.Cluster()\n"
        "begun = threading.Event()\n"
        "def wait():\n"
        "    begun.set()\n"
        "    c.wait('cm/never', 'created', timeout='1h')\n"
        "threading.excepthook = lambda args: None\n"
        "threading.Thread(target=wait, daemon=True).start()\n"
        "begun.wait()\n"
    ),
    "a watch half read": "c = windlass.Cluster()\nw = c.watch('cm', namespace='*')\nnext(w)\n",
    "a function that runs": (
        "c = windlass.Cluster()\n"
        "c.image('worker')(lambda ctx: ctx.sleep('1h'))\n"
        "c.apply(windlass.Pod('p', 'worker'))\n"
        "c.wait('pod/p', 'Ready')\n"
    ),
    "a function that never ends": (
        "c, begun = windlass.Cluster(), threading.Event()\n"
        "@c.image('worker')\n"
        "def worker(ctx):\n"
        "    begun.set()\n"
        "    while True: pass\n"
        "c.apply(windlass.Pod('p', 'worker'))\n"
        "begun.wait()\n"
    ),
    "virtual time at rest": (
        "c = windlass.Cluster(clock='virtual')\n"
        "c.image('worker')(lambda ctx: ctx.sleep('1h'))\n"
        "c.apply(windlass.Pod('p', 'worker'))\n"
        "c.run_for('1m')\n"
    ),
    "in a cycle": "class A: pass\na = A()\na.c = windlass.Cluster()\na.a = a\ndel a\ngc.collect()\n",
    "an error": "c = windlass.Cluster()\nsys.exit(3)\n",
}


@pytest.mark.parametrize("how", ENDINGS)
def test_an_interpreter_ends_with_clusters_open(how: str, tmp_path: Path) -> None:
    script = "import asyncio, gc, sys, threading, windlass, windlass.aio\n" + ENDINGS[how] + "print('done')\n"
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (3 if how == "an error" else 0, "")
    assert ended.stdout == ("" if how == "an error" else "done\n")


def test_a_cluster_that_nobody_holds_ends() -> None:
    before = threads_of_the_process()
    for _ in range(5):
        windlass.Cluster()
    with windlass.Cluster():
        pass
    # Whoever was dropped ends in the background; none may be left for good.
    with windlass.Cluster() as c:
        for _ in range(1200):
            if threads_of_the_process() <= before + 8:
                return
            c._calls.api.sleep(0.05).wait()
    pytest.fail("threads of clusters that nobody holds are left")


def threads_of_the_process() -> int:
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
