#!/usr/bin/env python3
"""kvctl against a real kvd: every command, option, form and exit status, what it says when something is
wrong, and the same answers as Debian's etcdctl where both are meant to say the same."""
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import KVCTL, Server, Tally, equal, free_ports

OK, FAILURE, BAD_INPUT, BAD_FEATURE, CANCELED, BAD_ARGS = 0, 1, 3, 4, 5, 128
CLEAN_ENV = {k: v for k, v in os.environ.items() if not k.startswith(("KVCTL_", "ETCDCTL_"))}
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0" + b"12345678"


def run(*words, stdin=b"", env=None, timeout=30):
    """(status, stdout, stderr) of one kvctl, as bytes, bytes, text."""
    stdin = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run([KVCTL, *words], input=stdin, capture_output=True, timeout=timeout,
                          env=dict(CLEAN_ENV, **(env or {})))
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


class Client:
    """kvctl with one server's endpoint."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def __call__(self, *words, status=OK, **options):
        """Output; the status is checked. A failure's output is its sentence."""
        got, out, err = run("--endpoints", self.endpoint, *words, **options)
        if got != status:
            raise AssertionError(f"{words}: status {got}, want {status}: {out!r} {err}")
        if status == OK:
            equal(err, "", f"standard error of {words}")
        return out.decode() if status == OK else err

    def raw(self, *words, **options):
        status, out, err = run("--endpoints", self.endpoint, *words, **options)
        equal(status, OK, f"{words}: {err}")
        return out

    def json(self, *words, **options):
        out = self(*words, "-w", "json", **options)
        equal(out.count("\n"), 1, "one answer, one line")
        return json.loads(out)


class Stream:
    """A kvctl that goes on: its lines are awaited, never slept for."""

    def __init__(self, endpoint, *words, env=None):
        self.process = subprocess.Popen([KVCTL, "--endpoints", endpoint, *words],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env=dict(CLEAN_ENV, **(env or {})))
        # Nothing is waited for longer than this.
        self.guard = threading.Timer(40, self.process.kill)
        self.guard.start()

    def lines(self, count):
        return [self.process.stdout.readline().rstrip("\n") for _ in range(count)]

    def error(self):
        return self.process.stderr.readline().rstrip("\n")

    def end(self, number=None):
        """The status, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.guard.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class FakeServer:
    """Takes connections and does `talk(connection)` with each, in a thread."""

    def __init__(self, talk):
        self.talk = talk
        self.count = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.count += 1
            with connection:
                try:
                    self.talk(connection)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


def read_to_end(connection):
    while connection.recv(65536):
        pass


def silent_h2(connection):
    """Says hello and nothing more."""
    connection.sendall(SETTINGS)
    read_to_end(connection)


def drops(connection):
    """Says hello, and is gone once the request was sent."""
    connection.sendall(SETTINGS)
    seen = b""
    while b"/etcdserverpb" not in seen and b"application/grpc" not in seen and len(seen) < 100:
        seen += connection.recv(65536)


def pings(connection):
    """Is lively, but answers nothing."""
    connection.sendall(SETTINGS)
    while True:
        connection.sendall(PING)
        if not connection.recv(65536):
            return


def http1(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    read_to_end(connection)


def frame_of(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def has_headers(frames):
    """Does a HEADERS frame begin in these?"""
    while len(frames) >= 9:
        if frames[3] == 1:
            return True
        frames = frames[9 + int.from_bytes(frames[:3], "big"):]
    return False


def says(text):
    """A talk that refuses the first request with this grpc-message."""
    def talk(connection):
        connection.sendall(SETTINGS)
        seen = b""
        while not has_headers(seen[24:]):  # behind the preface
            more = connection.recv(65536)
            if not more:
                return
            seen += more
        header = lambda name, value: b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        body = b"\x88" + header(b"content-type", b"application/grpc") + \
            header(b"grpc-status", b"13") + header(b"grpc-message", text)
        connection.sendall(frame_of(1, 5, 1, body))
        read_to_end(connection)
    return talk


# ---- help and the command line ----------------------------------------------------------------------


def commands():
    out = run("help")[1].decode()
    section = out.split("\nCommands:\n")[1].split("\n\n")[0]
    return [re.match(r"  (\S+(?: \S+)?)  ", line).group(1) for line in section.splitlines()]


def command_line(tally):
    with tally.case("help lists every command of the first cut"):
        equal(set(commands()),
              {"put", "get", "del", "txn", "watch", "lease grant", "lease revoke", "lease timetolive",
               "lease list", "lease keep-alive", "compaction", "endpoint status", "endpoint health",
               "endpoint hashkv", "member list", "defrag", "alarm list", "alarm disarm", "plugin list",
               "plugin describe", "plugin top", "plugin reload", "plugin enable", "plugin disable",
               "plugin config", "describe", "apply", "delete", "history", "diff", "undo", "why", "config",
               "explain-schedule", "version", "help"}, "commands")
        for words in ([], ["--help"], ["-h"], ["help"]):
            status, out, err = run(*words)
            equal((status, err), (OK, ""), f"kvctl {words}")
            assert out.startswith(b"kvctl talks to kvd, or to any etcd.\n"), out
    for name in commands():
        with tally.case(f"help of {name}"):
            texts = [run(*name.split(), "--help"), run("help", *name.split()),
                     run(*name.split(), "-h"), run("-h", *name.split())]
            for status, out, err in texts:
                equal((status, err), (OK, ""), "status, error")
                equal(out, texts[0][1], "all ways say the same")
            text = texts[0][1].decode()
            assert text.startswith(f"kvctl {name} - "), text
            assert f"\nUsage:\n  kvctl {name} " in text, text
            for line in text.splitlines():
                assert len(line) <= 125, line
    with tally.case("every option in the help is used in this file, or where objects are tested"):
        source = ""
        for name in (__file__, os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_kvctl_objects.py")):
            with open(name) as f:
                source += f.read()
        options = set()
        for name in commands():
            options |= set(re.findall(r"^  .{4}(--[a-z-]+)", run("help", *name.split())[1].decode(), re.M))
        assert len(options) > 30, options
        equal([o for o in sorted(options) if f'"{o}' not in source], [], "options without a test")
    with tally.case("help of groups"):
        for group in ("lease", "endpoint", "member", "alarm"):
            status, out, err = run(group, "--help")
            equal((status, err), (OK, ""), group)
            assert f"Usage:\n  kvctl {group} <command>\n" in out.decode(), out
            status, out, err = run(group)
            equal(status, BAD_ARGS, group)
            assert f'"{group}" needs one of these commands' in err, err
    with tally.case("help and version want no server and no sane environment"):
        env = {"KVCTL_WRITE_OUT": "xml", "ETCDCTL_CACERT": "x", "KVCTL_ENDPOINTS": "nonsense"}
        equal(run("help", "put", env=env)[0], OK, "help")
        status, out, _ = run("version", env=env)
        equal(status, OK, "version")
        assert re.fullmatch(rb"kvctl version: \S+\nAPI version: \d+\.\d+\n", out), out
        equal(run("version", "now")[0], BAD_ARGS, "version takes nothing")
    for words, status, sentence in [
            (["frob"], BAD_ARGS, 'there is no command "frob"'),
            ([""], BAD_ARGS, "a command is needed, not an empty word"),
            (["lease", ""], BAD_ARGS, "a command is needed, not an empty word"),
            (["lease", "frob"], BAD_ARGS, 'there is no command "lease frob"'),
            (["explain-schedule", "a/b", "--namespace", "c"], BAD_ARGS, "the namespace is given twice"),
            (["help", "frob"], BAD_ARGS, 'there is no command "frob"'),
            (["--frob", "get", "a"], BAD_ARGS, "unknown flag: --frob"),
            (["get", "a", "--frob"], BAD_ARGS, "unknown flag: --frob"),
            (["get", "a", "-x"], BAD_ARGS, "unknown shorthand flag: 'x' in -x"),
            (["get", "a", "-w"], BAD_ARGS, "flag needs an argument: 'w' in -w"),
            (["get", "a", "--limit"], BAD_ARGS, "flag needs an argument: --limit"),
            (["get", "a", "--limit=ten"], BAD_ARGS,
             'invalid argument "ten" for --limit: give a whole number'),
            (["get", "a", "--limit=99999999999999999999"], BAD_ARGS, "give a whole number"),
            (["get", "a", "--prefix=maybe"], BAD_ARGS, "give true or false"),
            (["get", "a", "--command-timeout=5"], BAD_ARGS, "give a time like 500ms, 5s or 1m30s"),
            (["get", "a", "--command-timeout=-5s"], BAD_ARGS, "give a time like"),
            (["get", "a", "-w", "xml"], BAD_FEATURE,
             'unsupported output format "xml": use simple, json or table'),
            (["get", "a", "-w", "table"], BAD_FEATURE,
             "`get` has no table form: use -w simple or -w json"),
            (["get", "a", "--cacert=x"], BAD_FEATURE, "--cacert is not supported yet"),
            (["get", "a", "--user=x"], BAD_FEATURE, "--user is not supported yet"),
            (["get", "a", "--insecure-transport=false"], BAD_FEATURE, "is not supported yet"),
            (["get", "a", "--endpoints="], BAD_ARGS, "no endpoints: set --endpoints host:port"),
            (["get", "a", "--endpoints=localhost"], BAD_ARGS, "an endpoint is host:port"),
            (["get", "a", "--endpoints=127.0.0.1:2379,localhost"], BAD_ARGS, "localhost: an end"),
            (["get", "a", "--endpoints=127.0.0.1:99999"], BAD_ARGS, "an endpoint is host:port"),
            (["get", "a", "--endpoints=127.0.0.1:0"], BAD_ARGS, "an endpoint is host:port"),
            (["get", "a", "--endpoints=https://127.0.0.1:2379"], BAD_ARGS, "TLS is not supported"),
            (["get", "a", "--endpoints=ftp://127.0.0.1:2379"], BAD_ARGS, "use host:port, http://"),
            (["get"], BAD_ARGS, "one key is needed, and a range_end may follow"),
            (["get", "a", "b", "c"], BAD_ARGS, "one key is needed"),
            (["get", "a", "b", "--prefix"], BAD_ARGS, "only one key is taken"),
            (["get", "a", "--prefix", "--from-key"], BAD_ARGS, "cannot be set at the same time"),
            (["get", "a", "--keys-only", "--count-only"], BAD_ARGS, "cannot be set at the same time"),
            (["get", "a", "--order=UP"], BAD_FEATURE, 'bad sort order "UP": use ASCEND or DESCEND'),
            (["get", "a", "--sort-by=SIZE"], BAD_FEATURE, 'bad sort target "SIZE": use CREATE'),
            (["get", "a", "--consistency=x"], BAD_FEATURE,
             'unknown consistency flag "x": use l or s'),
            (["get", "a", "--print-value-only", "-w", "json"], BAD_ARGS, "only for `--write-out="),
            (["get", "a", "--min-mod-rev=5", "--max-mod-rev=4"], BAD_ARGS, "--min-mod-rev is above"),
            (["get", "a", "--min-create-rev=5", "--max-create-rev=4"], BAD_ARGS, "--min-create-rev"),
            (["put"], BAD_ARGS, "put takes a key and a value"),
            (["put", "a"], BAD_ARGS, "standard input is empty too"),
            (["put", "a", "b", "c"], BAD_ARGS, "quote a value that has blanks"),
            (["put", "a", "b", "--ignore-value"], BAD_ARGS, "takes a key and nothing else"),
            (["put", "a", "b", "--lease=xyz"], BAD_ARGS, 'bad lease id "xyz": give it in hex'),
            (["put", "a", "-5"], BAD_ARGS, "unknown shorthand flag: '5' in -5"),
            (["del"], BAD_ARGS, "one key is needed"),
            (["txn", "x"], BAD_ARGS, "txn takes no arguments"),
            (["watch"], BAD_ARGS, "one key is needed"),
            (["watch", "a", "-w", "table"], BAD_FEATURE, "`watch` has no table form"),
            (["lease", "grant"], BAD_ARGS, "lease grant takes a time to live in whole seconds"),
            (["lease", "grant", "soon"], BAD_ARGS, "in whole seconds"),
            (["lease", "revoke"], BAD_ARGS, "lease revoke takes one lease id"),
            (["lease", "revoke", "xyz"], BAD_ARGS, 'bad lease id "xyz": give it in hexadecimal'),
            (["lease", "timetolive"], BAD_ARGS, "takes one lease id"),
            (["lease", "keep-alive", "1", "2"], BAD_ARGS, "takes one lease id"),
            (["lease", "list", "x"], BAD_ARGS, "takes no arguments"),
            (["compaction"], BAD_ARGS, "compaction takes one revision"),
            (["compaction", "x"], BAD_ARGS, "compaction takes one revision"),
            (["endpoint", "status", "x"], BAD_ARGS, "endpoints are set with --endpoints"),
            (["endpoint", "health", "x"], BAD_ARGS, "takes no arguments"),
            (["endpoint", "hashkv", "x"], BAD_ARGS, "takes no arguments"),
            (["member", "list", "x"], BAD_ARGS, "takes no arguments"),
            (["defrag", "x"], BAD_ARGS, "takes no arguments"),
            (["alarm", "list", "x"], BAD_ARGS, "takes no arguments"),
            (["alarm", "disarm", "x"], BAD_ARGS, "takes no arguments")]:
        with tally.case("wrong: kvctl " + " ".join(words)):
            got, out, err = run(*words)
            assert err.startswith("Error: ") and sentence in err, err
            equal((got, out), (status, b""), "status, output")
            if status == BAD_ARGS:
                assert "See `kvctl help" in err, err
    with tally.case("wrong environment names the variable"):
        for name in ("KVCTL_DIAL_TIMEOUT", "ETCDCTL_DIAL_TIMEOUT"):
            status, _, err = run("get", "a", env={name: "x"})
            equal(status, BAD_ARGS, "status")
            assert f"environment variable {name}: invalid argument" in err, err


# ---- servers that are not there, or not well ---------------------------------------------------------


def unreachable(tally, server):
    gone = f"127.0.0.1:{free_ports(1)[0]}"
    with tally.case("a server that is not there"):
        for words in (["get", "a"], ["put", "a", "b"], ["txn"], ["watch", "a"], ["member", "list"],
                      ["lease", "keep-alive", "1"], ["alarm", "list"], ["compaction", "1"]):
            status, out, err = run(*words, "--endpoints", gone, "--dial-timeout=100ms", stdin="\n")
            equal((status, out), (FAILURE, b""), words)
            equal(err, f"Error: cannot connect: {gone}: Connection refused. Is a server running "
                       "there? --endpoints or KVCTL_ENDPOINTS says where to look\n", words)
        status, out, err = run("endpoint", "health", "--endpoints", gone, "--dial-timeout=100ms")
        equal((status, out), (FAILURE, b""), "health")
        assert f"{gone} is unhealthy: failed to commit proposal: cannot connect: " in err, err
        assert err.endswith("Error: unhealthy cluster\n"), err
        for command in (["endpoint", "status"], ["endpoint", "hashkv"], ["defrag"]):
            status, out, err = run(*command, "--endpoints", f"{gone},{server.endpoint}",
                                   "--dial-timeout=100ms")
            equal(status, FAILURE, command)
            assert server.endpoint.encode() in out and gone.encode() not in out, out
            assert f"endpoint {gone} (" in err or f"member[{gone}]" in err, err
    with tally.case("all endpoints gone"):
        status, _, err = run("get", "a", "--endpoints", f"{gone},unix:///nothing/here",
                             "--dial-timeout=100ms")
        equal(status, FAILURE, "status")
        assert "cannot connect to any of 2 endpoints; the last one: " in err, err
    with tally.case("a host that does not exist"):
        status, _, err = run("get", "a", "--endpoints", "no-such-host.invalid:2379",
                             "--dial-timeout=100ms")
        equal(status, FAILURE, "status")
        assert "no-such-host.invalid:2379: " in err, err
    with tally.case("the next endpoint is used"):
        client = Client(f"{gone},{server.endpoint}")
        equal(client("put", "next", "1"), "OK\n", "put")
        equal(client("get", "next"), "next\n1\n", "get")
    with tally.case("no time limits: a server that starts later is found"):
        late = Server("kvd")
        with Stream(late.endpoint, "put", "late", "1", "--dial-timeout=0", "--command-timeout=0") as put:
            with late:
                equal(put.lines(1), ["OK"], "answer")
                equal(put.end(), OK, "status")
    with tally.case("the next endpoint is used when one takes connections and says nothing"):
        with FakeServer(read_to_end) as hung:
            client = Client(f"{hung.endpoint},{server.endpoint}")
            equal(client("put", "next", "2", "--dial-timeout=400ms"), "OK\n", "put")
            equal(hung.count, 1, "connections")
            status, _, err = run("get", "a", "--endpoints", hung.endpoint, "--dial-timeout=200ms")
            equal(status, FAILURE, "status")
            assert f"cannot connect: {hung.endpoint}: the server does not answer" in err, err
    with tally.case("an answer that does not come"):
        for talk in (silent_h2, pings):
            with FakeServer(talk) as fake:
                status, _, err = run("get", "a", "--endpoints", fake.endpoint,
                                     "--command-timeout=200ms")
                equal((status, err), (FAILURE, "Error: context deadline exceeded: no answer from "
                                      f"{fake.endpoint} within --command-timeout\n"), "get")
                status, _, err = run("put", "a", "b", "--endpoints", fake.endpoint,
                                     env={"ETCDCTL_COMMAND_TIMEOUT": "200ms"})
                equal(status, FAILURE, "put")
                assert "; it may have been done all the same" in err, err
    with tally.case("a lost answer: reads go on elsewhere, writes are never sent twice"):
        with FakeServer(drops) as fake:
            client = Client(f"{fake.endpoint},{server.endpoint}")
            equal(client("get", "next", "--print-value-only"), "2\n", "get")
            err = client("put", "next", "3", status=FAILURE)
            assert re.search(rf"{fake.endpoint}: (the server closed the c|C)onnection", err), err
            equal(fake.count, 2, "connections")
        equal(Client(server.endpoint)("get", "next"), "next\n2\n", "value")
    with tally.case("an error's text cannot write to the terminal"):
        with FakeServer(says(b"a%1b[2J%0aError: %7f%c2%9b%ff \"\\ %e2%82%ac")) as fake:
            want = r"""rpc error: code = Internal desc = a\x1b[2J\nError: \x7f\u009b\xff "\ €"""
            for words, before, after in ((["get", "a"], "Error: ", ""),
                                         (["watch", "a"], "Error: ", ""),
                                         (["lease", "keep-alive", "1", "--once"], "Error: ", ""),
                                         (["defrag"], "Failed to defragment", ")")):
                _, out, err = run(*words, "--endpoints", fake.endpoint)
                assert err.startswith(before) and want + after + "\n" in err, (words, err)
                equal(re.findall(r"[\0-\x09\x0b-\x1f\x7f-\x9f]", err + out.decode()), [], words)
    with tally.case("something that is no etcd"):
        with FakeServer(http1) as fake:
            status, _, err = run("get", "a", "--endpoints", fake.endpoint, "--dial-timeout=100ms")
            equal(status, FAILURE, "status")
            assert f"{fake.endpoint}: the server does not speak HTTP/2" in err, err
    with tally.case("endpoints and forms from the environment; options win"):
        env = {"KVCTL_ENDPOINTS": server.endpoint}
        equal(run("get", "next", env=env)[:2], (OK, b"next\n2\n"), "KVCTL_ENDPOINTS")
        env = {"ETCDCTL_ENDPOINTS": gone, "KVCTL_ENDPOINTS": server.endpoint}
        equal(run("get", "next", env=env)[:2], (OK, b"next\n2\n"), "ours wins")
        env = {"ETCDCTL_ENDPOINTS": f" {gone}, http://{server.endpoint} ", "ETCDCTL_WRITE_OUT": "json"}
        assert json.loads(run("get", "next", env=env)[1])["count"] == 1
        equal(run("get", "next", "-wsimple", env=env)[1], b"next\n2\n", "-wsimple")


# ---- keys and values ---------------------------------------------------------------------------------


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def keys_and_values(tally, k):
    with tally.case("put and get"):
        equal(k("put", "a", "1"), "OK\n", "put")
        equal(k("put", "a", "2", "--prev-kv"), "OK\na\n1\n", "previous")
        equal(k("put", "--prev-kv", "new", "x"), "OK\n", "no previous")
        equal(k("get", "a"), "a\n2\n", "get")
        equal(k("get", "absent"), "", "absent")
        equal(k("get", "a", "--hex"), "\\x61\n\\x32\n", "hex")
        equal(k("get", "a", "--print-value-only"), "2\n", "value only")
        equal(k("get", "a", "--keys-only"), "a\n\n", "keys only")
        equal(k("get", "a", "--count-only"), "1\n", "count only")
        equal(k("put", "empty", ""), "OK\n", "empty value")
        equal(k("get", "empty"), "empty\n\n", "empty value")
        equal(k("put", "negative", "--", "-5"), "OK\n", "--")
        equal(k("get", "--", "negative"), "negative\n-5\n", "--")
    with tally.case("put and get, json"):
        put = k.json("put", "a", "3", "--prev-kv")
        revision = put["header"]["revision"]
        equal(sorted(put["header"]), ["cluster_id", "member_id", "raft_term", "revision"], "header")
        previous = put["prev_kv"]
        equal((previous["key"], previous["value"], previous["version"]), (b64("a"), b64("2"), 2), "prev")
        got = k.json("get", "a")
        equal(got["count"], 1, "count")
        equal(got["kvs"], [{"key": b64("a"), "create_revision": previous["create_revision"],
                            "mod_revision": revision, "version": 3, "value": b64("3")}], "kvs")
        equal(k.json("get", "absent"), {"header": got["header"]}, "absent")
        equal(k.json("get", "a", "--count-only"), {"header": got["header"], "count": 1}, "count")
        assert "value" not in k.json("get", "a", "--keys-only")["kvs"][0]
        equal(k("get", "a", f"--rev={revision - 1}"), "a\n2\n", "old revision")
        equal(k("get", "a", "--rev", str(revision)), "a\n3\n", "this revision")
    with tally.case("a key that is none, a revision that is none"):
        for words in (["put", "", "x"], ["get", ""], ["del", ""]):
            equal(k(*words, status=FAILURE), "Error: etcdserver: key is not provided\n", words)
        equal(k("get", "a", "--rev=1000000", status=FAILURE),
              "Error: etcdserver: mvcc: required revision is a future revision\n", "future")
    with tally.case("bytes that are no text"):
        for key in (b"line\nbreak", b"\xff\xfe", "\u00e9\U0001f600".encode(), b"tab\t\x01", b'"\\'):
            equal(k.raw("put", key, b"<&>\xc3\x28\x7f\n"), b"OK\n", "put")
            equal(k.raw("get", key), key + b"\n<&>\xc3\x28\x7f\n\n", "get")
            kv = k.json("get", key)["kvs"][0]
            equal((kv["key"], kv["value"]), (b64(key), b64(b"<&>\xc3\x28\x7f\n")), "json")
            equal(k.raw("get", key, "--hex").splitlines()[0],
                  b"".join(b"\\x%02x" % c for c in key), "hex")
            equal(k.raw("del", key, "--prev-kv"), b"1\n" + key + b"\n<&>\xc3\x28\x7f\n\n", "del")
    with tally.case("values from standard input, every byte, 1 MiB"):
        for value in (b"from stdin", b"line\n", bytes(range(256)), os.urandom(1024 * 1024)):
            equal(k.raw("put", "stdin", stdin=value), b"OK\n", "put")
            equal(k.raw("get", "stdin", "--print-value-only"), value + b"\n", "value")
            equal(k.json("get", "stdin")["kvs"][0]["value"], b64(value), "json")
        err = k("put", "stdin", stdin=bytes(4 * 1024 * 1024), status=FAILURE)
        assert "too large" in err or "larger than max" in err, err
        err = k("get", "stdin", "--max-recv-bytes=1000", status=FAILURE)
        assert "received message larger than max" in err, err
        k("del", "stdin")
    with tally.case("standard input that cannot be read"):
        for words in (["put", "stdin"], ["txn"]):
            done = subprocess.run([KVCTL, "--endpoints", k.endpoint, *words], capture_output=True,
                                  env=CLEAN_ENV, preexec_fn=lambda: os.close(0), timeout=30)
            equal((done.returncode, done.stderr.decode()),
                  (FAILURE, "Error: standard input: Bad file descriptor\n"), words)
    with tally.case("keep the value, keep the lease"):
        lease = re.search(r"lease (\w+) ", k("lease", "grant", "100"))[1]
        k("put", "kept", "v", f"--lease={lease}")
        equal(k.json("get", "kept")["kvs"][0]["lease"], int(lease, 16), "lease")
        k("put", "kept", "w", "--ignore-lease")
        equal(k.json("get", "kept")["kvs"][0]["lease"], int(lease, 16), "lease stays")
        k("put", "kept", "--ignore-value")
        kv = k.json("get", "kept")["kvs"][0]
        equal((kv["value"], "lease" in kv), (b64("w"), False), "value stays, lease goes")
        equal(k("put", "nothing", "--ignore-value", status=FAILURE),
              "Error: etcdserver: key not found\n", "absent")
        equal(k("put", "kept", "v", "--lease=5", status=FAILURE),
              "Error: etcdserver: requested lease not found\n", "unknown lease")
        k("lease", "revoke", lease)
        k("del", "kept")
    with tally.case("ranges"):
        for i, value in enumerate("cabd"):
            k("put", f"r/{i}", value)
        k("put", "r/0", "c")
        every = "r/0\nc\nr/1\na\nr/2\nb\nr/3\nd\n"
        equal(k("get", "r/", "--prefix"), every, "prefix")
        equal(k("get", "r/", "r0"), every, "[key, end)")
        equal(k("get", "r/1", "r/3"), "r/1\na\nr/2\nb\n", "[key, end)")
        equal(k("get", "r/2", "--from-key"), "r/2\nb\nr/3\nd\n", "from key")
        equal(k("get", "r/", "--prefix", "--limit=2"), "r/0\nc\nr/1\na\n", "limit")
        assert k.json("get", "r/", "--prefix", "--limit=2")["more"] is True
        equal(k("get", "r/", "--prefix", "--count-only"), "4\n", "count")
        equal(k("get", "r/", "--prefix", "--keys-only"), "r/0\n\nr/1\n\nr/2\n\nr/3\n\n", "keys")
        for words, order in [(["--sort-by=VALUE"], "abcd"), (["--sort-by=value"], "abcd"),
                             (["--sort-by=VALUE", "--order=DESCEND"], "dcba"),
                             (["--order=DESCEND"], "dbac"), (["--order=ASCEND"], "cabd"),
                             (["--sort-by=MODIFY"], "abdc"), (["--sort-by=CREATE"], "cabd"),
                             (["--sort-by=VERSION", "--order=DESCEND", "--limit=1"], "c"),
                             (["--sort-by=KEY"], "cabd"), (["--consistency=s"], "cabd")]:
            equal(k("get", "r/", "--prefix", "--print-value-only", *words), "\n".join(order) + "\n",
                  words)
        first = k.json("get", "r/1")["kvs"][0]["mod_revision"]
        for words, values in [([f"--min-mod-rev={first + 1}"], "cbd"), ([f"--max-mod-rev={first}"], "a"),
                              ([f"--min-create-rev={first}"], "abd"),
                              ([f"--max-create-rev={first}"], "ca")]:
            equal(k("get", "r/", "--prefix", "--print-value-only", *words), "\n".join(values) + "\n",
                  words)
    with tally.case("del"):
        equal(k("del", "r/0"), "1\n", "one")
        equal(k("del", "r/0"), "0\n", "none")
        equal(k("del", "r/1", "--prev-kv"), "1\nr/1\na\n", "previous")
        equal(k("del", "r/2", "r/3", "--range"), "1\n", "range")
        answer = k.json("del", "r/", "--prefix", "--prev-kv")
        equal((answer["deleted"], answer["prev_kvs"][0]["value"]), (1, b64("d")), "json")
        k("put", "zzz", "1")
        equal(k("del", "zzy", "--from-key"), "1\n", "from key")
        k("put", "x", "1")
        count = k("get", "", "--prefix", "--count-only")
        equal(k("del", "", "--prefix"), count, "everything")
        equal(k("get", "", "--from-key"), "", "nothing is left")


def txns(tally, k):
    def txn(text, *words, **options):
        return k("txn", *words, stdin=text, **options)

    k("put", "t", "1")
    with tally.case("txn: success, failure, order of answers"):
        equal(txn('value("t") = "1"\n\nput t 2\nget t\ndel nothing\n\nput t 3\n\n'),
              "SUCCESS\n\nOK\n\nt\n2\n\n0\n", "success")
        equal(txn('value("t") = "1"\n\nput t 4\n\nget t\nput u 1 --prev-kv\n'),
              "FAILURE\n\nt\n2\n\nOK\n", "a failed condition is an answer: status 0")
        equal(txn("\nput u 2 --prev-kv\n"), "SUCCESS\n\nOK\nu\n1\n", "no conditions")
        equal(txn("\n\n\n"), "SUCCESS\n", "nothing to do")
        equal(txn('\n\nget t\n'), "SUCCESS\n", "the other branch")
        equal(txn(' \t\r\n  put   w\tx  \r\n\r\n'), "SUCCESS\n\nOK\n", "blanks, line ends of Windows")
        equal(k("get", "w"), "w\nx\n", "value")
    with tally.case("txn: every target and operator"):
        kv = k.json("get", "t")["kvs"][0]
        for line, holds in [('ver("t") = "%d"' % kv["version"], True), ('version("t") > "1"', True),
                            ('version("t") != "2"', False), ('c("t") = "%d"' % kv["create_revision"], True),
                            ('create("none") = "0"', True), ('m("t") < "%d"' % kv["mod_revision"], False),
                            ('mod("t") = "%d"' % kv["mod_revision"], True), ('val("t") > "1"', True),
                            ('value("t") < "1"', False), ('lease("t") = "0"', True),
                            ('value("t")="2"', True), ('value( "t")  !=  `2`', False),
                            ('value("\\x74") = "\\u0032"', True)]:
            equal(txn(line + "\n\n\n\n"), "SUCCESS\n" if holds else "FAILURE\n", line)
    with tally.case("txn: quoting"):
        text = '\nput "q 1" "a\\tb\\"c\\\\ \\x41\\u00e9\\101"\nput \'q 2\' \'as \\n it is\'\nput q3 -- -5\n\n'
        equal(txn(text), "SUCCESS\n\nOK\n\nOK\n\nOK\n", "put")
        equal(k("get", "q 1", "--print-value-only"), 'a\tb"c\\ A\u00e9A\n', "double quotes")
        equal(k("get", "q 2", "--print-value-only"), "as \\n it is\n", "single quotes")
        equal(k("get", "q3", "--print-value-only"), "-5\n", "--")
        equal(txn("\nget q --prefix --keys-only\ndel q --prefix\n\n"),
              "SUCCESS\n\nq 1\n\nq 2\n\nq3\n\n\n3\n", "options")
    with tally.case("txn: json"):
        answer = k.json("txn", stdin='\nput t 3\nget t\ndel u\n\n')
        equal((answer["succeeded"], [list(r["Response"]) for r in answer["responses"]]),
              (True, [["response_put"], ["response_range"], ["response_delete_range"]]), "answer")
        equal(answer["responses"][1]["Response"]["response_range"]["kvs"][0]["value"], b64("3"), "value")
        answer = k.json("txn", stdin='value("t") = "no"\n\nput t 4\n\n')
        equal(list(answer), ["header"], "failure: what is false is left out")
    with tally.case("txn: interactive"):
        prompts = "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\n"
        equal(txn('value("t") = "3"\n\nput t 5\n\n\n', "-i"), prompts + "SUCCESS\n\nOK\n", "-i")
        equal(txn("\r\nput t 6\r\n \nget t\n\n", "--interactive"), prompts + "SUCCESS\n\nOK\n",
              "lines of blanks end a part")
    for text, sentence in [
            ("", "the transaction ends before the blank line that ends its conditions"),
            ('value("t") = "1"\n', "ends before the blank line"),
            ("bad\n\n\n", 'malformed comparison: bad (write it like value("key") = "x")'),
            ('size("t") = "1"\n\n', "unknown target size: use version, create, mod, value or lease"),
            ('mod("t") = "x"\n\n', '"x" is no number'), ('mod("t") = "1\\x00"\n\n', "is no number"),
            ('value("t" = "1"\n\n', "malformed comparison"), ('value("t") ~ "1"\n\n', "operators are"),
            ('value("t") = "1" x\n\n', "malformed comparison"), ("value(t) = 1\n\n", "malformed"),
            ("\nfrob t\n\n", "invalid txn request: frob t (use put, get or del)"),
            ("\nput t\n\n", "put takes a key and a value"), ("\nput\n\n", "put takes a key and a value"),
            ("\nget t --frob\n\n", "unknown flag: --frob"), ("\nput \"t 1\n\n", "a quote is not closed"),
            ('\nput "\\q" 1\n\n', "a backslash sequence cannot be read"),
            ("\nput t a\0b\n\n", "a line has a NUL byte"),
            ('\nput "a\\x00b" 1\n\n', "a NUL byte cannot be given here"),
            ("\nget t --order=UP\n\n", "bad sort order"), ("\nput t v --lease=z\n\n", "bad lease id")]:
        with tally.case(f"txn that cannot be read: {text!r}"):
            for words in ([], ["-i"]):
                err = txn(text, *words, status=BAD_INPUT)
                assert err.startswith("Error: ") and sentence in err, err
    with tally.case("txn: what the server refuses"):
        equal(txn("\nput d 1\nput d 2\n\n", status=FAILURE),
              "Error: etcdserver: duplicate key given in txn request\n", "duplicate")
        assert "too many operations" in txn("\n" + "get t\n" * 200, status=FAILURE)
        assert "more than 4096 lines" in txn("\n" + "get t\n" * 5000, status=BAD_INPUT)


# ---- watch -------------------------------------------------------------------------------------------


def watches(tally, server, k):
    revision = k.json("put", "w/a", "1")["header"]["revision"]
    k("put", "w/a", "2")
    k("put", "w/b", "3")
    k("del", "w/a")
    with tally.case("watch: put and delete lines, then a signal"):
        for number in (signal.SIGINT, signal.SIGTERM):
            with Stream(server.endpoint, "watch", "w/a", f"--rev={revision}") as watch:
                equal(watch.lines(9), ["PUT", "w/a", "1", "PUT", "w/a", "2", "DELETE", "w/a", ""], "past")
                k("put", "w/a", "live")
                equal(watch.lines(3), ["PUT", "w/a", "live"], "live")
                equal(watch.end(number), -number, "ended by the signal")
    with tally.case("watch: prefix, range, previous values"):
        with Stream(server.endpoint, "watch", "w/", "--prefix", f"--rev={revision + 2}") as watch:
            equal(watch.lines(6), ["PUT", "w/b", "3", "DELETE", "w/a", ""], "prefix")
        with Stream(server.endpoint, "watch", "w/b", "w/c", f"--rev={revision}") as watch:
            equal(watch.lines(3), ["PUT", "w/b", "3"], "range")
        with Stream(server.endpoint, "watch", "w/a", "--prev-kv", f"--rev={revision + 1}") as watch:
            equal(watch.lines(10), ["PUT", "w/a", "1", "w/a", "2", "DELETE", "w/a", "2", "w/a", ""],
                  "previous")
    with tally.case("watch: json"):
        with Stream(server.endpoint, "watch", "w/a", f"--rev={revision + 1}", "-w", "json") as watch:
            answer = json.loads(watch.lines(1)[0])
            equal(sorted(answer), ["Canceled", "CompactRevision", "Created", "Events", "Header"], "keys")
            equal([e.get("type", 0) for e in answer["Events"][:2]], [0, 1], "types")
            equal(answer["Events"][0]["kv"]["value"], b64("2"), "value")
    with tally.case("watch: progress while nothing happens"):
        with Stream(server.endpoint, "watch", "w/idle", "--progress-notify") as watch:
            assert re.fullmatch(r"progress notify: \d+", watch.lines(1)[0])
    with tally.case("watch: key from the environment"):
        with Stream(server.endpoint, "watch", f"--rev={revision}", env={"ETCDCTL_WATCH_KEY": "w/a"}) as watch:
            equal(watch.lines(3), ["PUT", "w/a", "1"], "event")
        status, _, err = run("watch", "x", env={"KVCTL_WATCH_KEY": "w/a"})
        equal(status, BAD_ARGS, "status")
        assert "in the variable WATCH_KEY: choose one" in err, err
    with tally.case("watch: a command for each event"):
        script = 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_REVISION"'
        with Stream(server.endpoint, "watch", "w/b", f"--rev={revision}", "--", "sh", "-c", script,
                    env={"ETCD_WATCH_KEY": "outer"}) as watch:
            lines = watch.lines(4)
            equal(lines[:3], ["PUT", "w/b", "3"], "event")
            assert re.fullmatch(r'"PUT" "w/b" "3" \d+', lines[3]), lines
        with Stream(server.endpoint, "watch", "w/b", f"--rev={revision}", "--", "false") as watch:
            equal(watch.end(), FAILURE, "status of a command that fails")
            equal(watch.error(), 'Error: command "false": exit status 1', "sentence")
    with tally.case("watch: a connection that breaks is made again, nothing is missed"):
        with Stream(server.endpoint, "watch", "w/r", f"--rev={revision}") as watch:
            k("put", "w/r", "before")
            equal(watch.lines(3), ["PUT", "w/r", "before"], "before")
            server.kill()
            assert watch.error().endswith("watching on"), "says so"
            server.start()
            k("put", "w/r", "after")
            equal(watch.lines(3), ["PUT", "w/r", "after"], "after")
    with tally.case("watch: compacted"):
        k("compaction", str(revision + 3))
        with Stream(server.endpoint, "watch", "w/a", f"--rev={revision}") as watch:
            equal(watch.end(), CANCELED, "status")
            equal(watch.error(), "watch was canceled (etcdserver: mvcc: required revision has been "
                  f"compacted; the oldest revision left is {revision + 3})", "why")
            equal(watch.error(), "Error: watch is canceled by the server", "sentence")


# ---- leases ------------------------------------------------------------------------------------------


def leases(tally, server, k):
    with tally.case("lease: grant, attach, time to live, list, revoke"):
        text = k("lease", "grant", "100")
        lease = re.fullmatch(r"lease ([0-9a-f]{16}) granted with TTL\(100s\)\n", text)[1]
        k("put", "l/1", "x", f"--lease={lease}")
        k("put", "l/2", "y", f"--lease={lease}")
        text = k("lease", "timetolive", lease)
        assert re.fullmatch(rf"lease {lease} granted with TTL\(100s\), remaining\((99|100)s\)\n", text), text
        text = k("lease", "timetolive", lease, "--keys")
        assert text.endswith(", attached keys([l/1 l/2])\n"), text
        answer = k.json("lease", "timetolive", lease, "--keys")
        equal((answer["id"], answer["granted-ttl"], answer["keys"]),
              (int(lease, 16), 100, [b64("l/1"), b64("l/2")]), "json")
        equal(k("lease", "list"), f"found 1 leases\n{lease}\n", "list")
        equal(k.json("lease", "list")["leases"], [{"id": int(lease, 16)}], "list, json")
        equal(k("lease", "keep-alive", "--once", lease), f"lease {lease} keepalived with TTL(100)\n", "once")
        answer = k.json("lease", "keep-alive", "--once", lease)
        equal((answer["ID"], answer["TTL"]), (int(lease, 16), 100), "once, json")
        equal(k("lease", "revoke", lease), f"lease {lease} revoked\n", "revoke")
        equal(k("get", "l/", "--prefix"), "", "keys are gone")
        equal(k("lease", "list"), "found 0 leases\n", "list")
        answer = k.json("lease", "grant", "50")
        equal((answer["TTL"], answer["Error"]), (50, ""), "grant, json")
        equal(list(k.json("lease", "revoke", f"{answer['ID']:x}")), ["header"], "revoke, json")
    with tally.case("lease: one that does not exist"):
        equal(k("lease", "timetolive", "123"), "lease 0000000000000123 already expired\n", "ttl")
        equal(k("lease", "revoke", "123", status=FAILURE),
              "Error: etcdserver: requested lease not found\n", "revoke")
        equal(k("lease", "keep-alive", "--once", "123", status=FAILURE),
              "Error: etcdserver: requested lease not found\n", "once")
        equal(k("lease", "keep-alive", "123"), "lease 0000000000000123 expired or revoked.\n", "for ever")
        equal(k("lease", "grant", "9000000001", status=FAILURE),
              "Error: etcdserver: too large lease TTL\n", "too large")
    with tally.case("lease: keep-alive goes on across a restart and ends with the lease"):
        lease = re.search(r"lease (\w+) ", k("lease", "grant", "3"))[1]
        with Stream(server.endpoint, "lease", "keep-alive", lease) as keeper:
            equal(keeper.lines(2), [f"lease {lease} keepalived with TTL(3)"] * 2, "renewed")
            server.kill()
            assert keeper.error().endswith("; connecting again"), "says so"
            server.start()
            equal(keeper.lines(1), [f"lease {lease} keepalived with TTL(3)"], "renewed again")
            k("lease", "revoke", lease)
            lines = keeper.lines(2)
            while "keepalived" in lines[0]:
                lines = lines[1:] + keeper.lines(1)
            equal(lines, [f"lease {lease} expired or revoked.", ""], "end")
            equal(keeper.end(), OK, "status")
        lease = re.search(r"lease (\w+) ", k("lease", "grant", "100"))[1]
        with Stream(server.endpoint, "lease", "keep-alive", lease) as keeper:
            keeper.lines(1)
            equal(keeper.end(signal.SIGINT), -signal.SIGINT, "ended by a signal")
        k("lease", "revoke", lease)


# ---- cluster and maintenance -------------------------------------------------------------------------


def frame(*rows):
    """A table as -w table draws it; the first row are titles."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = "+" + "+".join("-" * (w + 2) for w in widths) + "+\n"
    title = "|" + "|".join(
        " " + " " * ((w - len(t)) // 2) + t + " " * (w - len(t) - (w - len(t)) // 2) + " "
        for t, w in zip(rows[0], widths)) + "|\n"
    body = "".join("|" + "|".join(f" {c.rjust(w)} " for c, w in zip(row, widths)) + "|\n"
                   for row in rows[1:])
    return rule + title + rule + body + rule


def maintenance(tally, server, k):
    url, peer = f"http://{server.endpoint}", f"http://127.0.0.1:{server.peer_port}"
    with tally.case("member list"):
        member = k.json("member", "list")["members"][0]
        equal(member, {"ID": member["ID"], "name": "default", "peerURLs": [peer], "clientURLs": [url]}, "json")
        row = [f"{member['ID']:x}", "started", "default", peer, url, "false"]
        equal(k("member", "list"), ", ".join(row) + "\n", "simple")
        equal(k("member", "list", "-w", "table"),
              frame(["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"], row), "table")
        equal(k.json("member", "list", "--hex")["members"][0]["ID"], row[0], "hex")
    with tally.case("endpoint status"):
        status = k.json("endpoint", "status")[0]
        equal((status["Endpoint"], status["Status"]["leader"]), (server.endpoint, member["ID"]), "json")
        words = k("endpoint", "status").rstrip("\n").split(", ")
        equal((words[0], words[1], words[2], words[8:10]),
              (server.endpoint, row[0], status["Status"]["version"], ["true", "false"]), "simple")
        table = k("endpoint", "status", "-w", "table").splitlines()
        equal(len(table), 5, "lines")
        equal([c.strip() for c in table[1].strip("|").split("|")],
              ["ENDPOINT", "ID", "VERSION", "STORAGE VERSION", "DB SIZE", "IN USE",
               "PERCENTAGE NOT IN USE", "QUOTA", "IS LEADER", "IS LEARNER", "RAFT TERM", "RAFT INDEX",
               "RAFT APPLIED INDEX", "ERRORS", "DOWNGRADE TARGET VERSION", "DOWNGRADE ENABLED"], "titles")
        equal(k.json("endpoint", "status", "--cluster")[0]["Endpoint"], url, "cluster")
        equal(len(Client(f"{server.endpoint},{url}").json("endpoint", "status")), 2, "two")
    with tally.case("endpoint health"):
        text = k("endpoint", "health")
        assert re.fullmatch(rf"{server.endpoint} is healthy: successfully committed proposal: "
                            r"took = [\d.]+[mµ]?s\n", text), text
        health = k.json("endpoint", "health", "--cluster")[0]
        equal((health["endpoint"], health["health"], "error" in health), (url, True, False), "json")
        table = k("endpoint", "health", "-w", "table")
        took = re.search(r"([\d.]+[mµ]?s) ", table)[1]
        equal(table, frame(["ENDPOINT", "HEALTH", "TOOK", "ERROR"], [server.endpoint, "true", took, ""]),
              "table")
    with tally.case("endpoint hashkv"):
        answer = k.json("endpoint", "hashkv")[0]
        hashed = [server.endpoint, str(answer["HashKV"]["hash"]), str(answer["HashKV"]["hash_revision"])]
        equal(k("endpoint", "hashkv"), ", ".join(hashed) + "\n", "simple")
        equal(k("endpoint", "hashkv", "-w", "table"), frame(["ENDPOINT", "HASH", "HASH_REVISION"], hashed),
              "table")
        at = answer["HashKV"]["hash_revision"] - 1
        equal(k.json("endpoint", "hashkv", f"--rev={at}")[0]["HashKV"]["hash_revision"], at, "older")
        err = k("endpoint", "hashkv", "--rev=1000000", status=FAILURE)
        assert "required revision is a future revision" in err, err
    with tally.case("compaction"):
        revision = k.json("put", "c", "1")["header"]["revision"]
        k("put", "c", "2")
        equal(k("compaction", str(revision)), f"compacted revision {revision}\n", "simple")
        equal(k("compaction", str(revision + 1), "--physical", "-w", "json"),
              f"compacted revision {revision + 1}\n", "physical")
        equal(k("compaction", str(revision), status=FAILURE),
              "Error: etcdserver: mvcc: required revision has been compacted\n", "again")
        equal(k("get", "c", f"--rev={revision}", status=FAILURE),
              "Error: etcdserver: mvcc: required revision has been compacted\n", "read")
    with tally.case("defrag"):
        text = k("defrag")
        assert re.fullmatch(rf"Finished defragmenting etcd member\[{server.endpoint}\]. "
                            r"took [\d.]+[mµ]?s\n", text), text
        assert f"member[{url}]" in k("defrag", "--cluster")
        equal(k("get", "c"), "c\n2\n", "all is there")
    with tally.case("alarms: none"):
        equal(k("alarm", "list"), "", "simple")
        equal(list(k.json("alarm", "list")), ["header"], "json")
        equal(k("alarm", "disarm"), "", "disarm")
        equal(list(k.json("alarm", "disarm")), ["header"], "disarm, json")


def alarms(tally):
    with Server("kvd", ["--quota-backend-bytes", "2000000", "--alarm-self-clearing=false"]) as server:
        k = Client(server.endpoint)
        with tally.case("alarms: raised, listed, sick, ended"):
            value = bytes(700000)
            status = OK
            for i in range(8):
                status, _, err = run("--endpoints", server.endpoint, "put", f"big{i}", stdin=value)
                if status != OK:
                    break
            equal((status, err), (FAILURE, "Error: etcdserver: mvcc: database space exceeded\n"), "full")
            # Whatever else was on its way is done before this answers.
            k("del", "nothing")
            member = k.json("member", "list")["members"][0]["ID"]
            line = f"memberID:{member} alarm:NOSPACE \n"
            equal(k("alarm", "list"), line, "list")
            equal(k.json("alarm", "list")["alarms"], [{"memberID": member, "alarm": 1}], "json")
            status, out, err = run("endpoint", "health", "--endpoints", server.endpoint)
            equal((status, out), (FAILURE, b""), "health")
            equal(err, f"{server.endpoint} is unhealthy: failed to commit proposal: Active Alarm(s): "
                       "NOSPACE \nError: unhealthy cluster\n", "health")
            status, out, err = run("endpoint", "health", "--endpoints", server.endpoint, "-w", "json")
            health = json.loads(out)[0]
            equal((status, health["health"], health["error"]), (FAILURE, False, "Active Alarm(s): NOSPACE "),
                  "health, json")
            k("del", "big", "--prefix")
            revision = k.json("get", "x")["header"]["revision"]
            k("compaction", str(revision), "--physical")
            equal(k("alarm", "disarm"), line, "disarm")
            equal(k("alarm", "list"), "", "list")
            equal(k("put", "small", "1"), "OK\n", "writes go again")


# ---- the same as etcdctl -----------------------------------------------------------------------------

SAME = [
    (["put", "a", "1"], ""), (["put", "a", "2", "--prev-kv"], ""), (["put", "a", "3", "-w", "json"], ""),
    (["put", "a", "4", "--prev-kv", "-w", "json"], ""), (["put", "e", ""], ""), (["put", "s"], "stdin\n"),
    (["put", "", "x"], ""), (["put", "a", "v", "--lease=77"], ""), (["put", "n", "--ignore-value"], ""),
    (["put", "b1", "x"], ""), (["put", "b2", "y"], ""), (["put", "b3", "a"], ""),
    (["get", "a"], ""), (["get", "a", "--write-out", "json"], ""), (["get", "a", "--hex"], ""), (["get", "no"], ""),
    (["get", "b", "--prefix"], ""), (["get", "b", "--prefix", "-w", "json"], ""), (["get", "b1", "b3"], ""),
    (["get", "b2", "--from-key"], ""), (["get", "b", "--prefix", "--limit=2", "-w", "json"], ""),
    (["get", "b", "--prefix", "--keys-only"], ""), (["get", "b", "--prefix", "--print-value-only"], ""),
    (["get", "b", "--prefix", "--sort-by=VALUE"], ""), (["get", "b", "--prefix", "--order=DESCEND"], ""),
    (["get", "", "--prefix"], ""), (["get", "", "--from-key"], ""), (["get", "a", "--consistency=s"], ""),
    (["get", "a", "--rev=2"], ""), (["get", "a", "--rev=999"], ""), (["get", "a", "--order=UP"], None),
    (["get", "a", "--sort-by=UP"], None), (["get", "a", "--consistency=x"], None),
    (["get", "a", "-w", "xml"], None), (["get", "a", "-w", "table"], None), (["get"], None),
    (["del", "no"], ""), (["del", "b1"], ""), (["del", "b2", "--prev-kv"], ""),
    (["del", "b", "--prefix", "--prev-kv", "-w", "json"], ""), (["del", "", "x"], ""),
    (["txn"], 'value("a") = "4"\n\nput t yes\nget a\n\nput t no\n\n'),
    (["txn"], 'value("a") = "no"\n\nput t yes\n\nput t no\nget t\ndel t\n\n'),
    (["txn", "-i"], 'mod("a") > "0"\nver("a") = "4"\n\nget a\n\n\n'),
    (["txn", "-i"], 'mod("a") > "0"\n\nput "q 1" "a\\tb"\nput q2 xy\nget q --prefix\n\n\n'),
    (["txn"], '\nput d 1\nput d 2\n\n\n'), (["txn"], None), (["txn"], "\nput t yes\n\n\n"),
    (["lease", "timetolive", "123"], ""), (["lease", "timetolive", "123", "-w", "json"], ""),
    (["lease", "keep-alive", "123"], ""), (["lease", "list"], ""), (["lease", "list", "-w", "json"], ""),
    (["lease", "revoke", "zz"], None), (["lease", "grant", "x"], None), (["lease", "grant", "50"], ""),
    (["lease", "grant", "50", "-w", "json"], ""), (["lease", "list"], ""),
    (["compaction", "3"], ""), (["compaction", "3"], ""), (["compaction", "999"], ""),
    (["compaction", "4", "--physical", "-w", "json"], ""), (["get", "a", "--rev=2"], ""),
    (["alarm", "list"], ""), (["alarm", "list", "-w", "json"], ""), (["alarm", "disarm"], ""),
    (["member", "list"], ""), (["member", "list", "-w", "json"], ""), (["member", "list", "-w", "table"], ""),
    (["endpoint", "health", "-w", "json"], ""), (["endpoint", "health"], "merged")]


def blank(text):
    """Without what belongs to one process."""
    text = re.sub(r'"(cluster_id|member_id|raft_term|ID|id)":\d+', r'"\1":N', text)
    text = re.sub(r"\b[0-9a-f]{11,16}\b", "LEASE-OR-MEMBER", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r'took( = |":")[\d.]+[mµ]?s', r"took\1T", text)
    text = re.sub(r"^\{\"level\".*\n?", "", text, flags=re.M)
    return re.sub(r"-{5,}|\d+s\)| {2,}", "", text)


def same_as_etcdctl(tally):
    """The same commands by kvctl on one kvd and by etcdctl on another. Sentences are compared where the
    server says them; where the tool does (stdin None), only the status."""
    with Server("kvd") as ours, Server("kvd") as theirs:
        for words, stdin in SAME:
            with tally.case("as etcdctl: " + " ".join(words)):
                status, out, err = run("--endpoints", ours.endpoint, *words, stdin=stdin or "")
                other = theirs.etcdctl(*words, stdin=stdin)
                equal(status, other[0], f"status ({err.strip()})")
                if stdin == "merged":
                    equal(blank(out.decode() + err), blank(other[1] + other[2]), "what is said")
                else:
                    equal(blank(out.decode()), blank(other[1]), "output")
                if stdin is not None and stdin != "merged":
                    equal(blank(err), blank(other[2]), "sentence")


def main():
    tally = Tally()
    command_line(tally)
    with Server("kvd", ["--watch-progress-notify-interval=200ms"]) as server:
        k = Client(server.endpoint)
        unreachable(tally, server)
        keys_and_values(tally, k)
        txns(tally, k)
        watches(tally, server, k)
        leases(tally, server, k)
        maintenance(tally, server, k)
        with tally.case("the server is well"):
            equal(server.process.poll(), None, "status")
    alarms(tally)
    same_as_etcdctl(tally)
    tally.close()


main()
