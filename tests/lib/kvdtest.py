"""kvdtest - real servers for tests: started on loopback ports of their own, awaited, ended by pid.

Standard library only, so that it runs on Debian's python3. A Server is kvd or etcd with one set of
flags; readiness is the sd_notify message both send, never a sleep. A Tally counts named cases and closes
with the line the test driver reads.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

# Whoever runs the tests may ignore signals (nohup, a shell's background job); servers started here would
# inherit that and could not be ended by them.
for _number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KVD = os.path.abspath(os.environ.get("KVD", os.path.join(ROOT, "build/kvd")))
KVCTL = os.path.abspath(os.environ.get("KVCTL", os.path.join(ROOT, "build/kvctl")))
ETCDCTL_ENV = dict(os.environ, ETCDCTL_API="3")
START_SECONDS_MAX = 30


def etcd_path():
    """The etcd on PATH, or None."""
    return shutil.which("etcd")


def etcd_version():
    out = subprocess.run([etcd_path(), "--version"], capture_output=True, text=True).stdout
    return re.search(r"etcd Version: (\S+)", out).group(1)


def free_ports(count):
    """Ports nobody listens on now; another process may take one before we do, so starts may retry."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Server:
    """One kvd or etcd process over a data directory that outlives restarts."""

    def __init__(self, kind="kvd", flags=(), data_dir=None, env=None, prefix=()):
        self.kind = kind
        self.flags = list(flags)
        self.env = env or {}
        self.prefix = list(prefix)
        self.root = tempfile.mkdtemp(prefix=f"{kind}-test.")
        self.data_dir = data_dir or os.path.join(self.root, "data")
        self.port, self.peer_port = free_ports(2)
        self.log_path = os.path.join(self.root, "log")
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def command(self):
        program = KVD if self.kind == "kvd" else etcd_path()
        return [*self.prefix, program, "--name", "default", "--data-dir", self.data_dir,
                "--listen-client-urls", f"http://127.0.0.1:{self.port}",
                "--advertise-client-urls", f"http://127.0.0.1:{self.port}",
                "--listen-peer-urls", f"http://127.0.0.1:{self.peer_port}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{self.peer_port}",
                "--initial-cluster", f"default=http://127.0.0.1:{self.peer_port}", *self.flags]

    def start(self, wait=True):
        """Starts and, unless told otherwise, returns when the server says READY=1."""
        notify_path = os.path.join(self.root, "notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(notify_path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify_path)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "KVD_"))}
        env.update(self.env, NOTIFY_SOCKET=notify_path)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        self.notify.settimeout(0.2)
        while True:
            try:
                if b"READY=1" in self.notify.recv(4096):
                    break
            except socket.timeout:
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.kind} ended at start with status "
                                       f"{self.process.returncode}:\n{self.log_tail()}") from None
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.kind} not ready:\n{self.log_tail()}") from None
        self.notify.close()

    def log_text(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def log_tail(self, lines=30):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, seconds=15):
        """SIGTERM; returns the wait status (negative signal number when ended by one)."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.kind} did not stop:\n{self.log_tail()}") from None
        self.process = None
        return status

    def get(self, path, timeout=10):
        """(status, body text) of an HTTP GET on the client port."""
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}{path}", timeout=timeout) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def close(self):
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        if exc[0] is not None:
            print(f"--- log of {self.kind} ---\n{self.log_tail()}")
        self.close()

    def etcdctl(self, *words, stdin=None, timeout=60, check=False):
        """Runs etcdctl against this server: (status, stdout, stderr)."""
        run = subprocess.run(["etcdctl", "--endpoints", self.endpoint, *words], input=stdin or "",
                             capture_output=True, text=True, timeout=timeout, env=ETCDCTL_ENV)
        if check and run.returncode != 0:
            raise AssertionError(f"etcdctl {' '.join(words)}: {run.stderr.strip()}")
        return run.returncode, run.stdout, run.stderr

    def etcdctl_json(self, *words):
        return json.loads(self.etcdctl("-w", "json", *words, check=True)[1])


class Tally:
    """Counts named cases. Usage: with tally.case("name"): assert ..."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    @contextlib.contextmanager
    def case(self, name):
        try:
            yield
        except Exception:  # a failing case must not end the others
            self.failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            self.passed += 1
            print(f"ok   {name}")
        sys.stdout.flush()

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}")

    def close(self):
        tail = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{tail}")
        sys.exit(1 if self.failed else 0)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")
