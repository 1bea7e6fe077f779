"""Every call exists for asyncio too, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import windlass
from windlass import ConfigMap, Deployment, Pod, aio


def test_the_interfaces_are_twins() -> None:
    for blocking, waiting in ((windlass.Client, aio.Client), (windlass.Cluster, aio.Cluster), (windlass.Connection, aio.Connection)):
        own = {name for name in dir(blocking) if not name.startswith("_")}
        twin = {name for name in dir(waiting) if not name.startswith("_")}
        assert own == twin - {"start"}
    for name, method in inspect.getmembers(windlass.Client, inspect.isfunction):
        if not name.startswith("_"):
            twin_method = getattr(aio.Client, name)
            assert inspect.signature(method).parameters == inspect.signature(twin_method).parameters, name


def test_a_whole_story() -> None:
    async def story() -> None:
        async with aio.Cluster(nodes=2) as c:
            await c.apply(Deployment("web", image="nginx", replicas=2))
            web = await c.wait("deployment/web", "Available", timeout="1m")
            assert web.status.availableReplicas == 2
            pods = await c.list("pods")
            assert (await c.get(pods[0])).name == pods[0].name
            assert await c.exists("deployment/web")
            assert await c.logs("deployment/web") == "main runs nginx\n"
            async with await c.logs("deployment/web", follow=True) as lines:
                assert await lines.__anext__() == "main runs nginx"
            assert (await c.exec("deployment/web", ["echo", "a"])).stdout == "a\n"
            assert await c.scale("deployment/web", 1) == 1
            await c.patch("deployment/web", {"metadata": {"labels": {"a": "b"}}})
            assert (await c.explain("deployment/web")).object.labels == {"a": "b"}
            about = "involvedObject.kind=Deployment,involvedObject.name=web"
            await c.wait_all("events", "created", fields=about)
            assert len(await c.events("deployment/web")) > 0
            await c.delete("deployment/web")
            await c.wait_all("pods", "deleted")
            made = await c.create(ConfigMap("a", {"k": "1"}))
            made.data.k = "2"
            await c.replace(made)
            await c.delete_all("cm", fields="metadata.name=a")
            assert not await c.exists("cm/a")

    asyncio.run(story())


def test_many_calls_wait_at_the_same_time() -> None:
    async def story() -> None:
        async with aio.Cluster() as c:
            waits = [asyncio.ensure_future(c.wait(f"cm/n{at}", "created", timeout="1m")) for at in range(200)]
            await asyncio.gather(*(c.create(ConfigMap(f"n{at}", {})) for at in range(200)))
            assert [one.name for one in await asyncio.gather(*waits)] == [f"n{at}" for at in range(200)]

    asyncio.run(story())


def test_a_watch_is_iterated_and_ends_in_time() -> None:
    async def story() -> None:
        # In virtual time, a tenth of a second is enough for whatever is there.
        async with aio.Cluster(clock="virtual", seed=7) as c:
            async with c.watch("cm", fields="metadata.name=a") as watch:
                await c.create(ConfigMap("a", {}))
                assert (await watch.__anext__()).type == "ADDED"
            assert [event.object.name async for event in c.watch("cm", fields="metadata.name=a", timeout=0.1)] == ["a"]

    asyncio.run(story())


def test_a_call_that_is_cancelled_is_given_up() -> None:
    async def story() -> None:
        async with aio.Cluster() as c:
            waiting = asyncio.ensure_future(c.wait("cm/never", "created", timeout="1h"))
            await c.list("cm")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not await c.exists("cm/never")

    asyncio.run(story())


def test_a_call_ends_with_the_cluster_and_none_begins_before_it() -> None:
    async def story() -> None:
        c = aio.Cluster()
        with pytest.raises(windlass.ClosedError, match="is not started"):
            await c.list("pods")
        await c.start()
        waiting = asyncio.ensure_future(c.wait("cm/never", "created", timeout="1h"))
        await c.list("cm")
        await c.close()
        with pytest.raises(windlass.ClosedError):
            await waiting
        with pytest.raises(windlass.ClosedError):
            await c.create(Pod("p", "x"))
        await c.close()

    asyncio.run(story())


def test_errors_are_the_same() -> None:
    async def story() -> None:
        async with aio.Cluster() as c:
            with pytest.raises(windlass.NotFoundError):
                await c.get("pod/none")
            with pytest.raises(windlass.TimedOutError, match="pod/none does not exist after 0.05s"):
                await c.wait("pod/none", "Ready", timeout=0.05)
            kubeconfig = await c.kubeconfig()
            assert "certificate-authority-data" in kubeconfig

    asyncio.run(story())


def test_calls_that_end_together_in_virtual_time_are_all_answered() -> None:
    async def story() -> None:
        async with aio.Cluster(clock="virtual", seed=7) as c:
            for _ in range(50):
                await asyncio.gather(*(c.get("ns/default") for _ in range(3)))

    asyncio.run(story())
