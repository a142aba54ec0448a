"""Discovery, version, tables, chunks."""

import json

from client import name, version
from suite import conformance, crd, crd_version, defined, eventually, same, unique

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@conformance("[sig-api-machinery] server version should find the server version")
def server_version(t):
    told = t.client.get("/version")
    assert told["major"] == "1" and told["minor"].isdigit() and told["gitVersion"].startswith("v1."), told


@conformance("[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup")
def preferred_version(t):
    for group in t.client.get("/apis")["groups"]:
        one = t.client.get(f"/apis/{group['name']}")
        same(group["name"], one["preferredVersion"], group["preferredVersion"])
        assert one["preferredVersion"] in one["versions"], one


@conformance("[sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup")
def locate_resources(t):
    for group in t.client.get("/apis")["groups"]:
        for served in group["versions"]:
            listed = t.client.get(f"/apis/{served['groupVersion']}")
            same("groupVersion", listed["groupVersion"], served["groupVersion"])
            assert listed["resources"], f"{served['groupVersion']} has no resources"
    wanted = {"apps/v1": "deployments", "batch/v1": "jobs", "storage.k8s.io/v1": "storageclasses",
              "apiextensions.k8s.io/v1": "customresourcedefinitions", "apiregistration.k8s.io/v1": "apiservices"}
    for place, resource in wanted.items():
        assert resource in [r["name"] for r in t.client.get(f"/apis/{place}")["resources"]], f"{place}: no {resource}"


def aggregated(t, path):
    status, headers, text = t.client.raw("GET", path, headers={"Accept": AGGREGATED})
    assert status == 200 and "APIGroupDiscoveryList" in headers["content-type"], headers
    return json.loads(text), headers


@conformance("[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface")
def aggregated_discovery(t):
    wanted = {"apps": "deployments", "batch": "jobs", "rbac.authorization.k8s.io": "roles"}
    groups = {name(group): group for group in aggregated(t, "/apis")[0]["items"]}
    for group, resource in wanted.items():
        found = [r["resource"] for v in groups[group]["versions"] for r in v["resources"]]
        assert resource in found, f"{group}: {found}"
    core = aggregated(t, "/api")[0]["items"][0]["versions"][0]["resources"]
    pods = next(r for r in core if r["resource"] == "pods")
    same("pods", (pods["scope"], pods["responseKind"]["kind"], "watch" in pods["verbs"]), ("Namespaced", "Pod", True))
    assert "exec" in [s["subresource"] for s in pods["subresources"]], pods


@conformance("[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers")
def aggregated_accept(t):
    for path in ("/api", "/apis"):
        _, told = aggregated(t, path)
        status, _, _ = t.client.raw("GET", path, headers={"Accept": AGGREGATED, "If-None-Match": told["etag"]})
        same("a document the client has", status, 304)
        plain = t.client.get(path)
        assert plain["kind"] in ("APIVersions", "APIGroupList"), plain


@conformance("[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs")
def aggregated_raw_crds(t):
    group = unique("raw") + ".example.com"
    with defined(t.client, crd("foos", "Foo", group)):
        def listed():
            groups = {name(g): g for g in aggregated(t, "/apis")[0]["items"]}
            return group in groups and "foos" in [r["resource"] for v in groups[group]["versions"] for r in v["resources"]]
        eventually("the kind in discovery", listed)


@conformance("[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface for CRDs")
def aggregated_crds(t):
    group = unique("agg") + ".example.com"
    with defined(t.client, crd("foos", "Foo", group, [crd_version("v1"), crd_version("v1beta1", storage=False)])):
        def versions():
            groups = {name(g): g for g in aggregated(t, "/apis")[0]["items"]}
            return [v["version"] for v in groups.get(group, {}).get("versions", [])] == ["v1", "v1beta1"]
        eventually("both versions in discovery", versions)


@conformance("[sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which does not implement metadata")
def table_406(t):
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
              "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
    t.client.refused(406, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, {"Accept": TABLE})


@conformance("[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls")
def chunks(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/podtemplates"
        for number in range(40):
            t.client.create(path, {"metadata": {"name": f"template-{number:04d}"},
                                   "template": {"spec": {"containers": [{"name": "test", "image": "test2"}]}}})
        seen, token, revision = [], None, None
        while True:
            page = t.client.get(path, limit=7, **({"continue": token} if token else {}))
            revision = revision or version(page)
            same("the revision of every page", version(page), revision)
            seen += [name(item) for item in page["items"]]
            token = page["metadata"].get("continue")
            left = page["metadata"].get("remainingItemCount", 0)
            same("remaining items", left, 40 - len(seen))
            if not token:
                break
        same("all in order", seen, [f"template-{n:04d}" for n in range(40)])
        same("without a limit", len(t.client.get(path, limit=0)["items"]), 40)


@conformance("[sig-api-machinery] Servers with support for API chunking should support continue listing from the last key if the original version "
             "has been compacted away, though the list is inconsistent [Slow]")
def chunks_after_compaction(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        for number in range(20):
            t.client.create(path, {"metadata": {"name": f"c-{number:04d}"}})
        # The namespace's own, which has the cluster's root certificate, comes some time after it.
        whole = eventually("all there will be", lambda: len(items) == 21 and items if (items := t.client.get(path)["items"]) else None)
        total = len(whole)
        first = t.client.get(path, limit=5)
        token = first["metadata"]["continue"]
        t.client.patch(f"{path}/c-0000", {"data": {"changed": "since"}})

        def forgotten():
            status, _, text = t.client.raw("GET", path, limit=5, **{"continue": token})
            return json.loads(text) if status == 410 else None
        # What was there at one compaction goes at the next: within twice the five minutes.
        expired = eventually("the end of the first page's revision", forgotten, 660, pause=2)
        same("reason", expired["reason"], "Expired")
        later = t.client.get(path, limit=5, **{"continue": expired["metadata"]["continue"]})
        same("goes on behind the first page", [name(i) for i in later["items"]], [name(i) for i in whole[5:10]])
        same("remaining items", later["metadata"]["remainingItemCount"], total - 10)
        assert version(later) != version(first)
        # From there on it is one list again.
        rest = t.client.get(path, limit=500, **{"continue": later["metadata"]["continue"]})
        same("the rest", [name(i) for i in rest["items"]], [name(i) for i in whole[10:]])
        same("its revision", version(rest), version(later))
