#!/usr/bin/python3
"""Debian's python3-etcd3 drives kvd and, where one is on PATH, etcd with the same program."""
import os
import sys
import threading

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import Server, Tally, equal, etcd_path, etcd_version

try:
    import etcd3
except ImportError:
    etcd3 = None


def meta(pair):
    value, m = pair
    if m is None:
        return None
    return (value, m.key, m.create_revision, m.mod_revision, m.version)


def error_of(call):
    try:
        call()
    except Exception as e:  # the class and text are what is compared
        details = e.details() if hasattr(e, "details") else str(e)
        return f"{type(e).__name__}: {details}"
    return "no error"


def next_events(iterator, count, cancel, seconds=15):
    alarm = threading.Timer(seconds, cancel)
    alarm.start()
    events = []
    try:
        for event in iterator:
            events.append((type(event).__name__, event.key, event.value, event.mod_revision,
                           event.prev_value))
            if len(events) == count:
                break
    finally:
        alarm.cancel()
        cancel()
    return events


def program(server):
    """Everything the library offers for what kvd has; returns a list of (step, observation)."""
    c = etcd3.client(host="127.0.0.1", port=server.port, timeout=10)
    seen = []

    def see(step, value):
        seen.append((step, value))

    see("absent", meta(c.get("none")))
    for i in range(10):
        c.put(f"k{i}", f"v{(i * 3) % 7}")
    c.put("k3", "again")
    see("get", meta(c.get("k3")))
    see("prefix", [meta(p) for p in c.get_prefix("k")])
    see("prefix, keys only", [m.key for _, m in c.get_prefix("k", keys_only=True)])
    see("range", [meta(p) for p in c.get_range("k2", "k5")])
    see("sorted", [meta(p) for p in c.get_prefix("k", sort_order="descend", sort_target="value")])
    see("all", len(list(c.get_all())))
    see("put, previous", c.put("k1", "x", prev_kv=True).prev_kv.value)
    see("replace", c.replace("k1", "x", "y"))
    see("replace fails", c.replace("k1", "x", "z"))
    see("put if absent", c.put_if_not_exists("k1", "z"))
    see("put if absent, new", c.put_if_not_exists("new", "z"))
    see("delete", c.delete("k9"))
    see("delete absent", c.delete("k9"))
    see("delete prefix", c.delete_prefix("k8").deleted)
    ok, responses = c.transaction(
        compare=[c.transactions.value("k1") == "y", c.transactions.version("k3") > 1],
        success=[c.transactions.put("t", "1"), c.transactions.get("t"),
                 c.transactions.delete("k0")],
        failure=[c.transactions.put("t", "no")])
    see("transaction", (ok, [[meta(p) for p in r] if isinstance(r, list) else
                             type(r).__name__ for r in responses]))
    see("transaction fails", c.transaction(compare=[c.transactions.create("t") == 0],
                                           success=[], failure=[c.transactions.get("t")])[0])
    lease = c.lease(100)
    c.put("leased", "x", lease=lease)
    see("lease ttl", (lease.granted_ttl, 90 < lease.remaining_ttl <= 100, lease.keys))
    see("lease refresh", [r.TTL for r in lease.refresh()])
    lease.revoke()
    see("lease revoked", meta(c.get("leased")))
    see("lease unknown", error_of(lambda: c.put("a", "b", lease=4242)))
    iterator, cancel = c.watch_prefix("w/")
    for i in range(3):
        c.put("w/a", str(i))
    c.delete("w/a")
    see("watch now", next_events(iterator, 4, cancel))
    start = c.get("k3")[1].mod_revision
    iterator, cancel = c.watch_prefix("k", start_revision=start, prev_kv=True)
    see("watch past", next_events(iterator, 3, cancel))
    short = c.lease(2)
    c.put("w/expire", "x", lease=short)
    iterator, cancel = c.watch("w/expire")
    see("expiry", [e[0] for e in next_events(iterator, 1, cancel)])
    current = int(server.etcdctl_json("get", "x")["header"]["revision"])
    c.compact(current)
    see("compact again", error_of(lambda: c.compact(current)))
    see("compact the future", error_of(lambda: c.compact(current + 1000)))
    see("empty key", error_of(lambda: c.put("", "x")))
    members = list(c.members)
    see("members", [(m.name, list(m.client_urls) != []) for m in members])
    status = c.status()
    see("status", (status.leader.id == members[0].id, status.db_size > 0))
    see("alarms", list(c.list_alarms()))
    see("hash", isinstance(c.hash(), int))
    c.defragment()
    see("after defragmentation", [meta(p) for p in c.get_prefix("k")])
    c.close()
    return seen


def main():
    tally = Tally()
    if etcd3 is None:
        tally.skip("python3-etcd3", "not installed")
        tally.close()
    with Server("kvd") as kvd:
        ours = program(kvd)
    with tally.case("the whole program runs against kvd"):
        equal(ours[-1][0], "after defragmentation")
    with tally.case("expiry is seen by the watcher"):
        assert ("expiry", ["DeleteEvent"]) in ours, ours
    if etcd_path() is None:
        tally.skip("comparison with etcd", "no etcd on PATH")
        tally.close()
    print(f"comparing with etcd {etcd_version()}")
    with Server("etcd") as etcd:
        theirs = program(etcd)
    for (step, mine), (_, other) in zip(ours, theirs):
        with tally.case(step):
            equal(mine, other, step)
    tally.close()


main()
