#!/usr/bin/env python3
"""docs/plugins/first-controller.md is executed as printed: its files are written, its `$` lines run in a shell
over installed headers, their output must match; `$ kvd --dev` is started as printed. Links of docs/plugins lead somewhere."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import KVCTL, KVD, ROOT, Tally, equal  # noqa: E402

DOCS = os.path.join(ROOT, "docs/plugins")
GUIDE = os.path.join(DOCS, "first-controller.md")
# What the plugin does comes a little after the write it answers: such lines are repeated until they match.
SETTLE_SECONDS = 20


def blocks():
    """(language, file name or "", text) of each fenced block, in order."""
    with open(GUIDE, encoding="utf-8") as f:
        return re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", f.read(), re.S | re.M)


def steps(text):
    """(command, expected output) of a console block."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], ""])
        else:
            found[-1][1] += line + "\n"
    return found


def execute(command, expected, folder, env):
    end = time.monotonic() + (SETTLE_SECONDS if command.startswith("kvctl get") else 0)
    while True:
        run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder, env=env,
                             timeout=120)
        if (run.returncode == 0 and run.stdout == expected) or time.monotonic() >= end:
            break
        time.sleep(0.02)
    equal(run.returncode, 0, f"status ({run.stdout}{run.stderr})")
    equal(run.stdout, expected, "output")


class Terminal:
    """The second terminal: kvd as the guide starts it, until it has printed where to find it."""

    def __init__(self, command, folder, env):
        self.path = os.path.join(folder, "terminal")
        words = command.split()
        equal(words[:2], ["kvd", "--dev"], "how the guide starts kvd")
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen([KVD, *words[1:]], cwd=folder, env=env, stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL)
        end = time.monotonic() + SETTLE_SECONDS
        while not (found := re.search(r"export KVCTL_ENDPOINTS=(\S+)\n", self.text())):
            assert self.process.poll() is None and time.monotonic() < end, self.text()
            time.sleep(0.01)
        self.endpoint = found.group(1)

    def text(self):
        with open(self.path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SETTLE_SECONDS)


def follow(tally, folder, env):
    """Does what the guide says. Returns the terminal in which kvd runs."""
    server = None
    ran = 0
    for language, name, text in blocks():
        if name:
            with open(os.path.join(folder, name), "a", encoding="utf-8") as f:
                f.write(text)
            continue
        equal(language, "console", "language of a block without a file name")
        for command, expected in steps(text):
            ran += 1
            with tally.case(command[:70]):
                if command.startswith("kvd "):
                    server = Terminal(command, folder, env)
                    env["KVCTL_ENDPOINTS"] = server.endpoint
                else:
                    execute(command, expected, folder, env)
    with tally.case("the guide is there"):
        assert ran >= 10 and server is not None, ran
    return server


def check_links(tally):
    for name in sorted(os.listdir(DOCS)):
        with tally.case(f"links of {name}"):
            with open(os.path.join(DOCS, name), encoding="utf-8") as f:
                links = re.findall(r"\]\(([^)#:]+)\)", f.read())
            missing = [x for x in links if not os.path.exists(os.path.join(DOCS, x))]
            equal(missing, [], "links that lead nowhere")


def check_calls(tally):
    """Every call the docs name is in a header."""
    headers = ""
    for header in ("kvplugin.h", "kvplugin-test.h"):
        with open(os.path.join(ROOT, "include", header), encoding="utf-8") as f:
            headers += f.read()
    with tally.case("every call the map names is there"):
        with open(os.path.join(DOCS, "README.md"), encoding="utf-8") as f:
            names = re.findall(r"`(t_\w+|\w+_(?:open|by_index|get|if|put|txn|ms|on)|KVP_\w+)", f.read())
        missing = [x for x in names if not re.search(r"\b" + x + r"\b", headers)]
        assert len(names) > 20, names
        equal(missing, [], "names in no header")


def main():
    tally = Tally()
    check_links(tally)
    check_calls(tally)
    with tempfile.TemporaryDirectory(prefix="kvd-docs.") as root:
        subprocess.run(["make", "install", f"DESTDIR={root}", "PREFIX=/usr"], cwd=ROOT, check=True,
                       capture_output=True)
        folder = os.path.join(root, "greet")
        os.mkdir(folder)
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(root, "usr/lib/pkgconfig"),
                   PKG_CONFIG_SYSROOT_DIR=root,
                   PATH=os.path.dirname(KVCTL) + ":" + os.environ["PATH"])
        server = follow(tally, folder, env)
        if server is not None:
            if tally.failed:
                print(server.text())
            with tally.case("kvd stops"):
                equal(server.close(), -signal.SIGTERM, "status")
    shutil.rmtree(root, ignore_errors=True)
    tally.close()


main()
