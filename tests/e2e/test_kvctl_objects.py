#!/usr/bin/env python3
"""kvctl's commands about objects against a real kvd with the API server: get in all forms, describe, apply,
delete, and what the store still knows: history, diff, undo, why."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import ENV, Plane
from kvdtest import KVCTL, Tally, equal, free_ports

OK, FAILURE, BAD_FEATURE, BAD_ARGS = 0, 1, 4, 128

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web, tier: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: a
        image: nginx:1
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        ports: [{containerPort: 80}, {containerPort: 443}]
      - {name: side, image: busybox}
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: cm, namespace: default}
data:
  plain: text
  number: "12"
  lines: |
    one
      two
  odd: "yes: # no"
"""


def refused(plane, *words, status=FAILURE, **options):
    got, out, err = plane.run(*words, **options)
    equal((got, out), (status, ""), f"kvctl {words}: {err}")
    assert err.startswith("Error: "), err
    return err


def config_map(plane, name, data, space="default"):
    status, o = plane.api("PUT" if plane.object(f"/api/v1/namespaces/{space}/configmaps/{name}") else "POST",
                          f"/api/v1/namespaces/{space}/configmaps" +
                          (f"/{name}" if plane.object(f"/api/v1/namespaces/{space}/configmaps/{name}") else ""),
                          {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    assert status in (200, 201), o
    return int(o["metadata"]["resourceVersion"])


def getting(tally, plane):
    plane.api("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    plane.kvctl("apply", "-f", "-", stdin=CONFIG)
    config_map(plane, "there", {"a": "b"}, "other")
    with tally.case("get prints tables"):
        out = plane.kvctl("get", "configmaps")
        assert re.search(r"^NAME +DATA +AGE\n(.*\n)*cm +4 +\S+\n", out, re.M), out
        for words in (["cm"], ["configmap"], ["ConfigMap"], ["configmaps.v1"]):
            rows = [plane.kvctl("get", *w).splitlines() for w in (words, ["configmaps"])]
            # The last column is an age.
            equal(*[[row.split()[:-1] for row in r] for r in rows], words)
        assert re.fullmatch(r"NAME +DATA +AGE\ncm +4 +\S+\n", plane.kvctl("get", "cm", "cm")), "one by name"
    with tally.case("-A, -n, -l, --field-selector"):
        out = plane.kvctl("get", "cm", "-A")
        assert re.search(r"^other +there +1 +\S+$", out, re.M) and out.startswith("NAMESPACE"), out
        equal(plane.kvctl("get", "ns", "-A").split()[:3], ["NAME", "STATUS", "AGE"], "cluster scope has no namespace")
        assert "there" in plane.kvctl("get", "cm", "--namespace", "other")
        equal(plane.run("get", "cm", "-l", "no=such"), (OK, "", "No resources found in default namespace.\n"), "-l")
        equal(plane.run("get", "cm", "--all-namespaces", "--selector", "no=such"), (OK, "", "No resources found.\n"), "-A -l")
        out = plane.kvctl("get", "cm", "-A", "--field-selector", "metadata.name=there", "-o", "name")
        equal(out, "other  configmap/there\n", "--field-selector")
    with tally.case("-o name, json, yaml, wide"):
        equal(plane.kvctl("get", "cm/cm", "--output", "name"), "configmap/cm\n", "name")
        o = json.loads(plane.kvctl("get", "cm", "cm", "-o", "json"))
        equal((o["kind"], o["apiVersion"], o["data"]["lines"]), ("ConfigMap", "v1", "one\n  two\n"), "json")
        many = json.loads(plane.kvctl("get", "cm", "-o", "json"))
        equal((many["kind"], many["items"][0]["kind"]), ("List", "ConfigMap"), "list")
        text = plane.kvctl("get", "cm", "cm", "-o", "yaml")
        assert text.startswith('apiVersion: v1\ndata:\n  lines: |\n    one\n      two\n  number: "12"\n'
                               '  odd: "yes: # no"\n  plain: text\nkind: ConfigMap\n'), text
        # What it prints it reads.
        again = plane.kvctl("apply", "-f", "-", stdin=text)
        assert again in ("configmap/cm configured\n", "configmap/cm unchanged\n"), again
        assert "NAME" in plane.kvctl("get", "cm", "-o", "wide")
        equal(json.loads(plane.kvctl("get", "cm/cm", "-w", "json"))["kind"], "ConfigMap", "-w json")
        refused(plane, "get", "cm", "-o", "xml", status=BAD_FEATURE)
    with tally.case("lists longer than a page are whole"):
        for i in range(510):
            config_map(plane, f"n-{i:03}", {}, "other")
        equal(len(plane.kvctl("get", "cm", "-n", "other").splitlines()), 512, "rows")
        equal(len(json.loads(plane.kvctl("get", "cm", "-n", "other", "-o", "json"))["items"]), 511, "items")
    with tally.case("keys and objects are told apart"):
        equal(plane.run("put", "pods", "key", server=False)[0], OK, "put")
        equal(plane.run("get", "--", "pods", server=False), (OK, "pods\nkey\n", ""), "after --")
        equal(plane.run("get", "--prefix", "pods", server=False), (OK, "pods\nkey\n", ""), "an option of keys")
        equal(plane.run("get", "cm/cm", server=False), (OK, "", ""), "a slash alone makes no object")
        equal(plane.run("get", "no", server=False, cwd="/"), (OK, "", ""), "a short name alone is a key")
        env = {"HOME": "/nonexistent"}
        for word in ("pods", "pod", "deployments.apps"):
            err = refused(plane, "get", word, server=False, cwd="/", env=env)
            assert "no kubeconfig" in err, f"a kind written out: {err}"
        equal(plane.run("get", "pods"), (OK, "", "No resources found in default namespace.\n"), "a kind")
        err = refused(plane, "get", "--prefix", "pods", status=BAD_ARGS)
        assert "--server is about objects, but a key is asked for" in err, err
        err = refused(plane, "get", "-o", "json", "--", "pods", server=False, status=BAD_ARGS)
        assert "--output is about objects" in err, err
        equal(plane.run("del", "pods", server=False)[1], "1\n", "del")
    with tally.case("what is not there, and words that mean nothing"):
        err = refused(plane, "get", "cm", "nosuch")
        equal(err, 'Error: configmaps "nosuch" not found (NotFound)\n', "not found")
        for words, sentence in [(["get", "nosuch"], 'there is no kind "nosuch"'),
                                (["get", "cm", "a/b"], "either KIND NAME"),
                                (["get", "cm/"], "either KIND NAME"),
                                (["get", "cm", "cm", "-A"], "leave -A away"),
                                (["get", "cm/cm", "svc/x", "--watch"], "takes one kind"),
                                (["describe", "cm"], "describe needs names"),
                                (["describe"], "describe needs a kind")]:
            err = refused(plane, *words, status=BAD_ARGS)
            assert sentence in err, err
    with tally.case("--watch goes on"):
        process = subprocess.Popen([KVCTL, "--endpoints", plane.endpoint, "get", "cm", "-n", "default", "--watch",
                                    "--server", plane.url], stdout=subprocess.PIPE, text=True, env=ENV)
        guard = threading.Timer(40, process.kill)
        guard.start()
        try:
            equal(process.stdout.readline().split(), ["NAME", "DATA", "AGE"], "titles")
            equal(process.stdout.readline().split()[:2], ["cm", "4"], "what is there")
            config_map(plane, "fresh", {"a": "1", "b": "2"})
            equal(process.stdout.readline().split()[:2], ["fresh", "2"], "what comes")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
            guard.cancel()
        plane.kvctl("delete", "cm", "fresh")
    with tally.case("describe shows the object and its events"):
        out = plane.kvctl("describe", "cm", "cm")
        assert out.startswith("apiVersion: v1\ndata:\n") and out.endswith("events: none\n"), out
        assert "managedFields" not in out and "last-applied" not in out, out
        uid = plane.object("/api/v1/namespaces/default/configmaps/cm")["metadata"]["uid"]
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1"}, "type": "Warning",
                 "reason": "Tested", "message": "it was\x1b[31m looked at", "source": {"component": "tester"},
                 "lastTimestamp": "2024-01-02T03:04:05Z",
                 "involvedObject": {"kind": "ConfigMap", "namespace": "default", "name": "cm", "uid": uid}}
        status, answer = plane.api("POST", "/api/v1/namespaces/default/events", event)
        equal(status, 201, answer)
        out = plane.kvctl("describe", "cm/cm")
        assert "2024-01-02T03:04:05Z  Warning  Tested  tester  it was\\x1b[31m looked at\n" in out, out


def applying(tally, plane):
    def deployment():
        return plane.object("/apis/apps/v1/namespaces/default/deployments/web")

    with tally.case("apply creates, leaves alone, and changes"):
        equal(plane.kvctl("apply", "-f", "-", stdin=DEPLOYMENT + "---\n# nothing\n---\n" + CONFIG),
              "deployment.apps/web created\nconfigmap/cm configured\n", "first")
        equal(plane.kvctl("apply", "-f", "-", stdin=DEPLOYMENT + "---\n" + CONFIG),
              "deployment.apps/web unchanged\nconfigmap/cm unchanged\n", "again")
        equal(plane.kvctl("apply", "-f", "-", stdin=DEPLOYMENT.replace("nginx:1", "nginx:2")),
              "deployment.apps/web configured\n", "another image")
        equal(deployment()["spec"]["template"]["spec"]["containers"][0]["image"], "nginx:2", "image")
    with tally.case("what a file no longer says is removed, what others set stays"):
        plane.api("PATCH", "/apis/apps/v1/namespaces/default/deployments/web",
                  {"metadata": {"labels": {"theirs": "kept"}, "annotations": {"x": "y"}}},
                  "application/merge-patch+json")
        less = (DEPLOYMENT.replace(", tier: front", "").replace(', {name: B, value: "2"}', "")
                .replace(", {containerPort: 443}", "").replace("      - {name: side, image: busybox}\n", ""))
        equal(plane.kvctl("apply", "-f", "-", stdin=less), "deployment.apps/web configured\n", "less")
        o = deployment()
        equal(o["metadata"]["labels"], {"app": "web", "theirs": "kept"}, "labels")
        equal(o["metadata"]["annotations"]["x"], "y", "annotations")
        containers = o["spec"]["template"]["spec"]["containers"]
        equal([c["name"] for c in containers], ["a"], "containers")
        equal(containers[0]["env"], [{"name": "A", "value": "1"}], "env")
        equal([p["containerPort"] for p in containers[0]["ports"]], [80], "ports")
        equal(plane.kvctl("apply", "-f", "-", stdin=less), "deployment.apps/web unchanged\n", "again")
    with tally.case("the annotation is kubectl's"):
        text = deployment()["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        kept = json.loads(text)
        equal((kept["kind"], kept["spec"]["replicas"], text[-1]), ("Deployment", 2, "\n"), "annotation")
    with tally.case("lists of objects, JSON, files, --dry-run, -n"):
        items = {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"l{i}"}} for i in range(2)]}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "list.json")
            with open(path, "w") as f:
                json.dump(items, f)
            equal(plane.kvctl("apply", "-f", path, "--dry-run"),
                  "configmap/l0 created (dry run)\nconfigmap/l1 created (dry run)\n", "dry run")
            equal(plane.object("/api/v1/namespaces/default/configmaps/l0"), None, "kept by a dry run")
            equal(plane.kvctl("apply", "-f", path, "-n", "other"), "configmap/l0 created\nconfigmap/l1 created\n",
                  "file")
            equal(plane.kvctl("delete", "-f", path, "-n", "other"),
                  'configmap "l0" deleted\nconfigmap "l1" deleted\n', "delete -f")
    with tally.case("one that is refused does not keep the others from being applied"):
        bad = CONFIG.replace("name: cm,", "name: Bad_Name,")
        status, out, err = plane.run("apply", "-f", "-", stdin=bad + "---\n" + CONFIG)
        equal((status, out), (FAILURE, "configmap/cm unchanged\n"), err)
        assert "Bad_Name" in err and "(Invalid)" in err, err
    for text, sentence in [("a: [", "the document that begins at line 1: yaml: "),
                           ("---\nx: 1\n---\n- 1\n", "begins at line 4 is no object"),
                           ("", "there are no objects in -"),
                           ("kind: Frob\napiVersion: v1\n", 'no matches for kind "Frob" in version "v1"'),
                           ("kind: Pod\napiVersion: v1\n", "has no metadata.name"),
                           ("kind: Pod\napiVersion: v1\nmetadata: {name: a, annotations: 1}\n", "is no map")]:
        with tally.case(f"apply refuses: {sentence}"):
            err = refused(plane, "apply", "-f", "-", stdin=text)
            assert sentence in err, err
    with tally.case("apply wants a file, and a namespace that is not contradicted"):
        refused(plane, "apply", status=BAD_ARGS)
        err = refused(plane, "apply", "--filename", "/nonexistent/file")
        assert "/nonexistent/file: No such file" in err, err
        err = refused(plane, "apply", "-n", "other", "-f", "-", stdin=CONFIG)
        assert 'is of namespace "default", not "other"' in err, err


def deleting(tally, plane):
    with tally.case("delete by name, by label, all"):
        for i in range(4):
            plane.api("POST", "/api/v1/namespaces/default/configmaps",
                      {"metadata": {"name": f"d{i}", "labels": {"half": str(i % 2)}}})
        equal(plane.kvctl("delete", "cm", "d0"), 'configmap "d0" deleted\n', "by name")
        equal(plane.kvctl("delete", "cm", "-l", "half=0"), 'configmap "d2" deleted\n', "by label")
        equal(plane.kvctl("delete", "cm/d1", "cm/d3"), 'configmap "d1" deleted\nconfigmap "d3" deleted\n', "two")
        out = plane.kvctl("delete", "cm", "--all", "-n", "other")
        equal(len(out.splitlines()), 511, "--all")
    with tally.case("delete: what is missing, and what is refused"):
        err = refused(plane, "delete", "cm", "nosuch")
        assert "(NotFound)" in err, err
        equal(plane.run("delete", "cm", "nosuch", "--ignore-not-found"), (OK, "", ""), "--ignore-not-found")
        refused(plane, "delete", "cm", status=BAD_ARGS)
        refused(plane, "delete", "cm", "x", "--all", status=BAD_ARGS)
        refused(plane, "delete", "-f", "-", "cm", status=BAD_ARGS)
        err = refused(plane, "delete", "cm", "x", "--cascade", "some", status=BAD_FEATURE)
        assert "background, foreground or orphan" in err, err
    with tally.case("--grace-period and --cascade reach the server"):
        plane.api("POST", "/api/v1/namespaces/default/pods",
                  {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "b"}]}})
        plane.kvctl("delete", "pod", "p", "--grace-period", "7", "--cascade", "foreground")
        equal(plane.pod("p")["metadata"]["deletionGracePeriodSeconds"], 7, "grace")
        plane.kvctl("delete", "pod/p", "--grace-period=0", "--cascade=orphan")


def remembering(tally, plane):
    one = config_map(plane, "past", {"a": "1", "b": "same"})
    two = config_map(plane, "past", {"a": "2", "b": "same"})
    three = config_map(plane, "past", {"b": "same", "c": "3"})
    with tally.case("history lists revisions, newest first, with what they changed"):
        rows = plane.kvctl("history", "cm/past").splitlines()
        equal(rows[0].split(), ["REVISION", "WHEN", "WHO", "CHANGES"], "titles")
        equal([int(r.split()[0]) for r in rows[1:]], [three, two, one], "revisions")
        assert rows[1].endswith("data.a: 2 -> (none), data.c: (none) -> 3"), rows
        assert rows[2].endswith("data.a: 1 -> 2"), rows
        assert rows[3].endswith("  created"), rows
        assert all("Python-urllib" in r for r in rows[1:]), rows
        assert re.search(r" \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", rows[1]), rows
        equal(len(plane.kvctl("history", "cm/past", "--limit", "1").splitlines()), 2, "--limit")
    with tally.case("history and diff need only the store"):
        equal(plane.run("history", "cm/past", server=False, cwd="/")[0], OK, "history without an API server")
        equal(plane.run("diff", "cm/past", "--at", str(two), server=False, cwd="/")[0], OK, "diff")
    with tally.case("diff is unified, of YAML"):
        lines = plane.kvctl("diff", "cm/past", "--at", str(one), "--to", str(two)).splitlines()
        equal(lines[:2], [f"--- configmap/past@{one}", f"+++ configmap/past@{two}"], "names")
        equal([line for line in lines[2:] if line[0] in "+-@"], ["@@ -1,6 +1,6 @@", '-  a: "1"', '+  a: "2"'], "changes")
        lines = plane.kvctl("diff", "cm/past", "--at", str(two)).splitlines()
        equal([line for line in lines[2:] if line[0] in "+-"], ['-  a: "2"', '+  c: "3"'], "to now")
        equal(plane.kvctl("diff", "cm/past", "--at", str(three)), "", "nothing has changed")
    with tally.case("why tells owners, writers and every change"):
        out = plane.kvctl("why", "cm/past")
        assert out.startswith("configmap/past has no owner: somebody asked for it\n"), out
        assert f"\nrevision {three}: Python-urllib (Update) at " in out, out
        assert "\n  data.a: 2 -> (none)\n  data.c: (none) -> 3\n" in out, out
        assert re.search(rf"\nrevision {one}: Python-urllib \(Update\) at \S+ created it\n$", out), out
        owner = plane.object("/api/v1/namespaces/default/configmaps/past")["metadata"]["uid"]
        plane.api("POST", "/api/v1/namespaces/default/secrets",
                  {"metadata": {"name": "child", "ownerReferences": [
                      {"apiVersion": "v1", "kind": "ConfigMap", "name": "past", "uid": owner, "controller": True}]}})
        out = plane.kvctl("why", "secret/child")
        equal(out.splitlines()[0], "secret/child is there because of configmap/past", "owner")
    with tally.case("undo puts an old state back"):
        out = plane.kvctl("undo", "cm/past", "--to", str(one), "--dry-run")
        equal(sorted(out.splitlines()), ["data.a: (none) -> 1", "data.c: 3 -> (none)"], "dry run")
        out = plane.kvctl("undo", "cm/past", "--to", str(one))
        assert re.fullmatch(rf"configmap/past is again as it was at revision {one} \(now revision \d+\)\n", out), out
        equal(plane.object("/api/v1/namespaces/default/configmaps/past")["data"], {"a": "1", "b": "same"}, "data")
        equal(plane.kvctl("undo", "cm/past", "--to", str(one)), "nothing to undo: that is how it is\n", "again")
        assert "kvctl-undo" in plane.kvctl("history", "cm/past", "--limit=1"), "who"
    with tally.case("undo brings back what was deleted"):
        plane.kvctl("delete", "cm", "past")
        err = refused(plane, "history", "cm/past")
        equal(err, "Error: there is no configmap/past now\n", "history of what is gone")
        out = plane.kvctl("undo", "cm/past", "--to", str(two))
        assert out.startswith(f"configmap/past is made again as it was at revision {two} "), out
        equal(plane.object("/api/v1/namespaces/default/configmaps/past")["data"], {"a": "2", "b": "same"}, "data")
    with tally.case("a deployment goes back without losing its status"):
        before = plane.object("/apis/apps/v1/namespaces/default/deployments/web")
        revision = before["metadata"]["resourceVersion"]
        plane.api("PATCH", "/apis/apps/v1/namespaces/default/deployments/web", {"spec": {"replicas": 9}},
                  "application/merge-patch+json")
        assert "spec.replicas: 2 -> 9" in plane.kvctl("history", "deploy/web", "--limit", "1")
        plane.kvctl("undo", "deployment/web", "--to", revision)
        after = plane.object("/apis/apps/v1/namespaces/default/deployments/web")
        equal(after["spec"], before["spec"], "spec")
        equal(after["metadata"]["uid"], before["metadata"]["uid"], "uid")
    with tally.case("compaction ends history, with a word"):
        a = config_map(plane, "short", {"a": "1"})
        b = config_map(plane, "short", {"a": "2"})
        c = config_map(plane, "short", {"a": "3"})
        equal(plane.run("compaction", str(b), server=False)[0], OK, "compaction")
        rows = plane.kvctl("history", "cm/short").splitlines()
        equal([int(r.split()[0]) for r in rows[1:]], [c, b], "revisions")
        assert rows[2].endswith("(what it was before has been compacted)"), rows
        assert "(what it was before has been compacted)" in plane.kvctl("why", "cm/short")
        for words in (["diff", "cm/short", "--at", str(a)], ["undo", "cm/short", "--to", str(a)]):
            err = refused(plane, *words)
            equal(err, f"Error: revision {a} has been compacted: it is gone\n", words)
    with tally.case("what is missing is said"):
        for words, sentence in [(["history"], "history needs one object"), (["why", "cm"], "why needs one object"),
                                (["diff", "cm/short"], "diff needs --at"), (["undo", "cm/short"], "undo needs --to"),
                                (["diff", "cm/short", "cm/cm", "--at", "5"], "diff needs one object")]:
            err = refused(plane, *words, status=BAD_ARGS)
            assert sentence in err, err
        err = refused(plane, "diff", "cm/nosuch", "--at", str(c))
        equal(err, f"Error: there is no configmap/nosuch at revision {c}\n", "an object that never was")


def servers(tally, plane):
    config = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u, namespace: other}}}}]
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{}}}}]
"""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config")
        with open(path, "w") as f:
            f.write(config.format(url=plane.url))
        config_map(plane, "mine", {}, "other")
        with tally.case("the kubeconfig is found: option, KUBECONFIG, data directory, home"):
            ways = [(["--kubeconfig", path], {}), ([], {"KUBECONFIG": path}),
                    ([], {"KUBECONFIG": f"/nonexistent:{path}"}), ([], {"KVD_DATA_DIR": folder})]
            os.makedirs(os.path.join(folder, "kvd.data"))
            os.makedirs(os.path.join(folder, ".kube"))
            for name in ("admin.kubeconfig", "kvd.data/admin.kubeconfig", ".kube/config"):
                with open(os.path.join(folder, name), "w") as f:
                    f.write(config.format(url=plane.url))
            for words, env in ways + [([], {"HOME": folder})]:
                status, out, err = plane.run("get", "configmaps", "mine", *words, server=False, env=env, cwd="/")
                equal((status, out[:4]), (OK, "NAME"), f"{words} {env}: {err}")
            status, out, err = plane.run("get", "configmaps", "mine", server=False, cwd=folder)
            equal((status, out[:4]), (OK, "NAME"), f"./kvd.data: {err}")
        with tally.case("the context's namespace is the default"):
            equal(plane.kvctl("get", "configmaps", "mine", "-o", "name", "--kubeconfig", path, server=False),
                  "configmap/mine\n", "namespace of the context")
        with tally.case("a token is shown to the server"):
            with open(path, "w") as f:
                f.write(config.replace("user: {{}}", "user: {{token: wrong}}").format(url=plane.url))
            err = refused(plane, "get", "configmaps", "--kubeconfig", path, server=False)
            assert "(Unauthorized)" in err, err
        for text, sentence in [("a: [", "line "), ("current-context: x\n", 'current-context "x" is none of its contexts'),
                               (config.format(url=""), "has no cluster with a server"),
                               (config.format(url="ftp://x"), "does not begin with https://"),
                               (config.replace("user: {{}}", "user: {{exec: {{}}}}").format(url=plane.url), "not supported"),
                               (config.replace("user: {{}}", "user: {{client-key-data: '!!'}}").format(url=plane.url),
                                "client-key-data is not base64"),
                               (config.replace("user: {{}}", "user: {{client-key: nosuch}}").format(url=plane.url),
                                "No such file")]:
            with tally.case(f"a kubeconfig is refused: {sentence}"):
                with open(path, "w") as f:
                    f.write(text)
                err = refused(plane, "get", "configmaps", "--kubeconfig", path, server=False)
                assert sentence in err and "config" in err, err
    with tally.case("no server, no kubeconfig, no answer"):
        err = refused(plane, "get", "configmaps", "--kubeconfig", "/nonexistent/x", server=False)
        assert "/nonexistent/x: No such file" in err, err
        err = refused(plane, "get", "configmaps", server=False, cwd="/", env={"HOME": "/nonexistent"})
        assert "no kubeconfig (looked for kvd.data/admin.kubeconfig, /nonexistent/.kube/config)" in err, err
        err = refused(plane, "get", "configmaps", "--server", f"http://127.0.0.1:{free_ports(1)[0]}", server=False)
        assert "Connection refused" in err or "connect to" in err, err
        err = refused(plane, "delete", "configmaps", "x", "--server", f"http://127.0.0.1:{free_ports(1)[0]}", server=False)
        assert "may have happened" not in err, err
    with tally.case("a server that breaks off, or talks nonsense"):
        for answer, words, sentence in [
                (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", ["get", "configmaps"], "transfer closed"),
                (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{", ["get", "configmaps"], "is no JSON"),
                (b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno", ["get", "configmaps"], "status 500 and no reason"),
                (b"", ["delete", "configmaps", "x"], "it may have happened all the same")]:
            listener = socket.create_server(("127.0.0.1", 0))

            def serve():
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer)
            thread = threading.Thread(target=serve)
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            err = refused(plane, *words, "--server", url, server=False)
            thread.join()
            listener.close()
            assert sentence in err, err


def over_tls(tally):
    with Plane(plain=False) as plane:
        with tally.case("over TLS, as the administrator"):
            equal(plane.kvctl("apply", "-f", "-", stdin=CONFIG), "configmap/cm created\n", "apply")
            equal(plane.kvctl("get", "configmaps", "cm", "-o", "name", server=False, cwd="/",
                              env={"KVD_DATA_DIR": plane.data_dir}), "configmap/cm\n", "get")
            assert re.fullmatch(r"NAME +DATA +AGE\ncm +4 +\S+\n", plane.kvctl("get", "cm", "cm")), "a table"
            assert " kvctl-apply " in plane.kvctl("history", "cm/cm")
        with tally.case("a server that is not known is not trusted, and nobody is let in"):
            err = refused(plane, "get", "configmaps", "--server", f"https://127.0.0.1:{plane.api_port}", server=False)
            assert "certificate" in err, err
            with open(plane.kubeconfig) as f:
                text = f.read()
            with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as other:
                other.write(re.sub(r"client-(certificate|key)-data:.*", "", text))
                other.flush()
                err = refused(plane, "get", "configmaps", "--kubeconfig", other.name, server=False)
                assert "(Forbidden)" in err or "(Unauthorized)" in err, err


def main():
    tally = Tally()
    if not os.path.exists(KVCTL):
        tally.skip("objects", "kvctl is not built")
        tally.close()
    with Plane() as plane:
        getting(tally, plane)
        applying(tally, plane)
        deleting(tally, plane)
        remembering(tally, plane)
        servers(tally, plane)
    over_tls(tally)
    tally.close()


main()
