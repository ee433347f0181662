#!/usr/bin/env python3
"""The scheduler in a real kvd: pods get nodes, wait with the exact message, and kvctl explain-schedule tells why."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import ENV, Plane
from kvdtest import KVCTL, Tally, equal
from plugintest import await_true

OK, FAILURE, BAD_FEATURE, BAD_ARGS = 0, 1, 4, 128
EXPLAIN = "explain-schedule"


class Cluster(Plane):
    """API server and scheduler, as everybody has to show who he is."""

    def __init__(self, *plugins):
        super().__init__(*plugins, plain=False)

    def ask(self, method, path, body=None, kind="application/json"):
        status, answer = self.api(method, path, body, kind)
        assert status in (200, 201), f"{method} {path}: {status} {answer}"
        return answer

    def node(self, name, cpu="4", pods="110", taints=None):
        self.ask("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        merge = "application/merge-patch+json"
        allocatable = {"cpu": cpu, "memory": "8Gi", "pods": pods}
        self.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"allocatable": allocatable}}, merge)
        self.ask("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": taints}}, merge)

    def make(self, name, cpu="1", **spec):
        container = {"name": "c", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
        self.ask("POST", "/api/v1/namespaces/default/pods",
                 {"metadata": {"name": name}, "spec": {"containers": [container], **spec}})

    def where(self, name):
        return self.pod(name)["spec"].get("nodeName")

    def message(self, name):
        for condition in self.pod(name)["status"].get("conditions", []):
            if condition["type"] == "PodScheduled":
                return condition.get("message", "")
        return ""

    def explain(self, *words, status=OK):
        got, out, err = self.run(EXPLAIN, *words, server=False)
        equal(got, status, f"{words}: {out}{err}")
        return out if status == OK else err


def explained(tally, plane):
    plane.node("n1")
    plane.node("n2", cpu="8")
    plane.node("n3", taints=[{"key": "k", "effect": "NoSchedule"}])
    plane.make("placed")
    await_true("placed has a node", lambda: plane.where("placed"))
    with tally.case("the node with most left is chosen"):
        equal(plane.where("placed"), "n2")
    with tally.case("explain-schedule: why there"):
        text = plane.explain("placed")
        lines = text.splitlines()
        equal(lines[:5], ["Pod:       default/placed (priority 0)", "State:     assigned to n2", "Decision:  n2",
                          "Rule:      the highest score",
                          "Note:      as things are now, without this pod; they were others when it was scheduled"])
        equal(lines[6], "NODE  RANK  TOTAL  SCORES, OR WHAT REFUSED IT")
        # n2: (8000 - 1000) / 8000 = 87, (8192 - 1024) / 8192 = 87; fractions 1/8 and 1/8.
        equal(lines[7], "n2     9.7    487  TaintToleration 100*3, NodeResourcesFit 87*1, "
                        "NodeResourcesBalancedAllocation 100*1")
        # n1: 75 and 87; fractions 1/4 and 1/8.
        equal(lines[8], "n1     9.5    474  TaintToleration 100*3, NodeResourcesFit 81*1, "
                        "NodeResourcesBalancedAllocation 93*1")
        equal(lines[9], "n3       -      -  TaintToleration: node(s) had untolerated taint(s)")
        equal(len(lines), 10)
    with tally.case("the same as JSON"):
        answer = json.loads(plane.explain("placed", "-w", "json"))
        equal((answer["state"], answer["node"], answer["chosen"], answer["decision"], answer["nodeCount"]),
              ("assigned", "n2", "n2", "highest-score", 3))
        equal(answer["nodes"][0]["scores"]["TaintToleration"], {"score": 100, "weight": 3})
        equal(answer["nodes"][0]["rank"], 9.7)
        equal(answer["nodes"][2], {"name": "n3", "fits": False, "refusedBy": "TaintToleration",
                                   "reasons": ["node(s) had untolerated taint(s)"]})
    with tally.case("a pod that waits"):
        plane.make("big", cpu="9")
        await_true("big was tried", lambda: plane.message("big"))
        equal(plane.message("big"),
              "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to "
              "deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
        text = plane.explain("default/big")
        assert "State:     waits (unschedulable), tried 1 times" in text, text
        assert "Decision:  no node\nReason:    0/3 nodes are available: 1 node(s) had" in text, text
        assert "n1       -      -  NodeResourcesFit: Insufficient cpu\n" in text, text
        equal(json.loads(plane.explain("big", "-n", "default", "-w", "json"))["state"], "unschedulable")
    with tally.case("room appears"):
        plane.node("n4", cpu="16")
        await_true("big has a node", lambda: plane.where("big"))
        equal(plane.where("big"), "n4")
    with tally.case("a pod of another scheduler"):
        plane.make("other", schedulerName="another")
        await_true("it is known", lambda: "left to the scheduler another" in plane.explain("other"))


def refused(tally, plane):
    for words, status, sentence in [
            ([], BAD_ARGS, "explain-schedule takes the name of one pod"),
            (["a", "b"], BAD_ARGS, "explain-schedule takes the name of one pod"),
            (["a/b", "-n", "c"], BAD_ARGS, "the namespace is given twice"),
            (["a/b/c"], BAD_ARGS, 'is no name of a pod: write POD or NAMESPACE/POD'),
            (["UP"], BAD_ARGS, "is no name of a pod"),
            (["../metrics"], BAD_ARGS, "is no name of a pod"),
            (["/a"], BAD_ARGS, "is no name of a pod"),
            (["p", "-w", "table"], BAD_FEATURE, "has no table form"),
            (["nobody"], FAILURE, "default/nobody: there is no such pod (status 404)")]:
        with tally.case(f"wrong: kvctl {EXPLAIN} " + " ".join(words)):
            err = plane.explain(*words, status=status)
            assert err.startswith("Error: ") and sentence in err, err
    for path, status in [("", 400), ("a", 400), ("a/b/c", 400), ("A/b", 400), ("a%2Fb", 400), ("a/b", 404)]:
        with tally.case(f"GET /scheduler/explain/{path}"):
            equal(plane.get(f"/scheduler/explain/{path}")[0], status)
    with tally.case("nobody is there"):
        done = subprocess.run([KVCTL, "--endpoints", "127.0.0.1:1", EXPLAIN, "p"], capture_output=True,
                              text=True, timeout=60, env=ENV)
        equal(done.returncode, FAILURE)
        assert done.stderr.startswith("Error: http://127.0.0.1:1: "), done.stderr
    with tally.case("the first endpoint that has a scheduler is asked"):
        done = subprocess.run([KVCTL, "--endpoints", f"127.0.0.1:1,{plane.endpoint}", EXPLAIN, "placed"],
                              capture_output=True, text=True, timeout=60, env=ENV)
        equal((done.returncode, done.stderr), (OK, ""))


def many(tally, plane):
    """Many pods at once: each has a node in the end, and nodes are used alike."""
    for i in range(20):
        plane.node(f"m{i:02}", cpu="100")
    for i in range(100):
        plane.make(f"many-{i}", cpu="100m")

    def bound():
        pods = plane.ask("GET", "/api/v1/namespaces/default/pods")["items"]
        return [p["spec"].get("nodeName") for p in pods if p["metadata"]["name"].startswith("many-")]

    with tally.case("100 pods have their nodes"):
        await_true("all are bound", lambda: all(bound()))
        per_node = {}
        for node in bound():
            per_node[node] = per_node.get(node, 0) + 1
        assert all(n <= 8 for n in per_node.values()), per_node  # their memory


def settings(tally, plane):
    with tally.case("settings are shown, and some change while it runs"):
        def run(*words):
            return plane.run("plugin", *words, server=False)
        assert "weight-taint-toleration" in run("config", "scheduler")[1]
        equal(run("reload", "scheduler", "weight-taint-toleration=0", "pod-max-backoff=20s")[0], OK)
        text = plane.explain("placed")
        assert "TaintToleration 100" not in text and "NodeResourcesFit" in text, text
        status, _, err = run("reload", "scheduler", "pod-initial-backoff=30s")
        equal(status, FAILURE)
        assert "pod-initial-backoff is longer than pod-max-backoff" in err, err


def main():
    tally = Tally()
    with Cluster("scheduler") as plane:
        explained(tally, plane)
        refused(tally, plane)
        many(tally, plane)
        settings(tally, plane)
    with tally.case("the server ends in order"):
        with Cluster("scheduler") as plane:
            plane.node("n")
            plane.make("p")
            await_true("p has a node", lambda: plane.where("p"))
            equal(plane.stop(), -signal.SIGTERM, "exit status")
    with tally.case("a server without the plugin"):
        with Cluster() as plane:
            err = plane.explain("p", status=FAILURE)
            assert "no scheduler plugin is loaded there" in err, err
    tally.close()


if __name__ == "__main__":
    main()
