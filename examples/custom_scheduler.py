"""A custom scheduler: a filter and a score in Python, asked by the real scheduler beside its own.

Batch work goes where power is clean at the moment, and never to nodes that are kept for interactive work.

    pip install windlass
    python examples/custom_scheduler.py
"""

from __future__ import annotations

from collections import Counter

import windlass
from windlass import Deployment, NodeView, Pod, PodView, SimulatedNode

CARBON = {"north": 30, "south": 420, "west": 210}
"""Grams of carbon dioxide for a kilowatt-hour, by zone."""

NODES = [
    *(SimulatedNode(f"{zone}-{at}", cpu=8, labels={"zone": zone}) for zone in CARBON for at in (1, 2)),
    SimulatedNode("desk", cpu=8, labels={"zone": "north", "for": "interactive"}),
]
ZONES = {node.name: node.labels["zone"] for node in NODES}


def is_batch(pod: PodView) -> bool:
    return pod.labels.get("class") == "batch"


def keeps_out(pod: PodView, node: NodeView) -> bool | str:
    """A filter: whether the pod may go to the node, or why not."""
    if is_batch(pod) and node.labels.get("for") == "interactive":
        return "the node is kept for interactive work"
    return True


def clean(pod: PodView, node: NodeView) -> float:
    """A score from 0 to 100: how well the node suits the pod."""
    return 100 - CARBON[node.labels["zone"]] / 5 if is_batch(pod) else 50


def main() -> tuple[Counter[str], Counter[str]]:
    with windlass.Cluster(NODES, clock="virtual", seed=3) as usual:
        # The fork has the same history so far, and from here on another scheduler.
        with usual.fork() as green:
            green.filter(keeps_out)
            green.score(clean, weight=10)
            before, after = (placed(c) for c in (usual, green))
            print(f"{'':<22}{'GRAMS/KWH':>10}   NODES")
            for name, nodes in (("as usual", before), ("with the score", after)):
                grams = sum(CARBON[ZONES[node]] * count for node, count in nodes.items()) / sum(nodes.values())
                print(f"{name:<22}{grams:>10.0f}   {dict(sorted(nodes.items()))}")

            desk = {"nodeSelector": {"for": "interactive"}}
            green.apply(Pod("pushy", image="train:v1", labels={"class": "batch"}, spec=desk))
            green.run_for("10s")
            print(f"\nWhy 'pushy' waits:\n{green.explain('pod/pushy')}")
            return before, after


def placed(c: windlass.Cluster) -> Counter[str]:
    """How many pods of some batch work each node has."""
    c.apply(Deployment("train", image="train:v1", replicas=12, labels={"class": "batch"}, requests={"cpu": "1"}))
    c.wait("deployment/train", "Available")
    return Counter(pod.spec.nodeName for pod in c.list("pods", selector="class=batch"))


if __name__ == "__main__":
    main()
