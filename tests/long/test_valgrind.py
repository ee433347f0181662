#!/usr/bin/python3
"""Memory under valgrind memcheck: reads of memory nobody wrote, which no sanitizer of the other tests sees,
and leaks. The unit tests of moderate cost, and one kvd process on a tour by etcdctl and raw gRPC, ended by
SIGTERM. The plain build, which is the one that ships.

ONLY_VALGRIND=text runs only what has the text in its name."""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kvdtest
from grpcraw import KV, Client, field, number, put_body
from kvdtest import ROOT, Server, Tally, equal

BUILD = os.path.join(ROOT, "build/out")
ONLY = os.environ.get("ONLY_VALGRIND", "")
STATUS = 99
MEMCHECK = ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect", f"--error-exitcode={STATUS}", "--num-callers=30",
            "--trace-children=no", "--suppressions=" + os.path.join(ROOT, "tests/long/valgrind.supp")]
PROGRAM_SECONDS_MAX = 900
START_SECONDS_MAX = 120

# Programs that cannot pass under valgrind, with the reason.
LEFT_OUT = {
    "rpc/test_conn": "holds a connection to so many resident bytes, and valgrind's own count among them",
}


def build():
    words = ["make", "--no-print-directory", f"-j{os.cpu_count() or 2}", "programs", "tests"]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def report(text, lines=60):
    """What valgrind and the failed cases said."""
    kept = [line for line in text.splitlines() if not re.match(r"\[( RUN|       OK)", line)]
    return "\n".join(kept[:lines])


def unit(name):
    run = subprocess.run([*MEMCHECK, os.path.join(BUILD, "tests/unit", name)], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                         timeout=PROGRAM_SECONDS_MAX, cwd=ROOT)
    if run.returncode != 0:
        raise AssertionError(f"status {run.returncode}\n{report(run.stdout)}")


def tour(server):
    """One request of each kind. Returns the revision it ends at."""
    go = server.etcdctl
    go("put", "a", "1", check=True)
    equal(go("get", "a", "--print-value-only", check=True)[1], "1\n", "what was put")
    go("put", "a", "2", "--prev-kv", check=True)
    go("get", "", "--prefix", "--limit=1", "-w", "json", check=True)
    go("txn", stdin='value("a") = "2"\n\nput b 3\nget a\n\ndel a\n\n', check=True)
    lease = re.search(r"lease (\w+) granted", go("lease", "grant", "600", check=True)[1]).group(1)
    go("put", "leased", "x", f"--lease={lease}", check=True)
    go("lease", "keep-alive", "--once", lease, check=True)
    go("lease", "timetolive", lease, "--keys", check=True)
    go("lease", "revoke", lease, check=True)
    go("member", "list", check=True)
    go("endpoint", "status", check=True)
    go("endpoint", "hashkv", check=True)
    go("alarm", "list", check=True)
    revision = server.etcdctl_json("get", "b")["header"]["revision"]
    go("compaction", str(revision - 1), check=True)
    go("defrag", check=True)
    equal(go("put", "", "v")[0] != 0, True, "an empty key is refused")
    for path in ("/health", "/readyz", "/version", "/metrics"):
        equal(server.get(path, timeout=60)[0], 200, path)
    equal(server.get("/nothing", timeout=60)[0], 404, "an unknown path")
    return revision


def watch(server, revision):
    """A watch from an old revision on, cut off by the client."""
    process = subprocess.Popen(["etcdctl", "--endpoints", server.endpoint, "watch", "--prefix", "",
                                f"--rev={revision}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env=kvdtest.ETCDCTL_ENV)
    try:
        equal(process.stdout.readline(), "DELETE\n", "the first event")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def raw(server):
    """Large values, many keys, and a message that is no message."""
    client = Client(server.port)
    try:
        client.call(KV + "Put", put_body(b"large", b"v" * 1000000))
        client.call(KV + "Range", field(1, b"large"))
        for i in range(300):
            client.call(KV + "Put", put_body(b"k%05d" % i, b"v" * (i % 100)))
        client.call(KV + "Range", field(1, b"k") + field(2, b"l") + number(3, 100))
        client.call(KV + "DeleteRange", field(1, b"k") + field(2, b"k00100"))
    finally:
        client.close()


def process():
    kvdtest.START_SECONDS_MAX = START_SECONDS_MAX
    server = Server(prefix=MEMCHECK)
    try:
        for turn in ("fresh", "restarted"):
            server.start()
            watch(server, tour(server))
            raw(server)
            equal(server.stop(seconds=START_SECONDS_MAX), -signal.SIGTERM, f"the status, {turn}")
            found = re.search(r"^==\d+== .*", server.log_text(), re.M)
            equal(found and found.group(0), None, "what valgrind said")
    except Exception:
        print(report("\n".join(line for line in server.log_text().splitlines() if line.startswith("=="))))
        raise
    finally:
        server.close()


def main():
    tally = Tally()
    if shutil.which("valgrind") is None:
        tally.skip("everything", "valgrind is not installed")
        tally.close()
    build()
    names = sorted(path[len("tests/unit/"):-2] for path in
                   glob.glob("tests/unit/*/test_*.c", root_dir=ROOT))
    for name in names + ["process"]:
        if ONLY not in name:
            continue
        if name in LEFT_OUT:
            tally.skip(name, LEFT_OUT[name])
            continue
        start = time.monotonic()
        with tally.case(name):
            process() if name == "process" else unit(name)
        print(f"     {time.monotonic() - start:.0f} s", flush=True)
    tally.close()


main()
