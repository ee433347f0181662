#!/usr/bin/python3
"""Calls as the contract has them, on the wire: headers, errors byte for byte, RangeStream, leases and
maintenance. Where an etcd is on PATH the programs run against it too, but for what came after 3.4."""
import contextlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import KV, LEASE, MAINTENANCE, Client, Refused, Row, field, int_of, number, parse, put_body
from kvdtest import Server, Tally, equal, etcd_path, etcd_version

CLUSTER, AUTH = "/etcdserverpb.Cluster/", "/etcdserverpb.Auth/"
COMPACTED = (11, "etcdserver: mvcc: required revision has been compacted")
FUTURE = (11, "etcdserver: mvcc: required revision is a future revision")
EMPTY_KEY = (3, "etcdserver: key is not provided")
NOT_FOUND = (3, "etcdserver: key not found")
DUPLICATE = (3, "etcdserver: duplicate key given in txn request")
NO_LEASE = (5, "etcdserver: requested lease not found")


def refused(call):
    """(code, text) of a call that must fail."""
    try:
        answer = call()
    except Refused as e:
        return e.code, e.text
    raise AssertionError(f"accepted: {answer!r}")


def header(answer):
    """{field: value} of a response's header; None without one."""
    return {k: v[0] for k, v in parse(answer[1][0]).items()} if 1 in answer else None


def op_range(body):
    return field(1, body)


def op_put(key, value=b"", lease=0):
    return field(2, put_body(key, value, lease))


def op_delete(key, end=b""):
    return field(3, field(1, key) + (field(2, end) if end else b""))


def op_txn(body):
    return field(4, body)


def txn(compares=(), success=(), failure=()):
    return b"".join([field(1, c) for c in compares] + [field(2, s) for s in success] +
                    [field(3, f) for f in failure])


def headers(tally, server, client):
    kind = server.kind
    first = client.call(KV + "Range", field(1, b"x"))
    ids = {k: header(first)[k] for k in (1, 2)}
    with tally.case(f"{kind}: an empty store is at revision 1"):
        equal(header(first)[3], 1, "revision")
        equal(sorted(header(first)), [1, 2, 3, 4], "fields")
    with tally.case(f"{kind}: the first write makes revision 2, reads and vain writes make none"):
        equal(client.put(b"a", b"1"), 2)
        equal(client.delete(b"none"), (0, 2))
        client.call(KV + "Txn", txn(success=[op_range(field(1, b"a"))]))
        client.call(KV + "Txn", txn(success=[op_delete(b"none")]))
        client.call(LEASE + "LeaseGrant", number(1, 100) + number(2, 5))
        client.call(LEASE + "LeaseRevoke", number(1, 5))
        equal(client.range(b"a")[2], 2)
    with tally.case(f"{kind}: an old revision is read, the header tells the present one"):
        now = client.put(b"a", b"2")
        rows, _, told = client.range(b"a", revision=2)
        equal((rows[0].value, told), (b"1", now))
    with tally.case(f"{kind}: nested headers have a revision only"):
        answer = client.call(KV + "Txn", txn(success=[
            op_range(field(1, b"a")), op_put(b"b"), op_range(field(1, b"b")), op_delete(b"none"),
            op_txn(txn(success=[op_put(b"c")]))]))
        now = int_of(parse(answer[1][0]), 3)
        inner = [parse(list(parse(op).values())[0][0]) for op in answer[3]]
        equal([header(x) for x in inner], [{3: now - 1}, {3: now}, {3: now}, {3: now}, {}])
        equal([list(parse(op))[0] for op in answer[3]], [1, 2, 1, 3, 4], "kinds")
    with tally.case(f"{kind}: MemberList has ids but no revision"):
        for body in (b"", number(1, 1)):
            equal(header(client.call(CLUSTER + "MemberList", body)).get(3), None, "revision")
        equal({k: header(client.call(CLUSTER + "MemberList"))[k] for k in (1, 2)}, ids)
    with tally.case(f"{kind}: Defragment answers nothing at all"):
        equal(client.raw(MAINTENANCE + "Defragment", b""), b"")
    with tally.case(f"{kind}: other answers have the present revision"):
        paths = [(MAINTENANCE + "Status", b""), (MAINTENANCE + "HashKV", b""),
                 (LEASE + "LeaseLeases", b""), (LEASE + "LeaseTimeToLive", number(1, 77))]
        for path, body in paths + ([(MAINTENANCE + "Alarm", b"")] if kind == "kvd" else []):
            equal(header(client.call(path, body)).get(3), now, path)
    with tally.case(f"{kind}: ids outlive a restart"):
        server.kill()
        server.start()
        with contextlib.closing(Client(server.port)) as again:
            got = header(again.call(KV + "Range", field(1, b"x")))
            equal({k: got[k] for k in (1, 2)}, ids)
            equal(got[3], now, "revision")


def errors(tally, server, client):
    kind = server.kind

    def case(name, want, call):
        with tally.case(f"{kind}: {name}"):
            equal(refused(call), want)

    now = client.put(b"e", b"1")
    client.put(b"e2", b"1")
    unary = client.call
    case("Range of no key", EMPTY_KEY, lambda: unary(KV + "Range"))
    case("Put of no key", EMPTY_KEY, lambda: unary(KV + "Put", field(2, b"v")))
    case("DeleteRange of no key", EMPTY_KEY, lambda: unary(KV + "DeleteRange"))
    case("a future revision", FUTURE, lambda: client.range(b"e", revision=now + 1000))
    case("ignore_value with a value", (3, "etcdserver: value is provided"),
         lambda: unary(KV + "Put", put_body(b"e", b"v") + number(5, 1)))
    case("ignore_lease with a lease", (3, "etcdserver: lease is provided"),
         lambda: unary(KV + "Put", put_body(b"e", b"v", 3) + number(6, 1)))
    case("ignore_value of an absent key", NOT_FOUND,
         lambda: unary(KV + "Put", field(1, b"absent") + number(5, 1)))
    case("an unknown lease", NO_LEASE, lambda: client.put(b"e", b"v", 4242))
    case("a compare without key", EMPTY_KEY, lambda: unary(KV + "Txn", txn([number(1, 0)])))
    case("an operation that is none", NOT_FOUND, lambda: unary(KV + "Txn", txn(success=[b""])))
    case("a wrong branch that would not run", EMPTY_KEY,
         lambda: unary(KV + "Txn", txn(failure=[op_put(b"")])))
    case("a key put twice", DUPLICATE,
         lambda: unary(KV + "Txn", txn(success=[op_put(b"d"), op_put(b"d")])))
    case("a key put and deleted", DUPLICATE,
         lambda: unary(KV + "Txn", txn(success=[op_put(b"d"), op_delete(b"c", b"e")])))
    case("a key put inside and outside", DUPLICATE,
         lambda: unary(KV + "Txn", txn(success=[op_put(b"d"), op_txn(txn(success=[op_put(b"d")]))])))
    with tally.case(f"{kind}: a key put in both branches of one nested txn"):
        unary(KV + "Txn", txn(success=[op_txn(txn(success=[op_put(b"d")], failure=[op_put(b"d")]))]))
    with tally.case(f"{kind}: overlapping deletes"):
        unary(KV + "Txn", txn(success=[op_delete(b"d"), op_delete(b"c", b"e")]))
    case("129 compares", (3, "etcdserver: too many operations in txn request"),
         lambda: unary(KV + "Txn", txn([field(3, b"k")] * 129)))
    case("128 operations around a nested one", (3, "etcdserver: too many operations in txn request"),
         lambda: unary(KV + "Txn", txn(success=[op_range(field(1, b"k"))] * 127 +
                                       [op_txn(txn(success=[op_range(field(1, b"k"))]))])))
    for name, bad in (("a future range", op_range(field(1, b"e") + number(4, now + 1000))),
                      ("an unknown lease", op_put(b"z", b"", 4242)),
                      ("ignore_lease of an absent key", field(2, field(1, b"absent") + number(6, 1)))):
        with tally.case(f"{kind}: {name} leaves no trace of the transaction"):
            before = client.range(b"\0", b"\0")[1:]
            refused(lambda bad=bad: unary(KV + "Txn", txn(success=[op_put(b"new"), bad])))
            equal(client.range(b"\0", b"\0")[1:], before)
    case("a future compaction", FUTURE, lambda: client.compact(now + 1000))
    with tally.case(f"{kind}: compaction: its revision is readable, those below are not"):
        client.compact(now)
        equal(client.range(b"e", revision=now)[0][0].mod, now)
        equal(refused(lambda: client.range(b"e", revision=now - 1)), COMPACTED)
        equal(refused(lambda: client.compact(now)), COMPACTED)
        equal(refused(lambda: client.hash_kv(now - 1)), COMPACTED)
        equal(refused(lambda: client.hash_kv(now + 1000)), FUTURE)
    case("a lease that is too long", (11, "etcdserver: too large lease TTL"),
         lambda: unary(LEASE + "LeaseGrant", number(1, 9000000001)))
    with tally.case(f"{kind}: a lease id in use"):
        unary(LEASE + "LeaseGrant", number(1, 100) + number(2, 99))
        equal(refused(lambda: unary(LEASE + "LeaseGrant", number(1, 100) + number(2, 99))),
              (9, "etcdserver: lease already exists"))
    case("revoking an unknown lease", NO_LEASE, lambda: unary(LEASE + "LeaseRevoke", number(1, 4242)))
    case("an unknown method", (12, "unknown method Nothing for service etcdserverpb.KV"),
         lambda: unary("/etcdserverpb.KV/Nothing"))
    case("an unknown service", (12, "unknown service no.Such"), lambda: unary("/no.Such/Thing"))


def keep_alives(client, ids):
    """(revision, id, ttl) of each answer to a stream that asks for the ids, then ends."""
    method = client.channel.stream_stream(LEASE + "LeaseKeepAlive", None, None)
    answers = method(iter([number(1, i) for i in ids]), timeout=30)
    return [(header(a)[3], int_of(a, 2), int_of(a, 3)) for a in map(parse, answers)]


def leases(tally, server, client):
    kind = server.kind
    call = client.call
    with tally.case(f"{kind}: short leases are raised to 2 s, ids are picked"):
        ids = set()
        for ttl in (0, -5, 1, 2, 3):
            answer = call(LEASE + "LeaseGrant", number(1, ttl))
            equal(int_of(answer, 3), max(2, ttl), f"ttl of {ttl}")
            assert int_of(answer, 2) > 0
            ids.add(int_of(answer, 2))
        equal(len(ids), 5, "different ids")
        for lease in ids:
            call(LEASE + "LeaseRevoke", number(1, lease))
    with tally.case(f"{kind}: keep-alives are answered in order, unknown ones with TTL 0"):
        call(LEASE + "LeaseGrant", number(1, 50) + number(2, 50))
        call(LEASE + "LeaseGrant", number(1, 60) + number(2, 60))
        now = client.range(b"x")[2]
        equal(keep_alives(client, [60, 4242, 50, 60]),
              [(now, 60, 60), (now, 4242, 0), (now, 50, 50), (now, 60, 60)])
    with tally.case(f"{kind}: time to live of an unknown lease is -1"):
        answer = call(LEASE + "LeaseTimeToLive", number(1, 4242) + number(2, 1))
        equal((int_of(answer, 2), int_of(answer, 3), int_of(answer, 4), answer.get(5)),
              (4242, -1, 0, None))
    with tally.case(f"{kind}: time to live has keys when asked"):
        client.put(b"l/1", b"", 50)
        client.put(b"l/2", b"", 50)
        client.put(b"l/1", b"", 60)  # moves
        client.put(b"l/3", b"", 60)
        client.put(b"l/3", b"")  # leaves
        for lease, keys in ((50, [b"l/2"]), (60, [b"l/1"])):
            answer = call(LEASE + "LeaseTimeToLive", number(1, lease) + number(2, 1))
            equal(sorted(answer.get(5, [])), keys, lease)
            equal(int_of(answer, 4), lease, "granted")
            assert lease - 30 < int_of(answer, 3) <= lease, int_of(answer, 3)
        equal(call(LEASE + "LeaseTimeToLive", number(1, 50)).get(5), None, "not asked")
    with tally.case(f"{kind}: a revoke takes its keys in one revision"):
        now = client.range(b"x")[2]
        client.put(b"l/4", b"", 50)
        call(LEASE + "LeaseRevoke", number(1, 50))
        rows, _, after = client.range(b"l/", b"l0")
        equal(([r.key for r in rows], after), ([b"l/1", b"l/3"], now + 2))
    with tally.case(f"{kind}: leases are listed and survive kill -9 with their keys"):
        listed = [int_of(parse(x), 1) for x in call(LEASE + "LeaseLeases")[2]]
        assert 60 in listed and 50 not in listed, listed
        server.kill()
        server.start()
        with contextlib.closing(Client(server.port)) as again:
            answer = again.call(LEASE + "LeaseTimeToLive", number(1, 60) + number(2, 1))
            equal((int_of(answer, 4), answer.get(5)), (60, [b"l/1"]))
            again.call(LEASE + "LeaseRevoke", number(1, 60))
            equal(again.range(b"l/1")[0], [])


def expiry(tally, server, client):
    kind = server.kind
    with tally.case(f"{kind}: a lease lives as long as it is renewed, then its keys go within a second or so"):
        client.call(LEASE + "LeaseGrant", number(1, 2) + number(2, 2))
        client.put(b"x/1", b"", 2)
        begin = time.monotonic()
        while time.monotonic() - begin < 3.5:
            equal(keep_alives(client, [2])[0][2], 2, "ttl")
            renewed = time.monotonic()
            time.sleep(0.3)
            equal(len(client.range(b"x/1")[0]), 1, "the key")
        while client.range(b"x/1")[0]:
            time.sleep(0.02)
        lived = time.monotonic() - renewed
        assert 1.9 < lived < 4.5, f"{lived} s"
        equal(keep_alives(client, [2])[0][2], 0, "ttl after it")


def alarms(tally, server, client):
    kind = server.kind
    call = client.call
    member = header(call(KV + "Range", field(1, b"x")))[2]

    def alarm(action, kind_=0, who=0):
        body = number(1, action) + (number(2, who) if who else b"") + (number(3, kind_) if kind_ else b"")
        return [(m[1][0], int_of(m, 2)) for m in
                map(parse, call(MAINTENANCE + "Alarm", body).get(2, []))]

    with tally.case(f"{kind}: alarms: set, seen by kind, kept, ended"):
        equal(alarm(0), [])
        equal(alarm(1, 1, member), [(member, 1)], "activate")
        equal(alarm(1, 1, member), [(member, 1)], "activate again")
        equal((alarm(0), alarm(0, 1), alarm(0, 2)), ([(member, 1)], [(member, 1)], []), "get")
        texts = [t.decode() for t in call(MAINTENANCE + "Status").get(8, [])]
        assert any(str(member) in t and "NOSPACE" in t for t in texts), texts
    with tally.case(f"{kind}: NOSPACE refuses what adds, not what frees"):
        text = (8, "etcdserver: mvcc: database space exceeded")
        equal(refused(lambda: client.put(b"a", b"b")), text)
        equal(refused(lambda: call(LEASE + "LeaseGrant", number(1, 60))), text)
        equal(refused(lambda: call(KV + "Txn", txn(success=[op_put(b"q")]))), text)
        call(KV + "Txn", txn(success=[op_range(field(1, b"a")), op_delete(b"none")]))
        client.delete(b"none")
        client.range(b"a")
    with tally.case(f"{kind}: it ends with a disarm, which says what ended"):
        equal(alarm(2, 1, member), [(member, 1)], "deactivate")
        equal(alarm(2, 1, member), [], "again")
        client.put(b"a", b"b")


def maintenance(tally, server, client):
    kind = server.kind
    with tally.case(f"{kind}: the hash is the same after defragmentation and physical compaction"):
        for i in range(20):
            client.put(b"h/%d" % (i % 7), b"v%d" % i)
        client.delete(b"h/3")
        now = client.put(b"h/9", b"")
        client.compact(now - 5)
        before = client.hash_kv()
        client.defragment()
        equal(client.hash_kv(), before, "defragmented")
        server.kill()
        server.start()
        with contextlib.closing(Client(server.port)) as again:
            equal(again.hash_kv(), before, "restarted")
    with tally.case(f"{kind}: sizes of Status"):
        with contextlib.closing(Client(server.port)) as again:
            answer = again.call(MAINTENANCE + "Status")
            assert 0 < int_of(answer, 9) <= int_of(answer, 3), "sizes"
            equal(answer[4][0], header(answer)[2], "the leader is this member")
            assert int_of(answer, 5) >= int_of(answer, 7) > 0, "indexes"


def quota(tally, kind):
    """The first refusal already finds the alarm; a client that lists alarms upon it must see why."""
    with tally.case(f"{kind}: who is refused for the quota finds the alarm raised"), \
            Server(kind, ["--quota-backend-bytes", "400000"] +
                   (["--alarm-self-clearing=false"] if kind == "kvd" else [])) as server, \
            contextlib.closing(Client(server.port)) as client:
        text = (8, "etcdserver: mvcc: database space exceeded")
        equal(refused(lambda: client.put(b"large", b"v" * 500000)), text)
        equal([a[1] for a in client.alarms()], [1], "alarms")
        equal(refused(lambda: client.put(b"small", b"v")), text)


# ---- newer than etcd 3.4 ----

def chunks(client, body):
    """(code or None, messages) of a RangeStream; each message is the RangeResponse inside."""
    method = client.channel.unary_stream(KV + "RangeStream", None, None)
    got = []
    try:
        for data in method(body, timeout=60):
            got.append(parse(parse(data)[1][0]))
    except grpcraw.grpc.RpcError as e:
        return (e.code().value[0], e.details()), got
    return None, got


def range_stream(tally, client):
    for i in range(0, 5000, 100):
        client.txn_puts([(b"s/%05d" % k, b"x" * 600) for k in range(i, i + 100)])
    whole = field(1, b"s/") + field(2, b"s0")
    unary = client.call(KV + "Range", whole)
    with tally.case("RangeStream: the chunks are the range, what closes it is on the last alone"):
        error, got = chunks(client, whole)
        equal(error, None)
        equal([kv for m in got for kv in m.get(2, [])], unary[2])
        assert len(got) > 2, "one chunk"
        assert all(set(m) == {2} for m in got[:-1]), "header, more or count before the end"
        equal((header(got[-1]), int_of(got[-1], 4), int_of(got[-1], 3)), (header(unary), 5000, 0))
        assert len(got[0][2]) <= 10, f"the first chunk has {len(got[0][2])}"
    with tally.case("RangeStream: a limit, keys alone, counts alone, nothing"):
        error, got = chunks(client, whole + number(3, 123))
        equal((error, sum(len(m.get(2, [])) for m in got)), (None, 123))
        equal((int_of(got[-1], 3), int_of(got[-1], 4)), (1, 5000), "more, count")
        error, got = chunks(client, whole + number(8, 1))
        equal({Row(kv).value for m in got for kv in m.get(2, [])}, {b""}, "keys alone")
        error, got = chunks(client, whole + number(9, 1))
        equal((len(got), int_of(got[0], 4), got[0].get(2)), (1, 5000, None), "counts alone")
        error, got = chunks(client, field(1, b"absent"))
        equal((len(got), sorted(got[0])), (1, [1]), "nothing")
    with tally.case("RangeStream: writes meanwhile do not show"):
        method = client.channel.unary_stream(KV + "RangeStream", None, None)
        stream = method(whole, timeout=60)
        got = [parse(parse(next(stream))[1][0])]
        client.delete(b"s/", b"s0")
        got += [parse(parse(data)[1][0]) for data in stream]
        equal(len([kv for m in got for kv in m.get(2, [])]), 5000)
    with tally.case("RangeStream: what it does not do"):
        for body, text in ((number(5, 2), "RangeStream does not support custom sort orders"),
                           (number(5, 1) + number(6, 3), "RangeStream does not support custom sort orders"),
                           (number(10, 1), "RangeStream does not support revision filters")):
            equal(chunks(client, whole + body)[0], (12, text))
        equal(chunks(client, b"")[0], EMPTY_KEY)
        equal(chunks(client, whole + number(4, 100000))[0], FUTURE)


def newest(tally, server, client):
    with tally.case("an order or a target that is none"):
        for body in (number(5, 3), number(6, 5), number(6, -1)):
            for path, request in ((KV + "Range", field(1, b"e") + body),
                                  (KV + "RangeStream", field(1, b"e") + body),
                                  (KV + "Txn", txn(failure=[op_range(field(1, b"e") + body)]))):
                equal(refused(lambda p=path, r=request: client.call(p, r)),
                      (3, "etcdserver: invalid sort option"), path)
    with tally.case("keys alone: no lease but where sorted by value"):
        client.call(LEASE + "LeaseGrant", number(1, 100) + number(2, 8))
        client.put(b"leased", b"v", 8)
        for body, lease in ((b"", 0), (number(5, 1) + number(6, 4), 8)):
            row = parse(client.call(KV + "Range", field(1, b"leased") + number(8, 1) + body)[2][0])
            equal((int_of(row, 6), row.get(5), int_of(row, 4)), (lease, None, 1), "lease, value, version")
    with tally.case("HashKV: compact_revision is -1 before any compaction, hash_revision is told"):
        with Server("kvd", ["--auto-compaction-retention=0"]) as fresh, \
                contextlib.closing(Client(fresh.port)) as c:
            answer = c.call(MAINTENANCE + "HashKV")
            equal((int_of(answer, 3), int_of(answer, 4)), (-1, 1))
            now = c.put(b"a", b"b")
            c.compact(now)
            answer = c.call(MAINTENANCE + "HashKV")
            equal((int_of(answer, 3), int_of(answer, 4)), (now, now))
    with tally.case("Status: version, storage version, quota, downgrade information"):
        answer = client.call(MAINTENANCE + "Status")
        equal((answer[2][0], answer[11][0], int_of(answer, 12), answer[13][0]),
              (b"3.8.0-alpha.0", b"3.8.0", 2147483648, b""))
        equal(answer.get(8), None, "errors")
    with tally.case("health: Check, List and Watch"):
        equal(client.call("/grpc.health.v1.Health/Check"), {1: [1]})
        equal(refused(lambda: client.call("/grpc.health.v1.Health/Check", field(1, b"none")))[0], 5)
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch", None, None)(b"", timeout=20)
        equal(parse(next(watch)), {1: [1]})
        watch.cancel()
    with tally.case("what is not there yet says so"):
        for path in (CLUSTER + "MemberAdd", CLUSTER + "MemberRemove", MAINTENANCE + "MoveLeader",
                     MAINTENANCE + "Downgrade", MAINTENANCE + "Snapshot", AUTH + "AuthEnable",
                     AUTH + "Authenticate", AUTH + "UserList", "/v3lockpb.Lock/Lock",
                     "/v3electionpb.Election/Campaign", "/v3electionpb.Election/Observe"):
            service, method = path.rsplit("/", 2)[-2:]
            equal(refused(lambda path=path: client.call(path)),
                  (12, f"kvd: {service.split('.')[-1]}/{method} is not implemented yet, see docs/status.md"))
    with tally.case("AuthStatus: off, revision 1"):
        answer = client.call(AUTH + "AuthStatus")
        equal((int_of(answer, 2), int_of(answer, 3)), (0, 1))
    with tally.case("client-api-version is taken"):
        method = client.channel.unary_unary(KV + "Range", None, None)
        method(field(1, b"a"), timeout=20, metadata=(("client-api-version", "3.8"),))
    with tally.case("short timeouts make short leases possible"):
        with Server("kvd", ["--heartbeat-interval=10", "--election-timeout=100"]) as quick, \
                contextlib.closing(Client(quick.port)) as c:
            equal(int_of(c.call(LEASE + "LeaseGrant", number(1, 0)), 3), 1)


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    kinds = ["kvd"] + (["etcd"] if etcd_path() else [])
    if etcd_path() is None:
        tally.skip("the same against etcd", "no etcd on PATH")
    for kind in kinds:
        if kind == "etcd":
            print(f"the same against etcd {etcd_version()}")
        for part in (headers, errors, leases, expiry, alarms, maintenance):
            # Alarms of a member that clears them by itself would end between two looks.
            flags = ["--alarm-self-clearing=false"] if (kind, part) == ("kvd", alarms) else []
            with Server(kind, flags) as server, contextlib.closing(Client(server.port)) as client:
                part(tally, server, client)
        quota(tally, kind)
    with Server("kvd") as server, contextlib.closing(Client(server.port)) as client:
        range_stream(tally, client)
        newest(tally, server, client)
    tally.close()


main()
