#!/usr/bin/env python3
"""Hostile and broken clients: each gets the contract's error or a closed connection, costs bounded memory,
and a well-behaved client goes on undisturbed all the time."""
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import h2raw
from h2raw import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM,
                   Connection, frame, grpc_headers, message)
from kvdtest import Server, Tally, equal

PUT, RANGE, TXN = b"/etcdserverpb.KV/Put", b"/etcdserverpb.KV/Range", b"/etcdserverpb.KV/Txn"
WATCH = b"/etcdserverpb.Watch/Watch"
MEMORY_MB_MAX = 300  # ours allowed on top of idle, whatever clients do (base/limits.h adds up)


def resident_mb(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


class GoodClient(threading.Thread):
    """Puts and gets by a fresh connection each time; every failure is kept."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.done = server, threading.Event()
        self.count, self.failures = 0, []

    def run(self):
        while not self.done.is_set():
            try:
                status = grpc(self.server, PUT, h2raw.field(1, b"good") + h2raw.field(2, b"x"))
                if status[0] != "0":
                    self.failures.append(status)
                self.count += 1
            except Exception as e:  # kept for the verdict
                self.failures.append(repr(e))


def curl(server, path, *words, stdin=None):
    # An answer that is whole before the upload began ends with RST_STREAM(NO_ERROR), as grpc-go's
    # does; some versions of curl then call it an error (92).
    for _ in range(50):
        run = subprocess.run(["curl", "-s", "-m", "20", *words, f"http://{server.endpoint}{path}"],
                             input=stdin, capture_output=True)
        if run.returncode != 92:
            break
    return run.returncode, run.stdout


def grpc(server, path, body, raw=None, headers=()):
    """(grpc-status, grpc-message, http status) of one unary call through curl."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(message(body) if raw is None else raw)
        f.flush()
        words = ["--http2-prior-knowledge", "-X", "POST", "-H", "content-type: application/grpc", "-H",
                 "te: trailers", "--data-binary", f"@{f.name}", "-D", "-", "-o", "/dev/null"]
        for h in headers:
            words += ["-H", h]
        out = curl(server, path.decode(), *words)[1].decode(errors="replace")
    status = re.search(r"grpc-status: (\d+)", out)
    text = re.search(r"grpc-message: ([^\r\n]*)", out)
    http = re.search(r"^HTTP/2 (\d+)", out, re.M)
    return (status.group(1) if status else None, text.group(1) if text else "",
            http.group(1) if http else None)


def nested_txn(depth):
    body = b""
    for _ in range(depth):
        body = h2raw.field(2, h2raw.field(4, body))  # success { request_txn {...} }
    return body


def unary_cases(server, tally):
    with tally.case("a message above the limit is refused by its length prefix"):
        status = grpc(server, PUT, b"", raw=message(b"x" * 1000, length=3000000))
        equal(status[0], "8", "grpc-status")
        assert "received message larger than max (3000000 vs. 2097152)" in status[1].replace(
            "%20", " "), status
    with tally.case("a request above max-request-bytes is refused"):
        body = h2raw.field(1, b"k") + h2raw.field(2, b"x" * 1600000)
        equal(grpc(server, PUT, body)[:2], ("3", "etcdserver: request is too large"))
    with tally.case("malformed protobuf"):
        for body in (b"\xff\xff\xff", b"\x0a\x80\x80", b"\x0a\x05ab", b"\x00", b"\x0b\x0b"):
            equal(grpc(server, PUT, body)[0], "13", repr(body))
    with tally.case("a transaction nested too deeply"):
        for depth in (30, 200, 20000):
            status = grpc(server, TXN, nested_txn(depth))
            assert status[0] not in (None, "0") or depth == 30, (depth, status)
    with tally.case("the unknown and the unfit"):
        equal(grpc(server, b"/etcdserverpb.KV/Nothing", b"")[0], "12")
        equal(grpc(server, b"/no.Service/Put", b"")[0], "12")
        # As grpc-go: a flag without an encoding is the client's bug, an unknown encoding is ours.
        equal(grpc(server, PUT, b"", raw=message(b"", compressed=1))[0], "13", "flag, no encoding")
        equal(grpc(server, PUT, b"", raw=message(b"", compressed=1),
                   headers=["grpc-encoding: gzip"])[0], "12", "compressed")
        equal(grpc(server, PUT, b"", raw=b"\x00\x00")[0], "13", "cut in the prefix")
        out = curl(server, PUT.decode(), "--http2-prior-knowledge", "-o", "/dev/null", "-w",
                   "%{http_code}", "-H", "content-type: application/grpc")[1]
        equal(out, b"405", "GET on a method")
        out = curl(server, PUT.decode(), "--http2-prior-knowledge", "-X", "POST", "-o", "/dev/null",
                   "-w", "%{http_code}", "-H", "content-type: text/plain", "-d", "x")[1]
        equal(out, b"415", "another content type")
    with tally.case("an expired deadline"):
        status = grpc(server, RANGE, h2raw.field(1, b"k"), headers=["grpc-timeout: 0n"])
        equal(status[0], "4", "grpc-status")


def raw_bytes(server, data, timeout=15):
    """Everything the server says until it closes or is silent."""
    s = socket.create_connection(("127.0.0.1", server.port), timeout)
    out = b""
    try:
        s.sendall(data)
        while True:
            more = s.recv(65536)
            if not more:
                break
            out += more
            if b"\r\n\r\n" in out and b"Connection: close" not in data:
                break
    except (socket.timeout, ConnectionError):
        pass
    s.close()
    return out


def http1_cases(server, tally):
    with tally.case("HTTP/1.1: garbage, huge heads, wrong methods"):
        assert b" 400 " in raw_bytes(server, b"\x01\x02garbage\r\n\r\n").split(b"\r\n")[0] + b" ", \
            "garbage"
        head = b"GET /version HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n"
        answer = raw_bytes(server, head).split(b"\r\n")[0]
        assert b"431" in answer or answer == b"", answer
        assert b"405" in raw_bytes(server, b"PUT /version HTTP/1.1\r\nHost: x\r\n"
                                           b"Content-Length: 0\r\n\r\n").split(b"\r\n")[0]
        assert b"404" in raw_bytes(server, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").split(
            b"\r\n")[0]
    with tally.case("HTTP/1.1 one byte at a time"):
        s = socket.create_connection(("127.0.0.1", server.port), 15)
        for byte in b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n":
            s.sendall(bytes([byte]))
        assert b"200" in s.recv(65536).split(b"\r\n")[0]
        s.close()


def http2_cases(server, tally):
    with tally.case("HTTP/2 one byte at a time"):
        request = h2raw.PREFACE + frame(h2raw.SETTINGS) + \
            frame(HEADERS, END_HEADERS, 1, grpc_headers(RANGE)) + \
            frame(DATA, END_STREAM, 1, message(h2raw.field(1, b"good")))
        s = socket.create_connection(("127.0.0.1", server.port), 15)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            s.sendall(bytes([byte]))
        c = Connection.__new__(Connection)
        c.socket, c.buffer = s, b""
        kinds = []
        for kind, flags, stream, payload in c.frames():
            if stream == 1:
                kinds.append(kind)
                if flags & END_STREAM:
                    break
        equal(kinds, [HEADERS, DATA, HEADERS], "frames of the answer")
        c.close()
    with tally.case("messages begun and never finished cost bounded memory"):
        before = resident_mb(server)
        held = []
        for _ in range(40):
            c = Connection(server.port)
            held.append(c)
            try:
                c.socket.settimeout(1)
                for stream in range(1, 41, 2):
                    c.send(frame(HEADERS, END_HEADERS, stream, grpc_headers(PUT)),
                           frame(DATA, 0, stream, message(b"x" * 10000, length=2000000)))
                for _ in range(200):
                    for stream in range(1, 41, 2):
                        c.send(frame(DATA, 0, stream, b"x" * 16000))
            except OSError:
                pass  # the server stopped reading or closed: both are fine
        grown = resident_mb(server) - before
        for c in held:
            c.close()
        assert grown < MEMORY_MB_MAX, f"grew by {grown:.0f} MB"
    with tally.case("endless headers, a header bomb, a flood of continuations"):
        for blocks in ([literal_bomb()], [b"\x00\x01a\x01b" * 3000] * 200):
            c = Connection(server.port)
            try:
                c.send(frame(HEADERS, 0, 1, grpc_headers(PUT)))
                for block in blocks:
                    for at in range(0, len(block), 16000):
                        c.send(frame(CONTINUATION, 0, 1, block[at:at + 16000]))
                c.send(frame(CONTINUATION, END_HEADERS, 1))
            except OSError:
                pass
            c.close()
    with tally.case("rapid resets and floods of pings end in GOAWAY or a close"):
        c = Connection(server.port)
        try:
            for i in range(100000):
                stream = 2 * i + 1
                c.send(frame(HEADERS, END_HEADERS, stream, grpc_headers(WATCH)),
                       frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
        except OSError:
            pass
        c.close()
        c = Connection(server.port)
        try:
            for _ in range(50):
                c.send(frame(PING, 0, 0, b"12345678"))
        except OSError:
            pass
        kinds = [f for f in c.frames() if f[0] == GOAWAY]
        assert kinds and b"too_many_pings" in kinds[0][3], kinds
        c.close()
    with tally.case("a watcher that never reads costs bounded memory"):
        before = resident_mb(server)
        c = Connection(server.port, settings=struct.pack(">HI", 4, 65535))
        create = h2raw.field(1, h2raw.field(1, b"flood"))
        c.send(frame(HEADERS, END_HEADERS, 1, grpc_headers(WATCH)),
               frame(DATA, 0, 1, message(create)))
        for _ in range(120):
            equal(grpc(server, PUT, h2raw.field(1, b"flood") + h2raw.field(2, b"x" * 1000000))[0],
                  "0")
        grown = resident_mb(server) - before
        c.close()
        assert grown < MEMORY_MB_MAX, f"grew by {grown:.0f} MB"


def literal_bomb():
    """Indexed references to one large header inserted before: the classic HPACK bomb."""
    insert = b"\x40" + h2raw.integer(4, 7) + b"bomb" + h2raw.integer(3500, 7) + b"b" * 3500
    return insert + b"\xbe" * 60000


def many_connections(server, tally, count):
    with tally.case(f"{count} connections"):
        before = resident_mb(server)
        held = []
        for i in range(count):
            s = socket.create_connection(("127.0.0.1", server.port), 15)
            s.sendall(h2raw.PREFACE + frame(h2raw.SETTINGS))
            held.append(s)
        equal(grpc(server, RANGE, h2raw.field(1, b"good"))[0], "0", "a call among them")
        grown = resident_mb(server) - before
        for s in held:
            s.close()
        assert grown < MEMORY_MB_MAX, f"grew by {grown:.0f} MB"


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10000, hard - 200)
    tally = Tally()
    with Server("kvd") as server:
        good = GoodClient(server)
        good.start()
        unary_cases(server, tally)
        http1_cases(server, tally)
        http2_cases(server, tally)
        many_connections(server, tally, count)
        good.done.set()
        good.join()
        with tally.case("the well-behaved client went on"):
            equal(good.failures, [], "its failures")
            assert good.count > 50, good.count
        with tally.case("the server is alive, ready and quiet"):
            equal(server.process.poll(), None, "status")
            equal(server.get("/readyz")[0], 200, "/readyz")
            errors = [x for x in server.log_text().splitlines() if '"level":"error"' in x]
            equal(errors, [], "error lines")
            equal(server.stop(), -15, "wait status")
    tally.close()


main()
