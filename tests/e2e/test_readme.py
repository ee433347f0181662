#!/usr/bin/env python3
"""The README's tour is executed as printed: each `$` line runs in a shell, its output must match."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kubetest import Plane
from kvdtest import KVCTL, ROOT, Tally, equal


def tour():
    """(command, expected output) of every console block, in order."""
    with open(os.path.join(ROOT, "README.md")) as f:
        blocks = re.findall(r"```console\n(.*?)```", f.read(), re.S)
    steps = []
    for block in blocks:
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append([line[2:], ""])
            else:
                steps[-1][1] += line + "\n"
    return steps


def main():
    tally = Tally()
    if not os.path.exists(KVCTL):
        tally.skip("the tour", "kvctl is not built yet (docs/status.md)")
        tally.close()
    # As `make run` starts it (tests/e2e/test_run.py looks at that itself).
    with Plane("controllers", "scheduler", "hollow-node", plain=False) as server:
        server.until("nodes", lambda: len(server.object("/api/v1/nodes")["items"]) == 3)
        env = dict(os.environ, PATH=os.path.dirname(KVCTL) + ":" + os.environ["PATH"], KUBECONFIG=server.kubeconfig,
                   KVCTL_ENDPOINTS=server.endpoint, ETCDCTL_ENDPOINTS=server.endpoint)
        steps = tour()
        for command, expected in steps:
            if command.startswith("kubectl ") and shutil.which("kubectl") is None:
                tally.skip(command, "there is no kubectl")
                scaled = re.fullmatch(r"kubectl scale deployment/(\S+) --replicas=(\d+)", command)
                if scaled:  # what follows shows it
                    path = f"/apis/apps/v1/namespaces/default/deployments/{scaled[1]}/scale"
                    status, answer = server.api("PATCH", path, {"spec": {"replicas": int(scaled[2])}},
                                                "application/merge-patch+json")
                    equal(status, 200, answer)
                continue
            with tally.case(command):
                run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env,
                                     timeout=90, cwd=ROOT)
                equal(run.returncode, 0, f"status ({run.stderr.strip()})")
                equal(run.stdout, expected, "output")
        with tally.case("the tour is there"):
            assert len(steps) >= 16, steps
    tally.close()


main()
