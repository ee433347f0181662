"""plugintest - plugins for tests: compiled from source as their author would, what a server logged about them,
and what kvctl shows an operator of them."""
import json
import os
import subprocess
import time

from kvdtest import KVCTL, ROOT, equal

ENV = {k: v for k, v in os.environ.items() if not k.startswith(("KVCTL_", "ETCDCTL_"))}
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


class Operator:
    """kvctl plugin with one server; name: the plugin meant where none is given."""

    def __init__(self, server, name="worker"):
        self.server = server
        self.name = name

    def run(self, *words):
        done = subprocess.run([KVCTL, "--endpoints", self.server.endpoint, "plugin", *words],
                              capture_output=True, text=True, timeout=60, env=ENV, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *words):
        status, out, err = self.run(*words)
        equal((status, err), (0, ""), f"plugin {words}")
        return out

    def refused(self, *words):
        """The sentence of a failure."""
        status, out, err = self.run(*words)
        equal((status, out), (1, ""), f"plugin {words}: {err}")
        assert err.startswith("Error: kvd: ") and err.endswith("\n"), err
        return err[len("Error: kvd: "):-1]

    def json(self, *words):
        answer, = json.loads(self(*words, "-w", "json"))
        return answer

    def info(self, name=None):
        return next(p for p in self.json("list")["plugins"] if p["name"] == (name or self.name))

    def load(self, name=None):
        return self.json("top", name or self.name)["loads"][0]

    def options(self, name=None):
        return {o["name"]: o for o in self.json("config", name or self.name)["options"]}

    def await_state(self, state, name=None):
        await_true(f"{name or self.name} is {state}", lambda: self.info(name)["state"] == state)
