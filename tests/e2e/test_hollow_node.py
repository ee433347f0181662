#!/usr/bin/env python3
"""Hollow nodes in a real kvd, over its API: they register and renew, their pods start, become ready, end and
go; nodes are stopped and started; all of it goes on where it was after a restart."""
import datetime
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import Plane, condition, is_ready
from kvdtest import KVCTL, Tally, equal
from plugintest import Operator

PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def pod(name, node, container=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": dict({"nodeName": node, "containers": [dict({"name": "a", "image": "nginx"}, **(container or {}))]},
                         **spec)}


def create(plane, o, path=PODS):
    status, answer = plane.api("POST", path, o)
    equal(status, 201, f"create: {answer}")
    return answer


def phase(plane, name, want):
    def there():
        found = plane.pod(name)
        return found if found and found["status"].get("phase") == want else None
    return plane.until(f"pod {name} is {want}", there)


def renewed(plane, node):
    lease = plane.object(f"{LEASES}/{node}")
    return lease and datetime.datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00"))


def nodes(tally, plane):
    with tally.case("nodes register as kubelets do"):
        plane.until("three nodes", lambda: len(plane.object(NODES)["items"]) == 3)
        for number, name in enumerate(["hollow-node-1", "hollow-node-2", "hollow-node-3"], 1):
            o = plane.object(f"{NODES}/{name}")
            equal(o["metadata"]["labels"]["kubernetes.io/hostname"], name, "hostname")
            equal(o["metadata"]["labels"]["kubernetes.io/os"], "linux", "os")
            equal(o["metadata"]["labels"]["kvd.io/hollow"], "true", "label")
            equal(o["spec"]["podCIDR"], f"10.244.{number - 1}.0/24", "podCIDR")
            equal(o["status"]["capacity"], {"cpu": "8", "ephemeral-storage": "100Gi", "memory": "16Gi",
                                            "pods": "110"}, "capacity")
            equal(o["status"]["allocatable"], o["status"]["capacity"], "allocatable")
            equal(o["status"]["nodeInfo"]["kubeletVersion"], "v1.35.4", "version")
            equal([(c["type"], c["status"], c["reason"]) for c in o["status"]["conditions"]],
                  [("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                   ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                   ("PIDPressure", "False", "KubeletHasSufficientPID"), ("Ready", "True", "KubeletReady")],
                  "conditions")
    with tally.case("leases are renewed"):
        for name in ["hollow-node-1", "hollow-node-2", "hollow-node-3"]:
            first = plane.until("a lease", lambda: renewed(plane, name))
            plane.until("it is renewed", lambda: renewed(plane, name) > first)
            spec = plane.object(f"{LEASES}/{name}")
            equal(spec["spec"]["holderIdentity"], name, "holder")
            equal(spec["spec"]["leaseDurationSeconds"], 40, "duration")
            equal([r["kind"] for r in spec["metadata"]["ownerReferences"]], ["Node"], "owner")


def pods(tally, plane):
    with tally.case("a pod runs, becomes ready and has addresses"):
        create(plane, pod("web", "hollow-node-2"))
        o = phase(plane, "web", "Running")
        assert is_ready(o), o
        assert o["status"]["podIP"].startswith("10.244.1."), o["status"]
        equal(o["status"]["podIPs"], [{"ip": o["status"]["podIP"]}], "podIPs")
        equal(o["status"]["hostIP"], plane.object(f"{NODES}/hollow-node-2")["status"]["addresses"][0]["address"],
              "hostIP")
        assert o["status"]["startTime"], o
        equal(o["status"]["containerStatuses"][0]["ready"], True, "container")
        equal([condition(o, t)[0] for t in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                            "PodScheduled")], ["True"] * 5, "conditions")
    with tally.case("pods of a node have addresses of their own"):
        for i in range(10):
            create(plane, pod(f"many-{i}", "hollow-node-2"))
        ips = {phase(plane, f"many-{i}", "Running")["status"]["podIP"] for i in range(10)}
        equal(len(ips | {phase(plane, "web", "Running")["status"]["podIP"]}), 11, "addresses")
    with tally.case("work ends well or badly"):
        create(plane, pod("good", "hollow-node-1", {"command": ["sh", "-c", "sleep 0.2; true"]}, restartPolicy="Never"))
        create(plane, pod("bad", "hollow-node-1", {"command": ["sh", "-c", "exit 3"]}, restartPolicy="Never"))
        equal(phase(plane, "good", "Succeeded")["status"]["containerStatuses"][0]["state"]["terminated"]["reason"],
              "Completed", "reason")
        equal(phase(plane, "bad", "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3,
              "code")
    with tally.case("init containers run before the others"):
        create(plane, pod("init", "hollow-node-1", initContainers=[{"name": "i", "image": "busybox"}]))
        o = phase(plane, "init", "Running")
        equal(o["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0, "init container")
    with tally.case("a deleted pod ends with grace and goes"):
        status, o = plane.api("DELETE", f"{PODS}/web")
        equal((status, o["metadata"]["deletionGracePeriodSeconds"]), (200, 30), "deletion")
        plane.until("it is gone", lambda: plane.pod("web") is None)
    with tally.case("a new pod of an old name is another pod"):
        first = create(plane, pod("again", "hollow-node-3"))
        phase(plane, "again", "Running")
        plane.api("DELETE", f"{PODS}/again?gracePeriodSeconds=0")
        second = create(plane, pod("again", "hollow-node-3"))
        o = phase(plane, "again", "Running")
        equal(o["metadata"]["uid"], second["metadata"]["uid"], "uid")
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
    with tally.case("pods of other nodes are left alone"):
        create(plane, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "real"}}, NODES)
        create(plane, pod("elsewhere", "real"))
        create(plane, pod("marker", "hollow-node-1"))
        phase(plane, "marker", "Running")
        o = plane.pod("elsewhere")
        assert "startTime" not in o["status"] and o["status"]["phase"] == "Pending", o["status"]
        assert "conditions" not in plane.object(f"{NODES}/real").get("status", {})


def stops(tally, plane):
    operator = Operator(plane, "hollow-node")
    with tally.case("a node that is stopped by option neither renews nor acts, and goes on later"):
        operator("reload", "hollow-node", "stopped=hollow-node-1")
        before = renewed(plane, "hollow-node-1")
        create(plane, pod("waits", "hollow-node-1"))
        create(plane, pod("runs", "hollow-node-2"))
        phase(plane, "runs", "Running")
        other = renewed(plane, "hollow-node-2")
        plane.until("others renew, twice", lambda: renewed(plane, "hollow-node-2") > other)
        other = renewed(plane, "hollow-node-2")
        plane.until("others renew, twice", lambda: renewed(plane, "hollow-node-2") > other)
        equal(renewed(plane, "hollow-node-1"), before, "lease of the stopped node")
        equal(plane.pod("waits")["status"]["phase"], "Pending", "its pod")
        operator("reload", "hollow-node", "stopped=")
        phase(plane, "waits", "Running")
        plane.until("it renews again", lambda: renewed(plane, "hollow-node-1") > before)
    with tally.case("a node is stopped by its annotation; a terminating pod stays until it starts"):
        def annotate(value):
            patch = {"metadata": {"annotations": {"kvd.io/hollow": value}}}
            status, answer = plane.api("PATCH", f"{NODES}/hollow-node-2", patch, "application/merge-patch+json")
            equal(status, 200, f"annotation: {answer}")
        annotate("stopped")
        plane.until("the plugin has seen it", lambda: "node stopped" in plane.log_text().rsplit("reload", 1)[-1])
        plane.api("DELETE", f"{PODS}/runs?gracePeriodSeconds=1")
        other = renewed(plane, "hollow-node-3")
        plane.until("others renew, twice", lambda: renewed(plane, "hollow-node-3") > other)
        assert plane.pod("runs") is not None, "nobody said that it has ended"
        annotate(None)
        plane.until("it is gone", lambda: plane.pod("runs") is None)
    with tally.case("a pod that others call not ready is ready again"):
        create(plane, pod("steady", "hollow-node-3"))
        phase(plane, "steady", "Running")
        patch = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}}
        status, _ = plane.api("PATCH", f"{PODS}/steady/status", patch, "application/strategic-merge-patch+json")
        equal(status, 200, "patch")
        plane.until("it is ready", lambda: is_ready(plane.pod("steady")))
    with tally.case("more nodes, other sizes; bad ones are refused"):
        operator("reload", "hollow-node", "nodes=5", "cpu=500m", "pods=20")
        plane.until("a fifth node", lambda: plane.object(f"{NODES}/hollow-node-5"))
        plane.until("the first one is smaller", lambda: plane.object(f"{NODES}/hollow-node-1")["status"]["capacity"]
                    ["cpu"] == "500m")
        for bad, sentence in [("cpu=much", "cpu=much is no amount"), ("memory=-1", "memory=-1 is no amount")]:
            status, _, err = operator.run("reload", "hollow-node", bad)
            equal(status, 1, bad)
            assert sentence in err, err
    with tally.case("a node that somebody deletes stays away until it is started"):
        equal(plane.api("DELETE", f"{NODES}/hollow-node-4")[0], 200, "deletion")
        other = renewed(plane, "hollow-node-3")
        plane.until("others renew", lambda: renewed(plane, "hollow-node-3") > other)
        equal(plane.object(f"{NODES}/hollow-node-4"), None, "the node")
        operator("reload", "hollow-node", "stopped=hollow-node-4")
        operator("reload", "hollow-node", "stopped=")
        plane.until("it is back", lambda: plane.object(f"{NODES}/hollow-node-4"))


def restarts(tally, plane):
    with tally.case("after kill -9 everything goes on where it was"):
        before = plane.pod("steady")
        create(plane, pod("onway", "hollow-node-3", {"command": ["sleep", "1"]}, restartPolicy="Never"))
        phase(plane, "onway", "Running")
        lease = renewed(plane, "hollow-node-3")
        plane.kill()
        plane.start()
        phase(plane, "onway", "Succeeded")
        plane.until("leases are renewed", lambda: renewed(plane, "hollow-node-3") > lease)
        create(plane, pod("fresh", "hollow-node-3"))
        fresh = phase(plane, "fresh", "Running")
        after = plane.pod("steady")
        equal(after["status"]["podIP"], before["status"]["podIP"], "address")
        equal(after["status"]["containerStatuses"], before["status"]["containerStatuses"], "containers")
        assert fresh["status"]["podIP"] != after["status"]["podIP"], "an address is given once"
    with tally.case("a prefix that makes no names is refused"):
        with Plane(("hollow-node", "name-prefix=Bad_")) as other:
            other.until("the log says why", lambda: "name-prefix=Bad_" in other.log_text())
            equal(other.object(NODES)["items"], [], "nodes")


def main():
    tally = Tally()
    if not os.path.exists(KVCTL):
        tally.skip("hollow nodes", "kvctl is not built")
        tally.close()
    with Plane(("hollow-node", "lease-interval=500ms,start-delay=20ms,stop-delay=20ms,init-delay=20ms")) as plane:
        nodes(tally, plane)
        pods(tally, plane)
        stops(tally, plane)
        restarts(tally, plane)
    tally.close()


main()
