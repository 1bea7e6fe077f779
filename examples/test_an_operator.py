"""Test an operator: one that is written with the official client, against a whole cluster, in milliseconds a test.

The operator turns every ConfigMap with the label ``site=yes`` into a Deployment and a Service.

    pip install windlass kubernetes pytest
    pytest examples/test_an_operator.py
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import windlass
from kubernetes import client, watch

# The operator: nothing in it knows that it is tested.


class Operator:
    """Brings about what the ConfigMaps say."""

    def __init__(self, api: client.ApiClient) -> None:
        self.core = client.CoreV1Api(api)
        self.apps = client.AppsV1Api(api)
        self.watch = watch.Watch()

    def run(self) -> None:
        """Reconciles whatever changes until it is stopped."""
        events = self.watch.stream(self.core.list_config_map_for_all_namespaces, label_selector="site=yes")
        for event in events:
            if event["type"] != "DELETED":
                self.reconcile(event["object"])

    def stop(self) -> None:
        self.watch.stop()

    def reconcile(self, site: client.V1ConfigMap) -> None:
        wanted = site.data or {}
        name, namespace = site.metadata.name, site.metadata.namespace
        labels = {"site": name}
        metadata = {
            "name": name,
            "labels": labels,
            # Whatever the ConfigMap's end leaves behind is collected.
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": site.metadata.uid, "controller": True}
            ],
        }
        container = {"name": "web", "image": f"httpd:{wanted.get('version', 'latest')}"}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": int(wanted.get("replicas", "1")),
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        }
        apply = {"field_manager": "sites", "force": True, "_content_type": "application/apply-patch+yaml"}
        self.apps.patch_namespaced_deployment(name, namespace, deployment, **apply)
        self.core.patch_namespaced_service(name, namespace, service, **apply)


# Its tests.


@pytest.fixture
def operator(cluster: windlass.Cluster) -> Iterator[Operator]:
    """The operator at work on the test's own cluster, in process: no socket, no kubeconfig, nothing to boot."""
    operator = Operator(cluster.kubernetes_client())
    thread = threading.Thread(target=operator.run)
    thread.start()
    yield operator
    operator.stop()
    thread.join()


def site(name: str, **data: str) -> windlass.Object:
    return windlass.ConfigMap(name, data, labels={"site": "yes"})


def test_a_site_is_served(cluster: windlass.Cluster, operator: Operator) -> None:
    cluster.apply(site("blog", replicas="2", version="2.4"))
    web = cluster.wait("deployment/blog", "Available")
    assert web.spec.template.spec.containers[0].image == "httpd:2.4"
    assert cluster.wait("service/blog", "created").spec.selector == {"site": "blog"}
    assert len(cluster.wait_all("pods", "Ready", selector="site=blog")) == 2


def test_a_change_is_rolled_out(cluster: windlass.Cluster, operator: Operator) -> None:
    cluster.apply(site("blog", version="1"))
    cluster.wait("deployment/blog", "Available")
    cluster.apply(site("blog", version="2"))
    cluster.wait_all("pods", lambda pod: pod.spec.containers[0].image == "httpd:2", selector="site=blog")


def test_the_end_of_a_site_leaves_nothing(cluster: windlass.Cluster, operator: Operator) -> None:
    cluster.apply(site("blog"))
    cluster.wait("deployment/blog", "Available")
    cluster.delete("cm/blog")
    cluster.wait("deployment/blog", "deleted")
    cluster.wait("service/blog", "deleted")


def test_other_config_maps_are_left_alone(cluster: windlass.Cluster, operator: Operator) -> None:
    cluster.apply([windlass.ConfigMap("other", {"replicas": "3"}), site("blog")])
    cluster.wait("deployment/blog", "Available")
    assert cluster.list("deployments").names == ["blog"]


@pytest.mark.windlass(clock="virtual")
def test_reconciling_again_changes_nothing(cluster: windlass.Cluster) -> None:
    operator = Operator(cluster.kubernetes_client())
    cluster.apply(site("blog"))
    blog = operator.core.read_namespaced_config_map("blog", "default")
    operator.reconcile(blog)
    cluster.wait("deployment/blog", "Available")
    cluster.run_for("1m")
    before = cluster.get("deployment/blog").metadata.generation
    with cluster.fork() as other:
        Operator(other.kubernetes_client()).reconcile(blog)
        other.run_for("1h")
        assert other.get("deployment/blog").metadata.generation == before
        assert not [one for one in cluster.diff(other) if one.kind in ("Deployment", "ReplicaSet", "Service", "Pod")]
