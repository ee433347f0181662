"""kubetest - a control plane for tests: a kvd with plugins of the plane, its API over plain HTTP, and kvctl's
commands about objects. Everything is awaited by looking, never by sleeping for it."""
import base64
import json
import os
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from kvdtest import KVCTL, ROOT, Server, free_ports

PLUGINS = os.path.abspath(os.environ.get("PLUGINS", os.path.join(ROOT, "build/plugins")))
# No kubeconfig of whoever runs the tests.
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("KVCTL_", "ETCDCTL_", "KUBECONFIG", "KVD_"))}


class Plane(Server):
    """kvd with apiserver.so, and further plugins by name: "hollow-node", or ("hollow-node", "nodes=5"). plain:
    HTTP, and everybody may do everything; else HTTPS, and `api` shows the administrator's certificate."""

    def __init__(self, *plugins, flags=(), plain=True, **options):
        self.plain = plain
        self.api_port = free_ports(1)[0]
        loaded = [p if isinstance(p, tuple) else (p, "") for p in plugins]
        settings = f"port={self.api_port}" + (",insecure-allow-all=true,insecure-http=true" if plain else "")
        if "controllers" not in [name for name, _ in loaded]:
            # Nobody makes the accounts that pods need.
            settings += ",disable-admission-plugins=ServiceAccount"
        loaded.insert(0, ("apiserver", settings))
        for name, settings in loaded:
            path = os.path.join(PLUGINS, name + ".so")
            flags = [*flags, "--plugin", path + ("," + settings if settings else "")]
        super().__init__("kvd", flags=flags, **options)

    @property
    def url(self):
        return f"{'http' if self.plain else 'https'}://127.0.0.1:{self.api_port}"

    @property
    def kubeconfig(self):
        return os.path.join(self.data_dir, "admin.kubeconfig")

    def tls(self):
        """The context that the administrator's kubeconfig describes."""
        with open(self.kubeconfig) as f:
            text = f.read()
        data = {key: base64.b64decode(value).decode() for key, value in re.findall(r"(\S+-data): *\"?([A-Za-z0-9+/=]+)", text)}
        context = ssl.create_default_context(cadata=data["certificate-authority-data"])
        path = os.path.join(self.root, "admin.pem")
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
            f.write(data["client-certificate-data"] + "\n" + data["client-key-data"])
        context.load_cert_chain(path)
        return context

    def start(self, wait=True):
        super().start(wait)
        if wait:
            self.until("the API answers", lambda: self.api("GET", "/api/v1/namespaces/default")[0] == 200)
        return self

    def api(self, method, path, body=None, content_type="application/json"):
        """(status, object or text) of one request."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method,
                                         headers={"Content-Type": content_type})
        try:
            context = None if self.plain else self.tls()
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as e:
            status, text = e.code, e.read()
        except (urllib.error.URLError, ConnectionError, FileNotFoundError):
            return 0, None
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def object(self, path):
        """An object or list; None when it is not there."""
        status, answer = self.api("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {answer}")
        return answer

    def pod(self, name, space="default"):
        return self.object(f"/api/v1/namespaces/{space}/pods/{name}")

    @staticmethod
    def until(what, condition, seconds=30):
        """Returns what condition does, once that is true."""
        deadline = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"still not so after {seconds} s: {what}")
            time.sleep(0.02)

    def run(self, *words, stdin="", server=True, env=None, cwd=None):
        """(status, standard output, standard error) of kvctl."""
        if server:
            words = [*words, *(("--server", self.url) if self.plain else ("--kubeconfig", self.kubeconfig))]
        done = subprocess.run([KVCTL, "--endpoints", self.endpoint, *words], input=stdin, text=True,
                              capture_output=True, timeout=60, env=dict(ENV, **(env or {})), cwd=cwd)
        return done.returncode, done.stdout, done.stderr

    def kvctl(self, *words, **options):
        """Its output; it must succeed."""
        status, out, err = self.run(*words, **options)
        if status != 0:
            raise AssertionError(f"kvctl {' '.join(words)}: {status} {err}")
        return out


def condition(o, kind):
    """(status, reason) of an object's condition; None when it is not there."""
    for c in (o or {}).get("status", {}).get("conditions", []):
        if c["type"] == kind:
            return c["status"], c.get("reason")
    return None


def is_ready(o):
    found = condition(o, "Ready")
    return found is not None and found[0] == "True"
