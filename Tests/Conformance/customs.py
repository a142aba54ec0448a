"""Custom resources: definitions, defaults, documents, field validation, selectors."""

import json

from client import name, version
from suite import conformance, crd, crd_version, defined, deployment, eventually, same, unique
from watches import kinds, take

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APPLY = {"Content-Type": "application/apply-patch+yaml"}


def group():
    return unique("g") + ".example.com"


@conformance("[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition creating/deleting "
             "custom resource definition objects works")
def create_delete(t):
    with defined(t.client, crd("foos", "Foo", group())) as made:
        same("get", t.client.get(f"{PATH}/{name(made)}")["spec"]["names"]["plural"], "foos")
    eventually("its end", lambda: t.client.raw("GET", f"{PATH}/{name(made)}")[0] == 404)


@conformance("[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition listing "
             "custom resource definition objects works")
def list_definitions(t):
    label = {"test": unique("list")}
    for plural in ("as", "bs", "cs"):
        made = crd(plural, plural.upper()[:1] + "kind", group())
        made["metadata"]["labels"] = label
        t.client.create(PATH, made)
    selector = {"labelSelector": f"test={label['test']}"}
    same("listed", len(t.client.get(PATH, **selector)["items"]), 3)
    t.client.delete(PATH, **selector)
    eventually("the collection's end", lambda: not t.client.get(PATH, **selector)["items"])


@conformance("[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition "
             "getting/updating/patching custom resource definition status sub-resource works")
def definition_status(t):
    with defined(t.client, crd("foos", "Foo", group())) as made:
        own = f"{PATH}/{name(made)}/status"
        found = t.client.get(own)
        found["status"]["conditions"].append({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set"})
        done = t.client.replace(own, found)
        assert any(c["type"] == "StatusUpdate" for c in done["status"]["conditions"]), done["status"]
        patch = {"status": {"conditions": [{"type": "StatusPatched", "status": "True", "reason": "E2E"}]}}
        done = t.client.patch(own, patch)
        assert any(c["type"] == "StatusPatched" for c in done["status"]["conditions"]), done["status"]


@conformance("[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources "
             "in discovery documents")
def definitions_in_discovery(t):
    assert any(g["name"] == "apiextensions.k8s.io" for g in t.client.get("/apis")["groups"])
    assert "v1" in [v["version"] for v in t.client.get("/apis/apiextensions.k8s.io")["versions"]]
    resources = [r["name"] for r in t.client.get("/apis/apiextensions.k8s.io/v1")["resources"]]
    assert "customresourcedefinitions" in resources, resources


@conformance("[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for requests and from "
             "storage works")
def defaulting(t):
    own = group()
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", schema)], scope="Cluster")) as made:
        path = f"/apis/{own}/v1/foos"
        first = t.client.create(path, {"apiVersion": f"{own}/v1", "kind": "Foo", "metadata": {"name": "one"}})
        assert "a" not in first, first
        t.client.patch(f"{PATH}/{name(made)}", [{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/a/default", "value": "A"},
                                                {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/b/default", "value": "B"}], "json")
        eventually("defaults for what is stored", lambda: t.client.get(f"{path}/one").get("a") == "A")
        second = t.client.create(path, {"apiVersion": f"{own}/v1", "kind": "Foo", "metadata": {"name": "two"}, "b": "given"})
        same("defaults for what is sent", (second["a"], second["b"]), ("A", "given"))


@conformance("[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom resource "
             "definition objects")
def watch_customs(t):
    own = group()
    with defined(t.client, crd("noxus", "Noxu", own, scope="Cluster")):
        path = f"/apis/{own}/v1/noxus"
        start = version(t.client.get(path))
        for title in ("a", "b"):
            t.client.create(path, {"apiVersion": f"{own}/v1", "kind": "Noxu", "metadata": {"name": title}})
        t.client.patch(f"{path}/a", {"content": "changed"})
        t.client.delete(f"{path}/a")
        t.client.delete(f"{path}/b")
        seen = take(t.client.watch(path, resourceVersion=start), 5)
        same("events", [(e["type"], name(e["object"])) for e in seen],
             [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a"), ("DELETED", "b")])


@conformance("[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom "
             "resources matching the field selector")
def field_selectors(t):
    own = group()
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "integer"}}}}}
    served = crd_version("v1", schema, selectableFields=[{"jsonPath": ".spec.host"}, {"jsonPath": ".spec.port"}])
    with defined(t.client, crd("servers", "Server", own, [served], scope="Cluster")):
        path = f"/apis/{own}/v1/servers"
        start = version(t.client.get(path))
        for title, host, port in (("a", "host1", 80), ("b", "host1", 8080), ("c", "host2", 80)):
            t.client.create(path, {"apiVersion": f"{own}/v1", "kind": "Server", "metadata": {"name": title}, "spec": {"host": host, "port": port}})
        same("host1", [name(i) for i in t.client.get(path, fieldSelector="spec.host=host1")["items"]], ["a", "b"])
        same("both", [name(i) for i in t.client.get(path, fieldSelector="spec.host=host1,spec.port=80")["items"]], ["a"])
        t.client.delete(path, fieldSelector="spec.host=host1")
        same("left", [name(i) for i in t.client.get(path)["items"]], ["c"])
        seen = take(t.client.watch(path, resourceVersion=start, fieldSelector="spec.host=host1"), 4)
        same("watch", kinds(seen), ["ADDED", "ADDED", "DELETED", "DELETED"])
        t.client.refused(400, "GET", path, fieldSelector="spec.other=x")


# What is published.

OBJECT = {"type": "object", "properties": {"spec": {"type": "object", "description": "Specification of a Foo",
                                                    "properties": {"bars": {"type": "array", "items": {
                                                        "type": "object", "required": ["name"], "properties": {
                                                            "name": {"type": "string"}, "age": {"type": "string"}}}}}}}}


def published(t, own, served, kind):
    """The schema of a kind in OpenAPI v3, `None` while there is none."""
    status, _, text = t.client.raw("GET", f"/openapi/v3/apis/{own}/{served}")
    if status != 200:
        return None
    for schema in json.loads(text)["components"]["schemas"].values():
        for mark in schema.get("x-kubernetes-group-version-kind", []):
            if (mark["group"], mark["version"], mark["kind"]) == (own, served, kind):
                return schema
    return None


def is_published(t, own, served, kind):
    return eventually(f"{own}/{served} {kind} in OpenAPI", lambda: published(t, own, served, kind))


def openapi(title):
    return conformance("[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] " + title)


@openapi("works for CRD with validation schema")
def publish_validation(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", OBJECT)])):
        schema = is_published(t, own, "v1", "Foo")
        same("its own text", schema["properties"]["spec"]["description"], "Specification of a Foo")
        with t.namespace() as namespace:
            good = json.dumps({"apiVersion": f"{own}/v1", "kind": "Foo", "metadata": {"name": "one"}, "spec": {"bars": [{"name": "x", "age": "1"}]}})
            t.kubectl("-n", namespace, "apply", "-f", "-", input=good)
            bad = good.replace('"age"', '"unknown"')
            told = t.kubectl("-n", namespace, "create", "-f", "-", input=bad.replace("one", "two"), check=False)
            assert told.returncode != 0 and 'unknown field "spec.bars[0].unknown"' in told.stderr, told.stderr
            missing = good.replace('"name": "x", ', "").replace("one", "three")
            told = t.kubectl("-n", namespace, "create", "-f", "-", input=missing, check=False)
            assert told.returncode != 0 and "spec.bars[0].name" in told.stderr, told.stderr
            explained = t.kubectl("explain", f"foos.{own}.spec.bars").stdout
            assert "age" in explained and "name" in explained, explained


@openapi("works for CRD without validation schema")
def publish_nothing(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own)):
        is_published(t, own, "v1", "Foo")
        with t.namespace() as namespace:
            t.kubectl("-n", namespace, "create", "-f", "-",
                      input=json.dumps({"apiVersion": f"{own}/v1", "kind": "Foo", "metadata": {"name": "one"}, "any": {"thing": [1]}}))
            same("kept", t.client.get(f"/apis/{own}/v1/namespaces/{namespace}/foos/one")["any"], {"thing": [1]})


@openapi("works for CRD preserving unknown fields at the schema root")
def publish_root(t):
    own = group()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"spec": {"type": "object"}}}
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", schema)])):
        same("the mark", is_published(t, own, "v1", "Foo").get("x-kubernetes-preserve-unknown-fields"), True)


@openapi("works for CRD preserving unknown fields in an embedded object")
def publish_embedded(t):
    own = group()
    schema = {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", schema)])):
        same("the mark", is_published(t, own, "v1", "Foo")["properties"]["spec"].get("x-kubernetes-preserve-unknown-fields"), True)
        with t.namespace() as namespace:
            t.kubectl("-n", namespace, "apply", "-f", "-",
                      input=json.dumps({"apiVersion": f"{own}/v1", "kind": "Foo", "metadata": {"name": "one"}, "spec": {"any": {"thing": 1}}}))
            same("kept", t.client.get(f"/apis/{own}/v1/namespaces/{namespace}/foos/one")["spec"], {"any": {"thing": 1}})


@openapi("works for multiple CRDs of different groups")
def publish_groups(t):
    one, two = group(), group()
    with defined(t.client, crd("foos", "Foo", one)), defined(t.client, crd("bars", "Bar", two)):
        is_published(t, one, "v1", "Foo")
        is_published(t, two, "v1", "Bar")


@openapi("works for multiple CRDs of same group but different versions")
def publish_versions(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v2"), crd_version("v3", storage=False)])):
        is_published(t, own, "v2", "Foo")
        is_published(t, own, "v3", "Foo")
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v4")])), defined(t.client, crd("bars", "Bar", own, [crd_version("v5")])):
        is_published(t, own, "v4", "Foo")
        is_published(t, own, "v5", "Bar")


@openapi("works for multiple CRDs of same group and version but different kinds")
def publish_kinds(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own)), defined(t.client, crd("bars", "Bar", own)):
        is_published(t, own, "v1", "Foo")
        is_published(t, own, "v1", "Bar")


@openapi("updates the published spec when one version gets renamed")
def publish_renamed(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v2", OBJECT), crd_version("v3", OBJECT, storage=False)])) as made:
        is_published(t, own, "v3", "Foo")
        t.client.patch(f"{PATH}/{name(made)}", [{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}], "json")
        is_published(t, own, "v4", "Foo")
        eventually("the old name's end", lambda: published(t, own, "v3", "Foo") is None)
        is_published(t, own, "v2", "Foo")


@openapi("removes definition from spec when one version gets changed to not be served")
def publish_unserved(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", OBJECT), crd_version("v2", OBJECT, storage=False)])) as made:
        is_published(t, own, "v2", "Foo")
        t.client.patch(f"{PATH}/{name(made)}", [{"op": "replace", "path": "/spec/versions/1/served", "value": False}], "json")
        eventually("the version's end", lambda: published(t, own, "v2", "Foo") is None)
        is_published(t, own, "v1", "Foo")


# Fields that are unknown or said twice.

def field_validation(title):
    return conformance("[sig-api-machinery] FieldValidation " + title)


def says(status, *words):
    for word in words:
        assert word in status["message"], f"{word!r} is not in {status['message']}"


@field_validation("should detect unknown and duplicate fields of a typed object")
def typed_unknown(t):
    with t.namespace() as namespace:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        text = json.dumps(deployment("d")).replace('"replicas": 1', '"unknown1": "val", "replicas": 1, "replicas": 2')
        says(t.client.refused(400, "POST", path, text, fieldValidation="Strict"), 'unknown field "spec.unknown1"', 'duplicate field "spec.replicas"')
        status, headers, _ = t.client.raw("POST", path, text, fieldValidation="Warn")
        same("with a warning", status, 201)
        assert 'unknown field \\"spec.unknown1\\"' in headers["warning"], headers
        says(t.client.refused(400, "PUT", f"{path}/d", text, fieldValidation="Strict"), 'unknown field "spec.unknown1"')
        says(t.client.refused(400, "PATCH", f"{path}/d", '{"spec": {"unknownPatch": 1}}', {"Content-Type": "application/merge-patch+json"},
                              fieldValidation="Strict"), 'unknown field "spec.unknownPatch"')
        applied = json.dumps(deployment("d")).replace('"replicas": 1', '"unknownApply": 1, "replicas": 1')
        t.client.refused(400, "PATCH", f"{path}/d", applied, APPLY, fieldValidation="Strict", fieldManager="m", force="true")


@field_validation("should detect unknown metadata fields of a typed object")
def typed_metadata(t):
    with t.namespace() as namespace:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        text = json.dumps(deployment("d")).replace('"metadata": {"name": "d"', '"metadata": {"unknownMeta": "x", "name": "d"', 1)
        says(t.client.refused(400, "POST", path, text, fieldValidation="Strict"), 'unknown field "metadata.unknownMeta"')
        inner = json.dumps(deployment("d")).replace('"template": {"metadata": {', '"template": {"metadata": {"unknownMeta": "x", ')
        says(t.client.refused(400, "POST", path, inner, fieldValidation="Strict"), 'unknown field "spec.template.metadata.unknownMeta"')


PORTS = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
    "foo": {"type": "string"}, "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                                         "items": {"type": "object", "required": ["containerPort", "protocol"], "properties": {
                                             "containerPort": {"type": "integer"}, "protocol": {"type": "string"}}}}}}}}


def custom(own, title, spec):
    return {"apiVersion": f"{own}/v1", "kind": "Foo", "metadata": {"name": title}, "spec": spec}


@field_validation("should create/apply a valid CR for CRD with validation schema")
def valid_custom(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", PORTS)], scope="Cluster")):
        path = f"/apis/{own}/v1/foos"
        spec = {"foo": "bar", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
        t.client.create(path, custom(own, "one", spec), fieldValidation="Strict")
        done = t.client.call("PATCH", f"{path}/two", custom(own, "two", spec), APPLY, fieldValidation="Strict", fieldManager="m")
        same("applied", done["spec"], spec)


@field_validation("should create/apply an invalid CR with extra properties for CRD with validation schema")
def extra_custom(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", PORTS)], scope="Cluster")):
        path = f"/apis/{own}/v1/foos"
        spec = {"foo": "bar", "extra": 1}
        says(t.client.refused(400, "POST", path, custom(own, "one", spec), fieldValidation="Strict"), 'unknown field "spec.extra"')
        t.client.refused(400, "PATCH", f"{path}/one", custom(own, "one", spec), APPLY, fieldValidation="Strict", fieldManager="m")
        same("pruned", t.client.create(path, custom(own, "one", spec), fieldValidation="Ignore")["spec"], {"foo": "bar"})


@field_validation("should create/apply a CR with unknown fields for CRD with no validation schema")
def schemaless_custom(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, scope="Cluster")):
        path = f"/apis/{own}/v1/foos"
        same("created", t.client.create(path, custom(own, "one", {"any": 1}), fieldValidation="Strict")["spec"], {"any": 1})
        done = t.client.call("PATCH", f"{path}/two", custom(own, "two", {"any": 1}), APPLY, fieldValidation="Strict", fieldManager="m")
        same("applied", done["spec"], {"any": 1})


@field_validation("should detect duplicates in a CR when preserving unknown fields")
def duplicate_custom(t):
    own = group()
    with defined(t.client, crd("foos", "Foo", own, scope="Cluster")):
        text = json.dumps(custom(own, "one", {"any": 1})).replace('"any": 1', '"any": 1, "any": 2')
        says(t.client.refused(400, "POST", f"/apis/{own}/v1/foos", text, fieldValidation="Strict"), 'duplicate field "spec.any"')


@field_validation("should detect unknown metadata fields in both the root and embedded object of a CR")
def metadata_custom(t):
    own = group()
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"template": {
        "type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}}}}}
    with defined(t.client, crd("foos", "Foo", own, [crd_version("v1", schema)], scope="Cluster")):
        inner = {"apiVersion": "foo/v1", "kind": "Sub", "metadata": {"name": "subobject", "unknownSubMeta": "x"}}
        made = custom(own, "one", {"template": inner})
        made["metadata"]["unknownMeta"] = "x"
        status = t.client.refused(400, "POST", f"/apis/{own}/v1/foos", made, fieldValidation="Strict")
        says(status, 'unknown field "metadata.unknownMeta"', 'unknown field "spec.template.metadata.unknownSubMeta"')
