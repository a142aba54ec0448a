"""Watches."""

import concurrent.futures

from client import name, version
from suite import config_map, conformance, same


def take(events, count):
    """The next events, bookmarks left out."""
    seen = []
    for event in events:
        if event["type"] == "BOOKMARK":
            continue
        seen.append(event)
        if len(seen) == count:
            return seen
    raise AssertionError(f"the watch ended after {seen}")


# Every namespace gets a ConfigMap with the cluster's root certificate, some time after it was made.
MINE = {"mine": "yes"}
ONLY_MINE = {"labelSelector": "mine=yes"}


def kinds(events):
    return [event["type"] for event in events]


@conformance("[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps")
def notifications(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        start = version(t.client.get(path))
        labels = {"watch": "label-A"}
        made = t.client.create(path, config_map("a", labels))
        made["data"] = {"mutation": "1"}
        changed = t.client.replace(f"{path}/a", made)
        t.client.create(path, config_map("b", {"watch": "label-B"}))
        t.client.delete(f"{path}/a")
        seen = take(t.client.watch(path, labelSelector="watch=label-A", resourceVersion=start), 3)
        same("events of A", kinds(seen), ["ADDED", "MODIFIED", "DELETED"])
        same("the change", seen[1]["object"]["data"], {"mutation": "1"})
        same("its version", version(seen[1]["object"]), version(changed))
        both = take(t.client.watch(path, labelSelector="watch in (label-A,label-B)", resourceVersion=start), 4)
        same("events of A and B", kinds(both), ["ADDED", "MODIFIED", "ADDED", "DELETED"])


@conformance("[sig-api-machinery] Watchers should be able to start watching from a specific resource version")
def from_version(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        made = t.client.create(path, config_map("a", MINE))
        made["data"] = {"mutation": "1"}
        first = t.client.replace(f"{path}/a", made)
        first["data"] = {"mutation": "2"}
        t.client.replace(f"{path}/a", first)
        t.client.delete(f"{path}/a")
        seen = take(t.client.watch(path, **ONLY_MINE, resourceVersion=version(first)), 2)
        same("what came after the first change", kinds(seen), ["MODIFIED", "DELETED"])
        same("the second change", seen[0]["object"]["data"], {"mutation": "2"})


@conformance("[sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by the previous watch")
def restart(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        start = version(t.client.get(path))
        made = t.client.create(path, config_map("a", MINE))
        made["data"] = {"mutation": "1"}
        made = t.client.replace(f"{path}/a", made)
        seen = take(t.client.watch(path, **ONLY_MINE, resourceVersion=start), 2)
        last = version(seen[-1]["object"])
        made["data"] = {"mutation": "2"}
        t.client.replace(f"{path}/a", made)
        t.client.delete(f"{path}/a")
        same("after the restart", kinds(take(t.client.watch(path, **ONLY_MINE, resourceVersion=last), 2)), ["MODIFIED", "DELETED"])


@conformance("[sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the selector")
def leaves_selector(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        start = version(t.client.get(path))
        made = t.client.create(path, config_map("a", {"in": "yes"}))
        for wanted in ("no", "yes"):
            made["metadata"]["labels"] = {"in": wanted}
            made["data"] = {"mutation": wanted}
            made = t.client.replace(f"{path}/a", made)
        t.client.delete(f"{path}/a")
        seen = take(t.client.watch(path, labelSelector="in=yes", resourceVersion=start), 4)
        same("leaves and comes back", kinds(seen), ["ADDED", "DELETED", "ADDED", "DELETED"])


@conformance("[sig-api-machinery] Watchers should receive events on concurrent watches in same order")
def same_order(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        versions = [version(t.client.get(path))]
        for number in range(30):
            made = t.client.create(path, config_map(f"c-{number}", MINE))
            versions.append(version(made))
            if number % 2:
                t.client.delete(f"{path}/c-{number}")
        whole = [version(e["object"]) for e in take(t.client.watch(path, **ONLY_MINE, resourceVersion=versions[0]), 45)]

        def from_then(start):
            place = whole.index(start) + 1 if start in whole else 0
            found = take(t.client.watch(path, **ONLY_MINE, resourceVersion=start), len(whole) - place)
            return [version(e["object"]) for e in found] == whole[place:]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(from_then, versions[:-1])), "two watches saw another order"
