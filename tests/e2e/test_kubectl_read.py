#!/usr/bin/env python3
"""kubectl reads from the API server: get in every format, watch, describe, explain, discovery. Without a
kubectl (the one named by KUBECTL, else the one on PATH) all of it is skipped."""
import base64
import contextlib
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import kubectl  # noqa: E402
from kvdtest import ROOT, Server, Tally, equal, free_ports  # noqa: E402

PLUGIN = os.path.join(os.environ.get("PLUGINS", os.path.join(ROOT, "build/plugins")), "apiserver.so")
WAIT_SECONDS_MAX = 30
AGE = re.compile(r"^(?=\d)(\d+y)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$")


class Cluster:
    """A server with the plugin, a kubectl with a home of its own, and plain requests."""

    def __init__(self):
        self.port = free_ports(1)[0]
        self.server = Server(flags=["--plugin", f"{PLUGIN},port={self.port}"])

    def __enter__(self):
        self.server.start()
        self.kubeconfig = os.path.join(self.server.data_dir, "admin.kubeconfig")
        self.kubectl = kubectl.Kubectl(self.kubeconfig)
        self.home = self.kubectl.home
        self.watching = self.kubectl.watching
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not os.path.exists(self.kubeconfig):
            if time.monotonic() > deadline:
                raise RuntimeError("no kubeconfig:\n" + self.server.log_tail())
            time.sleep(0.05)
        self.tls = self.trust()
        made = ["namespaces/default", "namespaces/kube-system/configmaps/extension-apiserver-authentication"]
        while True:  # the leader makes them
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if all(self.ask("GET", f"/api/v1/{path}", ok=(200, 404))["kind"] != "Status" for path in made):
                    return self
            if time.monotonic() > deadline:
                raise RuntimeError("no namespaces:\n" + self.server.log_tail())
            time.sleep(0.05)

    def __exit__(self, *exc):
        if exc[0] is not None:
            print(self.server.log_tail())
        self.server.close()
        self.kubectl.close()

    def trust(self):
        """TLS as the kubeconfig says it."""
        with open(self.kubeconfig, encoding="utf-8") as text:
            data = {name: base64.b64decode(value) for name, value in
                    re.findall(r"(\S+)-data: (\S+)", text.read())}
        pair = os.path.join(self.home, "admin.pem")
        with open(pair, "wb") as out:
            out.write(data["client-certificate"] + data["client-key"])
        context = ssl.create_default_context(cadata=data["certificate-authority"].decode())
        context.load_cert_chain(pair)
        return context

    def ask(self, method, path, body=None, kind="application/json", ok=(200, 201)):
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            if error.code in ok:
                return json.loads(text)
            raise AssertionError(f"{method} {path}: {error.code} {text}") from None


def cells(line):
    """The cells of a line; an age becomes AGE."""
    return ["AGE" if AGE.match(cell) else cell for cell in re.split(r"\s{2,}", line.strip())]


def table(text):
    return [cells(line) for line in text.splitlines()]


def container(name, image):
    return {"name": name, "image": image}


def status_of(name, ready, restarts, state, last=None):
    return {"name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": restarts,
            "state": state, "lastState": last or {}}


def fill(c):
    """Objects in the states that tables know."""
    pods = "/api/v1/namespaces/default/pods"
    c.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    for name, app, priority in (("web", "web", "b"), ("crash", "web", "a"), ("init", "job", "c")):
        spec = {"containers": [container("main", f"img/{name}:1"), container("side", "img/side:2")],
                "nodeName": "n1"}
        if name == "init":
            spec["initContainers"] = [container("one", "img/one"), container("two", "img/two")]
        c.ask("POST", pods, {"metadata": {"name": name, "labels": {"app": app},
                                          "annotations": {"order": priority}}, "spec": spec})
    running = {"running": {"startedAt": "2024-05-01T12:00:00Z"}}
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2024-05-01T12:00:00Z",
                            "startedAt": "2024-05-01T11:59:00Z"}}
    statuses = {
        "web": {"phase": "Running", "podIPs": [{"ip": "10.1.0.1"}], "podIP": "10.1.0.1",
                "hostIP": "192.168.1.1", "containerStatuses": [status_of("main", True, 0, running),
                                                               status_of("side", True, 0, running)],
                "conditions": [{"type": "Ready", "status": "True"}]},
        "crash": {"phase": "Running",
                  "containerStatuses": [
                      status_of("main", False, 3, {"waiting": {"reason": "CrashLoopBackOff"}}, ended),
                      status_of("side", True, 0, running)]},
        "init": {"phase": "Pending",
                 "initContainerStatuses": [status_of("one", True, 0, {"terminated": {"exitCode": 0}}),
                                           status_of("two", False, 0, running)]},
    }
    for name, status in statuses.items():
        c.ask("PATCH", f"{pods}/{name}/status", {"status": status}, "application/merge-patch+json")
    c.ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "labels": {
        "node-role.kubernetes.io/worker": "", "kubernetes.io/hostname": "n1"}},
        "spec": {"unschedulable": True}})
    c.ask("PATCH", "/api/v1/nodes/n1/status", {"status": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "addresses": [{"type": "InternalIP", "address": "192.168.1.1"}],
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian GNU/Linux 12", "kernelVersion": "6.1.0",
                     "containerRuntimeVersion": "containerd://2.0.0", "machineID": "", "systemUUID": "",
                     "bootID": "", "kubeProxyVersion": "", "operatingSystem": "linux",
                     "architecture": "amd64"}}}, "application/merge-patch+json")
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container("main", "img:1")]}}
    c.ask("POST", "/apis/apps/v1/namespaces/default/deployments", {
        "metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                                              "template": template}})
    c.ask("PATCH", "/apis/apps/v1/namespaces/default/deployments/web/status", {"status": {
        "replicas": 3, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1,
        "unavailableReplicas": 2}},
        "application/merge-patch+json")
    c.ask("POST", "/apis/apps/v1/namespaces/default/replicasets", {
        "metadata": {"name": "web-1"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                                                "template": template}})
    c.ask("POST", "/api/v1/namespaces/default/services", {
        "metadata": {"name": "lb"}, "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9",
                                             "clusterIPs": ["10.96.0.9"], "selector": {"app": "web"},
                                             "ports": [{"port": 80, "nodePort": 30080}]}})
    c.ask("POST", "/api/v1/namespaces/default/services", {
        "metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "clusterIPs": ["None"],
                                                   "ports": [{"name": "a", "port": 53, "protocol": "UDP"}]}})
    c.ask("POST", "/api/v1/namespaces/default/configmaps", {
        "metadata": {"name": "conf"}, "data": {"x": "1", "y": "2"}})
    c.ask("POST", "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "conf"}, "data": {}})
    c.ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}, "stringData": {"p": "w"}})
    uid = c.ask("GET", f"{pods}/crash")["metadata"]["uid"]
    c.ask("POST", "/api/v1/namespaces/default/events", {
        "metadata": {"name": "web.1"}, "type": "Warning", "reason": "BackOff", "message": "waits a little",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "crash", "uid": uid},
        "source": {"component": "kubelet", "host": "n1"}, "count": 4,
        "firstTimestamp": "2024-05-01T12:00:00Z", "lastTimestamp": "2024-05-01T12:00:00Z"})
    c.ask("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", {
        "metadata": {"name": "leader"}, "spec": {"holderIdentity": "member-1"}})
    c.ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {
        "metadata": {"name": "high"}, "value": 1000, "globalDefault": False})
    c.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "metadata": {"name": "lb-1", "labels": {"kubernetes.io/service-name": "lb"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"]}], "ports": [{"port": 80}]})


def check_tables(tally, c):
    expected = {
        "get pods": [["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
                     ["crash", "1/2", "CrashLoopBackOff", "3 (N ago)", "AGE"],
                     ["init", "0/2", "Init:1/2", "0", "AGE"],
                     ["web", "2/2", "Running", "0", "AGE"]],
        "get pods -o wide": [["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE",
                              "READINESS GATES"],
                             ["crash", "1/2", "CrashLoopBackOff", "3 (N ago)", "AGE", "<none>", "n1",
                              "<none>", "<none>"],
                             ["init", "0/2", "Init:1/2", "0", "AGE", "<none>", "n1", "<none>", "<none>"],
                             ["web", "2/2", "Running", "0", "AGE", "10.1.0.1", "n1", "<none>", "<none>"]],
        "get pod web --no-headers": [["web", "2/2", "Running", "0", "AGE"]],
        "get pods --show-labels -l app=job": [["NAME", "READY", "STATUS", "RESTARTS", "AGE", "LABELS"],
                                              ["init", "0/2", "Init:1/2", "0", "AGE", "app=job"]],
        "get pods -L app --field-selector status.phase=Pending": [
            ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "APP"],
            ["init", "0/2", "Init:1/2", "0", "AGE", "job"]],
        "get pods --sort-by=.metadata.annotations.order --no-headers": [
            ["crash", "1/2", "CrashLoopBackOff", "3 (N ago)", "AGE"],
            ["web", "2/2", "Running", "0", "AGE"],
            ["init", "0/2", "Init:1/2", "0", "AGE"]],
        "get pods --chunk-size=1 --no-headers": [
            ["crash", "1/2", "CrashLoopBackOff", "3 (N ago)", "AGE"],
            ["init", "0/2", "Init:1/2", "0", "AGE"],
            ["web", "2/2", "Running", "0", "AGE"]],
        "get nodes -o wide": [["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP",
                               "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"],
                              ["n1", "Ready,SchedulingDisabled", "worker", "AGE", "v1.35.0", "192.168.1.1",
                               "<none>", "Debian GNU/Linux 12", "6.1.0", "containerd://2.0.0"]],
        "get deploy -o wide": [["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES",
                                "SELECTOR"], ["web", "1/3", "2", "1", "AGE", "main", "img:1", "app=web"]],
        "get rs -o wide": [["NAME", "DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"],
                           ["web-1", "2", "0", "0", "AGE", "main", "img:1", "app=web"]],
        "get svc headless lb -o wide": [["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"],
                            ["headless", "ClusterIP", "None", "<none>", "53/UDP", "AGE", "<none>"],
                            ["lb", "LoadBalancer", "10.96.0.9", "<pending>", "80:30080/TCP", "AGE", "app=web"]],
        "get cm -A": [["NAMESPACE", "NAME", "DATA", "AGE"], ["default", "conf", "2", "AGE"],
                      ["kube-system", "conf", "0", "AGE"],
                      ["kube-system", "extension-apiserver-authentication", "1", "AGE"]],
        "get secrets": [["NAME", "TYPE", "DATA", "AGE"], ["s", "Opaque", "1", "AGE"]],
        "get events": [["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
                       ["AGE", "Warning", "BackOff", "pod/crash", "waits a little"]],
        "get events -o wide": [["LAST SEEN", "TYPE", "REASON", "OBJECT", "SUBOBJECT", "SOURCE", "MESSAGE",
                                "FIRST SEEN", "COUNT", "NAME"],
                               ["AGE", "Warning", "BackOff", "pod/crash", "kubelet, n1", "waits a little",
                                "AGE", "4", "web.1"]],
        "get leases -n kube-system": [["NAME", "HOLDER", "AGE"], ["leader", "member-1", "AGE"]],
        "get priorityclass high -o wide": [["NAME", "VALUE", "GLOBAL-DEFAULT", "AGE", "PREEMPTIONPOLICY"],
                                           ["high", "1000", "false", "AGE", "PreemptLowerPriority"]],
        "get endpointslices lb-1": [["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"],
                               ["lb-1", "IPv4", "80", "10.1.0.1", "AGE"]],
        "get ns": [["NAME", "STATUS", "AGE"], ["default", "Active", "AGE"],
                   ["kube-node-lease", "Active", "AGE"], ["kube-public", "Active", "AGE"],
                   ["kube-system", "Active", "AGE"]],
        "get deploy,rs": [["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
                          ["deployment.apps/web", "1/3", "2", "1", "AGE"], [""],
                          ["NAME", "DESIRED", "CURRENT", "READY", "AGE"],
                          ["replicaset.apps/web-1", "2", "0", "0", "AGE"]],
        "get all --no-headers -l app=job": [["pod/init", "0/2", "Init:1/2", "0", "AGE"]],
    }
    for words, rows in expected.items():
        with tally.case(f"kubectl {words}"):
            text = re.sub(r"\(\S+ ago\)", "(N ago)", c.kubectl(*words.split()))
            equal(table(text), rows)


def check_formats(tally, c):
    with tally.case("name, json, yaml, jsonpath, templates, columns of one's own"):
        equal(c.kubectl("get", "pods", "-o", "name"), "pod/crash\npod/init\npod/web\n")
        one = json.loads(c.kubectl("get", "pod", "web", "-o", "json"))
        equal((one["kind"], one["apiVersion"], one["metadata"]["name"]), ("Pod", "v1", "web"))
        many = json.loads(c.kubectl("get", "pods", "-o", "json"))
        equal((many["kind"], [i["kind"] for i in many["items"]]), ("List", ["Pod"] * 3))
        yaml = c.kubectl("get", "cm", "conf", "-o", "yaml")
        assert yaml.startswith('apiVersion: v1\ndata:\n  x: "1"\n  "y": "2"\nkind: ConfigMap\n'), yaml
        equal(c.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.name}"), "crash init web")
        equal(c.kubectl("get", "pods", "-o", "go-template={{range .items}}{{.metadata.name}} {{end}}"),
              "crash init web ")
        equal(table(c.kubectl("get", "pods", "-o",
                              "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName")),
              [["NAME", "NODE"], ["crash", "n1"], ["init", "n1"], ["web", "n1"]])
    with tally.case("what is not there is said"):
        equal(c.kubectl("get", "pod", "none", status=1),
              'Error from server (NotFound): pods "none" not found\n')
        error = c.kubectl("get", "chairs", status=1)
        equal(error, 'error: the server doesn\'t have a resource type "chairs"\n')
        error = c.kubectl("get", "pods", "--field-selector", "spec.color=red", status=1)
        assert "field label not supported: spec.color" in error, error
    with tally.case("get --raw"):
        equal(json.loads(c.kubectl("get", "--raw", "/api/v1/namespaces/default/configmaps/conf"))["data"],
              {"x": "1", "y": "2"})
        assert c.kubectl("get", "--raw", "/version").startswith('{\n  "major": "1",\n')
        equal(c.kubectl("get", "--raw", "/readyz"), "ok")


def check_watch(tally, c):
    with tally.case("get -w shows changes as rows"), \
            c.watching("get", "cm", "conf", "-w") as line:
        equal(cells(line()), ["NAME", "DATA", "AGE"])
        equal(cells(line()), ["conf", "2", "AGE"])
        c.ask("PATCH", "/api/v1/namespaces/default/configmaps/conf", {"data": {"z": "3"}},
              "application/merge-patch+json")
        equal(cells(line()), ["conf", "3", "AGE"])
        c.ask("PATCH", "/api/v1/namespaces/default/configmaps/conf", {"data": {"z": None}},
              "application/merge-patch+json")
        equal(cells(line()), ["conf", "2", "AGE"])
    with tally.case("get -w --output-watch-events"), \
            c.watching("get", "secrets", "--watch-only", "--output-watch-events") as line:
        # Rows come as soon as the watch is up, which nothing tells: changes are made until one is seen.
        made = 0
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        seen = []
        while len(seen) < 2 and time.monotonic() < deadline:
            c.ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": f"w{made}"}})
            made += 1
            with contextlib.suppress(TimeoutError):
                seen.append(cells(line(0.3)))
        equal(seen[0], ["EVENT", "NAME", "TYPE", "DATA", "AGE"])
        equal([seen[1][0], seen[1][2:]], ["ADDED", ["Opaque", "0", "AGE"]])
        for i in range(made):
            c.ask("DELETE", f"/api/v1/namespaces/default/secrets/w{i}")


def fields_of(text):
    """The first field of each name in what describe prints."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*([A-Za-z][A-Za-z -]*):\s+(\S.*)$", line)
        if match:
            found.setdefault(match.group(1), match.group(2).strip())
    return found


def check_describe(tally, c):
    expected = {
        "pod crash": {"Name": "crash", "Namespace": "default", "Node": "n1/", "Status": "Running",
                      "Reason": "CrashLoopBackOff", "Restart Count": "3", "Exit Code": "1",
                      "QoS Class": "BestEffort"},
        "node n1": {"Name": "n1", "Roles": "worker", "Unschedulable": "true", "InternalIP": "192.168.1.1",
                    "cpu": "4", "Kubelet Version": "v1.35.0", "OS Image": "Debian GNU/Linux 12"},
        "deploy web": {"Name": "web", "Selector": "app=web", "StrategyType": "RollingUpdate",
                       "Replicas": "3 desired | 2 updated | 3 total | 1 available | 2 unavailable"},
        "svc lb": {"Type": "LoadBalancer", "IP": "10.96.0.9", "NodePort": "<unset>  30080/TCP",
                   "Selector": "app=web"},
        "cm conf": {"Name": "conf", "Namespace": "default"},
        "secret s": {"Type": "Opaque", "p": "1 bytes"},
        "ns default": {"Name": "default", "Status": "Active"},
        "lease leader -n kube-system": {"Name": "leader", "Holder Identity": "member-1"},
    }
    for words, wanted in expected.items():
        with tally.case(f"kubectl describe {words}"):
            found = fields_of(c.kubectl("describe", *words.split()))
            equal({k: found.get(k) for k in wanted}, wanted)
    with tally.case("describe shows the events of an object"):
        text = c.kubectl("describe", "pod", "crash")
        assert re.search(r"Warning\s+BackOff\s+\S+ \(x4 over \S+\)\s+kubelet\s+waits a little", text), text


def too_old(tally, name, minor):
    """Skips a case that kubectl cannot do before 1.minor."""
    old = kubectl.minor_version() < minor
    if old:
        tally.skip(name, f"from kubectl 1.{minor} on")
    return old


def check_explain(tally, c):
    if too_old(tally, "explain", 27):
        return
    with tally.case("explain a kind, a field, all fields"):
        text = c.kubectl("explain", "pod")
        assert text.startswith("KIND:       Pod\nVERSION:    v1\n\nDESCRIPTION:\n"), text
        assert re.search(r"\n  spec\t<PodSpec>\n", text), text
        text = c.kubectl("explain", "deployment.spec.template.spec.containers.ports")
        assert "GROUP:      apps\n" in text and "FIELD: ports <[]ContainerPort>\n" in text, text
        assert re.search(r"\n  containerPort\t<integer> -required-\n", text), text
        assert re.search(r"\n  protocol\t<string>\n  enum: SCTP, TCP, UDP\n", text), text
        text = c.kubectl("explain", "svc.spec", "--recursive")
        for line in ("  clusterIPs\t<[]string>\n", "  ports\t<[]ServicePort>\n    appProtocol\t<string>\n",
                     "    port\t<integer> -required-\n", "    targetPort\t<IntOrString>\n"):
            assert line in text, text
        equal(c.kubectl("explain", "pod.spec.color", status=1), 'error: field "color" does not exist\n')


def check_apply(tally, c):
    with tally.case("apply merges lists by the keys of the schema"):
        manifest = os.path.join(c.home, "service.json")

        def apply(*ports):
            service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "merged"},
                       "spec": {"selector": {"app": "x"}, "ports": [
                           {"name": name, "port": port, "targetPort": port + 1} for name, port in ports]}}
            with open(manifest, "w", encoding="utf-8") as out:
                json.dump(service, out)
            return c.kubectl("apply", "-f", manifest)

        equal(apply(("a", 80), ("b", 81)), "service/merged created\n")
        equal(apply(("a", 80), ("b", 81)), "service/merged unchanged\n")
        path = "/api/v1/namespaces/default/services/merged"
        c.ask("PATCH", path, {"spec": {"ports": [{"name": "other", "port": 90}]}},
              "application/strategic-merge-patch+json")
        equal(apply(("a", 80), ("c", 82)), "service/merged configured\n")
        ports = {p["name"]: (p["port"], p["targetPort"]) for p in c.ask("GET", path)["spec"]["ports"]}
        equal(ports, {"a": (80, 81), "c": (82, 83), "other": (90, 90)})
        c.ask("DELETE", path)
    if too_old(tally, "validation by the server", 25):
        return
    with tally.case("validation by the server"):
        manifest = os.path.join(c.home, "bad.json")
        with open(manifest, "w", encoding="utf-8") as out:
            json.dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dat": {}}, out)
        error = c.kubectl("create", "--validate=strict", "-f", manifest, status=1)
        assert 'strict decoding error: unknown field "dat"' in error, error


def check_discovery(tally, c):
    with tally.case("api-resources"):
        rows = {(row[0], row[-3]): row for row in table(c.kubectl("api-resources"))}
        equal(rows["pods", "v1"], ["pods", "po", "v1", "true", "Pod"])
        equal(rows["nodes", "v1"], ["nodes", "no", "v1", "false", "Node"])
        equal(rows["deployments", "apps/v1"], ["deployments", "deploy", "apps/v1", "true", "Deployment"])
        equal(rows["events", "events.k8s.io/v1"], ["events", "ev", "events.k8s.io/v1", "true", "Event"])
        names = c.kubectl("api-resources", "--namespaced=false", "--verbs=list", "-o", "name").split()
        equal(names, ["namespaces", "nodes", "priorityclasses.scheduling.k8s.io"])
    with tally.case("api-versions, version, cluster-info"):
        versions = c.kubectl("api-versions").split()
        for version in ("apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "events.k8s.io/v1",
                        "scheduling.k8s.io/v1", "v1"):
            assert version in versions, versions
        server = json.loads(c.kubectl("get", "--raw", "/version"))
        equal((server["major"], server["minor"], server["gitVersion"]), ("1", "35", "v1.35.4"))
        if 28 <= kubectl.minor_version() < kubectl.NEWEST:  # not built without its version
            assert "Server Version: v1.35.4\n" in c.kubectl("version")
        assert f"Kubernetes control plane is running at https://127.0.0.1:{c.port}\n" in re.sub(
            r"\x1b\[[0-9;]*m", "", c.kubectl("cluster-info"))


def main():
    tally = Tally()
    if kubectl.PROGRAM is None:
        for name in ("tables", "formats", "watch", "describe", "explain", "discovery"):
            tally.skip(name, "no kubectl")
        tally.close()
        return 0
    with Cluster() as c:
        fill(c)
        for check in (check_tables, check_formats, check_watch, check_describe, check_explain,
                      check_apply, check_discovery):
            check(tally, c)
    tally.close()
    return 1 if tally.failed else 0


sys.exit(main())
