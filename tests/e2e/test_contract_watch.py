#!/usr/bin/python3
"""Watch streams message by message, as the contract has them: which answer comes, in which order, with
which header. Where an etcd is on PATH the same programs run against it, but for what 3.4 has differently."""
import contextlib
import os
import queue
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import KV, LEASE, Client, Row, field, int_of, number, parse
from kvdtest import Server, Tally, equal, etcd_path, etcd_version

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
NOPUT, NODELETE = 0, 1
RANGES_MAX = 4  # of 5 MB, read by two others while one event comes


class Response:
    def __init__(self, data):
        m = parse(data)
        self.bytes = len(data)
        self.revision = int_of(parse(m.get(1, [b""])[0]), 3)
        self.id = int_of(m, 2)
        self.created, self.canceled, self.fragment = (bool(int_of(m, n)) for n in (3, 4, 7))
        self.compact_revision = int_of(m, 5)
        self.reason = m.get(6, [b""])[0].decode()
        self.events = [Event(e) for e in m.get(11, [])]


class Event:
    def __init__(self, data):
        m = parse(data)
        self.delete = bool(int_of(m, 1))
        self.kv = Row(m[2][0])
        self.kv_fields = sorted(parse(m[2][0]))
        self.previous = Row(m[3][0]).value if 3 in m else None


class Stream:
    """One Watch call. `next` waits for a response; `idle` proves that none is on its way."""

    def __init__(self, client, metadata=(), seconds=30):
        self.requests = queue.Queue()
        self.responses = queue.Queue()
        method = client.channel.stream_stream("/etcdserverpb.Watch/Watch", None, None)
        self.call = method(iter(self.requests.get, None), timeout=seconds, metadata=metadata)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for data in self.call:
                self.responses.put(Response(data))
        except grpcraw.grpc.RpcError as e:
            self.responses.put((e.code().value[0], e.details()))
        else:
            self.responses.put((0, ""))

    def send(self, body):
        self.requests.put(body)

    def create(self, key, end=b"", start=0, progress=False, filters=(), prev_kv=False, watch_id=0,
               fragment=False):
        body = field(1, key) if key else b""
        body += field(2, end) if end else b""
        body += number(3, start) if start else b""
        body += number(4, 1) if progress else b""
        body += field(5, bytes(filters)) if filters else b""
        body += number(6, 1) if prev_kv else b""
        body += number(7, watch_id) if watch_id else b""
        body += number(8, 1) if fragment else b""
        self.send(field(1, body))

    def cancel(self, watch_id):
        self.send(field(2, number(1, watch_id) if watch_id else b""))

    def progress(self):
        self.send(field(3, b""))

    def next(self, seconds=15):
        return self.responses.get(timeout=seconds)

    def events(self, count):
        """That many events, of as many responses as it takes."""
        got = []
        while len(got) < count:
            got += self.next().events
        equal(len(got), count, "events")
        return got

    def idle(self):
        """A watch that is refused is answered behind all that came before: nothing else may come."""
        self.create(b"z", b"a")
        answer = self.next()
        assert answer.reason == "mvcc: watcher range is empty", vars(answer)

    def half_close(self):
        self.requests.put(None)

    def close(self):
        self.call.cancel()
        self.requests.put(None)


@contextlib.contextmanager
def stream(client, **options):
    s = Stream(client, **options)
    try:
        yield s
    finally:
        s.close()


def created(s, revision, watch_id=0):
    answer = s.next()
    equal((answer.created, answer.canceled, answer.id, answer.revision, answer.reason),
          (True, False, watch_id, revision, ""), "the created answer")


def program(tally, server, client):
    kind = server.kind

    def case(name):
        return tally.case(f"{kind}: {name}")

    with case("created comes first, then events, each once and in order"), stream(client) as s:
        now = client.put(b"a/0", b"x")
        s.create(b"a/", b"a0")
        created(s, now)
        for i in range(1, 6):
            client.put(b"a/%d" % i, b"x")
        client.txn_puts([(b"a/t2", b""), (b"a/t1", b"")])
        events = s.events(7)
        equal([e.kv.mod for e in events], [now + i for i in (1, 2, 3, 4, 5, 6, 6)])
        equal([e.kv.key for e in events[5:]], [b"a/t2", b"a/t1"], "the order inside of a revision")
    with case("a delete has key and revision alone, a creation has create = mod"), stream(client) as s:
        s.create(b"d", prev_kv=True)
        s.next()
        first = client.put(b"d", b"1")
        client.put(b"d", b"2")
        client.delete(b"d")
        put, again, gone = s.events(3)
        equal((put.kv.create, put.kv.mod, put.kv.version, put.previous), (first, first, 1, None))
        equal((again.kv.create, again.kv.version, again.previous), (first, 2, b"1"))
        equal((gone.delete, gone.kv_fields, gone.kv.mod, gone.previous), (True, [1, 3], first + 2, b"2"))
    with case("previous values come when asked for only"), stream(client) as s:
        s.create(b"d", start=first + 1)
        s.next()
        equal([e.previous for e in s.events(2)], [None, None])
    with case("filters drop kinds, both drop all"), stream(client) as s:
        s.create(b"d", start=first, filters=(NOPUT,))
        s.create(b"d", start=first, filters=(NODELETE,))
        s.create(b"d", start=first, filters=(NODELETE, NOPUT))
        seen = {}
        while sum(len(v) for v in seen.values()) < 3:
            answer = s.next()
            seen.setdefault(answer.id, []).extend(e.delete for e in answer.events)
        equal({k: v for k, v in seen.items() if v}, {0: [True], 1: [False, False]})
    with case("ids count from 0, a chosen one that is in use is refused"), stream(client) as s:
        now = client.range(b"x")[2]
        for chosen, got in ((0, 0), (7, 7), (0, 1)):
            s.create(b"x", watch_id=chosen)
            created(s, now, got)
        s.create(b"x", watch_id=7)
        answer = s.next()
        equal((answer.created, answer.canceled, answer.id, answer.reason),
              (True, True, -1, "mvcc: duplicate watch ID provided on the WatchStream"))
        equal(answer.compact_revision, 0)
    with case("an explicit cancel is answered once, unknown ids are not"), stream(client) as s:
        s.create(b"x")
        s.next()
        s.cancel(99)
        s.cancel(0)
        answer = s.next()
        equal((answer.id, answer.canceled, answer.created, answer.reason), (0, True, False, ""))
        equal(answer.revision, client.range(b"x")[2])
        client.put(b"x", b"after")
        s.cancel(0)
        s.idle()
    with case("empty requests are ignored"), stream(client) as s:
        s.send(b"")
        s.idle()
    with case("an empty key is the first key"), stream(client) as s:
        s.create(b"", b"\0")
        s.next()
        client.put(b"anything", b"")
        equal(s.events(1)[0].kv.key, b"anything")
    with case("progress of a whole stream has id -1"), stream(client) as s:
        s.create(b"x")
        s.create(b"y")
        s.next(), s.next()
        now = client.put(b"elsewhere", b"")
        s.progress()
        answer = s.next()
        equal((answer.id, answer.revision, answer.events, answer.created), (-1, now, [], False))
    with case("a start in the future delivers nothing before it"), stream(client) as s:
        now = client.put(b"f", b"0")
        s.create(b"f", start=now + 3)
        s.next()
        for i in range(1, 5):
            client.put(b"f", b"%d" % i)
        equal([e.kv.mod for e in s.events(2)], [now + 3, now + 4])
    with case("a revoked lease deletes in one revision, in key order"), stream(client) as s:
        lease = int_of(client.call(LEASE + "LeaseGrant", number(1, 60)), 2)
        for key in (b"l/c", b"l/a", b"l/b"):
            now = client.put(key, b"", lease)
        s.create(b"l/", b"l0")
        s.next()
        client.call(LEASE + "LeaseRevoke", number(1, lease))
        equal([(e.kv.key, e.kv.mod, e.delete) for e in s.events(3)],
              [(k, now + 1, True) for k in (b"l/a", b"l/b", b"l/c")])
    with case("half-close leaves the stream to its watchers"), stream(client) as s:
        s.create(b"h")
        s.next()
        s.half_close()
        client.put(b"h", b"1")
        equal(s.events(1)[0].kv.value, b"1")
    with case("large revisions are whole, or cut where fragments are asked for"), stream(client) as s:
        keys = [b"g/%02d" % i for i in range(14)]
        client.txn_puts([(k, b"x" * 100000) for k in keys])
        now = client.txn_puts([(k, b"y" * 100000) for k in keys])
        s.create(b"g/", b"g0", start=now, prev_kv=True)
        s.next()
        whole = s.next()
        equal(([e.kv.key for e in whole.events], whole.fragment), (keys, False), "whole")
        s.create(b"g/", b"g0", start=now, prev_kv=True, fragment=True)
        s.next()
        parts = [s.next()]
        while parts[-1].fragment:
            parts.append(s.next())
        assert len(parts) > 1 and all(p.events and p.id == 1 for p in parts), [vars(p) for p in parts]
        equal([e.kv.key for p in parts for e in p.events], keys, "the parts")
        equal({e.previous for p in parts for e in p.events}, {b"x" * 100000}, "previous values")
        assert all(p.bytes <= 1572864 + 512 * 1024 for p in parts), [p.bytes for p in parts]
        client.delete(b"g/", b"g0")
    with case("a start below the compaction is cancelled, others live on"), stream(client) as s:
        old = client.put(b"c", b"0")
        now = client.put(b"c", b"1")
        client.compact(now)
        s.create(b"other")
        s.create(b"c", start=old)
        s.create(b"c", start=now)
        answers = {}
        while len(answers.get(1, [])) < 2 or len(answers.get(2, [])) < 2:
            answer = s.next()
            answers.setdefault(answer.id, []).append(answer)
        made, end = answers[1]
        equal((made.created, made.canceled), (True, False), "the created answer")
        equal((end.canceled, end.compact_revision, end.revision, end.reason), (True, now, 0, ""))
        equal([e.kv.value for e in answers[2][1].events], [b"1"], "a start at the compaction")
        client.put(b"other", b"")
        equal(s.events(1)[0].kv.key, b"other")
    with case("a thousand watchers on one stream see their own keys"), stream(client) as s:
        for i in range(1000):
            s.create(b"t/%d" % i)
        for i in range(1000):
            equal(s.next().id, i)
        client.txn_puts([(b"t/%d" % i, b"") for i in range(0, 1000, 100)])
        got = {}
        while len(got) < 10:
            answer = s.next()
            got[answer.id] = [e.kv.key for e in answer.events]
        equal(got, {i: [b"t/%d" % i] for i in range(0, 1000, 100)})


def newer(tally, client):
    """What etcd 3.4 does differently."""
    with tally.case("a start below 0 is compacted"), stream(client) as s:
        s.create(b"x", start=-1)
        answer = s.next()
        equal((answer.created, answer.canceled, answer.id, answer.reason, answer.compact_revision),
              (True, True, -1, COMPACTED, 0))
    with tally.case("a delete exactly at the compaction is seen"), stream(client) as s:
        client.put(b"tomb", b"1")
        now = client.delete(b"tomb")[1]
        client.compact(now, physical=True)
        s.create(b"tomb", start=now)
        s.next()
        event = s.events(1)[0]
        equal((event.delete, event.kv.mod), (True, now))
    with tally.case("no progress while a watcher waits for the future"), stream(client) as s:
        now = client.range(b"x")[2]
        s.create(b"x", start=now + 2)
        s.next()
        s.progress()
        s.idle()
        client.put(b"elsewhere", b"")
        client.put(b"elsewhere", b"")
        s.progress()
        answer = s.next()
        equal((answer.id, answer.revision), (-1, now + 2))
    with tally.case("no watcher, no progress"), stream(client) as s:
        s.progress()
        s.idle()


def notifications(tally):
    """Intervals below 100 ms are raised to it."""
    with Server("kvd", ["--watch-progress-notify-interval=1ms"]) as server, \
            contextlib.closing(Client(server.port)) as client:
        with tally.case("idle watchers are told the revision, at most every 100 ms"), stream(client) as s:
            now = client.put(b"elsewhere", b"")
            s.create(b"p", progress=True)
            s.create(b"quiet")
            s.next(), s.next()
            begin = time.monotonic()
            for _ in range(3):
                answer = s.next()
                equal((answer.id, answer.revision, answer.events), (0, now, []))
            took = time.monotonic() - begin
            assert 0.2 < took < 3, took
        with tally.case("progress never goes back, and no event at or below it follows"), \
                stream(client) as s:
            s.create(b"p", progress=True)
            s.next()
            last = 0
            for i in range(300):
                revision = client.put(b"p" if i % 3 == 0 else b"elsewhere", b"")
                s.progress()
            while last < revision:
                answer = s.next()
                for event in answer.events:
                    assert event.kv.mod > last, f"event {event.kv.mod} after progress {last}"
                assert answer.revision >= last, (answer.revision, last)
                last = answer.revision


def order(tally):
    """Events go out while others read everything there is, 5 MB at a time, one range after the other. What is judged
    is not how long an event takes, but how many whole ranges are read meanwhile: on a slow machine both are slow."""
    with Server("kvd") as server, contextlib.closing(Client(server.port)) as client:
        for i in range(50):
            client.txn_puts([(b"r/%d/%d" % (i, k), b"x" * 1000) for k in range(100)])
        over = threading.Event()
        reads = [0, 0]

        def read_all(which):
            with contextlib.closing(Client(server.port, 60)) as reader:
                while not over.is_set():
                    reader.raw(KV + "Range", field(1, b"r/") + field(2, b"r0"))
                    reads[which] += 1

        with tally.case("events come before many whole ranges are read"), stream(client) as s:
            s.create(b"w")
            s.next()
            readers = [threading.Thread(target=read_all, args=(i,)) for i in range(2)]
            for reader in readers:
                reader.start()
            meanwhile = []
            try:
                while min(reads) == 0:
                    assert all(r.is_alive() for r in readers), "a reader has ended"
                    time.sleep(0.001)
                for _ in range(100):
                    client.put(b"w", b"")
                    before = sum(reads)  # from here on: how long the disk takes is not the event's
                    s.events(1)
                    meanwhile.append(sum(reads) - before)
            finally:
                over.set()
                for reader in readers:
                    reader.join()
            meanwhile.sort()
            print(f"     ranges read between a put's answer and its event: median {meanwhile[50]}, 95 of 100 at most "
                  f"{meanwhile[94]}, most {meanwhile[-1]}; {sum(reads)} in all")
            # A range of each reader is under way, and another one may be begun: that is what one waits for at most.
            assert meanwhile[94] <= RANGES_MAX, meanwhile[90:]
            assert sum(reads) >= 10, "hardly anything was read: this shows nothing"


def ends(tally):
    with tally.case("a stop ends open streams, a restart goes on where the client was"):
        with Server("kvd") as server, contextlib.closing(Client(server.port)) as client, \
                stream(client) as s:
            s.create(b"a")
            s.next()
            revision = client.put(b"a", b"1")
            equal(s.events(1)[0].kv.mod, revision)
            server.stop()
            code = s.next()
            assert isinstance(code, tuple) and code[0] in (14, 1), code
            server.start()
            with contextlib.closing(Client(server.port)) as again, stream(again) as t:
                again.put(b"a", b"2")
                t.create(b"a", start=revision + 1)
                t.next()
                equal(t.events(1)[0].kv.value, b"2")
    with tally.case("hasleader: streams with it are served while there is a leader"):
        with Server("kvd") as server, contextlib.closing(Client(server.port)) as client, \
                stream(client, metadata=(("hasleader", "true"), ("client-api-version", "3.8"))) as s:
            s.create(b"a")
            s.next()
            client.put(b"a", b"1")
            s.events(1)
            name = 'etcd_server_client_requests_total{client_api_version="3.8",type="stream"}'
            equal(grpcraw.metrics(server).get(name), 1, name)


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    with Server("kvd") as server, contextlib.closing(Client(server.port)) as client:
        program(tally, server, client)
        newer(tally, client)
    notifications(tally)
    order(tally)
    ends(tally)
    if etcd_path() is None:
        tally.skip("the same against etcd", "no etcd on PATH")
    else:
        print(f"the same against etcd {etcd_version()}")
        with Server("etcd") as server, contextlib.closing(Client(server.port)) as client:
            program(tally, server, client)
    tally.close()


main()
