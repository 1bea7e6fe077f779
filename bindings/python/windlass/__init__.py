"""A whole Kubernetes cluster inside the Python process.

    import windlass

    with windlass.Cluster(nodes=3) as c:
        c.apply("deploy.yaml")
        c.wait("deployment/web", "Available", timeout="2m")
        print(c.list("pods"))

``windlass.aio`` has the same for asyncio, ``windlass.connect()`` for any other cluster.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import errors, kinds
from ._client import ALL, Client, Cluster, Connection, LogLines, Watch, connect
from ._native import version as _version
from ._nodes import SimulatedNode
from ._pods import ExecResult, Explanation, Refusal, Response, Turn
from ._worlds import Change, Difference, Differences
from .errors import *  # noqa: F403
from .kinds import *  # noqa: F403
from .manifests import load
from .objects import Event, Object, ObjectList

if TYPE_CHECKING:
    from . import aio as aio
    from ._functions import AsyncContext as AsyncContext
    from ._functions import Context as Context
    from ._functions import Killed as Killed
    from ._functions import Request as Request
    from ._plugins import Admitted as Admitted
    from ._plugins import Key as Key
    from ._plugins import NodeView as NodeView
    from ._plugins import PodView as PodView

__version__ = _version()

__all__ = [
    "ALL",
    "Admitted",
    "AsyncContext",
    "Change",
    "Client",
    "Cluster",
    "Connection",
    "Context",
    "Difference",
    "Differences",
    "Event",
    "ExecResult",
    "Explanation",
    "Key",
    "Killed",
    "LogLines",
    "NodeView",
    "Object",
    "ObjectList",
    "PodView",
    "Refusal",
    "Request",
    "Response",
    "SimulatedNode",
    "Turn",
    "Watch",
    "__version__",
    "aio",
    "connect",
    "errors",
    "kinds",
    "load",
]
__all__ += errors.__all__
__all__ += kinds.__all__


_LATE = {
    "_functions": ("AsyncContext", "Context", "Killed", "Request"),
    "_plugins": ("Admitted", "Key", "NodeView", "PodView"),
}


def __getattr__(name: str) -> Any:
    # asyncio alone takes longer to import than all the rest.
    if name == "aio":
        return importlib.import_module("windlass.aio")
    # So do these, which name what functions are handed.
    for module, names in _LATE.items():
        if name in names:
            return getattr(importlib.import_module(f"windlass.{module}"), name)
    raise AttributeError(f"module 'windlass' has no attribute {name!r}")
