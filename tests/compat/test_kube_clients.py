#!/usr/bin/env python3
"""Programs that nobody here wrote, against a whole control plane: client-go informers and watches that must
miss and repeat nothing while kvd is restarted, a manager of controller-runtime, and the Python client. The Go
modules are fetched by the ordinary go command, the Python one by pip into a folder of its own."""
import os
import re
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
from kubetest import Plane
from kvdtest import ROOT, Tally, equal

PROGRAMS = os.path.join(ROOT, "build/kube")
PACKAGES = os.path.join(ROOT, "build/kube-python")
PYTHON_CLIENT = "kubernetes==33.1.0"
WATCHERS, CHANGES, RESTARTS = 100, 10000, 5
ENV = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}


def go_is_missing():
    go = shutil.which("go")
    if go is None:
        return "no go on PATH"
    out = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    match = re.search(r"go1\.(\d+)", out)
    return None if match and int(match.group(1)) >= 26 else f"go is too old: {out.strip()}"


def build():
    run = subprocess.run(["go", "build", "-mod=mod", "-o", PROGRAMS + "/", "./informer", "./manager"],
                         cwd=os.path.join(HERE, "kube"), capture_output=True, text=True,
                         env=dict(ENV, CGO_ENABLED="0"))
    if run.returncode != 0:
        raise RuntimeError(run.stderr)


def lines_of(process):
    """Its lines as they come, in a list that grows."""
    lines = []

    def read():
        for line in process.stdout:
            lines.append(line.rstrip("\n"))

    threading.Thread(target=read, daemon=True).start()
    return lines


def informers(tally):
    with Plane(plain=False) as plane, tally.case(
            f"{WATCHERS} watchers over {CHANGES} changes miss and repeat nothing while kvd is killed {RESTARTS} times"):
        process = subprocess.Popen([f"{PROGRAMS}/informer", plane.kubeconfig, "default", str(WATCHERS), str(CHANGES)],
                                   stdout=subprocess.PIPE, text=True, env=ENV,
                                   stderr=open(os.path.join(plane.root, "informer.log"), "w"))
        try:
            lines = lines_of(process)
            plane.until("all watch", lambda: "ready" in lines or process.poll() is not None, 120)
            for i in range(RESTARTS):
                mark = f"written {500 * (CHANGES * (i + 1) // (RESTARTS + 1) // 500)}"
                plane.until(mark, lambda mark=mark: process.poll() is not None or mark in lines, 240)
                assert process.poll() is None, lines
                plane.kill()
                plane.start()
            equal(process.wait(300), 0, "status")
            plane.until("it says how it went", lambda: lines[-1].startswith("watchers"))
            equal(lines[-1], f"watchers {WATCHERS} changes {CHANGES} missed 0 repeated 0", "output")
        finally:
            process.kill()
            process.wait()


def manager(tally):
    maps = "/api/v1/namespaces/default/configmaps"
    with Plane("controllers", plain=False) as plane:
        process = subprocess.Popen([f"{PROGRAMS}/manager", plane.kubeconfig, "default"], stdout=subprocess.PIPE,
                                   text=True, stderr=open(os.path.join(plane.root, "manager.log"), "w"), env=ENV)
        try:
            lines = lines_of(process)
            with tally.case("a manager of controller-runtime leads and reconciles"):
                plane.until("it leads", lambda: "leading" in lines, 60)
                made = plane.api("POST", maps, {"metadata": {"name": "a", "labels": {"echo": "yes"}}, "data": {"x": "1"}})
                equal(made[0], 201, made)
                echo = plane.until("the echo", lambda: plane.object(maps + "/a-echo"))
                equal((echo["data"], echo["metadata"]["ownerReferences"][0]["name"]), ({"x": "1"}, "a"), "echo")
                plane.api("PATCH", maps + "/a", {"data": {"x": "2"}}, "application/merge-patch+json")
                plane.until("the echo follows", lambda: plane.object(maps + "/a-echo")["data"] == {"x": "2"})
            with tally.case("it goes on after kvd was killed"):
                plane.kill()
                plane.start()
                plane.api("PATCH", maps + "/a", {"data": {"x": "3"}}, "application/merge-patch+json")
                plane.until("the echo follows", lambda: plane.object(maps + "/a-echo")["data"] == {"x": "3"}, 60)
            with tally.case("its finalizer runs, and what it owned is collected"):
                plane.api("DELETE", maps + "/a")
                plane.until("the finalizer ran", lambda: plane.object(maps + "/a-gone"), 60)
                plane.until("both are gone", lambda: plane.object(maps + "/a") is None and
                            plane.object(maps + "/a-echo") is None, 60)
            with tally.case("it ends and gives its lease back"):
                process.terminate()
                equal(process.wait(30), 0, "status")
        finally:
            process.kill()
            process.wait()


def python_client():
    """The package, fetched; a sentence when it cannot be."""
    if not os.path.isdir(os.path.join(PACKAGES, "kubernetes")):
        shutil.rmtree(PACKAGES, ignore_errors=True)
        run = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", PACKAGES, PYTHON_CLIENT],
                             capture_output=True, text=True)
        if run.returncode != 0:
            return run.stderr.strip().splitlines()[-1] if run.stderr else "pip failed"
    sys.path.insert(0, PACKAGES)
    return None


def python(tally):
    from kubernetes import client, config, watch
    from kubernetes.client.exceptions import ApiException
    with Plane("controllers", "scheduler", "hollow-node", plain=False) as plane:
        config.load_kube_config(plane.kubeconfig)
        core, apps = client.CoreV1Api(), client.AppsV1Api()
        labels = {"app": "py"}
        template = client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels),
            spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="i")]))
        wanted = client.V1Deployment(
            metadata=client.V1ObjectMeta(name="py"),
            spec=client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels),
                                         template=template))
        with tally.case("Python: a deployment is created and becomes ready, as a watch shows"):
            made = apps.create_namespaced_deployment("default", wanted)
            for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", timeout_seconds=60,
                                              resource_version=made.metadata.resource_version):
                if event["object"].status.ready_replicas == 2:
                    break
            else:
                raise AssertionError("not ready within a minute")
            pods = core.list_namespaced_pod("default", label_selector="app=py").items
            equal(sorted(p.status.phase for p in pods), ["Running"] * 2, "pods")
            assert {p.spec.node_name for p in pods} <= {n.metadata.name for n in core.list_node().items}, pods
        with tally.case("Python: scale, patch, read and delete"):
            apps.patch_namespaced_deployment_scale("py", "default", {"spec": {"replicas": 3}})
            plane.until("three are ready", lambda: apps.read_namespaced_deployment("py", "default").status.ready_replicas == 3)
            patched = apps.patch_namespaced_deployment("py", "default", {"metadata": {"annotations": {"a": "b"}}})
            equal(patched.metadata.annotations["a"], "b", "annotation")
            apps.delete_namespaced_deployment("py", "default", propagation_policy="Background")
            plane.until("the pods are gone", lambda: not core.list_namespaced_pod("default", label_selector="app=py").items, 60)
            try:
                apps.read_namespaced_deployment("py", "default")
                raise AssertionError("still there")
            except ApiException as error:
                equal((error.status, error.reason), (404, "Not Found"), "error")
        with tally.case("Python: lists in pages, and the models of every kind that is there"):
            for i in range(25):
                core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"m{i:02}")))
            names, token = [], None
            while True:
                page = core.list_namespaced_config_map("default", limit=7, _continue=token)
                names += [m.metadata.name for m in page.items]
                token = page.metadata._continue
                if not token:
                    break
            equal([n for n in names if n.startswith("m")], [f"m{i:02}" for i in range(25)], "names")
            for read in (core.list_namespace, core.list_node, core.list_secret_for_all_namespaces,
                         core.list_service_for_all_namespaces, core.list_endpoints_for_all_namespaces,
                         core.list_service_account_for_all_namespaces, core.list_event_for_all_namespaces,
                         apps.list_replica_set_for_all_namespaces, client.CoordinationV1Api().list_lease_for_all_namespaces,
                         client.DiscoveryV1Api().list_endpoint_slice_for_all_namespaces,
                         client.SchedulingV1Api().list_priority_class, client.VersionApi().get_code):
                read()


def main():
    tally = Tally()
    missing = go_is_missing()
    if missing:
        tally.skip("client-go and controller-runtime", missing)
    else:
        build()
        informers(tally)
        manager(tally)
    missing = python_client()
    if missing:
        tally.skip("the Python client", missing)
    else:
        python(tally)
    tally.close()


main()
