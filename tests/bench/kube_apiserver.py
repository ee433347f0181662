"""kube_apiserver - the Go API server, under the load that tests/bench/plane.py puts on ours: for ratios of one run on
one machine. The binary is not built here: KUBE_APISERVER=PATH names one (docs/performance.md says how the one of our
figures was built). Its store is a kvd of its own, whose CPU is not counted: the etcd of Debian 12 is too old for it."""
import http.client
import os
import shutil
import ssl
import subprocess
import tempfile
import time

from kvdtest import Server, free_ports

START_SECONDS_MAX = 120


def missing():
    """Why it cannot run here, or None."""
    path = os.environ.get("KUBE_APISERVER", "")
    if not path:
        return "KUBE_APISERVER names no binary"
    if not os.access(path, os.X_OK):
        return f"KUBE_APISERVER: {path} cannot be run"
    return None


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class KubeApiserver:
    """The same face as kubetest.Plane, as far as a load needs it."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="kube-apiserver.")
        self.store = Server("kvd")
        self.api_port = free_ports(1)[0]
        self.log_path = os.path.join(self.root, "log")
        self.process = None

    def path(self, name):
        return os.path.join(self.root, name)

    def keys(self):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *curve, "-keyout", self.path("ca.key"), "-out", self.path("ca.crt"), "-subj", "/CN=bench")
        openssl("req", *curve, "-keyout", self.path("admin.key"), "-out", self.path("admin.csr"), "-subj",
                "/O=system:masters/CN=admin")
        openssl("x509", "-req", "-in", self.path("admin.csr"), "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"),
                "-CAcreateserial", "-out", self.path("admin.crt"))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path("sa.key"))
        openssl("ec", "-in", self.path("sa.key"), "-pubout", "-out", self.path("sa.pub"))
        # The server signs its own certificate otherwise with RSA, which only costs at handshakes.
        with open(self.path("admin.pem"), "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
            for name in ("admin.crt", "admin.key"):
                with open(self.path(name)) as part:
                    f.write(part.read())

    def start(self):
        self.keys()
        self.store.start()
        words = [os.environ["KUBE_APISERVER"], "--etcd-servers", f"http://{self.store.endpoint}",
                 "--secure-port", self.api_port, "--bind-address", "127.0.0.1",                  "--cert-dir", self.path("certs"), "--client-ca-file", self.path("ca.crt"),
                 "--service-account-key-file", self.path("sa.pub"),
                 "--service-account-signing-key-file", self.path("sa.key"),
                 "--service-account-issuer", "https://kubernetes.default.svc",
                 "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"kube-apiserver is not ready:\n{self.log_tail()}")
            time.sleep(0.2)
        return self

    def ready(self):
        connection = http.client.HTTPSConnection("127.0.0.1", self.api_port, context=self.tls(), timeout=10)
        try:
            for path in ("/readyz", "/api/v1/namespaces/default"):
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    return False
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def tls(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.path("admin.pem"))
        return context

    def log_tail(self):
        with open(self.log_path, errors="replace") as f:
            return "\n".join(f.read().splitlines()[-30:])

    def close(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.store.close()
        shutil.rmtree(self.root, ignore_errors=True)
