"""The nodes that a cluster begins with."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Union

__all__ = ["Nodes", "SimulatedNode"]


class SimulatedNode(NamedTuple):
    """A node whose pods run by script."""

    name: str
    cpu: str | int = 32
    memory: str = "256Gi"
    pods: int = 110
    capacity: Mapping[str, str] = {}
    """Other resources, such as ``{"example.com/gpu": "8"}``."""
    labels: Mapping[str, str] = {}
    taints: Iterable[str | tuple[str, str, str]] = ()
    """As ``"key=value:NoSchedule"``, or as key, value and effect."""


Nodes = Union[int, Iterable[Union[str, SimulatedNode]]]
"""How many nodes, or which."""


class _Spec:
    """A node as ``windlass._native`` reads it."""

    def __init__(self, node: SimulatedNode) -> None:
        self.name = node.name
        usual = {"cpu": str(node.cpu), "memory": node.memory, "pods": str(node.pods)}
        self.capacity: dict[str, str] = {**usual, **node.capacity}
        self.labels: dict[str, str] = dict(node.labels)
        self.taints: list[tuple[str, str, str]] = [_taint(taint) for taint in node.taints]


def specs(nodes: Nodes) -> list[_Spec]:
    """The nodes one by one; a number of them is called ``node-1``, ``node-2`` and so on."""
    if isinstance(nodes, bool) or (isinstance(nodes, int) and nodes < 0):
        raise ValueError(f"nodes={nodes!r}: give a number of nodes, or the nodes themselves")
    if isinstance(nodes, int):
        nodes = [f"node-{at + 1}" for at in range(nodes)]
    found = [_Spec(SimulatedNode(node) if isinstance(node, str) else node) for node in nodes]
    names = [spec.name for spec in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"nodes: {', '.join(twice)} is there twice")
    return found


def one(node: str | SimulatedNode) -> tuple[_Spec, int]:
    """A node that is added, and the number that its addresses come from."""
    spec = _Spec(SimulatedNode(node) if isinstance(node, str) else node)
    # Behind those that a cluster begins with, and the same for each name in every run.
    return spec, 0x4000 + zlib.crc32(spec.name.encode()) % 0x4000


def _taint(taint: str | tuple[str, str, str]) -> tuple[str, str, str]:
    if not isinstance(taint, str):
        return taint
    pair, colon, effect = taint.rpartition(":")
    if not colon or not pair:
        raise ValueError(f"the taint {taint!r} is not of the form 'key=value:effect'")
    key, _, value = pair.partition("=")
    return key, value, effect
