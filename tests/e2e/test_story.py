#!/usr/bin/env python3
"""The story of the control plane, by its API: deployments become available and services list exactly the ready
pods, rolling updates keep their bounds, a node that fails is noticed and its pods are replaced, a pod too big
waits for room, a deleted namespace is emptied; quietly, and while kvd is killed again and again."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import PLUGINS, Plane, condition, is_ready
from kvdtest import Tally, equal

APPS = "/apis/apps/v1/namespaces/{}/deployments"
NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"


def deployment(name, replicas, image="nginx:1", **spec):
    labels = {"app": name}
    # Nodes that fail are left soon: a test has no five minutes.
    tolerations = [{"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 1} for taint in ("not-ready", "unreachable")]
    pod = {"containers": [{"name": "a", "image": image, "ports": [{"containerPort": 80}]}], "tolerations": tolerations}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": dict({"replicas": replicas, "selector": {"matchLabels": labels},
                          "template": {"metadata": {"labels": labels}, "spec": pod}}, **spec)}


def service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}}


class Story:
    """A plane, perhaps one that is killed meanwhile: what is asked is asked again until it is answered."""

    def __init__(self, plane):
        self.plane = plane

    def ask(self, method, path, body=None, content_type="application/json", fine=(200, 201)):
        def answered():
            status, answer = self.plane.api(method, path, body, content_type)
            if status in fine or (status == 409 and method == "POST" and answer.get("reason") == "AlreadyExists"):
                return answer
            # Not there for a moment, or not sure: once more. What is wrong will stay wrong.
            if status != 0 and status < 500 and status not in (409, 429):
                raise AssertionError(f"{method} {path}: {status} {answer}")
            return None
        return self.plane.until(f"{method} {path}", answered, 60)

    def get(self, path):
        answer = self.ask("GET", path, fine=(200, 404))
        return None if answer.get("kind") == "Status" else answer

    def pods(self, app=None, space="default"):
        query = f"?labelSelector=app%3D{app}" if app else ""
        return self.get(f"/api/v1/namespaces/{space}/pods{query}")["items"]

    def until(self, what, condition, seconds=120):
        return self.plane.until(what, condition, seconds)

    def available(self, name, replicas, space="default"):
        def there():
            o = self.get(APPS.format(space) + "/" + name)
            status = (o or {}).get("status", {})
            return status.get("availableReplicas", 0) == replicas and status.get("updatedReplicas") == replicas and \
                status.get("replicas") == replicas and status.get("observedGeneration") == o["metadata"]["generation"]
        self.until(f"{name} has {replicas}", there)

    def connected(self, name, space="default"):
        """The service's endpoints are exactly the ready pods."""
        def same():
            ready = sorted(p["status"]["podIP"] for p in self.pods(name, space)
                           if is_ready(p) and "deletionTimestamp" not in p["metadata"])
            endpoints = self.get(f"/api/v1/namespaces/{space}/endpoints/{name}") or {}
            listed = sorted(a["ip"] for s in endpoints.get("subsets", []) for a in s.get("addresses", []))
            slices = self.get(f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices?labelSelector="
                              f"kubernetes.io%2Fservice-name%3D{name}")["items"]
            sliced = sorted(a for s in slices for e in s.get("endpoints") or [] if e["conditions"].get("ready")
                            for a in e["addresses"])
            return ready and ready == listed == sliced
        self.until(f"service {name} lists its ready pods", same)

    def node_stop(self, name, stopped):
        self.ask("PATCH", f"{NODES}/{name}", {"metadata": {"annotations": {"kvd.io/hollow": "stopped" if stopped
                                                                           else None}}}, MERGE)


def chapters(tally, story, title):
    with tally.case(f"{title}: a deployment becomes available, its service is connected"):
        story.ask("POST", APPS.format("default"), deployment("web", 4))
        story.ask("POST", "/api/v1/namespaces/default/services", service("web"))
        story.available("web", 4)
        story.connected("web")
    with tally.case(f"{title}: a rolling update keeps its bounds"):
        story.ask("PATCH", APPS.format("default") + "/web",
                  {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}}, MERGE)
        story.available("web", 4)
        story.ask("PATCH", APPS.format("default") + "/web", {"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "nginx:2"}]}}}}, "application/strategic-merge-patch+json")
        seen = set()

        def done():
            pods = [p for p in story.pods("web") if "deletionTimestamp" not in p["metadata"]]
            equal(len(pods) <= 5, True, f"at most one too many: {len(pods)}")
            seen.add(len(pods))
            o = story.get(APPS.format("default") + "/web")
            return len(pods) == 4 and all(p["spec"]["containers"][0]["image"] == "nginx:2" for p in pods) and \
                o["status"].get("availableReplicas") == 4 and o["status"].get("updatedReplicas") == 4
        story.until("all pods are new", done)
        story.connected("web")
    with tally.case(f"{title}: a node fails: noticed, left, and welcome again"):
        victim = story.pods("web")[0]["spec"]["nodeName"]
        story.node_stop(victim, True)
        story.until("it is not ready", lambda: condition(story.get(f"{NODES}/{victim}"), "Ready")[0] == "Unknown")
        story.until("its pods have others in their place", lambda: len(
            [p for p in story.pods("web") if is_ready(p) and p["spec"].get("nodeName") != victim and
             "deletionTimestamp" not in p["metadata"]]) == 4)
        story.connected("web")
        left = [p for p in story.pods("web") if p["spec"].get("nodeName") == victim]
        assert left and all("deletionTimestamp" in p["metadata"] for p in left), "they stay terminating"
        story.node_stop(victim, False)
        story.until("it is ready", lambda: is_ready(story.get(f"{NODES}/{victim}")))
        story.until("what was terminating is gone", lambda: len(story.pods("web")) == 4)
        story.until("no taint is left", lambda: not story.get(f"{NODES}/{victim}")["spec"].get("taints"))
    with tally.case(f"{title}: a pod too big waits, and runs when there is room"):
        big = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big"}, "spec": {"containers": [
            {"name": "a", "image": "b", "resources": {"requests": {"cpu": "12"}}}]}}
        story.ask("POST", "/api/v1/namespaces/default/pods", big)

        def told():
            o = story.get("/api/v1/namespaces/default/pods/big")
            return next((c.get("message", "") for c in o["status"].get("conditions", [])
                         if c["type"] == "PodScheduled" and c["status"] == "False"), None)
        message = story.until("the scheduler says why", told)
        assert message.startswith("0/3 nodes are available: 3 Insufficient cpu."), message
        def room(cpu):
            story.ask("PATCH", f"{NODES}/hollow-node-2/status", {"status": {"allocatable": {"cpu": cpu}}}, MERGE)
        def runs():
            # A node that starts again tells its real size.
            room("32")
            return is_ready(story.get("/api/v1/namespaces/default/pods/big"))
        story.until("it runs", runs)
        equal(story.get("/api/v1/namespaces/default/pods/big")["spec"]["nodeName"], "hollow-node-2", "node")
        room("8")
    with tally.case(f"{title}: a new namespace gets its account, a deleted one is emptied and gone"):
        story.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
        story.until("account", lambda: story.get("/api/v1/namespaces/team/serviceaccounts/default"))
        story.until("root CA", lambda: story.get("/api/v1/namespaces/team/configmaps/kube-root-ca.crt"))
        story.ask("POST", APPS.format("team"), deployment("api", 2))
        story.ask("POST", "/api/v1/namespaces/team/services", service("api"))
        story.available("api", 2, "team")
        story.connected("api", "team")
        story.ask("DELETE", "/api/v1/namespaces/team", fine=(200, 202, 404, 409))
        story.until("it is gone", lambda: story.get("/api/v1/namespaces/team") is None)
        keys = story.until("keys", lambda: story.plane.run("get", "--prefix", "/registry/", "--keys-only",
                                                           server=False)[1])
        equal([k for k in keys.split() if "/team/" in k], [], "what is left in the store")
    with tally.case(f"{title}: what nobody owns any more goes"):
        story.ask("DELETE", APPS.format("default") + "/web", fine=(200, 404))
        story.ask("DELETE", "/api/v1/namespaces/default/services/web", fine=(200, 404))
        story.ask("DELETE", "/api/v1/namespaces/default/pods/big", fine=(200, 404))
        story.until("no pods", lambda: story.pods() == [])
        story.until("no replica sets", lambda: story.get("/apis/apps/v1/namespaces/default/replicasets")["items"] == [])
        story.until("no endpoints", lambda: story.get("/api/v1/namespaces/default/endpoints/web") is None)


class Killer(threading.Thread):
    """kill -9, and start again, every `seconds`."""

    def __init__(self, plane, seconds):
        super().__init__()
        self.plane, self.seconds, self.over, self.kills = plane, seconds, threading.Event(), 0

    def run(self):
        while not self.over.wait(self.seconds):
            self.plane.kill()
            self.plane.start(wait=False)
            self.plane.wait_ready()
            self.kills += 1


def plane(grace):
    return Plane(("controllers", f"node-monitor-period=100ms,node-monitor-grace-period={grace}"), "scheduler",
                 ("hollow-node", "lease-interval=300ms,start-delay=50ms,stop-delay=50ms"))


def main():
    tally = Tally()
    missing = [n for n in ("apiserver", "controllers", "scheduler", "hollow-node")
               if not os.path.exists(os.path.join(PLUGINS, n + ".so"))]
    if missing:
        tally.skip("the story", f"not built: {missing}")
        tally.close()
    with plane("3s") as p:
        p.until("nodes", lambda: len(p.object(NODES)["items"]) == 3)
        chapters(tally, Story(p), "quietly")
    # Who is silent is known by a clock that begins anew with each start: it must run out between two kills.
    with plane("1500ms") as p:
        p.until("nodes", lambda: len(p.object(NODES)["items"]) == 3)
        killer = Killer(p, 3)
        killer.start()
        try:
            for number in range(3):
                chapters(tally, Story(p), f"under kill -9, {number + 1}")
        finally:
            killer.over.set()
            killer.join()
        with tally.case("it was killed meanwhile"):
            assert killer.kills >= 3, killer.kills
            print(f"     {killer.kills} kills")
    tally.close()


main()
