"""Plan capacity: fork the cluster once for each plan, let the real scheduler place tomorrow's load, and compare.

    pip install windlass tqdm
    python examples/plan_capacity.py
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import windlass
from tqdm import tqdm
from windlass import Deployment, SimulatedNode

TODAY = [SimulatedNode(f"small-{at}", cpu=4, memory="16Gi") for at in range(1, 5)]
LOAD = {"web": (12, "500m", "512Mi"), "api": (6, "1", "2Gi"), "cache": (3, "500m", "6Gi")}


class Plan(NamedTuple):
    """Nodes that could be bought."""

    name: str
    nodes: list[SimulatedNode]
    price: int
    """For a month."""


PLANS = [
    Plan("nothing", [], 0),
    Plan("4 small", [SimulatedNode(f"new-{at}", cpu=4, memory="16Gi") for at in range(4)], 4 * 110),
    Plan("2 large", [SimulatedNode(f"new-{at}", cpu=16, memory="64Gi") for at in range(2)], 2 * 400),
    Plan("4 of memory", [SimulatedNode(f"new-{at}", cpu=4, memory="32Gi") for at in range(4)], 4 * 150),
]


class Outcome(NamedTuple):
    """What became of the load under a plan."""

    plan: Plan
    running: int
    waiting: int
    why: str
    moved: int
    """How many objects differ from the cluster without the plan."""


def main() -> list[Outcome]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", type=int, default=2, help="how many times today's load (2)")
    parser.add_argument("--quiet", action="store_true", help="without a progress bar")
    arguments = parser.parse_args()

    with windlass.Cluster(TODAY, clock="virtual", seed=1) as today:
        for name, (replicas, cpu, memory) in LOAD.items():
            today.apply(Deployment(name, image=f"{name}:v1", replicas=replicas, requests={"cpu": cpu, "memory": memory}))
        for name in LOAD:
            today.wait(f"deployment/{name}", "Available")
        print(today.list("deployments"))

        plans = tqdm(PLANS, desc="plans", unit="plan", disable=arguments.quiet)
        outcomes = [tried(today, plan, arguments.growth) for plan in plans]

    print(f"\nWith {arguments.growth} times the load:\n")
    print(f"{'PLAN':<14}{'PRICE':>6}{'RUNNING':>9}{'WAITING':>9}{'CHANGED':>9}   WHY")
    for one in outcomes:
        print(f"{one.plan.name:<14}{one.plan.price:>6}{one.running:>9}{one.waiting:>9}{one.moved:>9}   {one.why}")
    enough = [one for one in outcomes if not one.waiting]
    if enough:
        best = min(enough, key=lambda one: one.plan.price)
        print(f"\nThe cheapest that is enough: {best.plan.name}, for {best.plan.price} a month.")
    return outcomes


def tried(today: windlass.Cluster, plan: Plan, growth: int) -> Outcome:
    """What becomes of the load under a plan. Today's cluster does not notice."""
    with today.fork() as future:
        for node in plan.nodes:
            future.add_node(node)
            future.wait(f"node/{node.name}", "Ready")
        for name, (replicas, _, _) in LOAD.items():
            future.scale(f"deployment/{name}", replicas * growth)
        future.run_for("5m")
        pods = future.list("pods")
        waiting = pods.where(lambda pod: not pod.at("spec.nodeName"))
        why = future.explain(waiting[0]).verdict.partition(": ")[2] if waiting else ""
        return Outcome(plan, len(pods) - len(waiting), len(waiting), why, len(today.diff(future)))


if __name__ == "__main__":
    main()
