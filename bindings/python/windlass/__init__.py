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
from ._pods import ExecResult, Explanation
from .errors import *  # noqa: F403
from .kinds import *  # noqa: F403
from .manifests import load
from .objects import Event, Object, ObjectList

if TYPE_CHECKING:
    from . import aio as aio

__version__ = _version()

__all__ = [
    "ALL",
    "Client",
    "Cluster",
    "Connection",
    "Event",
    "ExecResult",
    "Explanation",
    "LogLines",
    "Object",
    "ObjectList",
    "SimulatedNode",
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


def __getattr__(name: str) -> Any:
    # asyncio alone takes longer to import than all the rest.
    if name == "aio":
        return importlib.import_module("windlass.aio")
    raise AttributeError(f"module 'windlass' has no attribute {name!r}")
