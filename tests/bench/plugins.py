"""plugins - the part of tests/bench/run about controllers: hello.so inside kvd beside a Go program that does
the same over gRPC against kvd and against etcd. One client program measures all three. Needs a current Go."""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

from kvdtest import ROOT, Server, etcd_path, etcd_version

PROGRAM = os.path.join(ROOT, "build/bench-reaction")
PLUGIN = os.path.join(ROOT, "build/bench-hello.so")
KINDS = ["hello.so in kvd", "Go program, kvd", "Go program, etcd"]
READY_SECONDS_MAX = 30
CALL_SECONDS_MAX = 300


def missing():
    """Why this part cannot run here, or None."""
    go = shutil.which("go")
    if go is None:
        return "no go on PATH"
    out = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    match = re.search(r"go1\.(\d+)", out)
    return None if match and int(match.group(1)) >= 24 else f"go is too old: {out.strip()}"


def build():
    subprocess.run(["go", "build", "-mod=mod", "-o", PROGRAM, "."], check=True,
                   cwd=os.path.join(ROOT, "tests/bench/go"), env=dict(os.environ, CGO_ENABLED="0"))
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,defs",
                    f"-I{ROOT}/include", "-o", PLUGIN + ".new", f"{ROOT}/plugins/sample/hello/hello.c"],
                   check=True)
    os.rename(PLUGIN + ".new", PLUGIN)  # never written over: a process may have it mapped


def cpu_us(pid, thread=None):
    """CPU time of a process, or of its thread of that name."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm") as f:
                name = f.read().strip()
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                ns = int(f.read().split()[0])
        except OSError:
            continue  # it has just ended
        total += ns if thread in (None, name) else 0
    return total / 1e3


def heap_mb(pid):
    """Memory that is no file's."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Anonymous:\s+(\d+) kB", f.read(), re.M).group(1)) / 1024


def pss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M).group(1)) / 1024


class Site:
    """A server with a controller: inside it, or beside it."""

    def __init__(self, kind, controller=True):
        self.plugin = kind == KINDS[0] and controller
        self.program = kind != KINDS[0] and controller
        flags = ["--plugin", PLUGIN] if self.plugin else []
        self.server = Server("etcd" if kind == KINDS[2] else "kvd", flags)
        self.go = None

    def start(self):
        self.server.start()
        if self.program:
            self.start_program()
        return self

    def start_program(self):
        self.go = subprocess.Popen([PROGRAM, "controller", self.server.endpoint], stdout=subprocess.PIPE,
                                   text=True)
        if self.go.stdout.readline() != "synced\n":
            raise RuntimeError("the Go controller does not start")

    def restart(self, controller):
        """The same data, with or without the controller."""
        self.stop_program()
        self.server.stop()
        self.server.flags = ["--plugin", PLUGIN] if self.plugin and controller else []
        self.server.start()
        if self.program and controller:
            self.start_program()

    def stop_program(self):
        if self.go is not None:
            self.go.terminate()
            self.go.wait()
            self.go.stdout.close()
            self.go = None

    def close(self):
        self.stop_program()
        self.server.close()

    def call(self, verb, *words):
        run = subprocess.run([PROGRAM, verb, self.server.endpoint, *map(str, words)], capture_output=True,
                             text=True, timeout=CALL_SECONDS_MAX)
        if run.returncode != 0:
            raise RuntimeError(f"{verb}: {run.stderr}\n{self.server.log_tail()}")
        return run.stdout

    def controller_cpu_us(self):
        return cpu_us(self.go.pid) if self.go else cpu_us(self.server.process.pid, "hello")


def reacting(rows, site, clients, count):
    name = f"put to stamp, {clients} client{'s' if clients > 1 else ''}"
    site.call("measure", clients, clients)  # connections are up, the controller is at work
    server, controller = cpu_us(site.server.process.pid), site.controller_cpu_us()
    got = json.loads(site.call("measure", clients, count))
    server = cpu_us(site.server.process.pid) - server
    controller = site.controller_cpu_us() - controller
    rows[f"{name}: p50 us"] = got["p50_us"]
    rows[f"{name}: p99 us"] = got["p99_us"]
    rows[f"{name}: CPU us of the controller"] = controller / got["count"]
    rows[f"{name}: CPU us of server and controller"] = \
        (server + (controller if site.go else 0)) / got["count"]


def settled(pid, measure):
    """What measure says once it stays the same for a second: caches fill, garbage is collected."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    last, since = measure(pid), time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < 1:
        time.sleep(0.05)
        now = measure(pid)
        if abs(now - last) > 0.05:
            last, since = now, time.monotonic()
    return last


def remembering(rows, site, keys):
    """Memory of a controller whose cache holds so many keys."""
    name = f"memory, {keys:,} keys watched, MB"
    if site.program:
        empty = settled(site.go.pid, heap_mb)
        site.call("fill", keys)
        site.stop_program()
        site.start_program()
        site.call("measure", 1, 1)
        rows[f"{name}: the controller"] = settled(site.go.pid, pss_mb)
        rows[f"{name}: more than with none"] = settled(site.go.pid, heap_mb) - empty
        return
    site.call("fill", keys)
    site.restart(controller=False)
    without = settled(site.server.process.pid, heap_mb)
    site.restart(controller=True)
    site.call("measure", 1, 1)  # stamped: the cache is full
    rows[f"{name}: the controller"] = settled(site.server.process.pid, heap_mb) - without
    rows[f"{name}: more than with none"] = rows[f"{name}: the controller"]


def one_round(kind, quick):
    rows = {}
    site = Site(kind)
    try:
        site.start()
        reacting(rows, site, 1, 300 if quick else 2000)
        reacting(rows, site, 100, 2000 if quick else 20000)
        site.close()
        site = Site(kind).start()
        remembering(rows, site, 10000)
    finally:
        site.close()
    return rows


def shown(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def report(rounds, count):
    kinds = list(rounds)
    heads = [k.replace("etcd", f"etcd {etcd_version()}") if "etcd" in k else k for k in kinds]
    ratios = [f"times better than {k}" for k in kinds[1:]]
    print(f"\n| plugins, median of {count} rounds | " + " | ".join(heads + ratios) + " |")
    print("|---" * (1 + len(heads) + len(ratios)) + "|")
    for row in rounds[kinds[0]][0]:
        values = [statistics.median(r[row] for r in rounds[k]) for k in kinds]
        cells = [shown(v) for v in values]
        for kind, value in zip(kinds[1:], values[1:]):
            single = [a[row] / b[row] for a, b in zip(rounds[kind], rounds[kinds[0]])]
            cells.append(f"{value / values[0]:.1f} ({min(single):.1f} to {max(single):.1f})")
        print(f"| {row} | " + " | ".join(cells) + " |")


def main(count, quick):
    why = missing()
    if why:
        print(f"\nplugins: skipped, {why}")
        return
    build()
    kinds = KINDS if etcd_path() else KINDS[:2]
    rounds = {k: [] for k in kinds}
    for i in range(count):
        for kind in kinds[i % len(kinds):] + kinds[:i % len(kinds)]:
            print(f"plugins, round {i + 1} of {count}: {kind}", file=sys.stderr, flush=True)
            rounds[kind].append(one_round(kind, quick))
            with open(os.path.join(ROOT, "build/bench-plugins.json"), "w") as f:
                json.dump(rounds, f, indent=1)
    report(rounds, count)
