"""How users' code is typed. Read by the type checkers only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import windlass
from windlass import aio

if TYPE_CHECKING:
    from typing_extensions import assert_type

    def blocking(c: windlass.Cluster) -> None:
        assert_type(c.apply(windlass.Deployment("web", image="x")), windlass.Object)
        assert_type(c.apply({"apiVersion": "v1"}), windlass.Object)
        assert_type(c.apply("a.yaml"), windlass.ObjectList)
        assert_type(c.apply(Path("a.yaml")), windlass.ObjectList)
        assert_type(c.apply([windlass.Pod("p", "x"), Path("a.yaml")]), windlass.ObjectList)
        assert_type(c.get("pod/p"), windlass.Object)
        assert_type(c.list("pods")[0], windlass.Object)
        assert_type(c.list("pods")[1:], windlass.ObjectList)
        assert_type(c.wait("pod/p", "Ready"), windlass.Object)
        assert_type(c.logs("pod/p"), str)
        assert_type(c.logs("pod/p", follow=True), windlass.LogLines)
        assert_type(c.exec("pod/p", "true").exit_code, int)
        for event in c.watch("pods"):
            assert_type(event.type, str)
            assert_type(event.object, windlass.Object)
        assert_type(c.fork(), windlass.Cluster)
        assert_type(c.diff(c.fork())[0].changes[0].path, str)
        turn = c.explain("pod/p").turn
        assert turn is not None
        assert_type(turn.refusals[0].plugin, str)

        @c.image("worker:v1")
        def worker(ctx: windlass.Context) -> int:
            assert_type(ctx.cluster.get("pod/p"), windlass.Object)
            return 0

        @c.filter
        def fits(pod: windlass.PodView, node: windlass.NodeView) -> bool:
            return node.free("cpu") > pod.requests["cpu"]

        with windlass.connect() as there:
            assert_type(there, windlass.Connection)

    async def waiting(c: aio.Cluster) -> None:
        assert_type(await c.apply(windlass.Pod("p", "x")), windlass.Object)
        assert_type(await c.apply("a.yaml"), windlass.ObjectList)
        assert_type(await c.logs("pod/p"), str)
        async for event in c.watch("pods"):
            assert_type(event.object, windlass.Object)
