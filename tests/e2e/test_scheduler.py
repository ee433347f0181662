#!/usr/bin/env python3
"""The scheduler in a real kvd: pods get nodes, wait with the exact message, and kvctl explain-schedule tells why."""
import base64
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import KVCTL, ROOT, Server, Tally, equal, free_ports
from plugintest import ENV, await_true

PLUGINS = os.path.join(ROOT, "build/plugins")
OK, FAILURE, BAD_FEATURE, BAD_ARGS = 0, 1, 4, 128
EXPLAIN = "explain-schedule"


class Plane:
    """A kvd with API server and scheduler."""

    def __init__(self, scheduler="scheduler.so"):
        self.port, = free_ports(1)
        flags = ["--plugin", f"{PLUGINS}/apiserver.so,port={self.port}"]
        if scheduler:
            flags += ["--plugin", f"{PLUGINS}/{scheduler}"]
        self.server = Server(flags=flags)
        self.context = None

    def __enter__(self):
        self.server.__enter__()
        await_true("the administrator has a certificate", self.trusted)
        await_true("the API is ready", self.ready)
        self.apply("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        return self

    def __exit__(self, *exc):
        self.server.__exit__(*exc)

    def trusted(self):
        """Takes authority, certificate and key out of the kubeconfig that the API server writes."""
        try:
            with open(os.path.join(self.server.data_dir, "admin.kubeconfig")) as f:
                text = f.read()
        except FileNotFoundError:
            return False
        pem = {}
        for word in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
            found = re.search(rf"\b{word}: *\"?([A-Za-z0-9+/=]+)", text)
            if not found:
                return False
            pem[word] = base64.b64decode(found.group(1)).decode()
        path = os.path.join(self.server.root, "admin.pem")
        with open(path, "w") as out:
            out.write(pem["client-certificate-data"] + pem["client-key-data"])
        self.context = ssl.create_default_context(cadata=pem["certificate-authority-data"])
        self.context.load_cert_chain(path)
        return True

    def ask(self, method, path, body=None, kind="application/json"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data=data, method=method,
                                         headers={"content-type": kind})
        with urllib.request.urlopen(request, timeout=20, context=self.context) as r:
            return json.loads(r.read())

    def ready(self):
        try:
            self.ask("GET", "/api/v1/namespaces/default")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def apply(self, path, body):
        return self.ask("POST", path, body)

    def node(self, name, cpu="4", pods="110", taints=None):
        self.apply("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        merge = "application/merge-patch+json"
        allocatable = {"cpu": cpu, "memory": "8Gi", "pods": pods}
        self.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"allocatable": allocatable}}, merge)
        self.ask("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": taints}}, merge)

    def pod(self, name, cpu="1", **spec):
        container = {"name": "c", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
        self.apply("/api/v1/namespaces/default/pods",
                   {"metadata": {"name": name}, "spec": {"containers": [container], **spec}})

    def get(self, name):
        return self.ask("GET", f"/api/v1/namespaces/default/pods/{name}")

    def where(self, name):
        return self.get(name)["spec"].get("nodeName")

    def message(self, name):
        for condition in self.get(name)["status"].get("conditions", []):
            if condition["type"] == "PodScheduled":
                return condition.get("message", "")
        return ""

    def kvctl(self, *words, status=OK):
        done = subprocess.run([KVCTL, "--endpoints", self.server.endpoint, EXPLAIN, *words],
                              capture_output=True, text=True, timeout=60, env=ENV, stdin=subprocess.DEVNULL)
        equal(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout if status == OK else done.stderr


def explained(tally, plane):
    plane.node("n1")
    plane.node("n2", cpu="8")
    plane.node("n3", taints=[{"key": "k", "effect": "NoSchedule"}])
    plane.pod("placed")
    await_true("placed has a node", lambda: plane.where("placed"))
    with tally.case("the node with most left is chosen"):
        equal(plane.where("placed"), "n2")
    with tally.case("explain-schedule: why there"):
        text = plane.kvctl("placed")
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
        answer = json.loads(plane.kvctl("placed", "-w", "json"))
        equal((answer["state"], answer["node"], answer["chosen"], answer["decision"], answer["nodeCount"]),
              ("assigned", "n2", "n2", "highest-score", 3))
        equal(answer["nodes"][0]["scores"]["TaintToleration"], {"score": 100, "weight": 3})
        equal(answer["nodes"][0]["rank"], 9.7)
        equal(answer["nodes"][2], {"name": "n3", "fits": False, "refusedBy": "TaintToleration",
                                   "reasons": ["node(s) had untolerated taint(s)"]})
    with tally.case("a pod that waits"):
        plane.pod("big", cpu="9")
        await_true("big was tried", lambda: plane.message("big"))
        equal(plane.message("big"),
              "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to "
              "deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
        text = plane.kvctl("default/big")
        assert "State:     waits (unschedulable), tried 1 times" in text, text
        assert "Decision:  no node\nReason:    0/3 nodes are available: 1 node(s) had" in text, text
        assert "n1       -      -  NodeResourcesFit: Insufficient cpu\n" in text, text
        equal(json.loads(plane.kvctl("big", "-n", "default", "-w", "json"))["state"], "unschedulable")
    with tally.case("room appears"):
        plane.node("n4", cpu="16")
        await_true("big has a node", lambda: plane.where("big"))
        equal(plane.where("big"), "n4")
    with tally.case("a pod of another scheduler"):
        plane.pod("other", schedulerName="another")
        await_true("it is known", lambda: "left to the scheduler another" in plane.kvctl("other"))


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
            err = plane.kvctl(*words, status=status)
            assert err.startswith("Error: ") and sentence in err, err
    for path, status in [("", 400), ("a", 400), ("a/b/c", 400), ("A/b", 400), ("a%2Fb", 400), ("a/b", 404)]:
        with tally.case(f"GET /scheduler/explain/{path}"):
            equal(plane.server.get(f"/scheduler/explain/{path}")[0], status)
    with tally.case("nobody is there"):
        done = subprocess.run([KVCTL, "--endpoints", "127.0.0.1:1", EXPLAIN, "p"], capture_output=True,
                              text=True, timeout=60, env=ENV)
        equal(done.returncode, FAILURE)
        assert done.stderr.startswith("Error: http://127.0.0.1:1: "), done.stderr
    with tally.case("the first endpoint that has a scheduler is asked"):
        done = subprocess.run([KVCTL, "--endpoints", f"127.0.0.1:1,{plane.server.endpoint}", EXPLAIN, "placed"],
                              capture_output=True, text=True, timeout=60, env=ENV)
        equal((done.returncode, done.stderr), (OK, ""))


def many(tally, plane):
    """Many pods at once: each has a node in the end, and nodes are used alike."""
    for i in range(20):
        plane.node(f"m{i:02}", cpu="100")
    for i in range(100):
        plane.pod(f"many-{i}", cpu="100m")

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
            done = subprocess.run([KVCTL, "--endpoints", plane.server.endpoint, "plugin", *words],
                                  capture_output=True, text=True, timeout=60, env=ENV)
            return done.returncode, done.stdout, done.stderr
        assert "weight-taint-toleration" in run("config", "scheduler")[1]
        equal(run("reload", "scheduler", "weight-taint-toleration=0", "pod-max-backoff=20s")[0], OK)
        text = plane.kvctl("placed")
        assert "TaintToleration 100" not in text and "NodeResourcesFit" in text, text
        status, _, err = run("reload", "scheduler", "pod-initial-backoff=30s")
        equal(status, FAILURE)
        assert "pod-initial-backoff is longer than pod-max-backoff" in err, err


def main():
    tally = Tally()
    with Plane() as plane:
        explained(tally, plane)
        refused(tally, plane)
        many(tally, plane)
        settings(tally, plane)
    with tally.case("the server ends in order"):
        with Plane() as plane:
            plane.node("n")
            plane.pod("p")
            await_true("p has a node", lambda: plane.where("p"))
            equal(plane.server.stop(), -signal.SIGTERM, "exit status")
    with tally.case("a server without the plugin"):
        with Plane(scheduler=None) as plane:
            err = plane.kvctl("p", status=FAILURE)
            assert "no scheduler plugin is loaded there" in err, err
    tally.close()


if __name__ == "__main__":
    main()
