#!/usr/bin/python3
"""A disk that fills up and a quota that is reached, with real processes: writes are refused with the
contract's error and the NOSPACE alarm, deletes and compactions still work, room comes back, the alarm ends
as the profile says, and no acknowledged write is lost. The disk forms need root (a small tmpfs, a small
ext4 in a file); the quota form also runs against etcd where one is on PATH."""
import contextlib
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import NOSPACE_TEXT, RESOURCE_EXHAUSTED, UNAVAILABLE, Client, Refused
from kvdtest import KVD, Server, Tally, equal, etcd_path

DISK_MB = 32
FILL_PUTS_MAX = 4000
VALUE_BYTES = 60000
AWAIT_SECONDS = 60
NOSPACE = 1
# Small steps, so that a test of seconds sees what a large machine sees in hours.
FLAGS = ["--seal-interval", "500ms", "--seal-bytes", "2097152", "--map-bytes", "4294967296",
         "--log-trailing-bytes", "1048576", "--snapshot-catchup-entries", "10"]


class NamedEtcd(Server):
    """kvd started under the name etcd: etcd's profile."""

    def command(self):
        link = os.path.join(self.root, "etcd")
        if not os.path.islink(link):
            os.symlink(os.path.abspath(KVD), link)
        return [link, *super().command()[1:]]


@contextlib.contextmanager
def small_disk(kind):
    """A file system of DISK_MB; None where mounting is not allowed."""
    place = tempfile.mkdtemp(prefix="kvd-disk.")
    target = os.path.join(place, "disk")
    os.mkdir(target)
    if kind == "tmpfs":
        mounted = grpcraw.run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "kvd-test", target)
    else:
        image = os.path.join(place, "image")
        with open(image, "wb") as f:
            f.truncate(DISK_MB << 20)
        mounted = grpcraw.run("mkfs.ext4", "-q", "-m", "0", image) and \
            grpcraw.run("mount", "-o", "loop", image, target)
    try:
        yield target if mounted else None
    finally:
        if mounted and not grpcraw.run("umount", target):
            grpcraw.run("umount", "-l", target)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(place, "image"))
        os.rmdir(target)
        os.rmdir(place)


def await_true(what, check, seconds=AWAIT_SECONDS):
    """Asks again until check() is true. The server sends no event for what is awaited here."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def fill(client, acked, value_bytes=VALUE_BYTES):
    """Puts until one is refused with the contract's error. Returns the other refusals met before."""
    rand = random.Random(len(acked))
    others = []
    for i in range(len(acked), len(acked) + FILL_PUTS_MAX):
        key, value = b"fill/%06d" % i, rand.randbytes(value_bytes)
        try:
            acked[key] = (value, client.put(key, value))
        except Refused as e:
            if (e.code, e.text) == (RESOURCE_EXHAUSTED, NOSPACE_TEXT):
                return others
            # Only an unknown outcome may come before: the write waited for the disk.
            others.append((e.code, e.text))
            equal(e.code, UNAVAILABLE, f"a refusal while the disk fills up ({e.text})")
            assert len(others) < 5, others
    raise AssertionError(f"{FILL_PUTS_MAX} puts were accepted")


def verify(client, acked):
    rows = {r.key: r for r in client.pages(b"fill/", b"fill0", 100)}
    for key, (value, revision) in acked.items():
        assert key in rows, f"acknowledged write of {key} is lost"
        equal((rows[key].mod, rows[key].value == value), (revision, True), key)
    return rows


def drop(client, acked, keys):
    for key in keys:
        equal(client.delete(key)[0], 1, f"delete of {key}")
        del acked[key]


def full_disk(tally, kind, server_class, self_clearing):
    name = f"{kind}, {'profile kvd' if self_clearing else 'run as etcd'}"
    with small_disk(kind) as disk:
        if disk is None:
            tally.skip(name, "mounting is not permitted here")
            return
        with server_class("kvd", FLAGS, data_dir=os.path.join(disk, "data")) as server:
            full_disk_cases(tally, name, server, self_clearing)


def full_disk_cases(tally, name, server, self_clearing):
    client, acked, others = Client(server.port), {}, []
    with tally.case(f"{name}: puts until RESOURCE_EXHAUSTED"):
        others = fill(client, acked)
        assert len(acked) > 20, f"only {len(acked)} puts fitted"
        print(f"     {len(acked)} puts of {VALUE_BYTES} B on {DISK_MB} MB; {len(others)} unknown")
    with tally.case(f"{name}: the NOSPACE alarm is raised, and what needs room is refused"):
        await_true("alarm", lambda: [a[1] for a in client.alarms()] == [NOSPACE])
        for _ in range(3):
            try:
                client.put(b"fill/refused", b"x")
                raise AssertionError("a put was accepted under the alarm")
            except Refused as e:
                equal((e.code, e.text), (RESOURCE_EXHAUSTED, NOSPACE_TEXT))
        status, body = server.get("/health")
        equal((status, body), (503, '{"health":"false","reason":"ALARM NOSPACE"}\n'), "/health")
        equal(server.get("/health?exclude=NOSPACE")[0], 200, "/health without the alarm")
        equal(server.get("/readyz")[0], 200, "/readyz")
    with tally.case(f"{name}: reads answer, every acknowledged write is there"):
        rows = verify(client, acked)
        # What was answered "unknown" may be there; what was refused never.
        assert len(rows) <= len(acked) + len(others), f"{len(rows)} rows, {len(acked)} acknowledged"
        assert b"fill/refused" not in rows
    with tally.case(f"{name}: kill -9 on the full disk loses nothing"):
        server.kill()
        server.start()
        client.close()
        client = Client(server.port)
        verify(client, acked)
        equal([a[1] for a in client.alarms()], [NOSPACE], "the alarm after the restart")
    with tally.case(f"{name}: deletes, compaction and defragmentation work"):
        drop(client, acked, sorted(acked)[::2])
        drop(client, acked, sorted(acked)[10:])
        rows = {r.key for r in client.range(b"fill/", b"fill0", keys_only=True)[0]}
        for key in rows - set(acked):
            client.delete(key)  # the unknown ones
        client.compact(client.status()["revision"], physical=True)
        verify(client, acked)
        client.defragment()
        verify(client, acked)
    if self_clearing:
        with tally.case(f"{name}: the alarm ends by itself"):
            await_true("the alarm ends", lambda: client.alarms() == [])
    else:
        with tally.case(f"{name}: the alarm stays until it is disarmed"):
            await_true("room in the log", lambda: "has room again" in server.log_text())
            equal([a[1] for a in client.alarms()], [NOSPACE], "alarms")
            client.disarm()
            equal(client.alarms(), [], "alarms after disarm")
    with tally.case(f"{name}: writes go on, and the second fill ends like the first"):
        client.put(b"fill/again", b"x")
        client.delete(b"fill/again")
        fill(client, acked)
        verify(client, acked)
    with tally.case(f"{name}: no crash, a clean stop, all there after it"):
        equal(server.process.poll(), None, "server status")
        equal(server.stop(), -15, "wait status")
        server.start()
        client.close()
        client = Client(server.port)
        verify(client, acked)
        client.close()


def quota(tally, name, server, self_clearing):
    client, acked = Client(server.port), {}
    with tally.case(f"{name}: a small quota refuses with RESOURCE_EXHAUSTED"):
        equal(fill(client, acked, 10000), [], "other refusals")
        assert len(acked) > 10, len(acked)
        await_true("alarm", lambda: [a[1] for a in client.alarms()] == [NOSPACE])
        for attempt in (lambda: client.put(b"fill/refused", b""),
                        lambda: client.txn_puts([(b"fill/refused", b"")]),
                        lambda: client.call(grpcraw.LEASE + "LeaseGrant", grpcraw.number(1, 60))):
            try:
                attempt()
                raise AssertionError("accepted under the alarm")
            except Refused as e:
                equal((e.code, e.text), (RESOURCE_EXHAUSTED, NOSPACE_TEXT))
        assert any(b"NOSPACE" in e for e in client.status()["errors"]), client.status()
        verify(client, acked)
    with tally.case(f"{name}: a transaction without puts, reads and deletes pass"):
        rows = client.range(b"fill/", b"fill0", keys_only=True)[0]
        read = grpcraw.field(2, grpcraw.field(1, grpcraw.field(1, rows[0].key)))
        client.call(grpcraw.KV + "Txn", read)
        delete = grpcraw.field(2, grpcraw.field(3, grpcraw.field(1, rows[0].key)))
        client.call(grpcraw.KV + "Txn", delete)
        del acked[rows[0].key]
        verify(client, acked)
    with tally.case(f"{name}: room comes back by delete, compact, defragment"):
        drop(client, acked, sorted(acked)[5:])
        client.compact(client.status()["revision"], physical=True)
        client.defragment()
        if self_clearing:
            await_true("the alarm ends", lambda: client.alarms() == [])
        else:
            equal([a[1] for a in client.alarms()], [NOSPACE], "the alarm stays")
            client.disarm()
        client.put(b"fill/again", b"x")
        client.delete(b"fill/again")
        verify(client, acked)
        equal(server.process.poll(), None, "server status")
    client.close()


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    full_disk(tally, "tmpfs", Server, True)
    full_disk(tally, "ext4", NamedEtcd, False)
    flags = ["--quota-backend-bytes", "400000"]
    with Server("kvd", flags) as server:
        quota(tally, "quota, profile kvd", server, True)
    with NamedEtcd("kvd", flags) as server:
        quota(tally, "quota, run as etcd", server, False)
    if etcd_path() is None:
        tally.skip("quota, etcd", "no etcd on PATH")
    else:
        with Server("etcd", flags) as server:
            quota(tally, "quota, etcd", server, False)
    tally.close()


main()
