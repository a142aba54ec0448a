"""Uses a custom kind through the Python client's dynamic interface: finds it, creates, lists, watches, patches, deletes.

Arguments: the kubeconfig, the kind's apiVersion, the kind. Prints one line a step.
"""
import sys

from kubernetes import config, dynamic

kubeconfig, api_version, kind = sys.argv[1:]
client = dynamic.DynamicClient(config.new_client_from_config(kubeconfig))
widgets = client.resources.get(api_version=api_version, kind=kind)
print("found", widgets.name, widgets.namespaced)
body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "fromdynamic"}, "spec": {"size": 3}}
made = widgets.create(body=body, namespace="default")
print("created", made.metadata.name, made.spec.color)
listed = widgets.get(namespace="default")
print("listed", len(listed.items), listed.kind)
patch = {"spec": {"size": 4}}
widgets.patch(body=patch, name="fromdynamic", namespace="default", content_type="application/merge-patch+json")
widgets.delete(name="fromdynamic", namespace="default")
seen = []
for event in widgets.watch(namespace="default", resource_version=listed.metadata.resourceVersion, timeout=20):
    seen.append("%s %s" % (event["type"], event["object"].spec.size))
    if event["type"] == "DELETED":
        break
print("watched", ", ".join(seen))
