#!/usr/bin/python3
"""hello is replaced by other code again and again while clients put keys: no key is missed, none is stamped twice,
and kvd does not grow but by what it documents, the mapping of each code it has opened. RELOADS=n sets how often."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import Server, Tally, equal  # noqa: E402
from plugintest import Operator, await_true, lines  # noqa: E402
from stamptest import Putter, await_stamps, build_hello, check_stamps  # noqa: E402

RELOADS = int(os.environ.get("RELOADS", "100"))
PUTTERS = 3
# A code costs its pages, the loader's list entry and its instance's share of fragmentation.
CODE_BYTES_MAX = 256 * 1024
SLACK_BYTES = 32 * 1024 * 1024
SANITIZED = "san-address" in os.environ.get("KVD", "")


class Process:
    """What the kernel says of a process."""

    def __init__(self, pid):
        self.pid = pid

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def codes(self):
        """Plugins that are mapped."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as f:
            return len({line.split()[-1] for line in f if "/plugins.d/hello." in line})

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))


def versions(so):
    """Replaces the file by one with the next version's text in it, as an install by rename does."""
    with open(so, "rb") as f:
        code = f.read()
    equal(code.count(b"\0001.0\0"), 1, "places of the version")
    number = 0
    while True:
        number += 1
        text = f"{number:03}".encode()
        with open(so + ".new", "wb") as f:
            f.write(code.replace(b"\0001.0\0", b"\0" + text + b"\0"))
        os.chmod(so + ".new", 0o755)
        os.rename(so + ".new", so)
        yield text.decode()


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-hello.")
    so = build_hello(folder)
    server = Server(flags=["--plugin", so]).start()
    try:
        operator = Operator(server, "hello")
        operator.await_state("leading")
        process = Process(server.process.pid)
        operator("reload", "hello")  # the same code; the pool's threads are there from now on
        leads = len(lines(server, "plugin leads"))
        files, threads, resident = process.files(), process.threads(), process.resident_bytes()
        putters = [Putter(server, str(n)) for n in range(PUTTERS)]
        for p in putters:
            p.start()
        acked = []
        with tally.case(f"{RELOADS} reloads while {PUTTERS} clients put keys"):
            version = versions(so)
            for _ in range(RELOADS):
                now = next(version)
                answer = operator("reload", "hello")
                assert answer.startswith(f"hello reloaded: version {now} (was "), answer
                assert answer.endswith("new code; it is leading\n"), answer
            for p in putters:
                acked += p.stop()
                assert p.failure is None, p.failure
            equal(len(lines(server, "plugin leads")), leads + RELOADS, "starts")
        with tally.case("one mapping each, and nothing else stays"):
            equal(process.codes(), RELOADS + 1, "mapped codes")
            await_true("files", lambda: process.files() <= files)
            await_true("threads", lambda: process.threads() <= threads)
            equal(operator.load()["watches"], 1, "watches")
            equal(lines(server, "a plugin left memory behind"), [], "leaks")
        with tally.case("each key is stamped, once"):
            await_stamps(server)
            assert len(acked) > RELOADS, "hardly anything was put: the load is broken"
            print(f"     {check_stamps(server, acked)} keys in the history")
        grown = process.resident_bytes() - resident
        print(f"     resident memory has grown by {grown // 1024} KiB")
        if SANITIZED:
            tally.skip("resident memory", "a sanitizer keeps what was freed")
        else:
            with tally.case("resident memory is bounded"):
                assert grown < RELOADS * CODE_BYTES_MAX + SLACK_BYTES, grown
        with tally.case("it ends well"):
            equal(server.stop(30), -15, "wait status")
            equal(lines(server, "a plugin left memory behind"), [], "leaks")
    finally:
        for p in putters:
            p.over.set()
        server.close()
        shutil.rmtree(folder)
    tally.close()


main()
