"""plugintest - plugins for tests: compiled from source as their author would, and what a server logged."""
import json
import os
import subprocess
import time

from kvdtest import ROOT

INCLUDE = os.path.join(ROOT, "include")


def build(folder, name, source, *, defs=True):
    """Compiles one plugin; returns the path of the .so, which is replaced, never written over: it may be
    mapped by a process."""
    path = os.path.join(folder, name)
    with open(path + ".c", "w") as out:
        out.write(source)
    flags = ["-Wl,-z,defs"] if defs else []
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror",
                    "-fPIC", "-fvisibility=hidden", "-shared", f"-I{INCLUDE}", *flags, "-o",
                    path + ".so.new", path + ".c"], check=True)
    os.chmod(path + ".so.new", 0o755)
    os.rename(path + ".so.new", path + ".so")
    return path + ".so"


def lines(server, msg):
    """Log lines with that message."""
    out = []
    for line in server.log_text().splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            if entry["msg"] == msg:
                out.append(entry)
    return out


def await_true(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s: {what}")
        time.sleep(0.01)


def await_line(server, msg, **fields):
    def found():
        return any(all(e.get(k) == v for k, v in fields.items()) for e in lines(server, msg))
    await_true(f"log line {msg!r} {fields}", found)


def get(server, key):
    return server.etcdctl("get", key, "--print-value-only", check=True)[1].strip()
