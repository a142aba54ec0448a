"""The Python client of Kubernetes against the server: typed calls, watches that resume, the dynamic client, and its errors."""

import sys
import threading

import kubernetes
from kubernetes import client, config, dynamic, watch

api_client = config.new_client_from_config(config_file=sys.argv[1])
core = client.CoreV1Api(api_client)
apps = client.AppsV1Api(api_client)

made = core.create_namespaced_config_map(
    "default", client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="typed-", labels={"by": "python"}), data={"a": "1"}))
assert made.metadata.name.startswith("typed-") and made.metadata.creation_timestamp, made
name = made.metadata.name
made.data["b"] = "2"
changed = core.replace_namespaced_config_map(name, "default", made)
assert changed.data == {"a": "1", "b": "2"} and changed.metadata.resource_version != made.metadata.resource_version
try:
    core.replace_namespaced_config_map(name, "default", made)
    raise AssertionError("a stale version was taken")
except client.ApiException as error:
    assert error.status == 409 and '"reason":"Conflict"' in error.body, error
patched = core.patch_namespaced_config_map(name, "default", {"data": {"a": None, "c": "3"}})
assert patched.data == {"b": "2", "c": "3"}, patched.data
try:
    core.read_namespaced_pod("nobody", "default")
    raise AssertionError("a pod that is not there was read")
except client.ApiException as error:
    assert error.status == 404
found = core.list_config_map_for_all_namespaces(label_selector="by=python")
assert [item.metadata.name for item in found.items] == [name]

# A watch from the list's version sees what came since, in order, and ends in time.
seen = []
version = found.metadata.resource_version
for number in range(5):
    core.create_namespaced_config_map(
        "default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"seen-{number}", labels={"by": "python"})))
core.patch_namespaced_config_map("seen-0", "default", {"metadata": {"labels": {"by": "nobody"}}})
core.delete_namespaced_config_map("seen-1", "default")
for event in watch.Watch().stream(
        core.list_namespaced_config_map, "default", label_selector="by=python", resource_version=version, timeout_seconds=2):
    seen.append((event["type"], event["object"].metadata.name))
assert seen == [("ADDED", f"seen-{n}") for n in range(5)] + [("DELETED", "seen-0"), ("DELETED", "seen-1")], seen

deployment = apps.create_namespaced_deployment("default", {
    "metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "example.test/app:1"}]}}}})
assert deployment.spec.strategy.rolling_update.max_surge == "25%", deployment.spec.strategy
scale = apps.read_namespaced_deployment_scale("web", "default")
scale.spec.replicas = 5
assert apps.replace_namespaced_deployment_scale("web", "default", scale).spec.replicas == 5
try:
    apps.create_namespaced_deployment("default", {"metadata": {"name": "Bad Name"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}}})
    raise AssertionError("a deployment without containers was taken")
except client.ApiException as error:
    assert error.status == 422 and "metadata.name" in error.body and "spec.template.spec.containers" in error.body, error.body

# The dynamic client finds kinds by discovery and applies on the server.
moving = dynamic.DynamicClient(api_client)
maps = moving.resources.get(api_version="v1", kind="ConfigMap")
applied = maps.server_side_apply(
    body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dyn"}, "data": {"x": "1"}}, name="dyn",
    namespace="default", field_manager="python")
assert applied.data.x == "1"
try:
    maps.server_side_apply(
        body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dyn"}, "data": {"x": "2"}}, name="dyn",
        namespace="default", field_manager="other")
    raise AssertionError("a conflict was not seen")
except kubernetes.dynamic.exceptions.ConflictError as error:
    assert "Apply failed with 1 conflict" in str(error), error
routes = moving.resources.get(api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute")
assert routes.namespaced
assert core.delete_collection_namespaced_config_map("default", label_selector="by=python") is not None
assert not core.list_namespaced_config_map("default", label_selector="by=python").items
print("ok")
