"""Policies in CEL, and configurations of webhooks that name no webhook that is there."""

import json

from client import name
from namespaces import operations
from suite import conformance, deployment, eventually, same, unique

ADMISSION = "/apis/admissionregistration.k8s.io"


def constraints(label):
    return {"matchPolicy": "Equivalent", "namespaceSelector": {"matchLabels": {label: "yes"}}, "objectSelector": {},
            "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"],
                               "scope": "*"}]}


def policy_test(title):
    return conformance("[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] " + title)


def in_force(t, spec, check):
    """Runs a check in a namespace where a policy holds."""
    label, title = unique("policy"), unique("policy")
    made = {"metadata": {"name": title}, "spec": dict(spec, matchConstraints=constraints(label))}
    binding = {"metadata": {"name": title}, "spec": {"policyName": title, "validationActions": ["Deny"], "matchResources": constraints(label)}}
    t.client.create(f"{ADMISSION}/v1/validatingadmissionpolicies", made)
    t.client.create(f"{ADMISSION}/v1/validatingadmissionpolicybindings", binding)
    try:
        with t.namespace({label: "yes"}) as namespace:
            check(f"/apis/apps/v1/namespaces/{namespace}/deployments")
    finally:
        t.client.delete(f"{ADMISSION}/v1/validatingadmissionpolicybindings/{title}")
        t.client.delete(f"{ADMISSION}/v1/validatingadmissionpolicies/{title}")


def refused_soon(t, path, thing):
    return eventually("the policy", lambda: t.client.refused(422, "POST", path, thing, dryRun="All"))


@policy_test("should validate against a Deployment")
def validate(t):
    def check(path):
        status = refused_soon(t, path, deployment("many", replicas=2))
        assert "object.spec.replicas" in status["message"] or "denied" in status["message"], status
        t.client.create(path, deployment("one", replicas=0))
    in_force(t, {"validations": [{"expression": "object.spec.replicas <= 1", "message": "object.spec.replicas must be at most 1: denied"}]}, check)


@policy_test("should allow expressions to refer variables.")
def variables(t):
    def check(path):
        refused_soon(t, path, deployment("many", replicas=3))
        t.client.create(path, deployment("one", replicas=1))
    in_force(t, {"variables": [{"name": "replicas", "expression": "object.spec.replicas"},
                               {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}],
                 "validations": [{"expression": "variables.replicas <= 1"}, {"expression": "variables.oddReplicas"}]}, check)


@policy_test("should support ValidatingAdmissionPolicy API operations")
def policy_operations(t):
    operations(t, f"{ADMISSION}/v1/validatingadmissionpolicies",
               {"spec": {"matchConstraints": constraints(unique("x")), "validations": [{"expression": "object.spec.replicas <= 100"}]}},
               status={"conditions": [{"type": "E2E", "status": "True", "reason": "E2E", "message": "set", "lastTransitionTime": "2026-01-02T03:04:05Z"}]})


@policy_test("should support ValidatingAdmissionPolicyBinding API operations")
def binding_operations(t):
    operations(t, f"{ADMISSION}/v1/validatingadmissionpolicybindings",
               {"spec": {"policyName": "not-there", "validationActions": ["Deny"], "matchResources": constraints(unique("x"))}})


def mutating_test(title):
    return conformance("[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] " + title)


def mutating_version(t):
    versions = [v["version"] for v in t.client.get(ADMISSION)["versions"]]
    return f"{ADMISSION}/{next(v for v in ('v1', 'v1beta1', 'v1alpha1') if v in versions and serves(t, v))}"


def serves(t, version):
    return "mutatingadmissionpolicies" in [r["name"] for r in t.client.get(f"{ADMISSION}/{version}")["resources"]]


def mutating_spec(label, mutation):
    return {"matchConstraints": constraints(label), "failurePolicy": "Fail", "reinvocationPolicy": "Never", "mutations": [mutation]}


def mutates(t, mutation, seen):
    label, title, path = unique("policy"), unique("policy"), mutating_version(t)
    t.client.create(f"{path}/mutatingadmissionpolicies", {"metadata": {"name": title}, "spec": mutating_spec(label, mutation)})
    t.client.create(f"{path}/mutatingadmissionpolicybindings", {"metadata": {"name": title}, "spec": {"policyName": title, "matchResources": constraints(label)}})
    try:
        with t.namespace({label: "yes"}) as namespace:
            own = f"/apis/apps/v1/namespaces/{namespace}/deployments"
            eventually("the policy", lambda: seen(t.client.create(own, deployment(unique("d"), replicas=1), dryRun="All")))
    finally:
        t.client.delete(f"{path}/mutatingadmissionpolicybindings/{title}")
        t.client.delete(f"{path}/mutatingadmissionpolicies/{title}")


@mutating_test("should mutate a Deployment")
def mutate(t):
    mutates(t, {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 0}}"}},
            lambda made: made["spec"]["replicas"] == 0)


@mutating_test("should mutate a Deployment with annotations")
def mutate_annotations(t):
    expression = '[JSONPatch{op: "add", path: "/metadata/annotations", value: {"my-annotation": "myValue"}}]'
    mutates(t, {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}},
            lambda made: made["metadata"].get("annotations", {}).get("my-annotation") == "myValue")


@mutating_test("should support MutatingAdmissionPolicy API operations")
def mutating_operations(t):
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 0}}"}}
    operations(t, f"{mutating_version(t)}/mutatingadmissionpolicies", {"spec": mutating_spec(unique("x"), mutation)})


@mutating_test("should support MutatingAdmissionPolicyBinding API operations")
def mutating_binding_operations(t):
    operations(t, f"{mutating_version(t)}/mutatingadmissionpolicybindings", {"spec": {"policyName": "not-there", "matchResources": constraints(unique("x"))}})


# Webhooks: their configurations as objects.

def webhook_test(title):
    return conformance("[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] " + title)


def configuration(label, **more):
    hook = dict({"name": "hook.example.com", "clientConfig": {"url": "https://127.0.0.1:1/never"}, "sideEffects": "None", "failurePolicy": "Ignore",
                 "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, "namespaceSelector": {"matchLabels": {label: "yes"}},
                 "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}, **more)
    return {"metadata": {}, "webhooks": [hook]}


def kind_path(kind):
    return f"{ADMISSION}/v1/{kind}webhookconfigurations"


@webhook_test("should include webhook resources in discovery documents")
def webhooks_in_discovery(t):
    resources = [r["name"] for r in t.client.get(f"{ADMISSION}/v1")["resources"]]
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= set(resources), resources


@webhook_test("listing mutating webhooks should work")
def list_mutating(t):
    operations(t, kind_path("mutating"), configuration(unique("x")))


@webhook_test("listing validating webhooks should work")
def list_validating(t):
    operations(t, kind_path("validating"), configuration(unique("x")))


def match_conditions(t, kind):
    made = configuration(unique("x"), matchConditions=[{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}])
    made["metadata"]["name"] = unique("conditions")
    path = kind_path(kind)
    done = t.client.create(path, made)
    done["webhooks"][0]["matchConditions"] = [{"name": "expression-1", "expression": "object.metadata.namespace == 'staging'"}]
    own = f"{path}/{name(done)}"
    same("update", t.client.replace(own, done)["webhooks"][0]["matchConditions"][0]["expression"], "object.metadata.namespace == 'staging'")
    t.client.delete(own)


@webhook_test("should be able to create and update mutating webhook configurations with match conditions")
def mutating_conditions(t):
    match_conditions(t, "mutating")


@webhook_test("should be able to create and update validating webhook configurations with match conditions")
def validating_conditions(t):
    match_conditions(t, "validating")


def bad_conditions(t, kind):
    made = configuration(unique("x"), matchConditions=[{"name": "bad", "expression": "... [] bad expression"}])
    made["metadata"]["name"] = unique("bad")
    status = t.client.refused(422, "POST", kind_path(kind), made)
    assert "matchConditions[0].expression" in json.dumps(status), status


@webhook_test("should reject mutating webhook configurations with invalid match conditions")
def bad_mutating(t):
    bad_conditions(t, "mutating")


@webhook_test("should reject validating webhook configurations with invalid match conditions")
def bad_validating(t):
    bad_conditions(t, "validating")


@webhook_test("should unconditionally reject operations on fail closed webhook")
def fail_closed(t):
    label = unique("closed")
    made = configuration(label, failurePolicy="Fail")
    made["metadata"]["name"] = label
    t.client.create(kind_path("validating"), made)
    try:
        with t.namespace({label: "yes"}) as namespace:
            path = f"/api/v1/namespaces/{namespace}/configmaps"
            eventually("the webhook", lambda: t.client.refused(500, "POST", path, {"metadata": {"name": unique("c")}}))
    finally:
        t.client.delete(f"{kind_path('validating')}/{label}")
