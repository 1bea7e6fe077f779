"""A kopf operator against a cluster in this process, reached as any other is: by its kubeconfig.

It gives every Secret with the label ``replicate=yes`` to all namespaces, and takes it away again.

    pip install windlass kopf
    python examples/kopf_operator.py
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import kopf
import windlass

registry = kopf.OperatorRegistry()
LABELS = {"replicate": "yes"}
CHANGES = {"labels": LABELS, "registry": registry}


@kopf.on.login(registry=registry)
def login(**options: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**options)


@kopf.on.startup(registry=registry)
def startup(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    # What is seen to be done is kept in annotations, as everywhere; nothing is to be posted as an event.
    settings.posting.enabled = False
    memo.cluster = windlass.connect()


@kopf.on.cleanup(registry=registry)
def cleanup(memo: kopf.Memo, **_: Any) -> None:
    memo.cluster.close()


@kopf.on.create("", "v1", "secrets", **CHANGES)
@kopf.on.update("", "v1", "secrets", field="data", **CHANGES)
def copy(name: str, namespace: str, body: kopf.Body, memo: kopf.Memo, logger: kopf.Logger, **_: Any) -> None:
    for other in memo.cluster.list("namespaces").names:
        if other != namespace:
            same = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": other}}
            memo.cluster.apply({**same, "data": dict(body["data"])}, force=True)
    logger.info("copied")


@kopf.on.delete("", "v1", "secrets", **CHANGES)
def remove(name: str, namespace: str, memo: kopf.Memo, **_: Any) -> None:
    for other in memo.cluster.list("namespaces").names:
        if other != namespace:
            memo.cluster.delete("secret", name, namespace=other, missing_ok=True)


class Running:
    """The operator on a thread, while the block lasts."""

    def __init__(self) -> None:
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        kopf.run(
            registry=registry,
            memo=kopf.Memo(),
            clusterwide=True,
            standalone=True,
            ready_flag=self._ready,
            stop_flag=self._stop,
        )

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    with windlass.Cluster() as c, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(c.kubeconfig())
        os.environ["KUBECONFIG"] = str(path)
        c.apply([windlass.Namespace("team-a"), windlass.Namespace("team-b")])
        with Running():
            c.apply(windlass.Secret("pull", {"token": "s3cret"}, labels=LABELS))
            for namespace in ("team-a", "team-b"):
                copied = c.wait("secret/pull", "created", namespace=namespace, timeout="1m")
                print(f"{namespace} has {copied!r}")
            c.delete("secret/pull", timeout="1m")
            for namespace in ("team-a", "team-b"):
                c.wait("secret/pull", "deleted", namespace=namespace, timeout="1m")
            print("and has it no more")


if __name__ == "__main__":
    main()
