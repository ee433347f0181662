#!/usr/bin/env python3
"""The API server's security with a real kvd: HTTPS by an authority of its own from the first start, the
administrator's kubeconfig, client certificates, tokens of service accounts, and that everything else is refused."""
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import KVCTL, ROOT, Server, Tally, equal, free_ports  # noqa: E402

PLUGINS = os.path.join(ROOT, "build/plugins")
WAIT_SECONDS = 30
CM = "/api/v1/namespaces/default/configmaps"
SA = "/api/v1/namespaces/default/serviceaccounts"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def until(what, condition):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with contextlib.suppress(OSError):
            value = condition()
            if value:
                return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so: {what}")


def run(*words, **kw):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, **kw)


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *words], input=stdin, check=True, capture_output=True).stdout


class Api:
    """A kvd with the API server, and a client of it."""

    def __init__(self, options="", plugins=(), data_dir=None):
        self.port = free_ports(1)[0]
        flags = ["--plugin", f"{PLUGINS}/apiserver.so,port={self.port}{options}"]
        for name in plugins:
            flags += ["--plugin", f"{PLUGINS}/{name}"]
        self.server = Server(flags=flags, data_dir=data_dir)

    def __enter__(self):
        self.server.start()
        until("the namespaces are there",
              lambda: self.admin("GET", "/api/v1/namespaces/default")[0] == 200)
        return self

    def __exit__(self, *exc):
        if exc[0] is not None:
            print(self.server.log_tail())
        self.server.close()

    @property
    def pki(self):
        return os.path.join(self.server.data_dir, "pki")

    @property
    def kubeconfig(self):
        return os.path.join(self.server.data_dir, "admin.kubeconfig")

    def context(self, cert=None, verify=True, ca=None):
        c = ssl.create_default_context(cafile=ca or f"{self.pki}/ca.crt") if verify \
            else ssl._create_unverified_context()
        if cert:
            c.load_cert_chain(*cert)
        return c

    def ask(self, method, path, body=None, token=None, cert=None, verify=True, ca=None, headers=None):
        """(status, parsed body)"""
        c = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20,
                                        context=self.context(cert, verify, ca))
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            c.request(method, path, json.dumps(body) if body is not None else None, headers)
            r = c.getresponse()
            text = r.read().decode()
        finally:
            c.close()
        try:
            return r.status, json.loads(text)
        except ValueError:
            return r.status, text

    def admin(self, method, path, body=None):
        return self.ask(method, path, body, cert=(f"{self.pki}/admin.crt", f"{self.pki}/admin.key"))

    def kubectl(self, *words):
        return run("kubectl", "--kubeconfig", self.kubeconfig, "--cache-dir",
                   os.path.join(self.server.root, "cache"), *words)

    def account(self, name):
        return self.admin("POST", SA, {"metadata": {"name": name}})

    def token(self, name, **spec):
        status, answer = self.admin("POST", f"{SA}/{name}/token", {"spec": spec})
        assert status == 201, (status, answer)
        return answer["status"]["token"]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims, key, kid):
    """A token made outside, with openssl."""
    head = b64url(json.dumps({"alg": "ES256", "kid": kid}).encode())
    text = f"{head}.{b64url(json.dumps(claims).encode())}"
    der = openssl("dgst", "-sha256", "-sign", key, stdin=text.encode())
    numbers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        numbers.append(der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + length
    return f"{text}.{b64url(b''.join(numbers))}"


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def forbidden(answer, who, what):
    status, body = answer
    equal(status, 403)
    equal(body["reason"], "Forbidden")
    assert f'User "{who}" cannot {what}' in body["message"], body["message"]


def unauthorized(answer):
    equal(answer, (401, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                         "message": "Unauthorized", "reason": "Unauthorized", "code": 401}))


def certificates(api, tally, folder):
    with tally.case("keys are made at the first start, for their owner's eyes only"):
        equal(mode(api.pki), 0o700)
        for name in ("ca.key", "apiserver.key", "admin.key", "sa.key"):
            equal(mode(f"{api.pki}/{name}"), 0o600)
        equal(mode(api.kubeconfig), 0o600)
        text = openssl("x509", "-in", f"{api.pki}/apiserver.crt", "-noout", "-ext", "subjectAltName").decode()
        for name in ("DNS:kubernetes,", "DNS:kubernetes.default,", "DNS:kubernetes.default.svc,",
                     "DNS:kubernetes.default.svc.cluster.local", "DNS:localhost", "127.0.0.1",
                     "0:0:0:0:0:0:0:1", "10.96.0.1"):
            assert name in text, text
    with tally.case("HTTP/2 and HTTP/1.1 are served, by a certificate that its authority vouches for"):
        for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
            r = run("curl", "-s", flag, "--cacert", f"{api.pki}/ca.crt", "-o", "/dev/null", "-w",
                    "%{http_code} %{http_version}", f"https://localhost:{api.port}/version")
            equal(r.stdout, f"200 {version}")
        r = run("curl", "-s", f"https://localhost:{api.port}/version")
        equal(r.returncode, 60)
    with tally.case("plain HTTP is not served"):
        r = run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{api.port}/version")
        assert r.stdout in ("000", "400"), r.stdout
    with tally.case("the administrator may do everything"):
        equal(api.admin("GET", CM)[0], 200)
        equal(api.admin("POST", CM, {"metadata": {"name": "a"}})[0], 201)
        status, who = api.admin("POST", REVIEW, {})
        equal((status, who["status"]["userInfo"]["username"]), (201, "kubernetes-admin"))
        equal(who["status"]["userInfo"]["groups"], ["system:masters", "system:authenticated"])
    with tally.case("components find the authority of client certificates in a ConfigMap"):
        path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
        found = until("it is there", lambda: (lambda a: a[0] == 200 and a[1])(api.admin("GET", path)))
        with open(f"{api.pki}/ca.crt") as f:
            equal(found["data"], {"client-ca-file": f.read()}, "data")
    with tally.case("nobody may see what everybody may, and nothing else"):
        equal(api.ask("GET", "/version")[0], 200)
        equal(api.ask("GET", "/readyz"), (200, "ok"))
        forbidden(api.ask("GET", CM), "system:anonymous",
                  'list resource "configmaps" in API group "" in the namespace "default"')
        forbidden(api.ask("GET", "/apis"), "system:anonymous", 'get path "/apis"')
        forbidden(api.ask("POST", REVIEW, {}), "system:anonymous",
                  'create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope')
    with tally.case("a certificate of another authority counts for nothing"):
        key, cert = f"{folder}/evil.key", f"{folder}/evil.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                "-out", cert, "-subj", "/O=system:masters/CN=kubernetes-admin", "-days", "2")
        forbidden(api.ask("GET", CM, cert=(cert, key)), "system:anonymous", "list resource")
    with tally.case("a certificate of ours is its user and groups, who may nothing by themselves"):
        key, csr, cert = f"{folder}/eve.key", f"{folder}/eve.csr", f"{folder}/eve.crt"
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
                "-subj", "/O=devs/CN=eve")
        openssl("x509", "-req", "-in", csr, "-CA", f"{api.pki}/ca.crt", "-CAkey", f"{api.pki}/ca.key",
                "-CAcreateserial", "-out", cert, "-days", "2")
        eve = (cert, key)
        forbidden(api.ask("GET", CM + "/a", cert=eve), "eve", 'get resource "configmaps"')
        equal(api.ask("GET", "/api", cert=eve)[0], 200)
        status, who = api.ask("POST", REVIEW, {}, cert=eve)
        equal((status, who["status"]["userInfo"]), (201, {"username": "eve",
                                                          "groups": ["devs", "system:authenticated"]}))
        status, body = api.ask("GET", CM, cert=eve, headers={"Impersonate-User": "kubernetes-admin"})
        equal((status, body["reason"]), (403, "Forbidden"))


def tokens(api, tally):
    with tally.case("a service account's token shows whose it is, and gives no rights by itself"):
        uid = api.account("web")[1]["metadata"]["uid"]
        token = api.token("web")
        c = claims_of(token)
        equal(c["sub"], "system:serviceaccount:default:web")
        equal(c["aud"], ["https://kubernetes.default.svc.cluster.local"])
        equal(c["exp"] - c["iat"], 3600)
        status, who = api.ask("POST", REVIEW, {}, token=token)
        user = who["status"]["userInfo"]
        equal(status, 201)
        equal(user["username"], "system:serviceaccount:default:web")
        equal(user["uid"], uid)
        equal(user["groups"], ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
        equal(user["extra"], {"authentication.kubernetes.io/credential-id": [f"JTI={c['jti']}"]})
        forbidden(api.ask("GET", CM, token=token), "system:serviceaccount:default:web", 'list resource "configmaps"')
    with tally.case("a body that comes before the token is checked is not lost"):
        status, made = api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {
            "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}, token=token)
        equal((status, made["status"]["allowed"]), (201, False))
    with tally.case("what is no good token is refused, also where nobody needs one"):
        for bad in ("x", "a.b.c", token[:-4] + "AAAA", token.replace(".", ".e30", 1)):
            unauthorized(api.ask("GET", CM, token=bad))
            unauthorized(api.ask("GET", "/version", token=bad))
    with tally.case("times, issuer and audience count"):
        kid = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
        key = f"{api.pki}/sa.key"
        now = int(time.time())
        ok = signed(c, key, kid)
        equal(api.ask("POST", REVIEW, {}, token=ok)[0], 201)
        unauthorized(api.ask("POST", REVIEW, {}, token=signed(dict(c, exp=now - 60), key, kid)))
        unauthorized(api.ask("POST", REVIEW, {}, token=signed(dict(c, nbf=now + 600), key, kid)))
        unauthorized(api.ask("POST", REVIEW, {}, token=signed(dict(c, iss="https://elsewhere"), key, kid)))
        unauthorized(api.ask("POST", REVIEW, {}, token=signed(dict(c, aud=["others"]), key, kid)))
        unauthorized(api.ask("POST", REVIEW, {}, token=signed(c, f"{api.pki}/ca.key", kid)))
    with tally.case("TokenReview tells"):
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        status, r = api.admin("POST", path, {"spec": {"token": token}})
        equal((status, r["status"]["authenticated"]), (201, True))
        equal(r["status"]["user"]["username"], "system:serviceaccount:default:web")
        other = api.token("web", audiences=["vault"], expirationSeconds=600)
        r = api.admin("POST", path, {"spec": {"token": other}})[1]["status"]
        equal(r, {"user": {}, "error": "[invalid bearer token, the token is not for this audience]"})
        r = api.admin("POST", path, {"spec": {"token": other, "audiences": ["vault"]}})[1]["status"]
        equal((r["authenticated"], r["audiences"]), (True, ["vault"]))
        equal(api.admin("POST", path, {"spec": {}})[0], 400)
    with tally.case("requests for tokens have rules"):
        status, r = api.admin("POST", f"{SA}/web/token", {"spec": {"expirationSeconds": 599}})
        equal(status, 422)
        assert "may not specify a duration less than 10 minutes" in r["message"]
        equal(api.admin("POST", f"{SA}/nobody/token", {})[0], 404)
        status, r = api.admin("POST", f"{SA}/web/token", {"spec": {"boundObjectRef": {"kind": "Service"}}})
        equal((status, r["reason"]), (400, "BadRequest"))
        status, r = api.admin("POST", f"{SA}/web/token", {"spec": {"boundObjectRef": {
            "kind": "Secret", "apiVersion": "v1", "name": "none"}}})
        equal((status, r["message"]), (404, 'secrets "none" not found'))
    with tally.case("a token ends with what it is bound to"):
        equal(api.admin("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})[0], 201)
        ref = {"kind": "Secret", "apiVersion": "v1", "name": "s"}
        bound = api.token("web", boundObjectRef=ref)
        equal(api.ask("POST", REVIEW, {}, token=bound)[0], 201)
        status, r = api.admin("POST", f"{SA}/web/token", {"spec": {"boundObjectRef": dict(ref, uid="x")}})
        equal((status, r["reason"]), (409, "Conflict"))
        api.admin("DELETE", "/api/v1/namespaces/default/secrets/s")
        unauthorized(api.ask("POST", REVIEW, {}, token=bound))
        equal(api.ask("POST", REVIEW, {}, token=token)[0], 201)
    with tally.case("others can verify tokens"):
        status, doc = api.ask("GET", "/.well-known/openid-configuration", token=token)
        equal(status, 200)
        equal(doc["issuer"], c["iss"])
        equal(doc["id_token_signing_alg_values_supported"], ["ES256"])
        status, keys = api.ask("GET", "/openid/v1/jwks", token=token)
        equal((status, keys["keys"][0]["kid"], keys["keys"][0]["crv"]), (200, kid, "P-256"))
        equal(api.ask("GET", "/openid/v1/jwks")[0], 403)
    with tally.case("a token ends with its account, and does not begin anew with another of that name"):
        api.admin("DELETE", f"{SA}/web")
        unauthorized(api.ask("POST", REVIEW, {}, token=token))
        api.account("web")
        unauthorized(api.ask("POST", REVIEW, {}, token=token))
        equal(api.ask("POST", REVIEW, {}, token=api.token("web"))[0], 201)


def rights(api, tally):
    path = "/apis/authorization.k8s.io/v1"
    pods = {"verb": "create", "resource": "pods", "namespace": "default"}

    def may(user=None, groups=None, **spec):
        status, r = api.admin("POST", f"{path}/subjectaccessreviews",
                              {"spec": dict(spec, **({"user": user} if user else {}), groups=groups or [])})
        assert status == 201, r
        return r["status"]["allowed"]

    with tally.case("rights can be asked for"):
        equal(may("kvd:plugin:controllers", resourceAttributes=pods), True)
        equal(may("kvd:plugin:scheduler", resourceAttributes=pods), False)
        equal(may("kvd:plugin:scheduler", resourceAttributes=dict(pods, subresource="binding")), True)
        equal(may("kvd:plugin:scheduler", resourceAttributes=dict(pods, resource="secrets", verb="get")), False)
        equal(may("kvd:plugin:hollow-node", resourceAttributes=dict(pods, subresource="status", verb="patch")), True)
        equal(may("kvd:plugin:hollow-node", resourceAttributes=dict(pods, verb="patch")), False)
        equal(may("kvd:plugin:other", ["kvd:plugins"], resourceAttributes=pods), False)
        equal(may("system:node:n", ["system:nodes"], resourceAttributes=dict(pods, verb="get")), False)
        equal(may("eve", ["system:masters"], resourceAttributes=pods), True)
        equal(may("eve", ["system:authenticated"], nonResourceAttributes={"path": "/api/v1", "verb": "get"}), True)
        equal(may("eve", nonResourceAttributes={"path": "/api/v1", "verb": "get"}), False)
        status, r = api.admin("POST", f"{path}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": pods}})
        equal((status, r["status"]["allowed"]), (201, True))
        status, r = api.admin("POST", f"{path}/namespaces/default/localsubjectaccessreviews",
                              {"spec": {"user": "eve", "resourceAttributes": pods}})
        equal((status, r["status"]["allowed"]), (201, False))
        status, r = api.admin("POST", f"{path}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
        equal(status, 201)
        equal(r["status"]["resourceRules"][0], {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        equal(r["status"]["incomplete"], False)
    with tally.case("questions have rules"):
        for body in ({"spec": {"user": "eve"}}, {"spec": {"resourceAttributes": pods}},
                     {"spec": {"user": "eve", "resourceAttributes": pods,
                               "nonResourceAttributes": {"path": "/", "verb": "get"}}}):
            status, r = api.admin("POST", f"{path}/subjectaccessreviews", body)
            equal((status, r["reason"]), (422, "Invalid"))
        equal(api.admin("POST", f"{path}/selfsubjectrulesreviews", {"spec": {}})[0], 400)


def kubectl(api, tally):
    if not shutil.which("kubectl"):
        tally.skip("kubectl", "there is none")
        return
    with tally.case("kubectl works with the administrator's kubeconfig"):
        r = api.kubectl("get", "namespaces", "-o", "name")
        assert "namespace/kube-system\n" in r.stdout, (r.stdout, r.stderr)
        r = api.kubectl("auth", "can-i", "create", "pods")
        equal(r.stdout.strip(), "yes")
        r = api.kubectl("--token", api.token("web"), "auth", "can-i", "--list")
        equal(r.returncode, 0)


def restarts(api, tally):
    with tally.case("a restart keeps authority, certificates and tokens"):
        before = {name: open(f"{api.pki}/{name}", "rb").read() for name in os.listdir(api.pki)}
        config = open(api.kubeconfig, "rb").read()
        token = api.token("web")
        api.server.stop()
        os.unlink(f"{api.pki}/apiserver.crt")  # this one is made again
        api.server.start()
        until("the port answers", lambda: api.ask("GET", "/version")[0] == 200)
        for name, content in before.items():
            if name != "apiserver.crt":
                equal(open(f"{api.pki}/{name}", "rb").read(), content)
        equal(open(api.kubeconfig, "rb").read(), config)
        equal(api.ask("POST", REVIEW, {}, token=token)[0], 201)
    with tally.case("a member without keys takes over those of the store"):
        ca = open(f"{api.pki}/ca.crt", "rb").read()
        api.server.stop()
        shutil.rmtree(api.pki)
        os.unlink(api.kubeconfig)
        api.server.start()
        until("the authority is back", lambda: open(f"{api.pki}/ca.crt", "rb").read() == ca)
        until("the port has a certificate of it", lambda: api.ask("GET", "/version")[0] == 200)
        equal(api.ask("POST", REVIEW, {}, token=token)[0], 201)
        until("the administrator is let in", lambda: api.admin("GET", CM)[0] == 200)


def replaced(api, tally, folder):
    with tally.case("an authority of the operator's is taken up, also in the store, and its end is told"):
        signs = open(f"{api.pki}/sa.key").read()
        until("the member remembers what is shared", lambda: os.path.exists(f"{api.pki}/shared"))
        api.server.stop()
        before = os.path.join(folder, "before")
        shutil.copytree(api.pki, before)
        key, cert = os.path.join(folder, "new.key"), os.path.join(folder, "new.crt")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-out", key)  # in a form that is not ours
        openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=ours", "-days", "100", "-out", cert)
        shutil.copyfile(cert, f"{api.pki}/ca.crt")
        shutil.copyfile(key, f"{api.pki}/ca.key")
        os.chmod(f"{api.pki}/ca.key", 0o644)
        api.server.start()
        until("the port has a certificate of it", lambda: api.ask("GET", "/version")[0] == 200)
        until("the administrator is let in", lambda: api.admin("GET", CM)[0] == 200)
        equal(mode(f"{api.pki}/ca.key"), 0o600)

        def row():
            return run(KVCTL, "--endpoints", api.server.endpoint, "get", "/registry/kvd.io/pki",
                       "--print-value-only").stdout
        until("the store has it", lambda: open(cert).read() in row())
        equal(signs in row(), True)
        until("the member remembers that",
              lambda: open(f"{api.pki}/shared").read() != open(f"{before}/shared").read())
        log = api.server.log_text()
        for told in ("their files are 0600 now", "the authority ends within a year", "was replaced"):
            equal(told in log, True)
        metrics = api.server.get("/metrics")[1]
        end = float(re.search(r'^kvd_plugin_apiserver_certificate_end_timestamp_seconds\{certificate="ca"\} (\S+)',
                              metrics, re.M).group(1))
        equal(99 * 86400 < end - time.time() <= 100 * 86400, True)
    with tally.case("a member that has the one before takes over the new one"):
        api.server.stop()
        # As another member's disk is: the files of before, which all had agreed on.
        shutil.rmtree(api.pki)
        shutil.copytree(before, api.pki)
        api.server.start()
        until("the new one is here", lambda: open(f"{api.pki}/ca.crt").read() == open(cert).read())
        until("the administrator is let in", lambda: api.admin("GET", CM)[0] == 200)


def options(tally, folder):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/tls.key", "-out",
            f"{folder}/tls.crt", "-subj", "/CN=given", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    openssl("genrsa", "-out", f"{folder}/rsa.key", "2048")
    given = (f",tls-cert-file={folder}/tls.crt,tls-private-key-file={folder}/tls.key,anonymous-auth=false"
             f",service-account-signing-key-file={folder}/rsa.key,service-account-issuer=https://us")
    api = Api(given)
    api.server.start()
    try:
        with tally.case("certificate, signing key and issuer may be given; anonymous callers refused"):
            until("the port answers", lambda: api.ask("GET", "/version", ca=f"{folder}/tls.crt"))
            unauthorized(api.ask("GET", "/version", ca=f"{folder}/tls.crt"))
            assert not os.path.exists(api.kubeconfig)
            cert = (f"{api.pki}/admin.crt", f"{api.pki}/admin.key")

            def admin(path, body):
                return api.ask("POST", path, body, cert=cert, ca=f"{folder}/tls.crt")
            until("the namespace is there", lambda: admin(SA, {"metadata": {"name": "web"}})[0] == 201)
            token = admin(f"{SA}/web/token", {})[1]["status"]["token"]
            equal(json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"], "RS256")
            equal(claims_of(token)["iss"], "https://us")
            equal(api.ask("POST", REVIEW, {}, token=token, ca=f"{folder}/tls.crt")[0], 201)
    finally:
        api.server.close()
    for flag, why in ((f",tls-cert-file={folder}/tls.crt", "come together"),
                      (",client-ca-file=/nowhere", "/nowhere: No such file"),
                      (f",service-account-signing-key-file={folder}/tls.crt", "has no private key"),
                      (",advertise=a_b:1", "advertise is not host:port")):
        with tally.case(f"refused: {flag.split('=')[0][1:]}"):
            api = Api(flag)
            api.server.start()
            try:
                until("the log says why", lambda: re.search(re.escape(why), api.server.log_text()))
            finally:
                api.server.close()


def plane(tally):
    with tally.case("the plugins of the control plane may do their work"):
        with Api(plugins=("controllers.so", "scheduler.so", "hollow-node.so")) as api:
            spaces = "/api/v1/namespaces"
            equal(api.admin("POST", spaces, {"metadata": {"name": "shop"}})[0], 201)
            until("an account", lambda: api.admin("GET", f"{spaces}/shop/serviceaccounts/default")[0] == 200)
            until("nodes", lambda: len(api.admin("GET", "/api/v1/nodes")[1]["items"]) == 3)
            labels = {"app": "web"}
            deployment = {"metadata": {"name": "web"}, "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "i"}]}}}}
            deployments = "/apis/apps/v1/namespaces/shop/deployments"
            service = {"metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}
            equal(api.admin("POST", f"{spaces}/shop/services", service)[0], 201)
            equal(api.admin("POST", deployments, deployment)[0], 201)
            until("the deployment is there", lambda: api.admin("GET", f"{deployments}/web")[1]["status"].get(
                "availableReplicas") == 2)
            until("the service leads there", lambda: len((api.admin("GET", f"{spaces}/shop/endpoints/web")[1].get(
                "subsets") or [{}])[0].get("addresses", [])) == 2)
            pods = f"{spaces}/shop/pods"
            equal(api.admin("DELETE", f"{deployments}/web")[0], 200)
            until("its pods are gone", lambda: not api.admin("GET", pods)[1]["items"])
            equal(api.admin("DELETE", f"{spaces}/shop")[0], 200)
            until("the namespace is gone", lambda: api.admin("GET", f"{spaces}/shop")[0] == 404)
            equal([line for line in api.server.log_text().splitlines() if "may not do" in line], [])


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-auth.")
    try:
        with Api() as api:
            certificates(api, tally, folder)
            tokens(api, tally)
            rights(api, tally)
            kubectl(api, tally)
            restarts(api, tally)
            replaced(api, tally, folder)
        options(tally, folder)
        plane(tally)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tally.close()
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
