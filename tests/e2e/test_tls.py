#!/usr/bin/python3
"""TLS on the client port with real clients: curl, openssl s_client, etcdctl and python. Good and bad
certificates, both schemes on one port, a reload under load, slow handshakes, garbage. The certificates
are made here by the openssl command. Where an etcd is on PATH the same bad clients meet it, too."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import ETCDCTL_ENV, KVD, Server, Tally, equal, etcd_path, free_ports

WAIT_SECONDS = 20


class Authority:
    """A folder of certificates signed by one made-up authority."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.cert = self.path("ca.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", self.path("ca.key"), "-out", self.cert, "-days", "30", "-subj", f"/CN={name}")

    def path(self, name):
        return os.path.join(self.folder, f"{self.name}-{name}")

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def issue(self, name, subject=None, days="30", usage="serverAuth,clientAuth", bundle=None):
        """(certificate, key). days may be negative; then it is valid from before that."""
        cert, key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        request, rules = self.path(f"{name}.csr"), self.path(f"{name}.ext")
        with open(rules, "w") as f:
            f.write(f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n"
                    "basicConstraints=CA:FALSE\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     key + ".new", "-out", request, "-subj", subject or f"/O=testers/CN={name}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.path("ca.key"),
                     "-CAcreateserial", "-days", days, "-extfile", rules, "-out", cert + ".new")
        # In one step each, as tools that renew do; between the two the pair does not match.
        os.rename(key + ".new", key)
        os.rename(cert + ".new", cert)
        return cert, key


class TlsServer(Server):
    """A server whose client URLs are given: {port} and {plain} are filled in."""

    def __init__(self, kind, urls, flags=()):
        super().__init__(kind, flags)
        self.plain, = free_ports(1)
        self.urls = urls.format(port=self.port, plain=self.plain, root=self.root)

    def command(self):
        words = super().command()
        at = words.index("--listen-client-urls")
        words[at + 1] = self.urls
        words[at + 3] = self.urls.split(",")[0]
        return words


def curl(url, *words):
    """(status, body, error text, HTTP version)."""
    run = subprocess.run(["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code} %{http_version}", *words,
                          url], capture_output=True, text=True)
    body, _, last = run.stdout.rpartition("\n")
    code, version = last.split()
    return int(code), body, run.stderr, version


def etcdctl(endpoint, *words, ca=None, pair=None, timeout="5s"):
    flags = ["--endpoints", endpoint, "--command-timeout", timeout, "--dial-timeout", timeout]
    if ca:
        flags += ["--cacert", ca]
    if pair:
        flags += ["--cert", pair[0], "--key", pair[1]]
    run = subprocess.run(["etcdctl", *flags, *words], capture_output=True, text=True, env=ETCDCTL_ENV)
    return run.returncode, run.stdout, run.stderr


def refused_texts(server):
    """The reasons in the log of connections that were turned away."""
    out = []
    for line in server.log_text().splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if "rejected connection" in entry.get("msg", ""):
                out.append(entry.get("error", ""))
    return out


def await_text(server, part):
    deadline = time.monotonic() + WAIT_SECONDS
    while not any(part in text for text in refused_texts(server)):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in the log: {part}; there are {refused_texts(server)}")
        time.sleep(0.02)


def context(ca, pair=None, version=None):
    c = ssl.create_default_context(cafile=ca)
    if pair:
        c.load_cert_chain(*pair)
    if version:
        c.maximum_version = c.minimum_version = version
    return c


def connections(server):
    """Open client connections as /metrics on the plain port counts them, without the one that asks."""
    body = curl(f"http://127.0.0.1:{server.plain}/metrics")[1]
    return int(re.search(r"^kvd_rpc_connections (\d+)", body, re.M).group(1)) - 1


def await_connections(server, count):
    deadline = time.monotonic() + WAIT_SECONDS
    while connections(server) != count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{connections(server)} connections, not {count}")
        time.sleep(0.02)


def server_only(tally, ca, other):
    pair = ca.issue("server")
    flags = ["--cert-file", pair[0], "--key-file", pair[1]]
    with TlsServer("kvd", "https://127.0.0.1:{port},http://127.0.0.1:{plain}", flags) as server:
        base = f"https://127.0.0.1:{server.port}"
        with tally.case("curl over HTTP/2 and HTTP/1.1 reaches the pages"):
            for words, version in (((), "2"), (("--http1.1",), "1.1")):
                status, body, error, got = curl(base + "/health", "--cacert", ca.cert, *words)
                equal((status, got), (200, version), error)
                assert '"health":"true"' in body, body
            status, body, _, version = curl(base + "/metrics", "--cacert", ca.cert)
            equal((status, version), (200, "2"))
            assert "etcd_server_has_leader 1" in body
            equal(curl(base + "/nothing", "--cacert", ca.cert)[:2], (404, "404 page not found\n"))
            equal(curl(base + "/health", "--cacert", ca.cert, "-X", "POST", "-d", "x")[0], 405)
            head = subprocess.run(["curl", "-sSI", "--cacert", ca.cert, base + "/version"],
                                  capture_output=True, text=True).stdout
            assert head.startswith("HTTP/2 200"), head
        with tally.case("etcdctl puts, gets and watches over TLS"):
            equal(etcdctl(base, "put", "a", "b", ca=ca.cert)[0], 0)
            equal(etcdctl(base, "get", "a", ca=ca.cert)[1], "a\nb\n")
            status, out, _ = etcdctl(base, "endpoint", "health", ca=ca.cert)
            equal(status, 0, out)
            with subprocess.Popen(["etcdctl", "--endpoints", base, "--cacert", ca.cert, "watch", "--rev=1", "a"],
                                  stdout=subprocess.PIPE, text=True, env=ETCDCTL_ENV) as watch:
                try:
                    equal([watch.stdout.readline() for _ in range(3)], ["PUT\n", "a\n", "b\n"])
                    equal(etcdctl(base, "put", "a", "later", ca=ca.cert)[0], 0)
                    equal([watch.stdout.readline() for _ in range(3)], ["PUT\n", "a\n", "later\n"])
                finally:
                    watch.kill()
        with tally.case("the plain port is served beside it"):
            equal(curl(f"http://127.0.0.1:{server.plain}/health")[0], 200)
            equal(etcdctl(f"http://127.0.0.1:{server.plain}", "get", "a")[1], "a\nlater\n")
        with tally.case("a client that trusts another authority leaves, and that is logged"):
            status, _, error, _ = curl(base + "/health", "--cacert", other.cert)
            equal(status, 0)
            assert "certificate" in error, error
            await_text(server, "remote error: tls: unknown certificate authority")
        with tally.case("HTTP on the TLS port is told so"):
            with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as s:
                s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = b""
                while True:
                    part = s.recv(4096)
                    if not part:
                        break
                    answer += part
            assert b"Client sent an HTTP request to an HTTPS server." in answer, answer
        with tally.case("openssl s_client negotiates h2 and TLS 1.2 and 1.3, not 1.1"):
            for version, ok in (("-tls1_2", True), ("-tls1_3", True), ("-tls1_1", False)):
                run = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", version,
                                      "-alpn", "h2", "-CAfile", ca.cert], input="", capture_output=True,
                                     text=True)
                equal("ALPN protocol: h2" in run.stdout, ok, version)
                if ok:
                    assert "Verify return code: 0 (ok)" in run.stdout
        with tally.case("an unknown protocol by ALPN is refused"):
            c = context(ca.cert)
            c.set_alpn_protocols(["spdy/3"])
            try:
                with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as s:
                    c.wrap_socket(s, server_hostname="127.0.0.1")
                raise AssertionError("it was accepted")
            except ssl.SSLError as e:
                assert "no application protocol" in str(e), e
        with tally.case("a handshake one byte at a time"):
            slow_handshake(server, ca)
        with tally.case("garbage ends its own connection and nobody else's"):
            garbage(server, ca)
        with tally.case("certificates are renewed under load"):
            renewal(server, ca, base)
        with tally.case("a stopped server says goodbye"):
            with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as raw:
                s = context(ca.cert).wrap_socket(raw, server_hostname="127.0.0.1",
                                                 suppress_ragged_eofs=False)
                s.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                assert s.recv(4096).startswith(b"HTTP/1.1 200")
                server.process.terminate()
                equal(s.recv(4096), b"", "the end")  # an end without close_notify would raise
            equal(server.process.wait(WAIT_SECONDS), -signal.SIGTERM, "exit status")


def slow_handshake(server, ca):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(ca.cert).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def run(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        s.sendall(bytes([byte]))
                    part = s.recv(4096)
                    assert part, "closed"
                    incoming.write(part)

        run(tls.do_handshake)
        tls.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert run(lambda: tls.read(4096)).startswith(b"HTTP/1.1 200")


def garbage(server, ca):
    with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as raw:
        good = context(ca.cert).wrap_socket(raw, server_hostname="127.0.0.1")
        before = connections(server)
        for bytes_ in (os.urandom(3000), b"\x16" + os.urandom(3000), b"\x16\x03\x01\x02\x00\x01" + os.urandom(511),
                       b"\x80" * 100, b"\x16\x03\x03\xff\xff" + b"x" * 70000, b"\x00"):
            with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as s:
                with contextlib.suppress(OSError):
                    s.sendall(bytes_)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
        await_connections(server, before)
        good.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert good.recv(4096).startswith(b"HTTP/1.1 200")


def serial_of(server, ca):
    with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as raw:
        with context(ca.cert).wrap_socket(raw, server_hostname="127.0.0.1") as s:
            return s.getpeercert()["serialNumber"]


def renewal(server, ca, base):
    """New files while clients come and go: no handshake may fail, the new certificate is shown soon, and an
    open connection goes on."""
    stop, failures, count = threading.Event(), [], [0]

    def load():
        while not stop.is_set():
            try:
                serial_of(server, ca)
                count[0] += 1
            except OSError as e:
                failures.append(repr(e))

    with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as raw:
        old = context(ca.cert).wrap_socket(raw, server_hostname="127.0.0.1")
        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            for _ in range(2):
                before = serial_of(server, ca)
                ca.issue("server")
                deadline = time.monotonic() + WAIT_SECONDS
                while serial_of(server, ca) == before:
                    assert time.monotonic() < deadline, "the old certificate is still shown"
            # A broken file changes nothing but a line in the log.
            shown = serial_of(server, ca)
            with open(ca.path("server.pem"), "w") as f:
                f.write("no certificate\n")
            deadline = time.monotonic() + WAIT_SECONDS
            while "cannot take up changed TLS files" not in server.log_text():
                equal(serial_of(server, ca), shown)
                assert time.monotonic() < deadline, "nothing was logged"
            assert "server.pem: no start line" in server.log_text()
            ca.issue("server")
        finally:
            stop.set()
            for t in threads:
                t.join()
        equal(failures, [], "handshakes that failed")
        assert count[0] > 10, count
        old.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert old.recv(4096).startswith(b"HTTP/1.1 200")


def client_certificates(tally, kind, ca, other):
    pair = ca.issue("server-for-" + kind)
    alice = ca.issue("alice")
    flags = ["--cert-file", pair[0], "--key-file", pair[1], "--trusted-ca-file", ca.cert, "--client-cert-auth"]
    urls = "https://127.0.0.1:{port}" + (",http://127.0.0.1:{plain}" if kind == "kvd" else "")
    with TlsServer(kind, urls, flags) as server:
        base = f"https://127.0.0.1:{server.port}"
        with tally.case(f"{kind}: a client with a good certificate is served"):
            status, _, error, _ = curl(base + "/health", "--cacert", ca.cert, "--cert", alice[0], "--key",
                                       alice[1])
            equal(status, 200, error)
            equal(etcdctl(base, "put", "a", "b", ca=ca.cert, pair=alice)[0], 0)
            equal(etcdctl(base, "get", "a", ca=ca.cert, pair=alice)[1], "a\nb\n")
        bad = {
            "no certificate": None,
            "another authority's certificate": other.issue("alice"),
            "an expired certificate": ca.issue("old", days="-1"),
            "a server's certificate": ca.issue("unfit", usage="serverAuth"),
        }
        reasons = {
            "no certificate": "tls: client didn't provide a certificate",
            "another authority's certificate": "certificate signed by unknown authority",
            "an expired certificate": "certificate has expired or is not yet valid",
            "a server's certificate": "certificate specifies an incompatible key usage",
        }
        for name, its in bad.items():
            with tally.case(f"{kind}: a client with {name} is refused"):
                words = ["--cert", its[0], "--key", its[1]] if its else []
                for version in (("--tls-max", "1.2"), ("--tlsv1.3",)):
                    status, _, error, _ = curl(base + "/health", "--cacert", ca.cert, *words, *version)
                    equal(status, 0, name)
                    # Go closes at once, which may cost the client the alert.
                    assert kind == "etcd" or "alert" in error, error
                assert etcdctl(base, "get", "a", ca=ca.cert, pair=its, timeout="1s")[0] != 0
                if kind == "kvd":
                    # One line per second is logged: it comes if not for the first client, then later.
                    deadline = time.monotonic() + WAIT_SECONDS
                    while not any(reasons[name] in text for text in refused_texts(server)):
                        assert time.monotonic() < deadline, refused_texts(server)
                        curl(base + "/health", "--cacert", ca.cert, *words)
        if kind == "kvd":
            with tally.case("nothing of the refused is left"):
                await_connections(server, 0)
            with tally.case("every bad client gets the alert bad certificate, as from Go"):
                for name, its in bad.items():
                    if its is None:
                        continue
                    c = context(ca.cert, its, ssl.TLSVersion.TLSv1_2)
                    try:
                        with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS) as s:
                            c.wrap_socket(s, server_hostname="127.0.0.1")
                        raise AssertionError("it was accepted")
                    except ssl.SSLError as e:
                        assert "BAD_CERTIFICATE" in str(e).upper().replace(" ", "_"), (name, e)


def one_port(tally, ca):
    pair = ca.issue("server-both")
    flags = ["--cert-file", pair[0], "--key-file", pair[1]]
    with TlsServer("kvd", "http://127.0.0.1:{port},https://127.0.0.1:{port}", flags) as server:
        with tally.case("one address with and without TLS"):
            equal(curl(f"https://127.0.0.1:{server.port}/health", "--cacert", ca.cert)[0], 200)
            equal(curl(f"http://127.0.0.1:{server.port}/health")[0], 200)
            equal(etcdctl(f"https://127.0.0.1:{server.port}", "put", "x", "y", ca=ca.cert)[0], 0)
            equal(etcdctl(f"http://127.0.0.1:{server.port}", "get", "x")[1], "x\ny\n")
        with tally.case("the log says which is which"):
            log = server.log_text()
            assert "serving client traffic securely" in log
            assert "serving client traffic insecurely" in log
    with tally.case("a unix socket with TLS"):
        folder = tempfile.mkdtemp(prefix="kvd-tls.")
        path = os.path.join(folder, "s")
        try:
            with TlsServer("kvd", f"unixs://{path}", flags) as server:
                equal(curl("https://localhost/health", "--unix-socket", path, "--cacert", ca.cert)[0], 200)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    with tally.case("metrics over TLS"):
        metrics, = free_ports(1)
        more = [*flags, "--listen-metrics-urls", f"https://127.0.0.1:{metrics}"]
        with TlsServer("kvd", "http://127.0.0.1:{port}", more):
            status, body, error, _ = curl(f"https://127.0.0.1:{metrics}/metrics", "--cacert", ca.cert)
            equal(status, 200, error)
            assert "etcd_server_has_leader" in body
            equal(curl(f"https://127.0.0.1:{metrics}/version", "--cacert", ca.cert)[0], 404)


def bad_starts(tally, ca, other):
    pair = ca.issue("server-start")
    wrong = other.issue("server-start")
    rows = [
        ("no files", [], "TLS key/cert (--cert-file, --key-file) must be provided for client url"),
        ("no key", ["--cert-file", pair[0]], "KeyFile and CertFile must both be present[key: , cert: "),
        ("a file that is not there", ["--cert-file", "/nonexistent/c.pem", "--key-file", pair[1]],
         "open /nonexistent/c.pem: No such file or directory"),
        ("a key that belongs to another certificate", ["--cert-file", pair[0], "--key-file", wrong[1]],
         "private key does not match public key"),
        ("a key for a certificate", ["--cert-file", pair[1], "--key-file", pair[1]], "no start line"),
        ("an unknown cipher suite",
         ["--cert-file", pair[0], "--key-file", pair[1], "--cipher-suites", "TLS_NO_SUCH"],
         'unexpected TLS cipher suite \\"TLS_NO_SUCH\\"'),
    ]
    for name, flags, text in rows:
        with tally.case(f"a start with {name} is refused"):
            server = TlsServer("kvd", "https://127.0.0.1:{port}", flags)
            try:
                server.start(wait=False)
                equal(server.process.wait(WAIT_SECONDS), 1, "exit status")
                assert text in server.log_text(), server.log_text()
                assert not os.path.exists(os.path.join(server.data_dir, "member")), "a data directory was made"
            finally:
                server.notify.close()
                server.close()


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-tls.")
    try:
        ca, other = Authority(folder, "good"), Authority(folder, "other")
        server_only(tally, ca, other)
        client_certificates(tally, "kvd", ca, other)
        if etcd_path():
            client_certificates(tally, "etcd", ca, other)
        else:
            tally.skip("etcd", "not on PATH")
        one_port(tally, ca)
        bad_starts(tally, ca, other)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tally.close()


main()
