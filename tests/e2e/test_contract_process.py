#!/usr/bin/python3
"""The process as the contract has it: command line, environment, configuration file, log lines, signals,
what lies in the data directory. kvd is also run under the name etcd, as a harness would."""
import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import Client, field, metrics
from kvdtest import KVD, Server, Tally, equal, free_ports

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})")


def run(*words, name="kvd", env=None, seconds=20):
    """(status, stdout, stderr) of a command that ends by itself, started as `name`."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, name)
        os.symlink(KVD, program)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "KVD_"))}
        got = subprocess.run([program, *words], capture_output=True, text=True, timeout=seconds,
                             cwd=folder, env={**clean, **(env or {})}, stdin=subprocess.DEVNULL)
        return got.returncode, got.stdout, got.stderr


def command_line(tally):
    with tally.case("--version as etcd has four lines that harnesses read"):
        status, out, err = run("--version", name="etcd")
        equal((status, err), (0, ""))
        lines = out.splitlines()
        equal(len(lines), 4, out)
        equal(lines[0], "etcd Version: 3.8.0-alpha.0")
        for line, start in zip(lines[1:], ("Git SHA: ", "Go Version: ", "Go OS/Arch: linux/")):
            assert line.startswith(start) and len(line) > len(start), line
    with tally.case("--version as kvd tells both versions"):
        status, out, _ = run("--version")
        equal(status, 0)
        assert out.startswith("kvd Version: ") and "\netcd API Version: 3.8.0-alpha.0\n" in out, out
    with tally.case("--help is on stdout with status 0"):
        for word in ("--help", "-h", "-help"):
            status, out, err = run(word)
            equal((status, err), (0, ""), word)
            assert "--listen-client-urls" in out, word
    with tally.case("an unknown flag is status 2 and usage on stderr"):
        status, out, err = run("--nosuch=1")
        equal((status, out), (2, ""))
        assert err.startswith("flag provided but not defined: -nosuch\nUsage:"), err
    with tally.case("a word left over is status 1 and a log line"):
        status, out, err = run("--name=a", "word")
        equal((status, out), (1, ""))
        assert '\\"word\\" is not a valid flag' in err, err
        json.loads(err)
    with tally.case("a flag and its variable conflict"):
        status, _, err = run("--name=a", env={"ETCD_NAME": "b"})
        equal(status, 1)
        assert "conflicting environment variable" in err, err
    with tally.case("what is not there yet is refused by name"):
        for words, text in ((["--auto-tls"], "--auto-tls is not supported yet"),
                            (["--auth-token=jwt,sign-method=RS256"], "--auth-token is not"),
                            (["--force-new-cluster"], "--force-new-cluster is not"),
                            (["gateway", "start"], "gateway is not supported yet")):
            status, _, err = run(*words)
            equal(status, 1, words)
            assert text in err and "docs/status.md" in err, err


def lines_of(server):
    return [json.loads(line) for line in server.log_text().splitlines()]


def log_lines(tally):
    with Server("kvd", ["--log-level=debug", "--snapshot-catchup-entries=1000",
                        "--auto-compaction-retention=0"]) as server, \
            contextlib.closing(Client(server.port)) as client:
        for i in range(20):
            client.put(b"k%d" % i, b"v")
        with contextlib.suppress(grpcraw.Refused):
            client.put(b"", b"v")
        client.compact(10, physical=True)
        client.defragment()
        status = server.stop()
        text, lines = server.log_text(), lines_of(server)
        with tally.case("every line at level debug is an object with level, ts, caller and msg"):
            assert len(lines) > 20, len(lines)
            for line in lines:
                for key in ("level", "ts", "caller", "msg"):
                    assert isinstance(line[key], str) and line[key], line
                assert line["level"] in ("debug", "info", "warn", "error", "panic", "fatal"), line
                assert TIMESTAMP.fullmatch(line["ts"]), line
                assert re.fullmatch(r"[a-z]+/\w+\.[ch]:\d+", line["caller"]), line
            first = text.splitlines()[0]
            assert first.startswith('{"level":"'), first
        with tally.case("an ordinary life has no line of level error"):
            equal([x for x in lines if x["level"] not in ("debug", "info", "warn")], [])
        with tally.case("lines that harnesses wait for"):
            for piece in ("ready to serve client requests", "serving client traffic",
                          "insecurely; this is strongly discouraged!",
                          '"snapshot-catchup-entries":1000'):
                assert piece in text, piece
        with tally.case("a compaction's end is told with its revision"):
            done = [x for x in lines if x["msg"] == "finished scheduled compaction"]
            equal([x["compact-revision"] for x in done], [10])
        equal(status, -signal.SIGTERM, "wait status")


def slow_requests(tally):
    """A request that takes longer than allowed is a warning; of at least a millisecond, as clocks go."""
    with Server("kvd", ["--warning-unary-request-duration=1ms", "--warning-apply-duration=1ms"]) as server, \
            contextlib.closing(Client(server.port)) as client:
        value = b"x" * 8000
        for i in range(12):
            client.txn_puts([(b"%d/%d" % (i, k), value) for k in range(128)])
        for i in range(150):
            client.txn_puts([(b"many/%d/%d" % (i, k), b"") for k in range(128)])
        client.delete(b"\0", b"\0")
        slow = [x for x in lines_of(server) if x["msg"] == "request stats"]
        with tally.case("slow requests are told as `request stats`"):
            assert slow, server.log_tail()
            for line in slow:
                equal(line["level"], "warn")
                assert line["response type"].startswith("/etcdserverpb."), line
                assert line["remote"].startswith("127.0.0.1:"), line
        with tally.case("their contents are not"):
            assert "xxxxxxxx" not in server.log_text()
        with tally.case("slow applies are told"):
            took = [x for x in lines_of(server) if x["msg"] == "apply request took too long"]
            assert took and took[0]["expected-duration"] == "1ms", server.log_tail()
            equal(metrics(server)["etcd_server_slow_apply_total"], len(took), "the counter")


def outputs(tally):
    with tally.case("log lines go to stdout, to a file, in the console form"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "kvd.log")
            with Server("kvd", [f"--log-outputs=stdout,{path}", "--log-format=console"]) as server:
                server.stop()
                text = server.log_text()
            with open(path) as f:
                equal(f.read(), text, "the file and stdout")
            equal(stat.S_IMODE(os.stat(path).st_mode) & 0o007, 0, "others may not read it")
            for line in text.splitlines():
                parts = line.split("\t")
                assert TIMESTAMP.fullmatch(parts[0]) and parts[1] in ("info", "warn"), line
    with tally.case("--log-level=warn leaves out what is well"):
        with Server("kvd", ["--log-level=warn"]) as server:
            server.stop()
            equal([x for x in lines_of(server) if x["level"] == "info"], [])


def configuration_file(tally):
    with tally.case("a configuration file replaces flags and environment"):
        with tempfile.TemporaryDirectory() as folder:
            client, peer = free_ports(2)
            path = os.path.join(folder, "kvd.conf")
            with open(path, "w") as f:
                f.write(f"name: from-the-file\ndata-dir: {folder}/data\n"
                        f"listen-client-urls: http://127.0.0.1:{client}\n"
                        f"advertise-client-urls: http://127.0.0.1:{client}\n"
                        f"initial-advertise-peer-urls: http://127.0.0.1:{peer}\n"
                        "grpc-keepalive-min-time: 3000000000\nunheard-of: 1\n"
                        "client-transport-security:\n  cert-file: ''\n")
            server = Server("kvd", env={"ETCD_NAME": "environment"})
            server.port = client
            server.command = lambda: [KVD, "--config-file", path, "--name=flag"]
            with server:
                members = server.etcdctl_json("member", "list")["members"]
                equal(members[0]["name"], "from-the-file")
                assert "unheard-of" in server.log_text(), "an unknown key is a warning"
    with tally.case("every variable is a flag, unknown ones are warnings"):
        with Server("kvd", env={"ETCD_MAX_TXN_OPS": "3", "ETCD_NO_SUCH_THING": "1",
                                "ETCD_WAL_DIR": ""}) as server, \
                contextlib.closing(Client(server.port)) as client:
            client.txn_puts([(b"%d" % i, b"") for i in range(3)])
            try:
                client.txn_puts([(b"%d" % i, b"") for i in range(4)])
                raise AssertionError("four operations pass")
            except grpcraw.Refused as e:
                equal(e.text, "etcdserver: too many operations in txn request")
            assert "ETCD_NO_SUCH_THING" in server.log_text()


def signals(tally):
    for number_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        with tally.case(f"{number_.name} ends the process by itself"):
            with Server("kvd") as server, contextlib.closing(Client(server.port)) as client:
                revision = client.put(b"a", b"b")
                watch = client.channel.stream_stream("/etcdserverpb.Watch/Watch", None, None)
                call = watch(iter([field(1, field(1, b"a"))]), timeout=60)
                next(call)
                begin = time.monotonic()
                server.process.send_signal(number_)
                equal(server.process.wait(20), -number_, "wait status")
                took = time.monotonic() - begin
                assert took < 5, f"{took} s with an open watch"
                server.start()
                with contextlib.closing(Client(server.port)) as again:
                    equal(again.range(b"a")[0][0].mod, revision, "the write")
    with tally.case("SIGSTOP and SIGCONT leave a leader that reads right"):
        with Server("kvd", ["--heartbeat-interval=10", "--election-timeout=100"]) as server, \
                contextlib.closing(Client(server.port)) as client:
            revision = client.put(b"a", b"1")
            os.kill(server.process.pid, signal.SIGSTOP)
            waiting = client.start(grpcraw.KV + "Range", field(1, b"a"))
            with contextlib.suppress(grpcraw.grpc.FutureTimeoutError):
                waiting.result(timeout=1.5)  # many election timeouts
                raise AssertionError("a stopped process answered")
            os.kill(server.process.pid, signal.SIGCONT)
            rows = grpcraw.parse(waiting.result(timeout=20))[2]
            equal(grpcraw.Row(rows[0]).mod, revision)
            equal(client.put(b"a", b"2"), revision + 1, "the next write")


def first_process(tally):
    """As process 1 of a container a signal's default action does nothing: the end is status 0."""
    name = "as process 1 SIGTERM ends it with status 0"
    prefix = ["unshare", "--fork", "--pid", "--kill-child"]
    if not grpcraw.run(*prefix, "true"):
        tally.skip(name, "unshare is not allowed here")
        return
    with tally.case(name), Server("kvd", prefix=prefix) as server:
        outer = server.process.pid
        with open(f"/proc/{outer}/task/{outer}/children") as f:
            inner = int(f.read().split()[0])
        with contextlib.closing(Client(server.port)) as client:
            client.put(b"a", b"b")
        os.kill(inner, signal.SIGTERM)
        equal(server.process.wait(20), 0, "status")


def directory(tally):
    with Server("kvd") as server, contextlib.closing(Client(server.port)) as client:
        client.put(b"a", b"b" * 100000)
        with tally.case("the data directory is private and has etcd's outline"):
            equal(stat.S_IMODE(os.stat(server.data_dir).st_mode), 0o700, "mode")
            equal(os.listdir(server.data_dir), ["member"])
        with tally.case("it can be copied: regular files, none of them mostly holes"):
            for folder, folders, files in os.walk(server.data_dir):
                for name in files:
                    found = os.lstat(os.path.join(folder, name))
                    assert stat.S_ISREG(found.st_mode), name
                    assert found.st_size < 64 * 1024 * 1024, f"{name}: {found.st_size}"
                for name in folders:
                    assert not os.path.islink(os.path.join(folder, name)), name
        copies(tally, server)
        with tally.case("a port in use ends the start quickly with status 1"):
            second = Server("kvd")
            second.port = server.port
            begin = time.monotonic()
            with contextlib.closing(second):
                second.start(wait=False)
                equal(second.process.wait(20), 1, "status")
            took = time.monotonic() - begin
            assert took < 5, took
    with tally.case("an empty directory that is there is taken, a stranger in it is a warning"):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "stranger"))
            with Server("kvd", data_dir=folder) as server:
                assert any("stranger" in json.dumps(x) and x["level"] == "warn"
                           for x in lines_of(server)), server.log_tail()


def copy(source, target):
    """A copy of everything; the names that were gone when their turn came."""
    try:
        shutil.copytree(source, target)
    except shutil.Error as e:
        for name, _, why in e.args[0]:
            assert "No such file" in why, (name, why)
        return [name for name, _, _ in e.args[0]]
    return []


def copies(tally, server):
    """A harness copies the directory of a running member: what is no log segment may not vanish under its
    hands, and without writes nothing does. What was copied at one moment (the process stands still, as for
    a snapshot of the file system) restores."""
    acked, over = [0], threading.Event()

    def write():
        client = Client(server.port)
        while not over.is_set():
            client.txn_puts((b"copy/%02d" % i, b"%08d" % acked[0] + b"v" * 20000) for i in range(20))
            acked[0] += 1
        client.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            with tally.case("it can be copied while it is written to"):
                for i in range(6):
                    begin = acked[0]
                    gone = copy(server.data_dir, os.path.join(folder, str(i)))
                    # Log segments are made and removed with the writes: no other name may go.
                    equal([g for g in gone if not re.search(r"/log/log-[0-9a-f]{16}(\.new)?$", g)], [],
                          "names that vanished")
                    deadline = time.monotonic() + 30
                    while acked[0] < begin + 10:
                        assert time.monotonic() < deadline, "no writes"
                        time.sleep(0.01)
            with tally.case("a copy of one moment has every acknowledged write"):
                place = os.path.join(folder, "moment")
                server.process.send_signal(signal.SIGSTOP)
                try:
                    wanted = acked[0]
                    shutil.copytree(server.data_dir, place)
                finally:
                    server.process.send_signal(signal.SIGCONT)
                with Server("kvd", data_dir=place) as restored, \
                        contextlib.closing(Client(restored.port)) as client:
                    rows = client.range(b"copy/", b"copy0")[0]
                    equal(len(rows), 20, "keys")
                    equal(len({r.value for r in rows}), 1, "transactions are whole")
                    # The writer counts from 0: its last acknowledged value is one less.
                    assert int(rows[0].value[:8]) >= wanted - 1, (rows[0].value[:8], wanted)
            with tally.case("it can be copied whole when nobody writes"):
                over.set()
                writer.join(30)
                # The last checkpoint may still cut the log meanwhile, once.
                assert any(copy(server.data_dir, os.path.join(folder, f"quiet{i}")) == []
                           for i in range(3)), "names vanish though nobody writes"
    finally:
        over.set()
        writer.join(30)


def automatic_compaction(tally):
    """periodic, one second: what is older than a second goes, the newest stays readable."""
    with tally.case("--auto-compaction-retention compacts by itself"):
        with Server("kvd", ["--auto-compaction-retention=1s"]) as server, \
                contextlib.closing(Client(server.port)) as client:
            deadline = time.monotonic() + 20
            while metrics(server)["etcd_debugging_mvcc_compact_revision"] < 20:
                assert time.monotonic() < deadline, server.log_tail()
                revision = client.put(b"a", b"b")
                time.sleep(0.02)
            assert client.range(b"a")[0][0].mod == revision
            try:
                client.range(b"a", revision=2)
                raise AssertionError("revision 2 is still there")
            except grpcraw.Refused as e:
                equal(e.text, "etcdserver: mvcc: required revision has been compacted")
    with tally.case("--auto-compaction-retention=0 does not"):
        with Server("kvd", ["--auto-compaction-retention=0"]) as server, \
                contextlib.closing(Client(server.port)) as client:
            client.put(b"a", b"b")
            assert "auto compaction" not in server.log_text()
            equal(metrics(server)["etcd_debugging_mvcc_compact_revision"] <= 0, True)


def feature_gates(tally):
    with tally.case("the gates a harness sets on every start are taken"):
        with Server("kvd", ["--feature-gates=InitialCorruptCheck=true"]) as server, \
                contextlib.closing(Client(server.port)) as client:
            client.put(b"a", b"b")
            equal([x for x in lines_of(server) if x["level"] == "error"], [])
    with tally.case("an unknown gate is a flag error"):
        status, _, err = run("--feature-gates=Nonsense=true")
        equal(status, 2)
        assert "unrecognized feature gate: Nonsense" in err, err


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    command_line(tally)
    log_lines(tally)
    slow_requests(tally)
    outputs(tally)
    configuration_file(tally)
    signals(tally)
    first_process(tally)
    directory(tally)
    automatic_compaction(tally)
    feature_gates(tally)
    tally.close()


main()
