#!/usr/bin/env python3
"""Further kubectls against the API server, by tests/e2e/test_kubectl_read.py and test_kubectl_write.py: the newest
one, built from its module (needs a current Go on PATH; modules are fetched by the ordinary go command), and Debian's
1.20, whose package is taken apart in a folder under build/ (needs apt-get and dpkg; nothing is installed)."""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
from kvdtest import ROOT, Tally  # noqa: E402

GO_MINOR_MIN = 24
EXAMS = ("test_kubectl_read.py", "test_kubectl_write.py")
PACKAGE = "kubernetes-client"


class Missing(Exception):
    """Why a kubectl is not to be had here."""


def newest():
    """The path of the newest kubectl."""
    go = shutil.which("go")
    if go is None:
        raise Missing("no go on PATH")
    version = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    match = re.search(r"go1\.(\d+)", version)
    if match is None or int(match.group(1)) < GO_MINOR_MIN:
        raise Missing(f"go is too old: {version.strip()}")
    program = os.path.join(ROOT, "build/compat-kubectl")
    subprocess.run([go, "build", "-o", program, "./kubectl"], cwd=os.path.join(HERE, "kube"), check=True,
                   env=dict(os.environ, CGO_ENABLED="0"))
    return program


def debian():
    """The path of Debian's kubectl."""
    folder = os.path.join(ROOT, "build/compat-kubectl-debian")
    program = os.path.join(folder, "usr/bin/kubectl")
    if os.path.exists(program):
        return program
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    got = subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, capture_output=True, text=True)
    packages = glob.glob(os.path.join(folder, PACKAGE + "_*.deb"))
    if got.returncode != 0 or not packages:
        raise Missing(f"apt-get download {PACKAGE}: {(got.stderr.strip() or 'no package').splitlines()[-1]}")
    subprocess.run(["dpkg", "-x", packages[0], folder], check=True)
    return program


def main():
    tally = Tally()
    for name, get in (("the newest kubectl", newest), ("Debian's kubectl", debian)):
        try:
            program = get()
        except Missing as why:
            for exam in EXAMS:
                tally.skip(f"{name}: {exam}", str(why))
            continue
        for exam in EXAMS:
            with tally.case(f"{name}: {exam}"):
                print(f"--- {name}: {exam} ---", flush=True)
                subprocess.run([sys.executable, os.path.join(ROOT, "tests/e2e", exam)], check=True,
                               env=dict(os.environ, KUBECTL=program))
    tally.close()


main()
