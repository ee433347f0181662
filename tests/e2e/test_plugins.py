#!/usr/bin/env python3
"""Plugins as an operator meets them: built with gcc from a few lines, loaded into a real kvd, refused with
one sentence that says what to do, quarantined when they kill the process."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import ROOT, Server, Tally, equal  # noqa: E402

INCLUDE = os.path.join(ROOT, "include")

STAMP = r"""
/* stamp.c - writes what it is told under /stamp when it leads, and mirrors /in/ to /out/. */
#include <kvplugin.h>
#include <stdlib.h>
#include <string.h>

struct conf { const char *word; };
static const struct kvp_option options[] = {
    {.name = "word", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, word), .def = "hello",
     .flags = KVP_OPT_RELOADABLE, .help = "what to write"},
    {.name = NULL}};

struct self { const struct kvp_host *host; struct kvp_ctx *term; const struct conf *conf; };

static void on_put(void *data, const struct kvp_result *r)
{
    struct self *s = data;
    KVP_LOG(s->host, s->term, KVP_INFO, "stamped", kvp_f_int("revision", r->revision));
}

static void on_events(void *data, const struct kvp_batch *b)
{
    struct self *s = data;
    for (size_t i = 0; i < b->count; i++) {
        char key[100] = "/out/";
        struct kvp_bytes in = b->events[i].row.key;
        if (in.len < 60) {
            memcpy(key + 5, (const char *)in.data + 4, in.len - 4);
            struct kvp_put put = {.size = sizeof(put), .key = kvp_str(key), .value = b->events[i].row.value};
            s->host->put(s->term, &put, NULL, NULL);
        }
        if (in.len == 8 && memcmp(in.data, "/in/kill", 8) == 0)
            abort();
    }
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    struct self *s = host->alloc(ctx, sizeof(*s));
    (void)e;
    s->host = host;
    s->conf = conf;
    *self = s;
    return 0;
}

static int start(void *self, struct kvp_ctx *ctx, uint64_t term)
{
    struct self *s = self;
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("/stamp"), .value = kvp_str(s->conf->word)};
    struct kvp_watch_args watch = {.size = sizeof(watch), .flags = KVP_PREFIX | KVP_NO_DELETE,
                                   .key = kvp_str("/in/"), .events = on_events, .data = s};
    (void)term;
    s->term = ctx;
    s->host->put(ctx, &put, on_put, s);
    return s->host->watch(ctx, &watch, NULL);
}

KVP_PLUGIN(.name = "stamp", .version = "1.0", .about = "Writes a word.", .options = options,
           .conf_size = sizeof(struct conf), .init = init, .start = start);
"""

FAILING = r"""
#include <kvplugin.h>
#include <stdio.h>
static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    (void)ctx, (void)host, (void)conf, (void)self;
    snprintf(e->text, sizeof(e->text), "no licence for the moon");
    return 1;
}
KVP_PLUGIN(.name = "failing", .version = "1", .about = "Fails.", .init = init);
"""

WRONG_ABI = r"""
#include <kvplugin.h>
#undef KVP_ABI_MAJOR
#define KVP_ABI_MAJOR 7u
static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    (void)ctx, (void)host, (void)conf, (void)self, (void)e;
    return 0;
}
KVP_PLUGIN(.name = "future", .version = "1", .about = "From the future.", .init = init);
"""

UNRESOLVED = r"""
#include <kvplugin.h>
int nobody_has_this(void);
static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    (void)ctx, (void)host, (void)conf, (void)self, (void)e;
    return nobody_has_this();
}
KVP_PLUGIN(.name = "unresolved", .version = "1", .about = "Lacks something.", .init = init);
"""

# kvd has a function of this name. A plugin that calls its own must get its own, and one that calls kvd's
# must not be loaded.
NAMESAKE = UNRESOLVED.replace("nobody_has_this", "mem_alloc")

STUCK = r"""
#include <kvplugin.h>
#include <unistd.h>
static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    (void)ctx, (void)host, (void)conf, (void)self, (void)e;
    return 0;
}
static void stop(void *self, int32_t reason)
{
    (void)self, (void)reason;
    for (;;)
        pause();
}
KVP_PLUGIN(.name = "stuck", .version = "1", .about = "Never stops.", .init = init, .stop = stop);
"""


def build(folder, name, source, *, defs=True):
    """Compiles one plugin as its author would; returns the path of the .so."""
    path = os.path.join(folder, name)
    with open(path + ".c", "w") as out:
        out.write(source)
    flags = ["-Wl,-z,defs"] if defs else []
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror",
                    "-fPIC", "-fvisibility=hidden", "-shared", f"-I{INCLUDE}", *flags, "-o", path + ".so",
                    path + ".c"], check=True)
    os.chmod(path + ".so", 0o755)
    return path + ".so"


def lines(server, msg):
    """Log lines with that message."""
    out = []
    for line in server.log_text().splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            if entry["msg"] == msg:
                out.append(entry)
    return out


def await_true(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s: {what}")
        time.sleep(0.01)


def await_line(server, msg, **fields):
    def found():
        return any(all(e.get(k) == v for k, v in fields.items()) for e in lines(server, msg))
    await_true(f"log line {msg!r} {fields}", found)


def get(server, key):
    return server.etcdctl("get", key, "--print-value-only", check=True)[1].strip()


def refusal(spec):
    """The sentence for this --plugin; the member must serve all the same."""
    with Server(flags=["--plugin", spec]) as server:
        await_true("a refusal", lambda: lines(server, "plugin refused"))
        server.etcdctl("put", "a", "1", check=True)
        equal(get(server, "a"), "1")
        return lines(server, "plugin refused")[0]["why"]


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-plugins.")
    stamp = build(folder, "stamp", STAMP)

    with tally.case("a plugin reads its option, leads and writes"):
        with Server(flags=["--plugin", f"{stamp},word=moin"]) as server:
            await_line(server, "stamped", plugin="stamp")
            equal(get(server, "/stamp"), "moin")
            await_line(server, "plugin leads", plugin="stamp", epoch=1)

    with tally.case("events reach the plugin and its writes are there"):
        with Server(flags=["--plugin", stamp]) as server:
            await_line(server, "plugin leads", plugin="stamp")
            for i in range(20):
                server.etcdctl("put", f"/in/{i}", f"v{i}", check=True)
            await_true("the last mirror", lambda: get(server, "/out/19") == "v19")
            for i in range(20):
                equal(get(server, f"/out/{i}"), f"v{i}")
            status, metrics = server.get("/metrics")
            equal(status, 200)
            assert 'kvd_plugin_leads{plugin="stamp"} 1\n' in metrics, metrics

    with tally.case("one symbol is exported"):
        out = subprocess.run(["nm", "-D", "--defined-only", stamp], capture_output=True, text=True,
                             check=True).stdout
        equal([line.split()[-1] for line in out.splitlines()], ["kvplugin_entry"])

    with tally.case("a restart is a new term, and the copies of the last process are gone"):
        server = Server(flags=["--plugin", stamp]).start()
        try:
            await_line(server, "plugin leads")
            equal(server.stop(), -signal.SIGTERM)
            first = lines(server, "plugin leads")[0]["term"]
            await_line(server, "plugin leads no more", plugin="stamp")
            build(folder, "stamp", STAMP.replace('"1.0"', '"1.1"'))
            server.start()
            await_line(server, "plugin loaded", version="1.1")
            await_true("the second term", lambda: len(lines(server, "plugin leads")) == 2)
            assert lines(server, "plugin leads")[1]["term"] > first
            equal(lines(server, "found an unknown file in the data directory, leaving it alone"), [])
            copies = [f for f in os.listdir(os.path.join(server.data_dir, "plugins.d"))
                      if f.endswith(".so")]
            equal(len(copies), 1, "copies")
        finally:
            server.close()

    with tally.case("--plugin-dir loads all of a directory, and goes on after a bad one"):
        plugins = os.path.join(folder, "dir")
        os.mkdir(plugins)
        build(plugins, "b", STAMP)
        build(plugins, "a", FAILING)
        with open(os.path.join(plugins, "c.so"), "w") as out:
            out.write("this is not ELF")
        with Server(flags=["--plugin-dir", plugins]) as server:
            await_line(server, "plugin leads", plugin="stamp")
            await_true("both refusals", lambda: len(lines(server, "plugin refused")) == 2)

    with tally.case("a file that is not there"):
        equal(refusal("/nowhere/x.so"), "/nowhere/x.so: cannot be read: No such file or directory")

    with tally.case("a file that is no plugin"):
        path = os.path.join(folder, "text.so")
        with open(path, "w") as out:
            out.write("hello")
        os.chmod(path, 0o755)
        why = refusal(path)
        assert why.startswith(f"{path}: cannot be loaded: ") and "too short" in why, why

    with tally.case("a shared object without the entry"):
        path = build(folder, "plain", "int x;\n")
        equal(refusal(path), f"{path}: exports no kvplugin_entry, so it is no plugin of kvd: end its source "
              "with KVP_PLUGIN(...)")

    with tally.case("another ABI"):
        path = build(folder, "future", WRONG_ABI)
        equal(refusal(path), f"{path}: wants plugin ABI 7.0, this kvd has 1.0: build it with the kvplugin.h "
              "of this kvd")

    with tally.case("a symbol nobody has is named at load"):
        path = build(folder, "unresolved", UNRESOLVED, defs=False)
        equal(refusal(path), f"{path}: cannot be loaded: undefined symbol: nobody_has_this (a plugin may use "
              "what it links itself; kvd's calls come through struct kvp_host)")

    with tally.case("kvd's own functions cannot be reached"):
        path = build(folder, "namesake", NAMESAKE, defs=False)
        assert "undefined symbol: mem_alloc" in refusal(path)

    with tally.case("an init that fails says why"):
        path = build(folder, "failing", FAILING)
        equal(refusal(path), f"{path}: init failed: no licence for the moon")

    with tally.case("an unknown option names the nearest"):
        equal(refusal(f"{stamp},wort=x"), f"{stamp}: it has no option wort; the nearest is word")

    with tally.case("a file that others may write"):
        os.chmod(stamp, 0o777)
        equal(refusal(stamp), f"{stamp}: the file may be written by others (mode 0777): chmod go-w it")
        os.chmod(stamp, 0o755)

    with tally.case("the same plugin twice"):
        with Server(flags=["--plugin", stamp, "--plugin", stamp]) as server:
            await_true("a refusal", lambda: lines(server, "plugin refused"))
            equal(lines(server, "plugin refused")[0]["why"],
                  f"{stamp}: a plugin named stamp is loaded already, from {stamp}")
            await_line(server, "plugin leads", plugin="stamp")

    with tally.case("a plugin that does not stop is named and left behind"):
        path = build(folder, "stuck", STUCK)
        server = Server(flags=["--plugin", path]).start()
        try:
            await_line(server, "plugin leads", plugin="stuck")
            server.etcdctl("put", "kept", "1", check=True)
            equal(server.stop(), -signal.SIGTERM)
            line = lines(server, "a plugin does not end; the process ends without it")[0]
            equal((line["plugin"], line["callback"]), ("stuck", "stop"))
            server.start()
            equal(get(server, "kept"), "1")
        finally:
            server.close()

    with tally.case("three deaths inside a plugin put it into quarantine"):
        server = Server(flags=["--plugin", stamp])
        try:
            for _ in range(3):
                server.start()
                await_true("leading", lambda: lines(server, "plugin leads")[-1:] and
                           lines(server, "plugin leads")[-1]["ts"] > lines(server, "starting kvd")[-1]["ts"])
                server.etcdctl("put", "/in/kill", "now", timeout=20)
                equal(server.process.wait(20), -signal.SIGABRT)
                server.process = None
            server.start()
            await_true("a refusal", lambda: lines(server, "plugin refused"))
            why = lines(server, "plugin refused")[0]["why"]
            assert "the process died 3 times within 10 minutes inside plugin stamp" in why, why
            assert "watch events" in why, why
            server.etcdctl("put", "/in/kill", "again", check=True)
            equal(get(server, "/in/kill"), "again")
            equal(server.stop(), -signal.SIGTERM)
            build(folder, "stamp", STAMP.replace("abort();", "(void)abort;").replace('"1.0"', '"1.2"'))
            server.start()
            await_line(server, "plugin loaded", version="1.2")
        finally:
            server.close()

    with tally.case("a plugin builds against the installed header"):
        root = os.path.join(folder, "root")
        subprocess.run(["make", "-s", "install", "PREFIX=/usr", f"DESTDIR={root}"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(root, "usr/lib/pkgconfig"),
                   PKG_CONFIG_SYSROOT_DIR=root)
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "kvplugin"], env=env, text=True,
                               capture_output=True, check=True).stdout.split()
        path = os.path.join(folder, "installed.so")
        subprocess.run(["gcc", "-o", path, os.path.join(folder, "stamp.c"), *flags], check=True)
        os.chmod(path, 0o755)
        with Server(flags=["--plugin", path]) as server:
            await_line(server, "plugin leads", plugin="stamp")

    subprocess.run(["rm", "-rf", folder], check=True)
    tally.close()


main()
