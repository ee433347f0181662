"""plane - the part of tests/bench/run about the control plane: CPU of requests over HTTPS at 1 and 32 connections,
100 watchers, start, idle, and a deployment of 1,000 replicas on 100 hollow nodes. The figures of the Go programs are
those measured once for the design (its sections 8 and 10), on a machine of this kind; with KUBE_APISERVER=PATH the Go
API server's requests are measured here, in the same rounds. ONLY=requests, idle, start or rollout measures one thing
alone."""
import http.client
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import time

import kube_apiserver
from kubetest import Plane
from kvdtest import ROOT
from plugins import cpu_us, pss_mb, settled, shown

PROGRAM = "build/out/tests/bench/bench_api"
LOAD = os.path.join(ROOT, PROGRAM)
PODS = "/api/v1/namespaces/{}/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
WATCHERS = 100
MANY = 5000
REPLICAS, NODES = 1000, 100
ROLLOUT_SECONDS_MAX = 300
THREADS = ("kvd", "apiserver", "controllers", "scheduler", "hollow-node")

TIMES = 8  # less CPU per request than the Go API server
GO_ROW = "Go: "  # in front of a row of the Go API server

# What the Go programs took, and the design's budgets, by row.
GO = {
    "pod created, 1 connection: CPU us": 1450, "pod created, 32 connections: CPU us": 1450,
    "pod read, 1 connection: CPU us": 500, "pod read, 32 connections: CPU us": 500,
    "list of 5,000 pods, 1 connection: CPU ms": 200, "list of 5,000 pods, 32 connections: CPU ms": 200,
    "plane idle: PSS MB": 464, "plane idle: % of a core": 4.6,
    "1,000 pods on 100 nodes: PSS MB": 1060, "1,000 pods on 100 nodes: seconds until all run": 14.5,
}
BUDGETS = {
    "pod created, 1 connection: CPU us": 1450 / TIMES, "pod created, 32 connections: CPU us": 1450 / TIMES,
    "pod read, 1 connection: CPU us": 500 / TIMES, "pod read, 32 connections: CPU us": 500 / TIMES,
    "list of 5,000 pods, 1 connection: CPU ms": 200 / TIMES, "list of 5,000 pods, 32 connections: CPU ms": 200 / TIMES,
    "plane idle: PSS MB": 32, "plane idle: % of a core": 0.5,
    "1,000 pods on 100 nodes: PSS MB": 64, "1,000 pods on 100 nodes: seconds until all run": 3,
    "start: first answer of the API, ms": 1000,
}


def private_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+) kB", f.read(), re.M)) / 1024


def written_mb(pid):
    with open(f"/proc/{pid}/io") as f:
        return int(re.search(r"^write_bytes: (\d+)", f.read(), re.M).group(1)) / 2**20


def pod(name):
    """A pod as deployments have them; with a scheduler of its own, so that it stays where it is."""
    probe = {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 10}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "bench", "tier": "frontend"},
                         "annotations": {"example.com/about": "one of many pods of a benchmark"}},
            "spec": {"schedulerName": "nobody", "containers": [
                {"name": "web", "image": "registry.example/web:1.27", "ports": [{"containerPort": 80}],
                 "env": [{"name": "GET_HOSTS_FROM", "value": "dns"}], "readinessProbe": probe,
                 "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}]}}


def deployment(name, replicas):
    template = pod(name)
    template["spec"].pop("schedulerName")
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "bench"}},
                     "template": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]}}}


class Asker:
    """One connection that stays: asking often must not cost a handshake each time."""

    def __init__(self, plane):
        self.connection = http.client.HTTPSConnection("127.0.0.1", plane.api_port, context=plane.tls(), timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body if body is None else json.dumps(body),
                                {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def must(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer


def until(what, condition, seconds=60, pause=0.02):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"still not so after {seconds} s: {what}")
        time.sleep(pause)


def load(plane, method, path, connections, requests, **more):
    """What the load generator says, with the server's CPU time per request in microseconds, in all and by thread."""
    plane.tls()  # writes admin.pem
    words = [LOAD, "--port", plane.api_port, "--pem", os.path.join(plane.root, "admin.pem"), "--method", method,
             "--path", path, "--connections", connections, "--requests", requests]
    for name, value in more.items():
        words += ["--" + name, value]
    pid = plane.process.pid
    with subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as program:
        if program.stdout.readline() != "ready\n":
            raise RuntimeError(f"{method} {path}: the load generator is not ready\n{plane.log_tail()}")
        before, threads = cpu_us(pid), {name: cpu_us(pid, name) for name in THREADS}
        program.stdin.write("go\n")
        program.stdin.flush()
        line = program.stdout.readline()
        after = cpu_us(pid)
        threads = {name: (cpu_us(pid, name) - before_us) / requests for name, before_us in threads.items()}
    if program.returncode != 0:
        raise RuntimeError(f"{method} {path}: {line}\n{plane.log_tail()}")
    return dict(json.loads(line), cpu_us=(after - before) / requests, threads=threads)


def latencies(rows, name, got, unit="us"):
    by = {"us": 1, "ms": 1000}[unit]
    rows[f"{name}: CPU {unit}"] = got["cpu_us"] / by
    rows[f"{name}: p50 {unit}"] = got["p50_us"] / by
    rows[f"{name}: p99 {unit}"] = got["p99_us"] / by
    print(f"  {name}: {got['cpu_us']:.0f} us CPU, by thread",
          {k: round(v) for k, v in got["threads"].items() if v >= 1}, file=sys.stderr)


def requests(rows, quick):
    """The API server on its own store; of the Go API server without its etcd."""
    plane = Plane(plain=False)
    plane.flags = [f.replace(",disable-admission-plugins=ServiceAccount", "") for f in plane.flags]
    requests_of(plane, rows, quick)
    if kube_apiserver.missing() is None:
        print("  the same of the Go API server", file=sys.stderr, flush=True)
        go = {}
        requests_of(kube_apiserver.KubeApiserver(), go, quick)
        rows.update((GO_ROW + name, value) for name, value in go.items())


def requests_of(plane, rows, quick):
    try:
        plane.start()
        asker = Asker(plane)
        for space in ("many", "watched"):
            asker.must("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
            asker.must("POST", f"/api/v1/namespaces/{space}/serviceaccounts", {"metadata": {"name": "default"}})
        body = os.path.join(plane.root, "pod.json")
        with open(body, "w") as f:
            json.dump(pod("pod-@"), f)
        many = PODS.format("many")
        load(plane, "POST", many, 1, 100, body=body, first=900000)  # caches are filled
        for i in range(100):
            asker.must("DELETE", f"{many}/pod-{900000 + i}?gracePeriodSeconds=0")
        some = 500 if quick else 2000
        latencies(rows, "pod created, 1 connection", load(plane, "POST", many, 1, some, body=body))
        latencies(rows, "pod created, 32 connections",
                  load(plane, "POST", many, 32, MANY - some, body=body, first=some))
        for connections in (1, 32):
            name = f"{connections} connection{'s' if connections > 1 else ''}"
            latencies(rows, f"pod read, {name}",
                      load(plane, "GET", many + "/pod-@", connections, 2000 if quick else 10000, objects=MANY))
        for connections in (1, 32):
            name = f"{connections} connection{'s' if connections > 1 else ''}"
            count = max(connections, 10)
            latencies(rows, f"list of 5,000 pods, {name}", load(plane, "GET", many, connections, count), "ms")
            latencies(rows, f"list of 5,000 pods as a Table, {name}",
                      load(plane, "GET", many, connections, count, accept=TABLE), "ms")
        rows["5,000 pods, API server and store: PSS MB"] = settled(plane.process.pid, pss_mb)
        count = 200 if quick else 1000
        got = load(plane, "POST", PODS.format("watched"), 1, count, body=body, watch=PODS.format("watched") + "?watch=1",
                   watchers=WATCHERS, events=count)
        rows[f"event to {WATCHERS} watchers: CPU us per event and watcher"] = got["cpu_us"] / WATCHERS
        rows[f"event to {WATCHERS} watchers: events per second"] = got["events"] / got["seconds"]
    finally:
        plane.close()


def until_answered(plane):
    """Milliseconds from spawn until /readyz says 200 over TLS."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    began = time.monotonic()
    plane.start(wait=False)

    def ready():
        connection = http.client.HTTPSConnection("127.0.0.1", plane.api_port, context=anyone, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
    until("/readyz", ready, pause=0.001)
    return (time.monotonic() - began) * 1000


def ready_nodes(asker):
    nodes = asker.must("GET", "/api/v1/nodes")["items"]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in n.get("status", {}).get("conditions", []))
               for n in nodes)


def starting(rows, quick):
    """From nothing; again over the same data; and a small deployment on nodes that start pods at once."""
    plane = Plane("controllers", "scheduler", ("hollow-node", "start-delay=0s"), plain=False)
    try:
        rows["start: first answer of the API, ms"] = until_answered(plane)
        plane.until("the API", lambda: plane.api("GET", "/api/v1/namespaces/default")[0] == 200)
        asker = Asker(plane)
        until("nodes", lambda: ready_nodes(asker) == 3)
        until("the account", lambda: asker.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200)
        path = "/apis/apps/v1/namespaces/default/deployments"
        began = time.monotonic()
        asker.must("POST", path, deployment("web", 3))
        until("the deployment", lambda: asker.must("GET", path + "/web").get("status", {}).get("readyReplicas") == 3,
              pause=0.001)
        rows["deployment of 3: apply to ready, ms"] = (time.monotonic() - began) * 1000
        plane.stop()
        rows["start again: first answer of the API, ms"] = until_answered(plane)
    finally:
        plane.close()


def idle(rows, quick):
    """The whole plane with its three hollow nodes, as make run has it, while nobody asks for anything."""
    plane = Plane("controllers", "scheduler", "hollow-node", plain=False)
    try:
        plane.start()
        asker = Asker(plane)
        until("nodes", lambda: ready_nodes(asker) == 3)
        asker.connection.close()
        pid, seconds = plane.process.pid, 10 if quick else 30
        time.sleep(5 if quick else 15)  # what is measured is that nothing happens: there is nothing to wait for
        before, disk, began = cpu_us(pid), written_mb(pid), time.monotonic()
        threads = {name: cpu_us(pid, name) for name in THREADS}
        time.sleep(seconds)
        took = (time.monotonic() - began) * 1e6
        rows["plane idle: PSS MB"] = pss_mb(pid)
        rows["plane idle: private MB"] = private_mb(pid)
        rows["plane idle: % of a core"] = (cpu_us(pid) - before) / took * 100
        rows["plane idle: MB written per hour"] = (written_mb(pid) - disk) / (took / 1e6) * 3600
        print("  idle, us of CPU per second, by thread",
              {k: round((cpu_us(pid, k) - v) / (took / 1e6)) for k, v in threads.items()}, file=sys.stderr)
    finally:
        plane.close()


def rollout(rows, quick):
    plane = Plane("controllers", "scheduler", ("hollow-node", f"nodes={NODES}"), plain=False)
    name = "1,000 pods on 100 nodes"
    try:
        plane.start()
        asker = Asker(plane)
        until("nodes", lambda: ready_nodes(asker) == NODES, pause=0.2)
        until("the account", lambda: asker.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200)
        pid = plane.process.pid
        rows["100 nodes, no pods: PSS MB"] = settled(pid, pss_mb)
        path = "/apis/apps/v1/namespaces/default/deployments"
        before, disk, began = cpu_us(pid), written_mb(pid), time.monotonic()
        threads = {t: cpu_us(pid, t) for t in THREADS}
        asker.must("POST", path, deployment("many", REPLICAS))
        until("all run", lambda: asker.must("GET", path + "/many").get("status", {}).get("readyReplicas") == REPLICAS,
              ROLLOUT_SECONDS_MAX, pause=0.05)
        rows[f"{name}: seconds until all run"] = time.monotonic() - began
        rows[f"{name}: CPU seconds"] = (cpu_us(pid) - before) / 1e6
        rows[f"{name}: MB written"] = written_mb(pid) - disk
        print("  rollout, ms of CPU by thread",
              {k: round((cpu_us(pid, k) - v) / 1e3) for k, v in threads.items()}, file=sys.stderr)
        rows[f"{name}: PSS MB"] = settled(pid, pss_mb)
        rows[f"{name}: private MB"] = private_mb(pid)
        time.sleep(15)  # the store gives memory back when it has been quiet for some seconds
        rows[f"{name}, 15 s later: PSS MB"] = pss_mb(pid)
        rows[f"{name}, 15 s later: private MB"] = private_mb(pid)
    finally:
        plane.close()


PARTS = {"requests": requests, "start": starting, "idle": idle, "rollout": rollout}


def report(rounds):
    measured = any(row.startswith(GO_ROW) for row in rounds[0])
    print(f"\n| control plane, median of {len(rounds)} rounds | kvd | range | Go, "
          f"{'same run' if measured else 'at the design'} | times better | budget |")
    print("|---|---|---|---|---|---|")
    for row in rounds[0]:
        if row.startswith(GO_ROW):
            continue
        values = [r[row] for r in rounds]
        value = statistics.median(values)
        go, budget = GO.get(row), BUDGETS.get(row)
        if GO_ROW + row in rounds[0]:
            go = statistics.median(r[GO_ROW + row] for r in rounds)
            budget = None if budget is None else go / TIMES
        better = None if go is None else value / go if "per second" in row else go / value
        cells = [shown(value), f"{shown(min(values))} to {shown(max(values))}", "" if go is None else shown(go),
                 "" if better is None else f"{better:.1f}",
                 "" if budget is None else shown(budget) + (", missed" if value > budget else "")]
        print(f"| {row} | " + " | ".join(cells) + " |")


def main(count, quick):
    only = [name for name in PARTS if os.environ.get("ONLY", name) == name]
    rounds = []
    for i in range(count):
        rows = {}
        for name in only:
            print(f"control plane, round {i + 1} of {count}: {name}", file=sys.stderr, flush=True)
            PARTS[name](rows, quick)
        rounds.append(rows)
        with open(os.path.join(ROOT, "build/bench-plane.json"), "w") as f:
            json.dump(rounds, f, indent=1)
    report(rounds)
