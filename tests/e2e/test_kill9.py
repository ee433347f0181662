#!/usr/bin/python3
"""kill -9 at random moments under load, again and again on one data directory: no acknowledged write may
be lost, none half applied, revisions stay gapless, and a replay of the history into a fresh server hashes
to the same value. KILLS=n sets how often (50)."""
import os
import random
import sys
import threading
import time

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import Server, Tally, equal

import etcd3

KILLS = int(os.environ.get("KILLS", "50"))
WRITERS = 6
# Fast disks see more written than gRPC's 4 MB: everything is read at once.
UNLIMITED = [("grpc.max_receive_message_length", -1)]
SEED = int(os.environ.get("SEED", str(int(time.time()))))


class Writer(threading.Thread):
    """Writes until the connection breaks. Single puts, and pairs in one transaction."""

    def __init__(self, server, number, round_):
        super().__init__()
        self.client = etcd3.client(host="127.0.0.1", port=server.port, timeout=5)
        self.number, self.round = number, round_
        self.acked = {}  # key -> (value, revision or None)
        self.pairs = []  # (key a, key b): both or neither
        self.rand = random.Random(SEED * 1000 + round_ * 10 + number)

    def run(self):
        try:
            for i in range(1000000):
                self.write(i)
        except Exception:  # the kill ends it: whatever was in flight has an unknown outcome
            pass

    def write(self, i):
        name = f"r{self.round}/w{self.number}/{i}"
        value = name + "." * self.rand.randrange(400)
        if i % 3 == 0:
            a, b = f"pair-a/{name}", f"pair-b/{name}"
            self.pairs.append((a, b))
            t = self.client.transactions
            ok, _ = self.client.transaction(compare=[], success=[t.put(a, value), t.put(b, value)],
                                            failure=[])
            assert ok
            self.acked[a] = self.acked[b] = (value, None)
        else:
            key = f"key/{self.rand.randrange(50)}/{name}"
            answer = self.client.put(key, value)
            self.acked[key] = (value, answer.header.revision)


def everything(client):
    return {m.key.decode(): (v.decode(), m.mod_revision) for v, m in client.get_all()}


def verify(client, acked, pairs):
    now = everything(client)
    for key, (value, revision) in acked.items():
        assert key in now, f"acknowledged write of {key} is lost"
        equal(now[key][0], value, key)
        if revision is not None:
            equal(now[key][1], revision, f"revision of {key}")
    for a, b in pairs:
        equal(a in now, b in now, f"half a transaction: {a}, {b}")
        if a in now:
            equal(now[a][1], now[b][1], f"revisions of {a}, {b}")
    return len(now)


def history(client, revision):
    """All events from revision 2 to `revision`, grouped by revision; asserts that none is missing."""
    groups = []
    iterator, cancel = client.watch_response("\0", range_end="\0", start_revision=2)
    alarm = threading.Timer(60, cancel)
    alarm.start()
    last = 1
    for response in iterator:
        for event in response.events:
            if event.mod_revision != last:
                equal(event.mod_revision, last + 1, "the next revision in the history")
                last += 1
                groups.append([])
            groups[-1].append((event.key, event.value))
        if last >= revision:
            break
    alarm.cancel()
    cancel()
    equal(last, revision, "the last revision of the history")
    return groups


def replay(groups):
    """The same writes into a fresh server; returns its HashKV."""
    with Server("kvd") as fresh:
        client = etcd3.client(host="127.0.0.1", port=fresh.port, timeout=10)
        for group in groups:
            client.transaction(compare=[], failure=[],
                               success=[client.transactions.put(k, v) for k, v in group])
        return fresh.etcdctl_json("endpoint", "hashkv")[0]["HashKV"]["hash"]


def main():
    tally = Tally()
    rand = random.Random(SEED)
    print(f"SEED={SEED} KILLS={KILLS}")
    server = Server("kvd")
    acked, pairs = {}, []
    try:
        for round_ in range(KILLS):
            server.start()
            writers = [Writer(server, n, round_) for n in range(WRITERS)]
            for w in writers:
                w.start()
            threading.Event().wait(rand.uniform(0.02, 0.5))  # the random moment
            server.kill()
            for w in writers:
                w.join()
                acked.update(w.acked)
                pairs += w.pairs
        server.start()
        client = etcd3.client(host="127.0.0.1", port=server.port, timeout=30,
                              grpc_options=UNLIMITED)
        with tally.case(f"{len(acked)} acknowledged writes survived {KILLS} kills, none half applied"):
            assert len(acked) > KILLS, "hardly anything was written: the load is broken"
            verify(client, acked, pairs)
        status = server.etcdctl_json("endpoint", "hashkv")[0]["HashKV"]
        groups = []
        with tally.case("revisions are gapless"):
            groups = history(client, status["header"]["revision"])
        with tally.case("the hash equals that of a replay"):
            equal(replay(groups), status["hash"], "HashKV")
        with tally.case("SIGTERM ends it cleanly, and it starts again"):
            equal(server.stop(), -15, "wait status")
            server.start()
            client = etcd3.client(host="127.0.0.1", port=server.port, timeout=30,
                                  grpc_options=UNLIMITED)
            verify(client, acked, pairs)
    finally:
        server.close()
    tally.close()


main()
