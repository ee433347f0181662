#!/usr/bin/env python3
"""What `make run` starts: one process with the whole control plane, ready at once, that says what to type next;
its settings can be seen; the guestbook comes up; Ctrl-C ends it."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import ENV, PLUGINS, Plane
from kvdtest import KVCTL, KVD, ROOT, Tally, equal, free_ports

NAMES = ["apiserver", "controllers", "scheduler", "hollow-node"]
RUN = "deploy/run"


class Run:
    """deploy/run as make calls it; its lines are kept."""

    def __init__(self, **variables):
        self.port, self.api_port, self.peer_port = free_ports(3)
        self.folder = tempfile.mkdtemp(prefix="kvd-run.")
        # As `make` has them: programs in one folder, plugins below it.
        for program in (KVD, KVCTL):
            os.symlink(program, os.path.join(self.folder, os.path.basename(program)))
        os.symlink(PLUGINS, os.path.join(self.folder, "plugins"))
        self.data = os.path.join(self.folder, "data")
        env = dict(ENV, PORT=str(self.port), API_PORT=str(self.api_port), **variables)
        peer = f"http://127.0.0.1:{self.peer_port}"
        self.process = subprocess.Popen(
            [RUN, os.path.join(self.folder, "kvd"), self.data, "--listen-peer-urls", peer,
             "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=ROOT)
        self.lines = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def text(self):
        return "".join(self.lines)

    def kvctl(self, *words):
        done = subprocess.run([KVCTL, "--endpoints", f"127.0.0.1:{self.port}", *words], text=True, capture_output=True,
                              env=dict(ENV, KVD_DATA_DIR=self.data), timeout=60, cwd=ROOT)
        if done.returncode != 0:
            raise AssertionError(f"kvctl {words}: {done.stderr}")
        return done.stdout

    def pid(self):
        """Of kvd itself."""
        out = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], text=True,
                             capture_output=True).stdout
        return next(int(line.split()[0]) for line in out.splitlines() if line.split()[1] == "kvd")

    def close(self):
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGKILL)
            self.process.wait()
        self.reader.join()
        shutil.rmtree(self.folder)


def deployments(run):
    rows = run.kvctl("get", "deployments").splitlines()[1:]
    return {row.split()[0]: row.split()[1] for row in rows}


def whole(tally):
    began = time.monotonic()
    run = Run()
    try:
        with tally.case("it says what to type next"):
            Plane.until("the hints", lambda: "Ctrl-C stops kvd" in run.text())
            text = run.text()
            for words in (f"kvd is ready on 127.0.0.1:{run.port}", f"https://127.0.0.1:{run.api_port}",
                          f"export KUBECONFIG={run.data}/admin.kubeconfig", "kubectl apply -f deploy/examples/guestbook.yaml",
                          "(" + " ".join(NAMES) + ")"):
                assert words in text, f"{words!r} in {text}"
            assert os.path.exists(os.path.join(ROOT, "deploy/examples/guestbook.yaml"))
        with tally.case("the API answers, and nodes are there"):
            Plane.until("nodes", lambda: os.path.exists(f"{run.data}/admin.kubeconfig") and
                        run.kvctl("get", "nodes", "-o", "name").count("node/") == 3)
            print(f"     from the start to three nodes: {time.monotonic() - began:.2f} s")
            equal(os.stat(f"{run.data}/admin.kubeconfig").st_mode & 0o777, 0o600, "mode of the kubeconfig")
        with tally.case("one process, a thread for each plugin that has its name"):
            out = subprocess.run(["ps", "-L", "-o", "comm=", "-p", str(run.pid())], text=True,
                                 capture_output=True).stdout.split()
            for name in NAMES:
                assert name in out, out
        for name in NAMES:
            with tally.case(f"kvctl config {name}: values and where they come from"):
                out = run.kvctl("config", name)
                assert re.match(r"OPTION +VALUE +FROM +DEFAULT ", out), out
                equal(out, run.kvctl("plugin", "config", name), "the same as plugin config")
                if name == "apiserver":
                    assert re.search(rf"^port +{run.api_port} +(?!default)\S+ +6443 ", out, re.M), out
        with tally.case("the guestbook comes up, connected"):
            run.kvctl("apply", "-f", "deploy/examples/guestbook.yaml")
            want = {"frontend": "3/3", "redis-follower": "2/2", "redis-leader": "1/1"}
            Plane.until("deployments", lambda: deployments(run) == want)
            pods = run.kvctl("get", "pods", "-o", "wide")
            equal(len(re.findall(r" Running .* 10\.244\.\d+\.\d+ +hollow-node-[123] ", pods)), 6, pods)
            ips = sorted(re.findall(r"^frontend.* (10\.244\.\d+\.\d+) ", pods, re.M))
            Plane.until("endpoints", lambda: sorted(re.findall(
                r"(10\.244\.\d+\.\d+):80", run.kvctl("get", "endpoints", "frontend"))) == ips)
        with tally.case("a pod that is deleted is replaced"):
            name = re.search(r"^redis-leader-\S+", run.kvctl("get", "pods"), re.M).group(0)
            run.kvctl("delete", "pod", name)
            Plane.until("another one", lambda: deployments(run)["redis-leader"] == "1/1" and
                        name not in run.kvctl("get", "pods"))
        with tally.case("why a pod is there"):
            name = re.search(r"^frontend-\S+", run.kvctl("get", "pods"), re.M).group(0)
            out = run.kvctl("why", f"pod/{name}")
            assert re.match(rf"pod/{name} is there because of replicaset.apps/frontend-\S+, because of "
                            r"deployment.apps/frontend\n", out), out
            # Who wrote it, by the store's own record: this needs no managedFields.
            assert re.search(r"^revision \d+: plugin hollow-node \(Update of status\) at ", out, re.M), out
            assert re.search(r"^revision \d+: plugin controllers .*created it$", out, re.M), out
        with tally.case("Ctrl-C ends it"):
            os.kill(run.pid(), signal.SIGINT)
            equal(run.process.wait(30), 0, "status")
    finally:
        run.close()


def others(tally):
    with tally.case("PLANE= starts the store alone"):
        run = Run(PLANE="")
        try:
            Plane.until("the hints", lambda: "Ctrl-C stops kvd" in run.text())
            assert "kubectl" not in run.text(), run.text()
            equal(run.kvctl("put", "a", "b"), "OK\n", "put")
        finally:
            run.close()
    with tally.case("a port that is taken is said"):
        with Plane() as plane:
            for port, api, words in [(plane.port, free_ports(1)[0], "make run"),
                                     (free_ports(1)[0], plane.api_port, "API_PORT=")]:
                done = subprocess.run([RUN, KVD, "/nonexistent/data"], text=True, capture_output=True, timeout=30,
                                      cwd=ROOT, env=dict(ENV, PORT=str(port), API_PORT=str(api)))
                equal(done.returncode, 1, done.stderr)
                assert "is taken" in done.stderr and words in done.stderr, done.stderr


def main():
    tally = Tally()
    missing = [n for n in NAMES if not os.path.exists(os.path.join(PLUGINS, n + ".so"))]
    if missing:
        tally.skip("make run", f"not built: {missing}")
        tally.close()
    whole(tally)
    others(tally)
    tally.close()


main()
