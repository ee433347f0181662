#!/usr/bin/python3
"""The HTTP side of the client port as the contract has it: hosts, origins, methods, unknown paths, unix
sockets, and what goes over HTTP/2 without being gRPC. Where an etcd is on PATH it must answer alike."""
import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import Client
from kvdtest import KVD, Server, Tally, equal, etcd_path, etcd_version, free_ports

ALLOW_HEADERS = "accept, content-type, authorization"
ALLOW_METHODS = "POST, GET, OPTIONS, PUT, DELETE"


def ask(port, path, method="GET", headers=None, body=None):
    """(status, body, headers in lower case)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers or {})
        got = connection.getresponse()
        return got.status, got.read().decode(), {k.lower(): v for k, v in got.getheaders()}


def origins(headers):
    return tuple(headers.get(f"access-control-allow-{name}") for name in ("origin", "methods", "headers"))


def open_to_all(tally, server):
    kind = server.kind
    with tally.case(f"{kind}: by default every origin may read"):
        for path, method in (("/health", "GET"), ("/version", "GET"), ("/nothing", "GET")):
            equal(origins(ask(server.port, path, method)[2]), ("*", ALLOW_METHODS, ALLOW_HEADERS), path)
    with tally.case(f"{kind}: OPTIONS is 200 and empty on any path"):
        for path in ("/health", "/v3/kv/range", "/nothing"):
            status, body, headers = ask(server.port, path, "OPTIONS")
            equal((status, body), (200, ""), path)
            equal(origins(headers), ("*", ALLOW_METHODS, ALLOW_HEADERS), path)
    with tally.case(f"{kind}: any Host is served"):
        equal(ask(server.port, "/health", headers={"Host": "some.where:1"})[0], 200)
    with tally.case(f"{kind}: an unknown path"):
        status, body, headers = ask(server.port, "/nothing/at/all")
        equal((status, body), (404, "404 page not found\n"))
        equal(headers["content-type"], "text/plain; charset=utf-8", "content-type")
        equal(headers["x-content-type-options"], "nosniff", "X-Content-Type-Options")
    with tally.case(f"{kind}: pages are for GET"):
        for path in ("/health", "/version"):
            for method in ("POST", "PUT", "DELETE"):
                status, _, headers = ask(server.port, path, method, body=b"x")
                equal((status, headers.get("allow")), (405, "GET"), f"{method} {path}")
    with tally.case(f"{kind}: an upgrade to h2c is ignored"):
        status, body, _ = ask(server.port, "/health", headers={
            "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"})
        equal((status, '"health":"true"' in body), (200, True))
    with tally.case(f"{kind}: one connection carries many requests"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        with contextlib.closing(connection):
            for _ in range(3):
                connection.request("GET", "/version")
                got = connection.getresponse()
                equal((got.status, b"etcdserver" in got.read()), (200, True))
            assert connection.sock is not None, "the connection was closed"
    with tally.case(f"{kind}: the body of /version"):
        _, body, headers = ask(server.port, "/version")
        assert re.fullmatch(r'\{"etcdserver":"[^"]+","etcdcluster":"\d+\.\d+\.\d+"[^{}]*\}', body), body
        equal(headers["content-type"], "application/json", "content-type")


def lists(tally, kind):
    flags = ["--cors", "http://a.example:80,http://b.example:80", "--host-whitelist", "127.0.0.1,name.example"]
    with Server(kind, flags) as server:
        with tally.case(f"{kind}: --cors names origins"):
            for origin in ("http://a.example:80", "http://b.example:80"):
                headers = ask(server.port, "/health", headers={"Origin": origin})[2]
                equal(origins(headers), (origin, ALLOW_METHODS, ALLOW_HEADERS), origin)
            equal(origins(ask(server.port, "/health", headers={"Origin": "http://c.example:80"})[2]),
                  (None, None, None), "an origin that is not named")
            equal(origins(ask(server.port, "/health")[2]), (None, None, None), "no origin")
        with tally.case(f"{kind}: --host-whitelist names hosts"):
            for host in ("127.0.0.1", "name.example", f"name.example:{server.port}"):
                equal(ask(server.port, "/health", headers={"Host": host})[0], 200, host)
            status, body, _ = ask(server.port, "/health", headers={"Host": "evil.example"})
            equal(status, 421, "a host that is not named")
            assert "host-whitelist" in body, body
        with tally.case(f"{kind}: gRPC does not look at the Host"):
            with contextlib.closing(Client(server.port)) as client:
                client.put(b"a", b"b")


def extensive(tally):
    name = ('grpc_server_handling_seconds_count{grpc_method="Put",grpc_service="etcdserverpb.KV",'
            'grpc_type="unary"}')
    with tally.case("--metrics=extensive counts the time of calls"):
        with Server("kvd", ["--metrics=extensive"]) as server:
            with contextlib.closing(Client(server.port)) as client:
                client.put(b"a", b"b")
            equal(grpcraw.metrics(server).get(name), 1, name)
    with tally.case("--metrics=basic does not"):
        with Server("kvd") as server:
            equal(grpcraw.metrics(server).get(name), None, name)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


def unix_socket(tally):
    """unix://localhost:20000 is a file of that name in the working directory (W-06)."""
    with tally.case("a unix socket carries HTTP and gRPC"), tempfile.TemporaryDirectory() as folder:
        port = free_ports(1)[0]
        name = f"localhost:{port}"
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(os.path.join(folder, "notify"))
        notify.settimeout(30)
        with open(os.path.join(folder, "log"), "wb") as log:
            process = subprocess.Popen(
                [KVD, "--data-dir", "data", "--listen-client-urls", f"unix://{name}",
                 "--advertise-client-urls", f"unix://{name}"], cwd=folder, stdout=log, stderr=log,
                env=dict(os.environ, NOTIFY_SOCKET=os.path.join(folder, "notify")))
        try:
            assert b"READY=1" in notify.recv(100)
            path = os.path.join(folder, name)
            with contextlib.closing(UnixConnection(path)) as connection:
                connection.request("GET", "/health")
                equal(connection.getresponse().read(), b'{"health":"true","reason":""}')
            channel = grpcraw.grpc.insecure_channel(f"unix:{path}")
            with contextlib.closing(channel):
                put = channel.unary_unary(grpcraw.KV + "Put", None, None)
                put(grpcraw.put_body(b"a", b"b"), timeout=20)
        finally:
            process.terminate()
            process.wait(20)
            notify.close()
        equal(process.returncode, -15, "wait status")
        assert not os.path.exists(path), "the socket's file stayed"


def http2(tally, server):
    with tally.case("HTTP/2 without TLS is for gRPC alone"):
        out = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-o", os.devnull, "-w",
                              "%{http_version} %{http_code}", f"http://{server.endpoint}/health"],
                             capture_output=True, text=True, timeout=20).stdout
        assert re.fullmatch(r"2 4\d\d", out), out
    with tally.case("/debug/vars is one JSON object, /debug/pprof and /debug/requests are not there"):
        import json
        equal(isinstance(json.loads(ask(server.port, "/debug/vars")[1]), dict), True)
        for path in ("/debug/pprof/", "/debug/requests"):
            equal(ask(server.port, path)[0], 404, path)


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    with Server("kvd") as server:
        open_to_all(tally, server)
        http2(tally, server)
    lists(tally, "kvd")
    extensive(tally)
    unix_socket(tally)
    if etcd_path() is None:
        tally.skip("the same against etcd", "no etcd on PATH")
    else:
        print(f"the same against etcd {etcd_version()}")
        with Server("etcd") as server:
            open_to_all(tally, server)
        lists(tally, "etcd")
    tally.close()


main()
