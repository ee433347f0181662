#!/usr/bin/env python3
"""HTTP of a real plugin: answers that stream over HTTP/1.1, HTTP/2 and TLS, a thousand slow clients, uploads
that are held back, certificates changed while it serves, clients that are killed, a member that stops in the
middle of it all."""
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import ROOT, Server, Tally, equal, free_ports  # noqa: E402

WEB = r"""
/* web.c - hello, streams, uploads and identities over HTTP. */
#include <kvplugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conf { int64_t port; const char *cert, *key, *ca; };
static const struct kvp_option options[] = {
    {.name = "port", .type = KVP_OPT_INT, .offset = offsetof(struct conf, port)},
    {.name = "cert", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, cert)},
    {.name = "key", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, key)},
    {.name = "ca", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, ca)},
    {.name = NULL}};

struct self {
    const struct kvp_host *host;
    struct kvp_ctx *ctx;
    const struct conf *conf;
    struct kvp_listener *listener;
};
struct stream { struct self *self; struct kvp_http *x; int64_t left; struct kvp_timer *timer; uint64_t got; };

static struct kvp_bytes file(struct self *s, const char *path)
{
    struct kvp_bytes b = {0};
    FILE *f = path[0] != 0 ? fopen(path, "r") : NULL;
    if (f != NULL) {
        char *text = s->host->alloc(s->ctx, 65536);
        b = kvp_bytes_of(text, fread(text, 1, 65536, f));
        fclose(f);
    }
    return b;
}

static void reply(struct self *s, struct kvp_http *x, uint32_t status, const char *text)
{
    s->host->http_respond(x, status, NULL, 0);
    s->host->http_write(x, kvp_str(text));
    s->host->http_finish(x);
}

static void hello(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct self *s = data;
    const struct kvp_pair type = {kvp_str("content-type"), kvp_str("text/plain")};
    (void)r;
    s->host->http_respond(x, 200, &type, 1);
    s->host->http_write(x, kvp_str("hello\n"));
    s->host->http_finish(x);
}

static void who(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    char text[200];
    int n = snprintf(text, sizeof(text), "%u %.*s", (unsigned)r->identity->authenticated,
                     (int)r->identity->user.len, (const char *)r->identity->user.data);
    for (size_t i = 0; i < r->identity->group_count; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " %.*s", (int)r->identity->groups[i].len,
                      (const char *)r->identity->groups[i].data);
    reply(data, x, 200, text);
}

static struct stream *stream_new(struct self *s, struct kvp_http *x)
{
    struct stream *t = s->host->alloc(s->ctx, sizeof(*t));
    memset(t, 0, sizeof(*t));
    t->self = s;
    t->x = x;
    s->host->http_set_data(x, t);
    return t;
}

static void pour(struct stream *t)
{
    static char block[10000];
    const struct kvp_host *h = t->self->host;
    memset(block, 'x', sizeof(block));
    while (t->left > 0) {
        int64_t n = t->left < (int64_t)sizeof(block) ? t->left : (int64_t)sizeof(block);
        if (h->http_write(t->x, kvp_bytes_of(block, (size_t)n)) != 0)
            return;
        t->left -= n;
    }
    h->http_finish(t->x);
}

static void big(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct stream *t = stream_new(data, x);
    t->left = r->query.len > 0 ? atoll(r->query.data) : 0;
    t->self->host->http_respond(x, 200, NULL, 0);
    pour(t);
}

static void writable(void *data, struct kvp_http *x)
{
    struct self *s = data;
    struct stream *t = s->host->http_data(x);
    if (t != NULL)
        pour(t);
}

static void on_tick(void *data)
{
    struct stream *t = data;
    t->self->host->http_write(t->x, kvp_str("tick\n"));
}

static void ticks(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct stream *t = stream_new(data, x);
    struct kvp_timer_args a = {.size = sizeof(a), .after_ms = 1, .repeat_ms = 20, .fire = on_tick, .data = t};
    (void)r;
    t->self->host->http_respond(x, 200, NULL, 0);
    t->self->host->timer(t->self->ctx, &a, &t->timer);
}

static void upload(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)r;
    stream_new(data, x);
}

static void on_rested(void *data)
{
    struct stream *t = data;
    t->timer = NULL;
    t->self->host->http_pause(t->x, 0);
}

/* Takes a piece, then rests for a millisecond. */
static void upload_body(void *data, struct kvp_http *x, struct kvp_bytes bytes, int last)
{
    struct self *s = data;
    struct stream *t = s->host->http_data(x);
    t->got += bytes.len;
    if (last) {
        char text[32];
        snprintf(text, sizeof(text), "%llu", (unsigned long long)t->got);
        reply(s, x, 200, text);
    } else if (t->timer == NULL) {
        struct kvp_timer_args a = {.size = sizeof(a), .after_ms = 1, .fire = on_rested, .data = t};
        if (s->host->timer(s->ctx, &a, &t->timer) == 0)
            s->host->http_pause(x, 1);
    }
}

static void renew(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct self *s = data;
    struct kvp_errmsg e = {""};
    struct kvp_bytes cert = file(s, s->conf->cert), key = file(s, s->conf->key), ca = file(s, s->conf->ca);
    (void)r;
    int rv = s->host->http_certificate(s->listener, cert, key, ca, &e);
    s->host->release(s->ctx, (void *)cert.data);
    s->host->release(s->ctx, (void *)key.data);
    s->host->release(s->ctx, (void *)ca.data);
    reply(s, x, rv == 0 ? 200 : 400, rv == 0 ? "renewed" : e.text);
}

static void closed(void *data, struct kvp_http *x, int complete)
{
    struct self *s = data;
    struct stream *t = s->host->http_data(x);
    (void)complete;
    if (t != NULL && t->timer != NULL)
        s->host->timer_cancel(t->timer);
    s->host->release(s->ctx, t);
}

static void opened(void *data, struct kvp_listener *l, const char *why)
{
    struct self *s = data;
    (void)l;
    KVP_LOG(s->host, s->ctx, KVP_INFO, "my port", kvp_f_str("why", why != NULL ? why : "open"));
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    static const struct { const char *method, *pattern; __typeof__(hello) *begin; int body; } routes[] = {
        {"GET", "/w/hello", hello, 0}, {"GET", "/w/who", who, 0}, {"GET", "/w/big", big, 0},
        {"GET", "/w/ticks", ticks, 0}, {"POST", "/w/upload", upload, 1}, {"POST", "/w/renew", renew, 0}};
    struct self *s = host->alloc(ctx, sizeof(*s));
    *s = (struct self){.host = host, .ctx = ctx, .conf = conf};
    *self = s;
    if (s->conf->port > 0) {
        struct kvp_listen_args a = {.size = sizeof(a), .address = "127.0.0.1", .opened = opened, .data = s,
                                    .port = (uint32_t)s->conf->port, .cert_pem = file(s, s->conf->cert),
                                    .key_pem = file(s, s->conf->key), .client_ca_pem = file(s, s->conf->ca)};
        int rv = host->http_listen(ctx, &a, &s->listener, NULL, e);
        host->release(ctx, (void *)a.cert_pem.data);
        host->release(ctx, (void *)a.key_pem.data);
        host->release(ctx, (void *)a.client_ca_pem.data);
        if (rv != 0)
            return rv;
    }
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        for (int own = 0; own <= (s->listener != NULL); own++) {
            struct kvp_route_args a = {.size = sizeof(a), .listener = own ? s->listener : NULL,
                                       .method = routes[i].method, .pattern = routes[i].pattern,
                                       .begin = routes[i].begin, .body = routes[i].body ? upload_body : NULL,
                                       .body_bytes_max = 64 << 20, .writable = writable, .closed = closed,
                                       .data = s};
            int rv = host->http_route(ctx, &a);
            if (rv != 0)
                return rv;
        }
    }
    return 0;
}

static void fini(void *self)
{
    struct self *s = self;
    s->host->release(s->ctx, s);
}

KVP_PLUGIN(.name = "web", .version = "1.0", .about = "Answers HTTP.", .options = options,
           .conf_size = sizeof(struct conf), .init = init, .fini = fini);
"""


def build(folder):
    path = os.path.join(folder, "web")
    with open(path + ".c", "w") as out:
        out.write(WEB)
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror",
                    "-fPIC", "-fvisibility=hidden", "-shared", f"-I{os.path.join(ROOT, 'include')}",
                    "-Wl,-z,defs", "-o", path + ".so", path + ".c"], check=True)
    os.chmod(path + ".so", 0o755)
    return path + ".so"


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_authority(folder):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{folder}/ca.key", "-out", f"{folder}/ca.pem", "-days", "30", "-subj", "/CN=authority")


def issue(folder, name, subject):
    with open(f"{folder}/ext", "w") as out:
        out.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{folder}/{name}.key", "-out", f"{folder}/csr", "-subj", subject)
    openssl("x509", "-req", "-in", f"{folder}/csr", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
            "-CAcreateserial", "-days", "30", "-extfile", f"{folder}/ext", "-out", f"{folder}/{name}.pem")


def await_true(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s: {what}")
        time.sleep(0.01)


def curl(url, *words, seconds=60):
    """(status, body bytes)."""
    run = subprocess.run(["curl", "-sS", "--max-time", str(seconds), "-w", "\n%{http_code}", *words, url],
                         capture_output=True)
    body, _, status = run.stdout.rpartition(b"\n")
    if run.returncode != 0 and status == b"000":
        raise AssertionError(run.stderr.decode())
    return int(status), body


def metric(server, name):
    status, text = server.get("/metrics")
    equal(status, 200)
    return float(re.search(rf'^{name}{{plugin="web"}} (\S+)$', text, re.M).group(1))


def await_idle(server):
    await_true("no exchange is left", lambda: metric(server, "kvd_plugin_http_exchanges") == 0)
    equal(metric(server, "kvd_plugin_http_queued_bytes"), 0)


def rss_kib(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def request(port, text):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(text.encode())
    return s


def get(port, path):
    return request(port, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-plugin-http.")
    plugin = build(folder)
    make_authority(folder)
    issue(folder, "server", "/CN=server")
    issue(folder, "alice", "/O=admins/O=ops/CN=alice")

    def start(tls=False):
        own, = free_ports(1)
        spec = f"{plugin},port={own}"
        if tls:
            spec += f",cert={folder}/server.pem,key={folder}/server.key,ca={folder}/ca.pem"
        server = Server(flags=["--plugin", spec])
        server.own = own
        return server

    with tally.case("answers on the client port and on its own, beside kvd's pages"):
        with start() as server:
            for port in (server.port, server.own):
                await_true("the port", lambda p=port: socket.socket().connect_ex(("127.0.0.1", p)) == 0)
                equal(curl(f"http://127.0.0.1:{port}/w/hello"), (200, b"hello\n"))
                equal(curl(f"http://127.0.0.1:{port}/w/hello", "-I")[0], 200)
                equal(curl(f"http://127.0.0.1:{port}/w/none")[0], 404)
                equal(curl(f"http://127.0.0.1:{port}/w/who"), (200, b"0 "))
            equal(server.get("/health")[0], 200)
            equal(curl(f"http://127.0.0.1:{server.own}/health")[0], 404)
            server.etcdctl("put", "a", "1", check=True)
            await_idle(server)

    with tally.case("large answers stream over HTTP/1.1, HTTP/2 and TLS"):
        with start() as server:
            url = f"http://127.0.0.1:{server.own}/w/big?30000001"
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            equal(len(curl(url)[1]), 30000001)
            equal(len(curl(url, "--http2-prior-knowledge")[1]), 30000001)
            await_idle(server)
        with start(tls=True) as server:
            url = f"https://127.0.0.1:{server.own}/w/big?30000001"
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            equal(len(curl(url, "--cacert", f"{folder}/ca.pem", "--http1.1")[1]), 30000001)
            equal(len(curl(url, "--cacert", f"{folder}/ca.pem", "--http2")[1]), 30000001)
            await_idle(server)

    with tally.case("client certificates become identities, and a certificate is changed while it serves"):
        with start(tls=True) as server:
            base = f"https://127.0.0.1:{server.own}"
            trust = ["--cacert", f"{folder}/ca.pem"]
            alice = ["--cert", f"{folder}/alice.pem", "--key", f"{folder}/alice.key"]
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            equal(curl(base + "/w/who", *trust), (200, b"0 "))
            equal(curl(base + "/w/who", *trust, *alice), (200, b"1 alice admins ops"))

            def subject():
                context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
                with context.wrap_socket(socket.create_connection(("127.0.0.1", server.own)),
                                         server_hostname="127.0.0.1") as s:
                    return dict(pair[0] for pair in s.getpeercert()["subject"])["commonName"]

            equal(subject(), "server")
            issue(folder, "server", "/CN=renewed")
            equal(subject(), "server")
            equal(curl(base + "/w/renew", *trust, "-X", "POST"), (200, b"renewed"))
            await_true("the new certificate", lambda: subject() == "renewed")
            with open(f"{folder}/server.pem", "w") as out:
                out.write("nonsense")
            equal(curl(base + "/w/renew", *trust, "-X", "POST"), (400, b"certificate: no start line"))
            equal(subject(), "renewed")
            issue(folder, "server", "/CN=server")

    with tally.case("a port that is taken fails the plugin, not the member"):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with Server(flags=["--plugin", f"{plugin},port={port}"]) as server:
                await_true("a refusal", lambda: "plugin refused" in server.log_text())
                assert f"init failed: listen tcp 127.0.0.1:{port}: bind: address already in use" \
                    in server.log_text(), server.log_tail()
                server.etcdctl("put", "a", "1", check=True)

    with tally.case("a thousand slow clients cost a bounded amount each, and hinder nobody"):
        with start() as server:
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            before = rss_kib(server)
            slow = []
            for i in range(1000):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.connect(("127.0.0.1", server.own))
                s.sendall(b"GET /w/big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                slow.append(s)
            await_true("all are there", lambda: metric(server, "kvd_plugin_http_exchanges") == 1000)
            for _ in range(20):
                equal(curl(f"http://127.0.0.1:{server.own}/w/hello"), (200, b"hello\n"))
                server.etcdctl("put", "a", "1", check=True)
            growth = (rss_kib(server) - before) / 1000
            print(f"     {growth:.0f} KiB per slow client")
            assert growth < 400, growth
            for s in slow:
                s.close()
            await_idle(server)
            equal(curl(f"http://127.0.0.1:{server.own}/w/hello"), (200, b"hello\n"))

    with tally.case("uploads go at the plugin's pace"):
        with start() as server:
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            path = os.path.join(folder, "upload")
            with open(path, "wb") as out:
                out.write(b"u" * 20_000_000)
            before = rss_kib(server)
            for words in ([], ["--http2-prior-knowledge"], ["-H", "Transfer-Encoding: chunked"]):
                status, body = curl(f"http://127.0.0.1:{server.own}/w/upload", "--data-binary", f"@{path}", *words)
                equal((status, body), (200, b"20000000"), words)
            assert rss_kib(server) - before < 20000, "the uploads were kept in memory"
            equal(curl(f"http://127.0.0.1:{server.port}/w/upload", "-d", ""), (200, b"0"))
            await_idle(server)

    with tally.case("clients killed in the middle leave nothing behind"):
        with start() as server:
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            clients = []
            for port in (server.port, server.own):
                for path in ("/w/ticks", "/w/big?1000000000"):
                    for words in ([], ["--http2-prior-knowledge"] if port == server.own else []):
                        clients.append(subprocess.Popen(
                            ["curl", "-sN", "--limit-rate", "100k", *words, "-o", "/dev/null",
                             f"http://127.0.0.1:{port}{path}"]))
            await_true("all are there", lambda: metric(server, "kvd_plugin_http_exchanges") == len(clients))
            for c in clients:
                c.kill()
                c.wait()
            await_idle(server)

    with tally.case("a stop in the middle: what streams is broken off, and the process ends in time"):
        server = start().start()
        try:
            await_true("the port", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            streams = [get(server.own, "/w/ticks"), get(server.port, "/w/ticks"), get(server.own, "/w/big?900000000")]
            for s in streams:
                s.settimeout(20)
                assert s.recv(20).startswith(b"HTTP/1.1 200")
            begun = time.monotonic()
            equal(server.stop(), -signal.SIGTERM)
            assert time.monotonic() - begun < 10
            for s in streams:
                tail = b""
                try:
                    while piece := s.recv(1 << 20):
                        tail = (tail + piece)[-20:]
                except ConnectionResetError:
                    pass
                assert not tail.endswith(b"0\r\n\r\n"), "a broken answer looks whole"
                s.close()
            assert "a plugin left memory behind" not in server.log_text(), server.log_tail()
            server.start()
            await_true("the port again", lambda: socket.socket().connect_ex(("127.0.0.1", server.own)) == 0)
            equal(curl(f"http://127.0.0.1:{server.own}/w/hello"), (200, b"hello\n"))
        finally:
            server.close()

    subprocess.run(["rm", "-rf", folder], check=True)
    tally.close()


main()
