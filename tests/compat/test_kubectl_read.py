#!/usr/bin/env python3
"""The newest kubectl, built from its module, reads from the API server: tests/e2e/test_kubectl_read.py with it
instead of the one on PATH. Needs a current Go on PATH; modules are fetched by the ordinary go command."""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
from kvdtest import ROOT, Tally  # noqa: E402

GO_MINOR_MIN = 24


def go_is_missing():
    """Why there is no Go to build with; None when there is."""
    go = shutil.which("go")
    if go is None:
        return "no go on PATH"
    version = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    match = re.search(r"go1\.(\d+)", version)
    return None if match and int(match.group(1)) >= GO_MINOR_MIN else f"go is too old: {version.strip()}"


def main():
    why = go_is_missing()
    if why:
        tally = Tally()
        tally.skip("kubectl from its module", why)
        tally.close()
        return 0
    program = os.path.join(ROOT, "build/compat-kubectl")
    subprocess.run(["go", "build", "-o", program, "./kubectl"], cwd=os.path.join(HERE, "kube"), check=True,
                   env=dict(os.environ, CGO_ENABLED="0"))
    script = os.path.join(ROOT, "tests/e2e/test_kubectl_read.py")
    return subprocess.run([sys.executable, script], env=dict(os.environ, KUBECTL=program)).returncode


sys.exit(main())
