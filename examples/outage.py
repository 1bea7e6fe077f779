"""An outage experiment: a zone loses power for half an hour, in virtual time, and availability is plotted.

Two services differ in one setting only: how long their pods stay bound to a node that is gone. Kubernetes waits five
minutes unless it is told otherwise; the experiment shows what that costs, and needs seconds for an hour.

    pip install windlass matplotlib tqdm
    python examples/outage.py --out outage.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import windlass
from tqdm import tqdm
from windlass import Deployment, SimulatedNode

ZONES = ("a", "b", "c")
NODES = [SimulatedNode(f"{zone}{at}", labels={"topology.kubernetes.io/zone": zone}) for zone in ZONES for at in (1, 2)]
REPLICAS = 12
SERVICES = {"usual": 300, "impatient": 30}
"""Services, and the seconds that their pods stay bound to a node that is gone."""

MINUTE = 60
FAILS, RETURNS, ENDS = 10 * MINUTE, 40 * MINUTE, 60 * MINUTE
STEP = 10


def main() -> dict[str, list[float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="the history: the same seed has the same (7)")
    parser.add_argument("--out", type=Path, default=Path("outage.png"), help="the picture (outage.png)")
    parser.add_argument("--quiet", action="store_true", help="without a progress bar")
    arguments = parser.parse_args()

    seconds = range(0, ENDS, STEP)
    served: dict[str, list[float]] = {name: [] for name in SERVICES}
    dark: set[str] = set()
    with windlass.Cluster(NODES, clock="virtual", seed=arguments.seed) as c:
        for name, patience in SERVICES.items():
            c.apply(service(name, patience))
        for name in SERVICES:
            c.wait(f"deployment/{name}", "Available", timeout="2m")
        for second in tqdm(seconds, desc="outage", unit_scale=STEP, unit="s", disable=arguments.quiet):
            if second == FAILS:
                dark = {node.name for node in zone("a")}
                for name in sorted(dark):
                    c.kill_node(name)
            if second == RETURNS:
                dark = set()
                for node in zone("a"):
                    c.add_node(node)
            for name in SERVICES:
                served[name].append(available(c, name, dark))
            c.run_for(STEP)

    for name, values in served.items():
        lost = sum(1 - value for value in values) * STEP / MINUTE
        print(f"{name:<10} lowest {min(values):4.0%}, {lost:5.1f} minutes of the whole service lost")
    plot(seconds, served, arguments.out)
    print(f"{arguments.out} shows it")
    return served


def service(name: str, patience: int) -> windlass.Object:
    """A Deployment over all zones."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    gone = [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": patience}
        for what in ("not-ready", "unreachable")
    ]
    pod = {"topologySpreadConstraints": [spread], "tolerations": gone}
    return Deployment(name, image="web:v1", replicas=REPLICAS, requests={"cpu": "100m"}, pod=pod)


def zone(name: str) -> list[SimulatedNode]:
    return [node for node in NODES if node.labels["topology.kubernetes.io/zone"] == name]


def available(c: windlass.Cluster, name: str, dark: set[str]) -> float:
    """The part of a service's pods that do serve. For a while the API takes pods for ready whose node has no power."""
    serving = 0
    for pod in c.list("pods", selector={"app": name}):
        ready = pod.condition("Ready")
        serving += ready is not None and ready.status == "True" and pod.at("spec.nodeName") not in dark
    return serving / REPLICAS


def plot(seconds: range, served: dict[str, list[float]], out: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    minutes = [second / MINUTE for second in seconds]
    axes.axvspan(FAILS / MINUTE, RETURNS / MINUTE, color="0.92", label="zone a has no power")
    for name, values in served.items():
        label = f"{name}: pods given up after {SERVICES[name]} s"
        axes.step(minutes, [100 * value for value in values], where="post", label=label)
    axes.set(xlabel="minutes", ylabel="available pods (%)", xlim=(0, ENDS / MINUTE), ylim=(0, 105))
    axes.set_title("Half an hour without one of three zones")
    axes.legend(loc="lower right")
    figure.savefig(out, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
