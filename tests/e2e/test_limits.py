#!/usr/bin/python3
"""Long keys and large values: keys of 4 KiB and 64 KiB keep their order beside short ones, values go up to
the request limit and not beyond, transactions up to their limit. From the memtable, after a checkpoint,
after kill -9, and, where one is on PATH, against etcd with the same program."""
import contextlib
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import (INVALID_ARGUMENT, KV, RESOURCE_EXHAUSTED, TOO_LARGE_TEXT, Client, Refused, field,
                     int_of, number, parse, put_body)
from kvdtest import Server, Tally, equal, etcd_path, etcd_version

SEED = int(os.environ.get("SEED", "1"))
REQUEST_BYTES_MAX = 1572864
DESCEND, BY_KEY = 2, 0


def long_keys(rand):
    """Keys that differ early, late, or only in length, around every length where a store may change its
    ways: LMDB's own limit of 511 bytes, pages, 4 KiB, 64 KiB."""
    keys = set()
    for length in (1, 8, 255, 256, 400, 480, 500, 505, 509, 510, 511, 512, 513, 520, 1000, 1024, 2047,
                   4095, 4096, 4097, 10000, 65535, 65536):
        same = b"m" * length
        keys.add(same)
        keys.add(same[:-1] + b"\x00")
        keys.add(same[:-1] + b"\xff")
        keys.add(b"\xff" * length)
        keys.add(b"\x00" * length)
        keys.add(rand.randbytes(length))
        if length > 500:
            keys.add(same[:490] + rand.randbytes(length - 490))
            keys.add(same[:511] + bytes(max(0, length - 511)))
    return sorted(keys)


def descending(client, key, end, limit):
    body = field(1, key) + field(2, end) + number(3, limit) + number(5, DESCEND) + number(6, BY_KEY)
    return [grpcraw.Row(r).key for r in client.call(KV + "Range", body).get(2, [])]


def check_order(client, model, rand):
    """The whole store and random ranges of it, against a sorted list."""
    keys = sorted(model)
    rows = list(client.pages(size=17))
    equal([r.key for r in rows] == keys, True, "all keys in order, paged")
    for r in rows:
        equal(r.value == model[r.key], True, f"value of a key of {len(r.key)} B")
    for _ in range(40):
        low, high = sorted((rand.choice(keys), rand.choice(keys)))
        # Bounds that exist, and bounds just beside them.
        low += rand.choice((b"", b"\0", b"x"))
        high = high[:-1] if rand.random() < 0.2 and len(high) > 1 else high + rand.choice((b"", b"\0"))
        want = [k for k in keys if low <= k < high]
        rows, count, _ = client.range(low, high, keys_only=True)
        equal([r.key for r in rows] == want, True, f"range of {len(low)} B to {len(high)} B")
        equal(count, len(want), "count")
        limit = rand.randrange(1, 20)
        rows, count, _ = client.range(low, high, limit=limit)
        equal(([r.key for r in rows] == want[:limit], count), (True, len(want)), "with a limit")
        equal(descending(client, low, high, limit) == want[::-1][:limit], True, "descending")
    for key in rand.sample(keys, 20):
        rows, _, _ = client.range(key)
        equal((len(rows), rows[0].value == model[key]), (1, True), f"a key of {len(key)} B")
        equal(client.range(key + b"?")[1], 0, "a key that is not there")


def watched(client, start_revision, keys_wanted):
    """The keys of all events since a revision, in order."""
    create = field(1, field(1, b"\0") + field(2, b"\0") + number(3, start_revision))
    done = threading.Event()

    def requests():
        yield create
        done.wait(30)

    call = client.channel.stream_stream("/etcdserverpb.Watch/Watch", None, None)(
        requests(), timeout=20)
    seen = []
    for answer in call:
        seen += [parse(parse(e)[2][0])[1][0] for e in parse(answer).get(11, [])]
        if len(seen) >= keys_wanted:
            break
    done.set()
    call.cancel()
    return seen


def keys_program(tally, server):
    rand = random.Random(SEED)
    client = Client(server.port)
    name = f"{server.kind}: keys"
    model, written = {}, []
    with tally.case(f"{name} up to 64 KiB keep their order"):
        keys = long_keys(rand)
        rand.shuffle(keys)
        for key in keys:
            model[key] = rand.randbytes(rand.randrange(100))
            client.put(key, model[key])
            written.append(key)
        check_order(client, model, rand)
    with tally.case(f"{name}: events carry them whole"):
        equal(watched(client, 2, len(written)) == written, True, "keys of the events")
    with tally.case(f"{name}: rewritten, deleted, at older revisions"):
        before = client.status()["revision"]
        old = dict(model)
        for key in rand.sample(sorted(model), 60):
            if rand.random() < 0.5:
                model[key] = rand.randbytes(30)
                client.put(key, model[key])
            else:
                equal(client.delete(key)[0], 1, "deleted")
                del model[key]
        check_order(client, model, rand)
        rows = list(client.pages(size=23, revision=before))
        equal({r.key: r.value for r in rows} == old, True, "the older revision")
    with tally.case(f"{name}: the same after compaction and defragmentation"):
        client.compact(client.status()["revision"], physical=True)
        client.defragment()
        check_order(client, model, rand)
    with tally.case(f"{name}: the same after kill -9"):
        digest = client.hash_kv()
        server.kill()
        server.start()
        client.close()
        client = Client(server.port)
        check_order(client, model, rand)
        equal(client.hash_kv(), digest, "HashKV")
    with tally.case(f"{name}: a range of long keys is deleted whole"):
        low, high = b"m" * 500, b"m" * 20000
        doomed = [k for k in model if low <= k < high]
        assert len(doomed) > 10, len(doomed)
        equal(client.delete(low, high)[0], len(doomed), "deleted")
        for key in doomed:
            del model[key]
        check_order(client, model, rand)
    client.close()
    return digest


def largest(client, key):
    """The largest value a put of this key may carry, found by halving."""
    low, high = 1000000, REQUEST_BYTES_MAX + 1
    while high - low > 1:
        middle = (low + high) // 2
        try:
            client.put(key, b"\xaa" * middle)
            low = middle
        except Refused as e:
            equal((e.code, e.text), (INVALID_ARGUMENT, TOO_LARGE_TEXT), f"{middle} B")
            high = middle
    return low


def values_program(tally, server):
    client = Client(server.port)
    rand = random.Random(SEED)
    name = f"{server.kind}: values"
    with tally.case(f"{name} up to the request limit, and not beyond"):
        most = largest(client, b"limit")
        print(f"     the largest value is {most} B")
        assert REQUEST_BYTES_MAX - 64 < most < REQUEST_BYTES_MAX, most
    big = {b"big/%02d" % i: rand.randbytes(most - 4 if i % 2 else 1000000) for i in range(12)}
    with tally.case(f"{name}: many of that size, read back one by one and all at once"):
        for key, value in big.items():
            client.put(key, value)
        for key, value in big.items():
            equal(client.range(key)[0][0].value == value, True, "a value")
        rows = client.range(b"big/", b"big0")[0]
        equal({r.key: r.value for r in rows} == big, True, "all in one answer")
    with tally.case(f"{name}: a message beyond the limit of gRPC"):
        try:
            client.put(b"limit", b"x" * 2200000)
            raise AssertionError("accepted")
        except Refused as e:
            equal(e.code, RESOURCE_EXHAUSTED, "code")
            size = len(put_body(b"limit", b"x" * 2200000))
            assert f"received message larger than max ({size} vs. 2097152)" in e.text, e.text
    with tally.case(f"{name}: they survive kill -9"):
        server.kill()
        server.start()
        client.close()
        client = Client(server.port)
        rows = client.range(b"big/", b"big0")[0]
        equal({r.key: r.value for r in rows} == big, True, "all in one answer")
    with tally.case(f"{name}: replaced, deleted with prev_kv"):
        body = put_body(b"big/00", b"small") + number(4, 1)
        answer = client.call(KV + "Put", body)
        equal(grpcraw.Row(answer[2][0]).value == big[b"big/00"], True, "previous value")
        answer = client.call(KV + "DeleteRange", field(1, b"big/") + field(2, b"big0") + number(3, 1))
        equal((int_of(answer, 2), len(answer[3])), (12, 12), "deleted")
        big[b"big/00"] = b"small"
        equal({r.key: r.value for r in map(grpcraw.Row, answer[3])} == big, True, "previous values")
    client.close()


def txn_program(tally, server):
    client = Client(server.port)
    name = f"{server.kind}: transactions"
    with tally.case(f"{name} of 128 operations, and not of 129"):
        revision = client.txn_puts([(b"t/%03d" % i, b"v") for i in range(128)])
        rows = client.range(b"t/", b"t0")[0]
        equal([(r.key, r.mod) for r in rows], [(b"t/%03d" % i, revision) for i in range(128)])
        try:
            client.txn_puts([(b"u/%03d" % i, b"v") for i in range(129)])
            raise AssertionError("accepted")
        except Refused as e:
            equal((e.code, e.text),
                  (INVALID_ARGUMENT, "etcdserver: too many operations in txn request"))
        equal(client.range(b"u/", b"u0")[1], 0, "keys of the refused one")
    with tally.case(f"{name} at the request limit are whole or not at all"):
        value = b"z" * 12000
        revision = client.txn_puts([(b"w/%03d" % i, value) for i in range(128)])
        rows = client.range(b"w/", b"w0")[0]
        equal({(r.mod, r.value == value) for r in rows}, {(revision, True)}, "rows")
        try:
            client.txn_puts([(b"x/%03d" % i, value + b"z" * 300) for i in range(128)])
            raise AssertionError("accepted")
        except Refused as e:
            equal((e.code, e.text), (INVALID_ARGUMENT, TOO_LARGE_TEXT))
        equal((client.range(b"x/", b"x0")[1], client.status()["revision"]), (0, revision))
    client.close()


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    # Checkpoints at a small size, so that each program meets rows in memory and in the database.
    with Server("kvd", ["--seal-bytes", "262144"]) as server:
        keys_program(tally, server)
    with Server("kvd", ["--seal-bytes", "4194304"]) as server:
        values_program(tally, server)
        txn_program(tally, server)
        with tally.case("kvd: alive and quiet"):
            errors = [x for x in server.log_text().splitlines() if '"level":"error"' in x]
            equal(errors, [], "error lines")
            equal(server.stop(), -15, "wait status")
    if etcd_path() is None:
        tally.skip("the same against etcd", "no etcd on PATH")
    else:
        print(f"the same against etcd {etcd_version()}")
        for program in (keys_program, values_program, txn_program):
            with Server("etcd") as server:
                program(tally, server)
    tally.close()


main()
