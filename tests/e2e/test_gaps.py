#!/usr/bin/python3
"""Huge requests beside small ones: while a million keys are deleted at once, transactions are as large as
they may be, and the database is larger than the memory it may use, small reads and writes go on, the raft
thread keeps its pace, and every answer is right. KEYS=n changes the million, DATABASE_MB the 200."""
import contextlib
import hashlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import KV, Client, field, int_of, metrics, parse
from kvdtest import Server, Tally, equal

KEYS = int(os.environ.get("KEYS", "1000000"))
DATABASE_MB = int(os.environ.get("DATABASE_MB", "200"))
MEMORY_MB = 64
# What holds up the raft thread delays heartbeats: at most so much (design). Its own clock tells, since
# the last scrape; TICK_HELD leaves out when other threads had the processors, which is the machine's
# doing. What the hypervisor took away (steal) nobody can tell apart, so that much more is allowed.
HEARTBEAT_GAP_MS_MAX = int(os.environ.get("HEARTBEAT_GAP_MS_MAX", "50"))
TICK_LATE, TICK_HELD = "kvd_raft_tick_late_seconds_max", "kvd_raft_tick_held_seconds_max"
# How long /livez may take, which waits for the store loop's turn and for nothing else; likewise without
# waits for processors. A loop that works through a request at once takes longer than this.
SILENCE_MS_MAX = int(os.environ.get("SILENCE_MS_MAX", "400"))
TXN_OPS = 128


def waited_ms(pid):
    """How long the first thread of a process was ready to run and did not, ever."""
    try:
        with open(f"/proc/{pid}/task/{pid}/schedstat") as f:
            return int(f.read().split()[1]) / 1e6
    except OSError:
        return 0.0


def stolen_ms():
    """Time of all processors that the hypervisor gave to others, ever."""
    with open("/proc/stat") as f:
        return int(f.readline().split()[8]) * 1000 / os.sysconf("SC_CLK_TCK")


def probe(port, pid):
    """A process of its own: small requests one after the other until standard input ends; prints how
    many there were, the longest and the 99th percentile of the times they took, in ms, and the longest
    without what its and the server's thread waited for a processor."""
    over = threading.Event()

    def wait():
        sys.stdin.buffer.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    http = socket.create_connection(("127.0.0.1", port), 60)
    client = Client(port, 60)
    times = {"livez": [], "read": [], "put": []}
    held = dict.fromkeys(times, 0.0)
    kinds = [("livez", lambda: livez(http)), ("read", lambda: client.range(b"probe")),
             ("put", lambda: client.put(b"probe", b"x"))]
    while not over.is_set():
        for kind, request in kinds:
            start, waited = time.monotonic(), waited_ms(pid) + waited_ms(os.getpid())
            request()
            took = 1000 * (time.monotonic() - start)
            times[kind].append(took)
            held[kind] = max(held[kind], took - (waited_ms(pid) + waited_ms(os.getpid()) - waited))
        if len(times["put"]) == 1:
            print("begun", flush=True)
        time.sleep(0.002)
    for kind, each in times.items():
        each.sort()
        print(kind, len(each), f"{each[-1]:.1f}", f"{each[len(each) * 99 // 100]:.1f}",
              f"{held[kind]:.1f}")


def livez(http):
    http.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith((b"ok\n", b"found\n")):  # etcd 3.4 has no such page
        more = http.recv(4096)
        assert more, "the connection was closed"
        answer += more


@contextlib.contextmanager
def watched(tally, name, server, silence_ms=SILENCE_MS_MAX):
    """A probe runs beside the block; its verdict is a case, the raft thread's pace another."""
    metrics(server)
    stolen = stolen_ms()
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "probe",
                                str(server.port), str(server.process.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    process.stdout.readline()
    try:
        yield
    finally:
        out, _ = process.communicate(timeout=90)
        values = metrics(server)
        stolen = stolen_ms() - stolen
    with tally.case(f"{name}: small requests go on"):
        equal(process.returncode, 0, "the probe")
        results = [line.split() for line in out.splitlines()]
        for kind, count, most, p99, held in results:
            print(f"     {kind}: {count} answers, longest {most} ms ({held} without waits for a "
                  f"processor), p99 {p99} ms")
        # A linearizable read waits for the writes committed before it, a put for the disk: how long
        # is not ours to bound here, that they are answered is.
        for kind, count, _, _, held in results:
            assert int(count) > 2, f"{count} answers of {kind}"
            assert kind != "livez" or float(held) < silence_ms + stolen, f"{kind} took {held} ms"
    with tally.case(f"{name}: heartbeat gap"):
        late, held = 1000 * values[TICK_LATE], 1000 * values[TICK_HELD]
        print(f"     the raft thread's tick was at most {late:.1f} ms late, {held:.1f} ms without waits "
              f"for a processor; {stolen:.0f} ms were stolen")
        assert held <= HEARTBEAT_GAP_MS_MAX + stolen, f"{held:.1f} ms"


def fill(client, prefix, count, value):
    """Keys prefix/0000000.. in transactions of TXN_OPS, eight in flight. Returns the seconds."""
    start = time.monotonic()
    flight = []
    for first in range(0, count, TXN_OPS):
        body = grpcraw.txn_of_puts((prefix + b"%08d" % i, value)
                                   for i in range(first, min(first + TXN_OPS, count)))
        if len(flight) == 8:
            client.finish(flight.pop(0))
        flight.append(client.start(KV + "Txn", body))
    for f in flight:
        client.finish(f)
    return time.monotonic() - start


def count_of(client, prefix):
    return client.range(prefix, prefix[:-1] + bytes([prefix[-1] + 1]), count_only=True)[1]


def million(tally, server):
    client = Client(server.port, 60)
    with tally.case(f"{KEYS} keys by transactions of {TXN_OPS}"):
        seconds = fill(client, b"m/", KEYS, b"v" * 16)
        print(f"     {seconds:.1f} s, {KEYS / seconds:.0f} keys/s")
        equal(count_of(client, b"m/"), KEYS, "keys")
    revision = client.status()["revision"]
    with watched(tally, f"a DeleteRange of {KEYS} keys", server):
        with tally.case(f"a DeleteRange of {KEYS} keys"):
            start = time.monotonic()
            deleted, at = client.delete(b"m/", b"m0")
            print(f"     {time.monotonic() - start:.2f} s")
            equal(deleted, KEYS, "deleted")
            assert at > revision, at
            equal(count_of(client, b"m/"), 0, "keys left")
            equal(client.range(b"m/", b"m0", revision=revision, count_only=True)[1], KEYS,
                  "keys of the revision before")
            for i in (0, KEYS // 2, KEYS - 1):
                rows = client.range(b"m/%08d" % i, revision=revision)[0]
                equal([r.value for r in rows], [b"v" * 16], "an old row")
    with watched(tally, "its compaction and defragmentation", server):
        with tally.case("its compaction and defragmentation"):
            start = time.monotonic()
            client.compact(client.status()["revision"], physical=True)
            print(f"     compaction {time.monotonic() - start:.2f} s")
            start, before = time.monotonic(), client.status()["db_size"]
            client.defragment()
            after = client.status()["db_size"]
            print(f"     defragmentation {time.monotonic() - start:.2f} s, {before} -> {after} B")
            assert after < before / 2, (before, after)
            equal(client.range(b"\0", b"\0", count_only=True)[1], 1, "only the probe's key is left")
    client.close()


def huge_txns(tally, server):
    """Transactions at the limits, nested too: 126 puts of 12 kB, then one that rewrites and deletes all."""
    client = Client(server.port, 60)
    with watched(tally, "transactions as large as they may be", server):
        with tally.case("transactions as large as they may be"):
            value = b"t" * 12000
            for round_ in range(20):
                client.txn_puts((b"t/%03d" % i, value + b"%d" % round_) for i in range(TXN_OPS))
            rows, _, _ = client.range(b"t/", b"t0")
            equal({(r.value == value + b"19", r.version) for r in rows}, {(True, 20)}, "rows")
            # Each level holds one range of everything and the next level.
            inner = field(2, field(1, field(1, b"t/") + field(2, b"t0")))
            for _ in range(15):
                inner = field(2, field(1, field(1, b"t/") + field(2, b"t0"))) + \
                    field(2, field(4, inner))
            answer, levels = parse(client.raw(KV + "Txn", inner)), 0
            while True:
                levels += 1
                ops = [parse(op) for op in answer[3]]
                equal(int_of(parse(ops[0][1][0]), 4), TXN_OPS, "rows of a range")
                if len(ops) == 1:
                    break
                answer = parse(ops[1][4][0])
            equal(levels, 16, "levels")
            equal(client.delete(b"t/", b"t0")[0], TXN_OPS, "deleted")
    client.close()


# ---- a database larger than memory ---------------------------------------------------------------

@contextlib.contextmanager
def memory_limit(megabytes):
    """A cgroup of this much memory, page cache included: its path, or None where there is none."""
    made = None
    for base, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                        ("/sys/fs/cgroup", "memory.max")):
        if not os.path.isdir(base) or not os.access(base, os.W_OK):
            continue
        path = os.path.join(base, f"kvd-test-{os.getpid()}")
        try:
            os.mkdir(path)
            with open(os.path.join(path, limit), "w") as f:
                f.write(str(megabytes << 20))
            made = path
            break
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(path)
    try:
        yield made
    finally:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(made)


VALUE_BYTES = 16384


def value_of(i):
    seed = hashlib.sha256(b"%d" % i).digest()
    return seed * (VALUE_BYTES // len(seed))


def larger_than_memory(tally):
    name = f"{DATABASE_MB} MB of data in {MEMORY_MB} MB of memory"
    with memory_limit(MEMORY_MB) as group:
        if group is None:
            tally.skip(name, "no memory cgroup may be made here")
            return
        prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        # Memtables smaller than their default, as somebody with so little memory would set.
        with tempfile.TemporaryDirectory(prefix="kvd-gaps.", dir=os.environ.get("TMPDIR")) as place, \
                Server("kvd", ["--seal-bytes", "2097152", "--seal-interval", "1s"],
                       data_dir=os.path.join(place, "data"), prefix=prefix) as server:
            over_memory_cases(tally, name, server)


def over_memory_cases(tally, name, server):
    client, rand = Client(server.port, 60), random.Random(1)
    rows = DATABASE_MB * 1000000 // VALUE_BYTES
    with tally.case(f"{name}: written"):
        flight, start = [], time.monotonic()
        for first in range(0, rows, 16):
            if len(flight) == 2:
                client.finish(flight.pop(0))
            flight.append(client.start(KV + "Txn", grpcraw.txn_of_puts(
                (b"d/%08d" % i, value_of(i)) for i in range(first, min(first + 16, rows)))))
        for f in flight:
            client.finish(f)
        print(f"     {rows} rows in {time.monotonic() - start:.1f} s")
    # Here the store loop waits for pages from the disk, which may be busy.
    with watched(tally, name, server, 5000):
        with tally.case(f"{name}: every row is right, in order and at random"):
            start, seen = time.monotonic(), 0
            for r in client.pages(b"d/", b"d0", 128):
                equal((r.key, r.value == value_of(seen)), (b"d/%08d" % seen, True), "a row")
                seen += 1
            equal(seen, rows, "rows")
            print(f"     a scan of all in {time.monotonic() - start:.1f} s")
            start = time.monotonic()
            for _ in range(500):
                i = rand.randrange(rows)
                got = client.range(b"d/%08d" % i)[0]
                equal([r.value == value_of(i) for r in got], [True], "a row")
            print(f"     500 random reads in {time.monotonic() - start:.1f} s")
    with tally.case(f"{name}: restarted after kill -9, right again"):
        server.kill()
        start = time.monotonic()
        server.start()
        print(f"     ready in {time.monotonic() - start:.2f} s")
        client.close()
        client = Client(server.port, 60)
        equal(count_of(client, b"d/"), rows, "rows")
        for _ in range(100):
            i = rand.randrange(rows)
            equal([r.value == value_of(i) for r in client.range(b"d/%08d" % i)[0]], [True], "a row")
    client.close()


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    with Server("kvd") as server:
        million(tally, server)
        huge_txns(tally, server)
        with tally.case("the server is alive and quiet"):
            equal(server.process.poll(), None, "status")
            errors = [x for x in server.log_text().splitlines() if '"level":"error"' in x]
            equal(errors, [], "error lines")
    larger_than_memory(tally)
    tally.close()


if sys.argv[1:2] == ["probe"]:
    probe(int(sys.argv[2]), int(sys.argv[3]))
else:
    main()
