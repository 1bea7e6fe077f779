"""Builders for the common kinds: each returns a whole object, to be changed, applied or written as YAML.

What a builder has no argument for goes into ``spec=``, which is laid over what it makes.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union

from .objects import Node, Object, tree_of

__all__ = [
    "ConfigMap",
    "Container",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "Job",
    "Namespace",
    "Pod",
    "Secret",
    "Service",
    "StatefulSet",
]

Labels = Mapping[str, str]
Amounts = Mapping[str, Union[str, int]]
RestartPolicy = Literal["Always", "OnFailure", "Never"]


def Container(
    image: str,
    *,
    name: str = "main",
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
    requests: Amounts | None = None,
    limits: Amounts | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Node:
    """A container of a pod."""
    resources = {"requests": _amounts(requests), "limits": _amounts(limits)}
    made = {
        "name": name,
        "image": image,
        "command": list(command),
        "args": list(args),
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "ports": [{"containerPort": port} for port in ports],
        "resources": {key: amounts for key, amounts in resources.items() if amounts},
    }
    return Node(_over({key: value for key, value in made.items() if value}, spec))


def Pod(
    name: str,
    image: str | None = None,
    *,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
    requests: Amounts | None = None,
    limits: Amounts | None = None,
    containers: Iterable[Mapping[str, Any]] = (),
    restart_policy: RestartPolicy | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A pod with one container of ``image``, with ``containers``, or with both."""
    one = _one(image, command, args, env, ports, requests, limits)
    pod = _pod_spec(one, containers, restart_policy, spec)
    return _object("v1", "Pod", name, namespace, labels, annotations, spec=pod)


def Deployment(
    name: str,
    image: str | None = None,
    *,
    replicas: int = 1,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
    requests: Amounts | None = None,
    limits: Amounts | None = None,
    containers: Iterable[Mapping[str, Any]] = (),
    pod: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A Deployment. Its pods are labelled ``app: <name>`` unless ``labels`` says otherwise; ``pod`` is laid over their spec."""
    one = _one(image, command, args, env, ports, requests, limits)
    own = {"replicas": replicas, **_workload(name, labels, _pod_spec(one, containers, None, pod))}
    return _object("apps/v1", "Deployment", name, namespace, labels, annotations, spec=_over(own, spec))


def StatefulSet(
    name: str,
    image: str | None = None,
    *,
    replicas: int = 1,
    service: str | None = None,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
    requests: Amounts | None = None,
    limits: Amounts | None = None,
    containers: Iterable[Mapping[str, Any]] = (),
    pod: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A StatefulSet, governed by the service of its own name unless ``service`` names another."""
    one = _one(image, command, args, env, ports, requests, limits)
    own = {
        "replicas": replicas,
        "serviceName": service or name,
        **_workload(name, labels, _pod_spec(one, containers, None, pod)),
    }
    return _object("apps/v1", "StatefulSet", name, namespace, labels, annotations, spec=_over(own, spec))


def DaemonSet(
    name: str,
    image: str | None = None,
    *,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
    requests: Amounts | None = None,
    limits: Amounts | None = None,
    containers: Iterable[Mapping[str, Any]] = (),
    pod: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A DaemonSet."""
    one = _one(image, command, args, env, ports, requests, limits)
    own = _workload(name, labels, _pod_spec(one, containers, None, pod))
    return _object("apps/v1", "DaemonSet", name, namespace, labels, annotations, spec=_over(own, spec))


def Job(
    name: str,
    image: str | None = None,
    *,
    completions: int = 1,
    parallelism: int = 1,
    backoff_limit: int | None = None,
    restart_policy: RestartPolicy = "Never",
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    requests: Amounts | None = None,
    limits: Amounts | None = None,
    containers: Iterable[Mapping[str, Any]] = (),
    pod: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A Job."""
    one = _one(image, command, args, env, (), requests, limits)
    own: dict[str, Any] = {
        "completions": completions,
        "parallelism": parallelism,
        "template": _template(labels or {"job": name}, _pod_spec(one, containers, restart_policy, pod)),
    }
    if backoff_limit is not None:
        own["backoffLimit"] = backoff_limit
    return _object("batch/v1", "Job", name, namespace, labels, annotations, spec=_over(own, spec))


def CronJob(
    name: str,
    schedule: str,
    job: Mapping[str, Any],
    *,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A CronJob that makes jobs like ``job`` (a :func:`Job`)."""
    meta = {"labels": dict(job["metadata"].get("labels", {}))}
    own = {"schedule": schedule, "jobTemplate": {"metadata": meta, "spec": job["spec"]}}
    return _object("batch/v1", "CronJob", name, namespace, labels, annotations, spec=_over(own, spec))


def Service(
    name: str,
    ports: Iterable[int | tuple[int, int] | Mapping[str, Any]],
    *,
    selector: Labels | None = None,
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP",
    headless: bool = False,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """A Service for the pods labelled ``app: <name>``, or for those of ``selector``.

    A port is its number, a pair of its number and the pods' own, or a whole ServicePort.
    """
    own: dict[str, Any] = {
        "type": type,
        "selector": dict(selector or {"app": name}),
        "ports": [_service_port(port) for port in ports],
    }
    if len(own["ports"]) > 1:
        for port in own["ports"]:
            port.setdefault("name", f"port-{port['port']}")
    if headless:
        own["clusterIP"] = "None"
    return _object("v1", "Service", name, namespace, labels, annotations, spec=_over(own, spec))


def ConfigMap(
    name: str,
    data: Mapping[str, str | bytes],
    *,
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    immutable: bool | None = None,
) -> Object:
    """A ConfigMap; values that are bytes go into ``binaryData``."""
    text = {key: value for key, value in data.items() if isinstance(value, str)}
    raw = {key: _base64(value) for key, value in data.items() if isinstance(value, bytes)}
    rest = {"data": text or None, "binaryData": raw or None, "immutable": immutable}
    return _object("v1", "ConfigMap", name, namespace, labels, annotations, **rest)


def Secret(
    name: str,
    data: Mapping[str, str | bytes],
    *,
    type: str = "Opaque",
    namespace: str | None = None,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    immutable: bool | None = None,
) -> Object:
    """A Secret; the values are given as they are, not in base64."""
    encoded = {key: _base64(value.encode() if isinstance(value, str) else value) for key, value in data.items()}
    return _object(
        "v1", "Secret", name, namespace, labels, annotations, type=type, data=encoded, immutable=immutable
    )


def Namespace(name: str, *, labels: Labels | None = None, annotations: Labels | None = None) -> Object:
    """A Namespace."""
    return _object("v1", "Namespace", name, None, labels, annotations)


def _object(
    api_version: str,
    kind: str,
    name: str,
    namespace: str | None,
    labels: Labels | None,
    annotations: Labels | None,
    **rest: Any,
) -> Object:
    meta: dict[str, Any] = {"name": name}
    for key, value in (("namespace", namespace), ("labels", labels), ("annotations", annotations)):
        if value:
            meta[key] = value
    tree = {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}
    return Object(tree_of({key: value for key, value in tree.items() if value is not None}, ""))


def _workload(name: str, labels: Labels | None, pod: Mapping[str, Any]) -> dict[str, Any]:
    own = labels or {"app": name}
    return {"selector": {"matchLabels": own}, "template": _template(own, pod)}


def _template(labels: Labels, pod: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": pod}


def _one(
    image: str | None,
    command: Sequence[str],
    args: Sequence[str],
    env: Mapping[str, str] | None,
    ports: Iterable[int],
    requests: Amounts | None,
    limits: Amounts | None,
) -> list[Mapping[str, Any]]:
    if image is None:
        if command or args or env or requests or limits:
            raise TypeError("command, args, env, requests and limits are of the container of image=, which is missing")
        return []
    return [
        Container(image, command=command, args=args, env=env, ports=ports, requests=requests, limits=limits)
    ]


def _pod_spec(
    one: list[Mapping[str, Any]],
    containers: Iterable[Mapping[str, Any]],
    restart_policy: RestartPolicy | None,
    over: Mapping[str, Any] | None,
) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [*one, *containers]}
    if restart_policy:
        spec["restartPolicy"] = restart_policy
    spec = _over(spec, over)
    if not spec["containers"]:
        raise TypeError("a pod has a container: give image= or containers=")
    return spec


def _over(below: dict[str, Any], above: Mapping[str, Any] | None) -> dict[str, Any]:
    """One tree laid over another: mappings are merged, everything else is replaced."""
    merged = dict(below)
    for key, value in (above or {}).items():
        own = merged.get(key)
        both = isinstance(own, dict) and isinstance(value, Mapping)
        merged[key] = _over(own, value) if both else value  # type: ignore[arg-type]
    return merged


def _service_port(port: int | tuple[int, int] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(port, Mapping):
        return dict(port)
    number, target = port if isinstance(port, tuple) else (port, port)
    return {"port": number, "targetPort": target}


def _amounts(amounts: Amounts | None) -> dict[str, str]:
    return {key: str(amount) for key, amount in (amounts or {}).items()}


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()
