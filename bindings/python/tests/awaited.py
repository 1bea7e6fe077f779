"""What tests wait for, because somebody else brings it about in its own time."""

from __future__ import annotations

from typing import Any

import windlass


def told(c: windlass.Client, what: windlass.Object, reason: str) -> windlass.Object:
    """The first event about an object that has the reason: it is written after what it tells of."""
    about = f"involvedObject.uid={what.uid},reason={reason}"
    return c.wait_all("events", "created", namespace=what.namespace or "default", fields=about, timeout="2m")[0]


def too_big(pod: windlass.Object) -> bool:
    """Whether the scheduler has looked at both nodes, which it may not have at its first try."""
    scheduled = pod.condition("PodScheduled")
    return scheduled is not None and "2 Insufficient cpu" in scheduled.get("message", "")


def run(c: windlass.Cluster, image: str, **spec: Any) -> windlass.Object:
    """Runs a pod to its end."""
    c.apply(pod(image, **spec))
    return c.wait("pod/p", lambda one: one.at("status.phase") in ("Succeeded", "Failed"), timeout="1m")


def pod(image: str, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod with one container."""
    own = {"name": "main", "image": image, **(container or {})}
    whole = {"restartPolicy": "Never", "containers": [own], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}, "spec": whole}
