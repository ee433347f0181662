#!/usr/bin/python3
"""The pages of the client port: /health, /livez, /readyz, /version word for word, and /metrics by names,
labels and exact values after known requests. Where one is on PATH, etcd gets the same requests and must
count the same, for the names it has."""
import contextlib
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import KV, LEASE, MAINTENANCE, Client, Refused, field, metrics, number
from kvdtest import Server, Tally, equal, etcd_path, etcd_version

VERSION = '{"etcdserver":"3.8.0-alpha.0","etcdcluster":"3.8.0","storage":"3.8.0"}'
WATCH = "/etcdserverpb.Watch/Watch"
WATCH_CANCELED = ('grpc_server_handled_total{grpc_code="Canceled",grpc_method="Watch",'
                  'grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}')

# What a dashboard for etcd reads and kvd has a meaning for.
NAMES = """
etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_server_leader_changes_seen_total
etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_server_proposals_pending
etcd_server_proposals_failed_total etcd_server_slow_apply_total etcd_server_slow_read_indexes_total
etcd_server_read_indexes_failed_total etcd_server_quota_backend_bytes etcd_server_health_success
etcd_server_health_failures etcd_mvcc_range_total etcd_mvcc_txn_total etcd_mvcc_put_total
etcd_mvcc_delete_total etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
etcd_debugging_mvcc_current_revision etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_keys_total
etcd_debugging_mvcc_events_total etcd_debugging_mvcc_pending_events_total
etcd_debugging_mvcc_slow_watcher_total etcd_debugging_mvcc_watcher_total
etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_total_put_size_in_bytes
etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_lease_granted_total
etcd_debugging_lease_renewed_total etcd_debugging_lease_revoked_total
etcd_debugging_server_lease_expired_total etcd_network_client_grpc_received_bytes_total
etcd_network_client_grpc_sent_bytes_total etcd_disk_defrag_inflight etcd_disk_wal_write_bytes_total
os_fd_limit os_fd_used process_resident_memory_bytes process_open_fds process_max_fds
process_cpu_seconds_total process_start_time_seconds kvd_raft_tick_late_seconds_max
kvd_raft_tick_held_seconds_max kvd_store_accounted_bytes kvd_store_memtable_bytes kvd_raft_applied_index
etcd_server_heartbeat_send_failures_total etcd_server_snapshot_apply_in_progress_total
etcd_server_learner_promote_successes etcd_debugging_auth_revision
""".split()
HISTOGRAMS = """
etcd_disk_wal_fsync_duration_seconds etcd_disk_backend_commit_duration_seconds
etcd_disk_backend_defrag_duration_seconds etcd_disk_wal_write_duration_seconds
etcd_mvcc_hash_duration_seconds etcd_mvcc_hash_rev_duration_seconds
""".split()


def difference(before, after, name):
    return after.get(name, 0) - before.get(name, 0)


def operations(client):
    """Known requests; what each metric must count for them."""
    for i in range(5):
        client.put(b"m/%d" % i, b"v" * 100)                     # 5 puts
    client.put(b"m/0", b"again")                                # 1 put
    client.txn_puts([(b"m/5", b"x"), (b"m/6", b"x")])           # 1 txn of 2 puts
    client.delete(b"m/1")                                       # 1 delete of 1 key
    client.delete(b"m/2", b"m/5")                               # 1 delete of 3 keys
    client.delete(b"nothing")                                   # 1 delete of none
    client.range(b"m/0")                                        # 2 ranges
    client.range(b"m/", b"m0", serializable=True)
    client.call(LEASE + "LeaseGrant", number(1, 1000) + number(2, 77))
    client.put(b"m/leased", b"x", lease=77)                     # 1 put
    client.call(LEASE + "LeaseRevoke", number(1, 77))           # 1 key goes
    with contextlib.suppress(Refused):
        client.put(b"", b"refused")                             # counts nowhere


COUNTED = {
    "etcd_mvcc_put_total": 9,
    "etcd_debugging_mvcc_keys_total": 3,
    "etcd_debugging_lease_granted_total": 1,
    "etcd_debugging_lease_revoked_total": 1,
}
# Where etcd counts other things too (its own reads, the keys of a revoked lease), kvd alone is exact.
COUNTED_KVD = {
    "etcd_debugging_mvcc_current_revision": 11,
    'grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",'
    'grpc_type="unary"}': 7,
    'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Put",'
    'grpc_service="etcdserverpb.KV",grpc_type="unary"}': 1,
    'grpc_server_started_total{grpc_method="DeleteRange",grpc_service="etcdserverpb.KV",'
    'grpc_type="unary"}': 3,
    'grpc_server_handled_total{grpc_code="OK",grpc_method="Txn",grpc_service="etcdserverpb.KV",'
    'grpc_type="unary"}': 1,
}


def counts(tally, server, client, wanted):
    before = metrics(server)
    operations(client)
    after = metrics(server)
    for name, value in wanted.items():
        with tally.case(f"{server.kind}: {name}"):
            equal(difference(before, after, name), value, name)
    with tally.case(f"{server.kind}: etcd_mvcc_delete_total"):
        # Three requests; the revoke of the lease deletes a key too, and is an operation of its own.
        got = difference(before, after, "etcd_mvcc_delete_total")
        assert got in (3, 4), got


def watch_counts(tally, server, client):
    """An open watch that its client drops counts as Canceled."""
    with tally.case(f"{server.kind}: a dropped watch counts as Canceled, gauges follow"):
        before = metrics(server)
        stub = client.channel.stream_stream(WATCH, None, None)
        call = stub(iter([field(1, field(1, b"w")), field(1, field(1, b"x"))]), timeout=60)
        next(call)
        next(call)
        during = metrics(server)
        for name, value in (("etcd_debugging_mvcc_watcher_total", 2),
                            ("etcd_debugging_mvcc_watch_stream_total", 1)):
            equal(difference(before, during, name), value, name)
        call.cancel()
        deadline = time.monotonic() + 10
        while difference(before, metrics(server), "etcd_debugging_mvcc_watcher_total") != 0:
            assert time.monotonic() < deadline, "the watchers stay counted"
            time.sleep(0.05)
        after = metrics(server)
        equal(difference(before, after, "etcd_debugging_mvcc_watch_stream_total"), 0, "streams")
        if server.kind == "kvd":
            equal(difference(before, after, WATCH_CANCELED), 1, WATCH_CANCELED)


def late_ticks(tally, server):
    """A process that stands still has a late tick, told to one scrape."""
    with tally.case("the raft loop's late ticks are told once"):
        metrics(server)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGCONT)
        deadline, late, held = time.monotonic() + 20, 0, 0
        while late < 0.4 or held < 0.4:
            assert time.monotonic() < deadline, (late, held)
            time.sleep(0.06)
            values = metrics(server)
            late = max(late, values["kvd_raft_tick_late_seconds_max"])
            held = max(held, values["kvd_raft_tick_held_seconds_max"])
        # The tick is due every 50 ms: half a second has room for most of it to be late.
        assert held <= late < 15, (late, held)
        before = time.monotonic()
        again = metrics(server)["kvd_raft_tick_held_seconds_max"]
        assert again < held + time.monotonic() - before and again < 0.4, (again, held)


def hashes(tally, server, client):
    with tally.case("hashes are timed by kind"):
        before = metrics(server)
        client.call(MAINTENANCE + "Hash", b"")
        client.call(MAINTENANCE + "HashKV", b"")
        client.call(MAINTENANCE + "HashKV", b"")
        after = metrics(server)
        for name, count in (("etcd_mvcc_hash_duration_seconds_count", 1),
                            ("etcd_mvcc_hash_rev_duration_seconds_count", 2)):
            equal(difference(before, after, name), count, name)


def form(tally, server):
    """The text is what Prometheus reads: each family has its HELP and TYPE before it, once, no sample
    twice, counters named _total are counters, histograms add up."""
    with tally.case("/metrics is well formed"):
        text = server.get("/metrics")[1]
        types, seen, helps = {}, set(), set()
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name = line.split()[2]
                assert name not in helps, f"HELP of {name} twice"
                helps.add(name)
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name not in types, f"TYPE of {name} twice"
                assert kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
                types[name] = kind
            else:
                match = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{(?:[a-z_]\w*="(?:[^"\\]|\\.)*",?)*\})? '
                                     r"(\S+)", line)
                assert match, f"not a sample: {line!r}"
                float(match.group(3))
                sample = match.group(1) + (match.group(2) or "")
                assert sample not in seen, f"{sample} twice"
                seen.add(sample)
                family = re.sub(r"_(bucket|sum|count)$", "", match.group(1))
                assert match.group(1) in types or types.get(family) in ("histogram", "summary"), \
                    f"{line!r} has no TYPE before it"
        values = metrics(server)
        for name, kind in types.items():
            if kind == "histogram" and f'{name}_bucket{{le="+Inf"}}' in values:
                equal(values[f'{name}_bucket{{le="+Inf"}}'], values[f"{name}_count"], name)
                buckets = [v for k, v in values.items() if k.startswith(f"{name}_bucket{{")]
                equal(buckets, sorted(buckets), f"buckets of {name}")


def names(tally, server):
    values = metrics(server)
    for name in NAMES:
        with tally.case(f"/metrics has {name}"):
            assert name in values, "missing"
    for name in HISTOGRAMS:
        with tally.case(f"/metrics has {name}"):
            assert values.get(f"{name}_count", -1) >= 0, "missing"
    with tally.case("the fsync histogram counts the log's syncs"):
        assert values["etcd_disk_wal_fsync_duration_seconds_count"] > 10, "no syncs"
    with tally.case("labels and values of the identity metrics"):
        equal(values.get('etcd_server_version{server_version="3.8.0-alpha.0"}'), 1)
        equal(values.get('etcd_cluster_version{cluster_version="3.8"}'), 1)
        equal(values["etcd_server_is_learner"], 0)
        equal(values["etcd_server_has_leader"], 1)
        equal(values["etcd_server_is_leader"], 1)
        equal(values["etcd_server_quota_backend_bytes"], 2 * 1024 ** 3)
        member = server.etcdctl_json("endpoint", "status")[0]["Status"]["header"]["member_id"]
        equal(values.get('etcd_server_id{server_id="%x"}' % member), 1, "server id")
    with tally.case("every method has its grpc_server rows, also when never called"):
        for method, service, kind in (("Range", "KV", "unary"), ("RangeStream", "KV", "server_stream"),
                                      ("Watch", "Watch", "bidi_stream"),
                                      ("LeaseKeepAlive", "Lease", "bidi_stream"),
                                      ("Snapshot", "Maintenance", "server_stream"),
                                      ("UserAdd", "Auth", "unary")):
            labels = (f'grpc_method="{method}",grpc_service="etcdserverpb.{service}",'
                      f'grpc_type="{kind}"')
            for name in ("grpc_server_started_total", "grpc_server_msg_received_total",
                         "grpc_server_msg_sent_total"):
                assert f"{name}{{{labels}}}" in values, f"{name}{{{labels}}}"
            assert f'grpc_server_handled_total{{grpc_code="OK",{labels}}}' in values, labels


def answer(server, path, method="GET"):
    """(status, body, headers in lower case) by http.client, which does not raise for 503."""
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path)
    got = connection.getresponse()
    body = got.read().decode()
    connection.close()
    return got.status, body, {k.lower(): v for k, v in got.getheaders()}


def pages(tally, server, client):
    with tally.case("/version"):
        status, body, headers = answer(server, "/version")
        equal((status, body, headers["content-type"]), (200, VERSION, "application/json"))
        equal(answer(server, "/version", "PUT")[0], 405, "PUT")
    with tally.case("/health"):
        before = metrics(server)
        for query in ("", "?serializable=true", "?exclude=NOSPACE", "?exclude=CORRUPT&exclude=NOSPACE"):
            equal(answer(server, "/health" + query)[:2], (200, '{"health":"true","reason":""}'), query)
        status, _, headers = answer(server, "/health", "POST")
        equal((status, headers.get("allow")), (405, "GET"), "POST")
        after = metrics(server)
        equal(difference(before, after, "etcd_server_health_success"), 4, "etcd_server_health_success")
        equal(difference(before, after, "etcd_server_health_failures"), 0, "failures")
    with tally.case("/livez and /readyz"):
        for page, checks in (("livez", ["serializable_read"]),
                             ("readyz", ["data_corruption", "serializable_read", "linearizable_read",
                                         "non_learner"])):
            status, body, headers = answer(server, f"/{page}")
            equal((status, body), (200, "ok\n"), page)
            equal(headers["content-type"], "text/plain; charset=utf-8", "content-type")
            equal(headers["x-content-type-options"], "nosniff", "X-Content-Type-Options")
            want = "".join(f"[+]{c} ok\n" for c in checks) + "ok\n"
            equal(sorted(answer(server, f"/{page}?verbose")[1].splitlines()),
                  sorted(want.splitlines()), "verbose")
            for check in checks:
                equal(answer(server, f"/{page}/{check}")[:2], (200, "ok\n"), check)
                listed = answer(server, f"/{page}?verbose&exclude={check}")[1]
                assert f"]{check} " not in listed, listed
            equal(answer(server, f"/{page}/nothing")[0], 404, "an unknown check")
            equal(answer(server, f"/{page}?exclude=nothing")[0], 200, "excluding an unknown check")
    with tally.case("the NOSPACE alarm fails /health alone"):
        client.call(MAINTENANCE + "Alarm", number(1, 1) + number(3, 1))
        equal(answer(server, "/health")[:2],
              (503, '{"health":"false","reason":"ALARM NOSPACE"}\n'), "/health")
        equal(answer(server, "/health?exclude=NOSPACE")[0], 200, "excluded")
        equal(answer(server, "/livez")[0], 200, "/livez")
        equal(answer(server, "/readyz")[0], 200, "/readyz")
        alarms = [k for k in metrics(server) if k.startswith("etcd_debugging_server_alarms{")]
        equal(alarms, ['etcd_debugging_server_alarms{alarm_type="NOSPACE",server_id="0"}'], "metric")
        client.call(MAINTENANCE + "Alarm", number(1, 2) + number(3, 1))
        client.disarm()
    with tally.case("the CORRUPT alarm fails /health and /readyz, not /livez"):
        client.call(MAINTENANCE + "Alarm", number(1, 1) + number(3, 2))
        equal(answer(server, "/health")[:2],
              (503, '{"health":"false","reason":"ALARM CORRUPT"}\n'), "/health")
        status, body, _ = answer(server, "/readyz")
        equal(status, 503, "/readyz")
        assert "[-]data_corruption failed: alarm activated: CORRUPT\n" in body, body
        assert "[+]linearizable_read ok\n" in body, body
        equal(answer(server, "/readyz?exclude=data_corruption")[:2], (200, "ok\n"), "excluded")
        equal(answer(server, "/livez")[:2], (200, "ok\n"), "/livez")
        for call in (lambda: client.put(b"a", b"b"), lambda: client.delete(b"a"),
                     lambda: client.compact(2),
                     lambda: client.call(LEASE + "LeaseGrant", number(1, 60))):
            try:
                call()
                raise AssertionError("accepted under the CORRUPT alarm")
            except Refused as e:
                equal((e.code, e.text), (15, "etcdserver: corrupt cluster"))
        client.range(b"a")
        client.disarm()
        for member, kind in client.alarms():
            raise AssertionError(f"alarm {kind} of {member} stayed")
        equal(answer(server, "/readyz")[0], 200, "/readyz after it")
    with tally.case("/debug/vars, unknown paths"):
        equal(isinstance(json.loads(answer(server, "/debug/vars")[1]), dict), True, "one object")
        equal(answer(server, "/nothing")[:2], (404, "404 page not found\n"), "unknown path")
        equal(answer(server, "/v3/kv/range", "POST")[0], 404, "the JSON gateway is not there yet")


def metrics_port(tally):
    with tally.case("--listen-metrics-urls serves these pages and no others"):
        from kvdtest import free_ports
        port = free_ports(1)[0]
        with Server("kvd", ["--listen-metrics-urls", f"http://127.0.0.1:{port}"]) as server:
            with contextlib.closing(Client(server.port)) as client:
                client.put(b"a", b"b")
            own = server.port
            server.port = port
            for path, status in (("/metrics", 200), ("/health", 200), ("/livez", 200),
                                 ("/readyz", 200), ("/version", 404), ("/debug/vars", 404)):
                equal(answer(server, path)[0], status, path)
            assert metrics(server)["etcd_mvcc_put_total"] == 1
            server.port = own


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    with Server("kvd") as server, contextlib.closing(Client(server.port)) as client:
        counts(tally, server, client, {**COUNTED, **COUNTED_KVD})
        watch_counts(tally, server, client)
        names(tally, server)
        late_ticks(tally, server)
        hashes(tally, server, client)
        form(tally, server)
        pages(tally, server, client)
        with tally.case("gauges after a restart"):
            keys = metrics(server)["etcd_debugging_mvcc_keys_total"]
            assert keys == 3, keys
            server.kill()
            server.start()
            equal(metrics(server)["etcd_debugging_mvcc_keys_total"], keys, "keys")
            equal(metrics(server)["etcd_mvcc_put_total"] < 20, True, "counters begin anew")
    metrics_port(tally)
    if etcd_path() is None:
        tally.skip("etcd counts the same", "no etcd on PATH")
    else:
        print(f"the same requests to etcd {etcd_version()}")
        with Server("etcd") as server, contextlib.closing(Client(server.port)) as client:
            counts(tally, server, client, COUNTED)
            watch_counts(tally, server, client)
    tally.close()


main()
