#!/usr/bin/env python3
"""The story of the control plane as the store's history tells it, so that nothing between two looks is missed:
rolling updates keep their bounds at every revision, no replica set ever has more pods than it wants although
kvd is killed every ten seconds. Beside it what test_story.py leaves out: tokens, the exact message of a pod too
big, all nodes down, everything in the store."""
import base64
import json
import os
import random
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import Plane, condition, is_ready
from kvdtest import Tally, equal

try:
    import etcd3  # noqa: F401
    import podhistory
except ImportError:
    podhistory = None

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
KILL_EVERY_SECONDS, KILLS = 10, 4
# Nodes are looked at, found dead and left within seconds, not minutes.
HASTY = ("controllers", "node-monitor-period=500ms,node-monitor-grace-period=3s,node-startup-grace-period=3s")
HASTY_NODES = ("hollow-node", "lease-interval=500ms")


def deployment(name, replicas, image="i:1", **pod):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        "template": {"metadata": {"labels": labels},
                     "spec": dict({"terminationGracePeriodSeconds": 1,
                                   "containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]}, **pod)}}}


def service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}}


def make(plane, path, body):
    status, answer = plane.api("POST", path, body)
    equal(status, 201, answer)
    return answer


def pods(plane, app):
    return plane.object(f"{PODS}?labelSelector=app%3D{app}")["items"]


def settled(plane, name):
    """The deployment is as it is wanted, and says so."""
    d = plane.object(f"{DEPLOYMENTS}/{name}")
    s, wanted = d["status"], d["spec"]["replicas"]
    return (s.get("observedGeneration") == d["metadata"]["generation"] and s.get("updatedReplicas", 0) == wanted and
            s.get("replicas", 0) == wanted and s.get("availableReplicas", 0) == wanted)


def ready_addresses(plane, app):
    return sorted(p["status"]["podIP"] for p in pods(plane, app) if is_ready(p) and "deletionTimestamp" not in p["metadata"])


def listed(plane, name):
    """Addresses of the Endpoints, and of all slices of the service."""
    e = plane.object(f"/api/v1/namespaces/default/endpoints/{name}") or {}
    slices = plane.object("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
                          f"?labelSelector=kubernetes.io%2Fservice-name%3D{name}")["items"]
    return (sorted(a["ip"] for s in e.get("subsets", []) for a in s.get("addresses", [])),
            sorted(a for s in slices for p in s.get("endpoints") or [] if p["conditions"].get("ready") for a in p["addresses"]))


def endpoints_agree(plane, name):
    ready = ready_addresses(plane, name)
    return listed(plane, name) == (ready, ready) and ready_addresses(plane, name) == ready


def check_bounds(plane, name, wanted, surge=1, unavailable=1, begin=0):
    """At every revision from `begin` on: not more pods, not fewer available ones than the strategy allows."""
    if podhistory is None:
        return
    mine = [e for e in podhistory.history(plane, "/registry/pods/default/")]
    most, least, full = 0, wanted, False
    for revision, now in podhistory.states(mine, lambda p: p["metadata"].get("labels", {}).get("app") == name):
        active = sum(podhistory.is_active(p) for p in now.values())
        available = sum(podhistory.is_available(p) for p in now.values())
        full = full or available == wanted
        most = max(most, active)
        if full and revision >= begin:
            least = min(least, available)
    assert most <= wanted + surge, f"{most} pods at once"
    assert least >= wanted - unavailable, f"only {least} available"
    return full


def check_nothing_twice(plane, app, names_of_sets):
    """Of a replica set that only ever wanted n, no more than n active pods existed at any revision."""
    mine = podhistory.history(plane, "/registry/pods/default/")
    made = {}
    for _, now in podhistory.states(mine, lambda p: p["metadata"].get("labels", {}).get("app") == app):
        count = {}
        for pod in now.values():
            if podhistory.is_active(pod):
                count[podhistory.owner(pod)] = count.get(podhistory.owner(pod), 0) + 1
        for who, n in count.items():
            made[who] = max(made.get(who, 0), n)
    for who, n in made.items():
        most = names_of_sets.get(who[1])
        assert most is None or n <= most, f"{who} had {n} pods at once, {most} were wanted"
    return made


def quiet(tally):
    with Plane("controllers", "scheduler", "hollow-node", plain=False) as plane:
        with tally.case("a deployment and its service become ready"):
            make(plane, DEPLOYMENTS, deployment("web", 4))
            make(plane, "/api/v1/namespaces/default/services", service("web"))
            plane.until("the deployment is ready", lambda: settled(plane, "web"))
            equal(condition(plane.object(f"{DEPLOYMENTS}/web"), "Available"), ("True", "MinimumReplicasAvailable"), "Available")
            plane.until("the endpoints list the ready pods", lambda: endpoints_agree(plane, "web"))
            equal(len(ready_addresses(plane, "web")), 4, "ready pods")
        with tally.case("a rolling update keeps its bounds at every revision"):
            begin = int(plane.object(f"{DEPLOYMENTS}/web")["metadata"]["resourceVersion"])
            plane.api("PATCH", f"{DEPLOYMENTS}/web", deployment("web", 4, "i:2"), "application/strategic-merge-patch+json")
            plane.until("the update is through", lambda: settled(plane, "web"))
            equal({p["spec"]["containers"][0]["image"] for p in pods(plane, "web") if "deletionTimestamp" not in p["metadata"]},
                  {"i:2"}, "images")
            plane.until("the endpoints follow", lambda: endpoints_agree(plane, "web"))
            assert podhistory is None or check_bounds(plane, "web", 4, begin=begin), "never all available"
        with tally.case("scaled up and down, the endpoints list exactly the ready pods"):
            for n in (7, 2):
                plane.api("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": n}}, "application/merge-patch+json")
                plane.until(f"{n} pods", lambda n=n: settled(plane, "web") and len(ready_addresses(plane, "web")) == n)
                plane.until("the endpoints follow", lambda: endpoints_agree(plane, "web"))
        too_big(tally, plane)
        spaces(tally, plane)
        with tally.case("everything is in the store"):
            keys = plane.etcdctl("get", "--prefix", "/registry", "--keys-only", check=True)[1].split()
            for part in ("/registry/deployments/default/web", "/registry/services/specs/default/web",
                         "/registry/services/endpoints/default/web", "/registry/minions/hollow-node-1",
                         "/registry/leases/kube-node-lease/hollow-node-1", "/registry/serviceaccounts/default/default"):
                assert part in keys, part
            value = plane.etcdctl("get", "--print-value-only", "/registry/deployments/default/web", check=True)[1]
            equal(json.loads(value)["metadata"]["name"], "web", "the value")


def too_big(tally, plane):
    def sized(name, cpu):
        return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}}
    with tally.case("a pod too big is Pending, says why, and runs when there is room"):
        nodes = plane.object("/api/v1/nodes")["items"]
        cpu = int(nodes[0]["status"]["allocatable"]["cpu"])
        fillers = [make(plane, PODS, sized(f"filler-{i}", str(cpu - 1)))["metadata"]["name"] for i in range(len(nodes))]
        for name in fillers:
            plane.until(f"{name} runs", lambda name=name: is_ready(plane.pod(name)))
        make(plane, PODS, sized("big", "2"))
        plane.until("big is found to be too big", lambda: condition(plane.pod("big"), "PodScheduled"))
        big = plane.pod("big")
        why = [c for c in big["status"]["conditions"] if c["type"] == "PodScheduled"][0]
        equal((big["status"]["phase"], why["status"], why["reason"]), ("Pending", "False", "Unschedulable"), "condition")
        equal(why["message"], f"0/{len(nodes)} nodes are available: {len(nodes)} Insufficient cpu. no new claims to deallocate, preemption: 0/{len(nodes)} "
              f"nodes are available: {len(nodes)} No preemption victims found for incoming pod.", "message")
        plane.api("DELETE", f"{PODS}/{fillers[0]}")
        plane.until("big runs", lambda: is_ready(plane.pod("big")))
        for name in [*fillers[1:], "big"]:
            plane.api("DELETE", f"{PODS}/{name}")


def spaces(tally, plane):
    with tally.case("a new namespace gets its account, whose token shows who it is"):
        make(plane, "/api/v1/namespaces", {"metadata": {"name": "team"}})
        plane.until("the account", lambda: plane.object("/api/v1/namespaces/team/serviceaccounts/default"))
        plane.until("the authority", lambda: plane.object("/api/v1/namespaces/team/configmaps/kube-root-ca.crt"))
        token = make(plane, "/api/v1/namespaces/team/serviceaccounts/default/token",
                     {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})["status"]["token"]
        ca = plane.object("/api/v1/namespaces/team/configmaps/kube-root-ca.crt")["data"]["ca.crt"]
        context = ssl.create_default_context(cadata=ca)

        def ask(method, path, body=None):
            request = urllib.request.Request(plane.url + path, method=method, data=body and json.dumps(body).encode(),
                                             headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        status, me = ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                         {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
        equal((status, me["status"]["userInfo"]["username"]), (201, "system:serviceaccount:team:default"), "who")
        status, refused = ask("GET", "/api/v1/namespaces/team/secrets")
        equal((status, refused["reason"]), (403, "Forbidden"), "what it may not")
    with tally.case("a deleted namespace is emptied and gone, what is in it first"):
        make(plane, "/apis/apps/v1/namespaces/team/deployments", deployment("in", 2))
        plane.until("its pods run", lambda: sum(is_ready(p) for p in plane.object("/api/v1/namespaces/team/pods")["items"]) == 2)
        equal(plane.api("DELETE", "/api/v1/namespaces/team")[0], 200, "delete")
        status, answer = plane.api("POST", "/api/v1/namespaces/team/configmaps", {"metadata": {"name": "late"}})
        assert status in (403, 404), answer
        plane.until("it is gone", lambda: plane.object("/api/v1/namespaces/team") is None, 60)
        left = plane.etcdctl("get", "--prefix", "/registry/", "--keys-only", check=True)[1].split()
        equal([k for k in left if "/team/" in k or k.endswith("/team")], [], "keys left")


def stop_nodes(plane, names):
    plane.kvctl("plugin", "reload", "hollow-node", "stopped=" + "+".join(names), server=False)


def failing_nodes(tally):
    tolerations = [{"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}
                   for k in ("unreachable", "not-ready")]
    with Plane(HASTY, "scheduler", HASTY_NODES, plain=False) as plane:
        make(plane, DEPLOYMENTS, deployment("web", 3, tolerations=tolerations))
        plane.until("ready", lambda: settled(plane, "web"))
        lost = pods(plane, "web")[0]
        node, names = lost["spec"]["nodeName"], [n["metadata"]["name"] for n in plane.object("/api/v1/nodes")["items"]]

        def ready(name):
            return condition(plane.object(f"/api/v1/nodes/{name}"), "Ready")

        with tally.case("a node that stops is NotReady, its pods are replaced and stay Terminating"):
            stop_nodes(plane, [node])
            plane.until("NotReady", lambda: ready(node) == ("Unknown", "NodeStatusUnknown"))
            plane.until("replaced", lambda: settled(plane, "web") and
                        all(p["spec"]["nodeName"] != node for p in pods(plane, "web") if "deletionTimestamp" not in p["metadata"]), 60)
            old = plane.pod(lost["metadata"]["name"])
            assert old is not None and "deletionTimestamp" in old["metadata"], old
        with tally.case("when it comes back, they go"):
            stop_nodes(plane, [])
            plane.until("Ready", lambda: ready(node)[0] == "True")
            plane.until("they are gone", lambda: plane.pod(lost["metadata"]["name"]) is None)
            plane.until("the taints are gone", lambda: not plane.object(f"/api/v1/nodes/{node}")["spec"].get("taints"))
        with tally.case("with all nodes down nothing is evicted"):
            before = {p["metadata"]["uid"] for p in pods(plane, "web") if "deletionTimestamp" not in p["metadata"]}
            stop_nodes(plane, names)
            for name in names:
                plane.until(f"{name} is NotReady", lambda name=name: ready(name)[0] == "Unknown")
            # Longer than all tolerations: the heartbeat of the controllers' looks is what passes meanwhile.
            end = time.monotonic() + 6
            plane.until("time passes", lambda: time.monotonic() > end)
            equal({p["metadata"]["uid"] for p in pods(plane, "web") if "deletionTimestamp" not in p["metadata"]}, before, "pods")
            stop_nodes(plane, [])
            plane.until("all are back", lambda: all(ready(name)[0] == "True" for name in names))


class Killer(threading.Thread):
    """Kills kvd every few seconds, and starts it again."""

    def __init__(self, plane):
        super().__init__()
        self.plane, self.over, self.kills, self.failure = plane, threading.Event(), 0, None

    def run(self):
        try:
            while self.kills < KILLS and not self.over.wait(KILL_EVERY_SECONDS):
                self.plane.kill()
                Plane.__mro__[1].start(self.plane)
                self.kills += 1
        except Exception as e:  # noqa: BLE001 - told by the test
            self.failure = e


def stormy(tally):
    dice = random.Random(5)
    with Plane("controllers", "scheduler", "hollow-node", plain=False) as plane:
        with tally.case(f"the same while kvd is killed {KILLS} times: nothing twice, nothing lost"):
            make(plane, DEPLOYMENTS, deployment("web", 6))
            make(plane, "/api/v1/namespaces/default/services", service("web"))
            killer = Killer(plane)
            killer.start()
            version, wanted, rounds = 1, 6, 0
            while killer.is_alive():
                rounds += 1
                version += 1
                wanted = dice.randint(3, 8)
                body = deployment("web", wanted, f"i:{version}")
                plane.until("the change is taken", lambda: plane.api(
                    "PATCH", f"{DEPLOYMENTS}/web", body, "application/strategic-merge-patch+json")[0] == 200, 60)
                end = time.monotonic() + dice.uniform(0.5, 4)
                plane.until("a while", lambda: time.monotonic() > end)
            killer.join()
            if killer.failure:
                raise killer.failure
            equal(killer.kills, KILLS, "kills")
            plane.until("all is as wanted", lambda: plane.api("GET", f"{DEPLOYMENTS}/web")[0] == 200 and settled(plane, "web"), 90)
            plane.until("exactly so many pods", lambda: len(pods(plane, "web")) == wanted, 60)
            equal({p["spec"]["containers"][0]["image"] for p in pods(plane, "web")}, {f"i:{version}"}, "images")
            plane.until("the endpoints list the ready pods", lambda: endpoints_agree(plane, "web"), 60)
            if podhistory is not None:
                # Of each replica set: never more pods than the most it was ever told to have.
                most = {}
                for _, key, s in podhistory.history(plane, "/registry/replicasets/default/"):
                    if s is not None:
                        name = s["metadata"]["name"]
                        most[name] = max(most.get(name, 0), s["spec"]["replicas"])
                made = check_nothing_twice(plane, "web", most)
                assert len(made) > 1, made
        with tally.case("names and addresses of pods are used once at a time"):
            ips = [p["status"]["podIP"] for p in pods(plane, "web")]
            equal(len(set(ips)), len(ips), ips)


def main():
    tally = Tally()
    if podhistory is None:
        tally.skip("states at every revision", "python3-etcd3 is not installed")
    quiet(tally)
    failing_nodes(tally)
    stormy(tally)
    tally.close()


main()
