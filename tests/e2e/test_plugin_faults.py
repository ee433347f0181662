#!/usr/bin/python3
"""Plugins that misbehave: each does one bad thing in a real kvd, the store serves on, and the operator reads one
sentence that says what happened and what to do."""
import collections
import os
import re
import shutil
import signal
import sys
import tempfile
import threading

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import Server, Tally, equal  # noqa: E402
from plugintest import Operator, await_line, await_true, build, get, lines  # noqa: E402

import etcd3  # noqa: E402

# base/limits.h
REQUESTS_MAX, POSTS_MAX, TIMERS_MAX, WATCHES_MAX = 4096, 65536, 65536, 4096
SERIES_MAX, LOG_LINES_PER_S = 256, 500
SANITIZED = "san-" in os.environ.get("KVD", "")

# One plugin for all: a key put under /do/ names the fault. The options hang init, stop or fini.
FAULT = r"""
/* fault.c - does what it should not, on demand. */
#define _GNU_SOURCE
#include <kvplugin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conf { const char *hang; };
static const struct kvp_option options[] = {
    {.name = "hang", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, hang),
     .values = "init|start|stop|fini", .help = "where it hangs"}, {.name = NULL}};

struct self {
    const struct kvp_host *host;
    struct kvp_ctx *root, *term, *past;
    const char *hang;
    uint32_t accepted, answered, busy, by_name;
    int flooding;
};

static void hang_in(struct self *s, const char *where)
{
    while (s->hang != NULL && strcmp(s->hang, where) == 0)
        pause();
}

static void nothing(void *data) { (void)data; }
static void no_events(void *data, const struct kvp_batch *b) { (void)data, (void)b; }

static int put(struct self *s, struct kvp_ctx *ctx, const char *value, kvp_done_fn *done)
{
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str("/flood"), .value = kvp_str(value)};
    return s->host->put(ctx, &p, done, s);
}

/* Each answer is followed by two more writes, until the host says it is enough. */
static void flood(void *data, const struct kvp_result *r)
{
    struct self *s = data;
    (void)r;
    s->host->metric_add(s->root, s->answered, 1);
    for (int i = 0; s->flooding && i < 2; i++) {
        int reason = put(s, s->term, "x", flood);
        s->host->metric_add(s->root, reason == 0 ? s->accepted : s->busy, reason == 0 || reason == KVP_BUSY);
    }
}

static void tell(struct self *s, const char *what, int64_t count, int reason)
{
    KVP_LOG(s->host, s->root, KVP_INFO, what, kvp_f_int("count", count), kvp_f_int("reason", reason));
}

static int deep(volatile char *below, int n)
{
    volatile char here[4096];
    here[0] = below != NULL ? below[0] : (char)n;
    return n < 0 ? n : deep(here, n + 1) + here[0]; /* 1 MiB of stack is over long before */
}

static void crash(void *data) { *(volatile int *)data = 1; }
static void done(void *data, int canceled) { (void)data, (void)canceled; }

static void *elsewhere(void *data)
{
    struct self *s = data;
    tell(s, "from a thread", 1, put(s, s->term, "wrong", NULL));
    return NULL;
}

static void act(struct self *s, const char *what)
{
    int64_t n = 0;
    int reason = 0;
    if (strcmp(what, "segv") == 0) {
        crash(NULL);
    } else if (strcmp(what, "abort") == 0) {
        abort();
    } else if (strcmp(what, "exit") == 0) {
        exit(3);
    } else if (strcmp(what, "overflow") == 0) {
        tell(s, "deep", deep(NULL, 0), 0);
    } else if (strcmp(what, "offload") == 0) {
        s->host->offload(s->term, crash, done, NULL);
    } else if (strcmp(what, "loop") == 0) {
        for (volatile int i = 0;; i++) {
        }
    } else if (strcmp(what, "leak") == 0) {
        for (; n < 10; n++) {
            s->host->alloc(s->root, 1000);
        }
    } else if (strcmp(what, "writes") == 0) {
        s->flooding = 1;
        flood(s, NULL);
    } else if (strcmp(what, "calm") == 0) {
        s->flooding = 0;
        tell(s, "calm", 0, 0);
    } else if (strcmp(what, "posts") == 0) {
        for (; (reason = s->host->post(s->root, nothing, NULL)) == 0; n++) {
        }
        tell(s, what, n, reason);
    } else if (strcmp(what, "timers") == 0) {
        struct kvp_timer_args a = {.size = sizeof(a), .after_ms = 3600000, .fire = nothing};
        for (; (reason = s->host->timer(s->term, &a, NULL)) == 0; n++) {
        }
        tell(s, what, n, reason);
    } else if (strcmp(what, "watches") == 0) {
        struct kvp_watch_args a = {.size = sizeof(a), .key = kvp_str("/flood"), .events = no_events};
        for (; (reason = s->host->watch(s->term, &a, NULL)) == 0; n++) {
        }
        tell(s, what, n, reason);
    } else if (strcmp(what, "lines") == 0) {
        for (; n < 100000; n++) {
            tell(s, "a line", n, 0);
        }
    } else if (strcmp(what, "series") == 0) {
        for (; n < 5000 && reason == 0; n++) {
            char name[32];
            uint32_t id;
            int len = snprintf(name, sizeof(name), "%d", (int)n);
            struct kvp_bytes value = kvp_bytes_of(name, (size_t)len);
            reason = s->host->metric_series(s->root, s->by_name, &value, 1, &id);
            s->host->metric_add(s->root, id, 1);
        }
        tell(s, what, n, reason);
    } else if (strcmp(what, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, elsewhere, s);
        pthread_join(thread, NULL);
    } else if (strcmp(what, "past") == 0) {
        tell(s, "with a term that is over", 1, put(s, s->past, "stopped", NULL));
    } else if (strcmp(what, "again") == 0) {
        s->host->fail(s->term, "I want a new term");
    }
}

static void on_events(void *data, const struct kvp_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        char what[32] = "";
        struct kvp_bytes key = b->events[i].row.key;
        if (b->events[i].type == KVP_EVENT_PUT && key.len > 4 && key.len < 30) {
            memcpy(what, (const char *)key.data + 4, key.len - 4);
            act(data, what);
        }
    }
}

static uint32_t counter(struct self *s, const char *name, const char *label)
{
    uint32_t id = 0;
    struct kvp_metric_args a = {.size = sizeof(a), .type = KVP_COUNTER, .name = name, .help = "Counted.",
                                .labels = {label}};
    s->host->metric(s->root, &a, &id);
    return id;
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    struct self *s = host->alloc(ctx, sizeof(*s));
    (void)e;
    *s = (struct self){.host = host, .root = ctx};
    s->hang = ((const struct conf *)conf)->hang;
    s->accepted = counter(s, "accepted", NULL);
    s->answered = counter(s, "answered", NULL);
    s->busy = counter(s, "busy", NULL);
    s->by_name = counter(s, "by_name", "name");
    hang_in(s, "init");
    *self = s;
    return 0;
}

static int start(void *self, struct kvp_ctx *ctx, uint64_t term)
{
    struct self *s = self;
    struct kvp_watch_args watch = {.size = sizeof(watch), .flags = KVP_PREFIX, .key = kvp_str("/do/"),
                                   .events = on_events, .data = s};
    (void)term;
    s->past = s->term;
    s->term = ctx;
    hang_in(s, "start");
    return s->host->watch(ctx, &watch, NULL);
}

static void stop(void *self, int32_t reason)
{
    struct self *s = self;
    s->flooding = 0;
    tell(s, "in stop", reason, put(s, s->term, "stopped", NULL));
    hang_in(s, "stop");
}

static void fini(void *self)
{
    struct self *s = self;
    hang_in(s, "fini");
    s->host->release(s->root, s);
}

KVP_PLUGIN(.name = "fault", .version = "1.0", .about = "Misbehaves.", .options = options,
           .conf_size = sizeof(struct conf), .init = init, .start = start, .stop = stop, .fini = fini);
"""

CALM = FAULT.replace('.name = "fault"', '.name = "calm"').replace('"/do/"', '"/calm/"').replace(
    'key.len - 4', '0')


def do(server, what):
    server.etcdctl("put", f"/do/{what}", "now", timeout=20)


def serves(server):
    server.etcdctl("put", "serves", "yes", check=True)
    equal(get(server, "serves"), "yes", "the store")


def metric(server, line):
    """The value of one line of /metrics."""
    text = server.get("/metrics")[1]
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.M)
    assert found, f"no {line} in\n{text}"
    return float(found.group(1))


def leading(server):
    operator = Operator(server, "fault")
    operator.await_state("leading")
    return operator


# ---- the process dies --------------------------------------------------------------------------------


def crashes(tally, so):
    kinds = [("segv", -signal.SIGSEGV, "watch events"), ("abort", -signal.SIGABRT, "watch events"),
             ("exit", 3, "watch events"), ("overflow", -signal.SIGSEGV, "watch events"),
             ("offload", -signal.SIGSEGV, "offload")]
    for what, status, callback in kinds:
        with tally.case(f"{what}: a strike, and it is tried again"):
            server = Server(flags=["--plugin", so]).start()
            try:
                leading(server)
                do(server, what)
                ended = server.process.wait(30)
                # A sanitizer has handlers of its own, which end the process their way.
                assert ended == status or (SANITIZED and ended != 0), ended
                server.process = None
                server.start()
                equal(leading(server).info()["strikes"], 1, "strikes")
                line, = lines(server, "the process died inside a plugin last time")
                equal((line["plugin"], line["callback"]), ("fault", callback), "line")
                serves(server)
            finally:
                server.close()
    with tally.case("kill -9 in the middle of a callback is no fault of the plugin"):
        server = Server(flags=["--plugin", f"{so}"]).start()
        try:
            for _ in range(4):
                operator = leading(server)
                do(server, "loop")
                await_true("the callback", lambda: operator.load()["running"] == "watch events")
                server.kill()
                hung = len(lines(server, "a plugin does not come back from a callback"))
                server.start()
                # Killed for hanging it counts; on a machine so slow nothing is proved by this round.
                if not hung:
                    equal(leading(server).info()["strikes"], 0, "strikes")
                    break
                leading(server)
            else:
                raise AssertionError("no round was fast enough")
        finally:
            server.close()
    with tally.case("the third time it is quarantined: list, /readyz and metrics say so"):
        server = Server(flags=["--plugin", so]).start()
        try:
            for what in ("segv", "exit", "offload"):
                leading(server)
                do(server, what)
                server.process.wait(30)
                server.process = None
                server.start()
            operator = Operator(server, "fault")
            info = operator.info()
            equal((info["state"], info["strikes"]), ("quarantined", 3), "info")
            why = info["why"]
            assert why.startswith("the process died 3 times within 10 minutes inside plugin fault (last in "
                                  "offload, "), why
            assert why.endswith("replace the file and start kvd again, or try it again with `kvctl plugin "
                                "enable fault`"), why
            status, text = server.get("/readyz?verbose")
            equal(status, 200, "the member is ready")
            assert f"[!]plugin fault quarantined: {why}\n" in text, text
            equal(metric(server, 'kvd_plugin_state{plugin="fault",state="quarantined"}'), 1, "metric")
            equal(metric(server, 'kvd_plugin_state{plugin="fault",state="leading"}'), 0, "metric")
            serves(server)
            equal(operator("enable", "fault"), "fault enabled; it is leading\n", "answer")
            assert "[+]plugin fault leading\n" in server.get("/readyz?verbose")[1], "readyz"
        finally:
            server.close()


# ---- it does not come back ---------------------------------------------------------------------------


def stop_names(server, callback):
    equal(server.stop(30), -signal.SIGTERM, "wait status")
    line = lines(server, "a plugin does not end; the process ends without it")[-1]
    equal((line["plugin"], line["callback"]), ("fault", callback), "line")


def loops(tally, so, calm):
    server = Server(flags=["--plugin", so, "--plugin", calm]).start()
    try:
        operator = leading(server)
        with tally.case("a callback that loops is named while it does, again and again"):
            do(server, "loop")
            await_true("two lines", lambda: len(lines(server, "a plugin does not come back from a callback")) >= 2)
            line = lines(server, "a plugin does not come back from a callback")[0]
            equal((line["level"], line["plugin"], line["callback"]), ("error", "fault", "watch events"), "line")
            assert re.fullmatch(r"[\d.]+(ms|s)", line["for"]), line
        with tally.case("top shows it, the store and the other plugin go on"):
            load = operator.load()
            equal(load["running"], "watch events", "running")
            await_true("how long", lambda: operator.load()["running_ms"] > load["running_ms"])
            serves(server)
            equal(operator.info("calm")["state"], "leading", "the other one")
        with tally.case("disable does not wait for ever, and says what is up"):
            why = operator.refused("disable", "fault")
            assert re.fullmatch(r"plugin fault has been in watch events for \d+ s and does not come back: it is "
                                r"disabled when it does, or when kvd is started again", why), why
            equal(operator.refused("reload", "fault"),
                  "another change of fault is under way, it is in watch events: try again", "a second one")
        with tally.case("the process stops without it"):
            stop_names(server, "watch events")
        with tally.case("the disable holds over a restart"):
            server.start()
            equal(operator.info()["state"], "disabled", "state")
            operator.await_state("leading", "calm")
    finally:
        server.close()
    for where, state in (("init", "starting"), ("start", "starting"), ("stop", "stopping"),
                         ("fini", "stopping")):
        with tally.case(f"{where} hangs: named, the member serves, and stops"):
            server = Server(flags=["--plugin", f"{so},hang={where}", "--plugin", calm]).start()
            try:
                operator = Operator(server, "fault")
                operator.await_state("leading", "calm")
                if where in ("stop", "fini"):
                    operator.await_state("leading")
                    status, _, err = operator.run("disable", "fault", "--command-timeout=50ms")
                    equal(status, 1, err)
                await_line(server, "a plugin does not come back from a callback", plugin="fault", callback=where)
                equal(operator.info()["state"], state, "state")
                serves(server)
                operator("reload", "calm")
                stop_names(server, where)
            finally:
                server.close()


# ---- it takes too much -------------------------------------------------------------------------------


def leaks(tally, so):
    with Server(flags=["--plugin", so]) as server, tally.case("a leak is shown, and told at the end"):
        operator = leading(server)
        before = operator.load()
        for _ in range(2):
            do(server, "leak")
        await_true("the memory", lambda: operator.load()["allocations"] == before["allocations"] + 20)
        equal(operator.load()["memory_bytes"], before["memory_bytes"] + 20000, "bytes")
        operator("disable", "fault")
        line, = lines(server, "a plugin left memory behind")
        equal((line["plugin"], line["allocations"], line["bytes"]), ("fault", 20, 20000), "line")


class Client(threading.Thread):
    """Puts, one after the other; remembers between which revisions each was answered."""

    def __init__(self, server, count):
        super().__init__()
        self.client = etcd3.client(host="127.0.0.1", port=server.port, timeout=60)
        self.count = count
        self.waited = []
        self.failure = None

    def run(self):
        try:
            revision = self.client.put("client", "first").header.revision
            for i in range(self.count):
                now = self.client.put("client", str(i)).header.revision
                self.waited.append(now - revision - 1)
                revision = now
        except Exception as e:  # told by the case
            self.failure = e


def floods(tally, so):
    with Server(flags=["--plugin", so]) as server:
        operator = leading(server)
        with tally.case("writes without end: bounded, and clients get their turn"):
            do(server, "writes")
            await_true("the bound", lambda: metric(server, "kvd_plugin_fault_busy") > 0)
            client = Client(server, 300)
            client.start()
            most = 0
            while client.is_alive():
                load = operator.load()
                most = max(most, load["writes"] + load["requests"])
            client.join()
            assert client.failure is None, client.failure
            assert 0 < most <= REQUESTS_MAX, most
            # Before a client's write there may be all the plugin had under way, and as much again that it
            # proposed while that was answered. While the client itself waits for a processor there come more,
            # so not every single write is held to that.
            waited = sorted(client.waited)
            print(f"     writes of the plugin between two of a client: median {waited[len(waited) // 2]}, "
                  f"p99 {waited[len(waited) * 99 // 100]}, most {waited[-1]}")
            equal(len(waited), 300, "answers")
            assert waited[len(waited) // 2] <= 2 * REQUESTS_MAX, waited
            do(server, "calm")
            await_line(server, "calm")
            await_true("the end of it", lambda: operator.load()["writes"] == 0)
            equal(metric(server, "kvd_plugin_fault_accepted") + 1, metric(server, "kvd_plugin_fault_answered"),
                  "each write is answered once")
        for what, most in (("posts", POSTS_MAX), ("timers", TIMERS_MAX), ("watches", WATCHES_MAX)):
            with tally.case(f"{what} without end: {most}, then BUSY"):
                do(server, what)
                await_line(server, what)
                line, = lines(server, what)
                equal(line["reason"], 4, "reason: KVP_BUSY")
                assert most - 2 <= line["count"] <= most, line
                serves(server)
        with tally.case("series without end share one"):
            do(server, "series")
            await_line(server, "series")
            text = server.get("/metrics")[1]
            series = re.findall(r'^kvd_plugin_fault_by_name\{name="(\w+)"\} (\d+)$', text, re.M)
            equal(len(series), SERIES_MAX + 1, "series")
            equal(sum(int(n) for _, n in series), 5000, "all are counted")
            assert ("other", str(5000 - SERIES_MAX)) in series, series[-1]
        with tally.case("lines without end: some, and how many were left out"):
            do(server, "lines")
            await_true("the drops", lambda: metric(server, "kvd_plugin_log_lines_dropped_total"
                                                   '{plugin="fault"}') > 0)
            do(server, "calm")  # runs behind the loop that logs
            await_true("calm again", lambda: operator.load()["running"] == "")
            operator("disable", "fault")
            seconds = collections.Counter(x["ts"][:19] for x in lines(server, "a line"))
            # A second of the wall clock may share two of the monotonic clock's.
            assert max(seconds.values()) <= 2 * LOG_LINES_PER_S, seconds
            dropped = lines(server, "a plugin logs too much: lines were dropped")
            told = sum(x["dropped"] for x in dropped)
            assert sum(seconds.values()) + told >= 100000, (seconds, told)
            equal(dropped[0]["plugin"], "fault", "plugin")
        with tally.case("nothing of it is left"):
            serves(server)
            equal(server.stop(30), -signal.SIGTERM, "wait status")
            equal(lines(server, "a plugin left memory behind"), [], "leaks")


# ---- it calls what it must not -----------------------------------------------------------------------


def wrong_calls(tally, so):
    with Server(flags=["--plugin", so]) as server:
        operator = leading(server)
        with tally.case("a call from a thread of its own: WRONG_THREAD"):
            do(server, "thread")
            await_line(server, "from a thread", reason=5)
            equal(get(server, "/flood"), "", "nothing was written")
        with tally.case("a call in stop: STOPPED"):
            do(server, "again")
            await_line(server, "in stop", reason=2, count=20)  # stopped because of KVP_INTERNAL
            await_line(server, "a plugin asks to be restarted", why="I want a new term")
            operator.await_state("leading")
            equal(operator.info()["epoch"], 2, "epoch")
        with tally.case("a context of a term that is over: STOPPED"):
            do(server, "past")
            await_line(server, "with a term that is over", reason=2)
            equal(get(server, "/flood"), "", "nothing was written")


# ---- its file ----------------------------------------------------------------------------------------


def refusal(spec):
    with Server(flags=["--plugin", spec]) as server:
        await_true("a refusal", lambda: lines(server, "plugin refused"))
        serves(server)
        return lines(server, "plugin refused")[0]["why"]


def files(tally, folder, so):
    with tally.case("a newer minor"):
        path = build(folder, "newer", "#define KVP_NEED_MINOR 9u\n" + FAULT)
        equal(refusal(path), f"{path}: needs plugin ABI 1.9, this kvd has 1.0: upgrade kvd, or build it with an "
              "older kvplugin.h", "sentence")
    with tally.case("half a file"):
        path = os.path.join(folder, "half.so")
        size = os.path.getsize(so)
        with open(so, "rb") as whole, open(path, "wb") as half:
            half.write(whole.read(size // 2))
        assert re.fullmatch(rf"{path}: is not complete: it has {size // 2} bytes, its headers speak of \d+: is it "
                            "still being written\\?", refusal(path)), refusal(path)
    with tally.case("two files, one name: the first one works"):
        other = build(folder, "other", FAULT)
        with Server(flags=["--plugin", so, "--plugin", other]) as server:
            await_true("a refusal", lambda: lines(server, "plugin refused"))
            equal(lines(server, "plugin refused")[0]["why"],
                  f"{other}: a plugin named fault is loaded already, from {so}", "sentence")
            equal([p["state"] for p in leading(server).json("list")["plugins"]], ["leading", "failed"], "states")
            why = Operator(server).refused("enable", other)
            equal(why, f"{other}: a plugin named fault is loaded already, from {so}", "sentence")
    with tally.case("a file that is overwritten and cut while it is loaded harms nobody"):
        path = build(folder, "victim", FAULT)
        with Server(flags=["--plugin", path]) as server:
            operator = leading(server)
            with open(path, "r+b") as f:
                f.write(b"\xcc" * 20000)
                f.truncate(3000)
            do(server, "thread")
            await_line(server, "from a thread", reason=5)
            assert operator.refused("reload", "fault").startswith(f"{path}: cannot be loaded: "), "sentence"
            operator.await_state("leading")
            build(folder, "victim", FAULT.replace('"1.0"', '"1.1"'))
            equal(operator("reload", "fault"),
                  "fault reloaded: version 1.1 (was 1.0), new code; it is leading\n", "answer")


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-faults.")
    try:
        so = build(folder, "fault", FAULT)
        calm = build(folder, "calm", CALM)
        crashes(tally, so)
        loops(tally, so, calm)
        leaks(tally, so)
        floods(tally, so)
        wrong_calls(tally, so)
        files(tally, folder, so)
    finally:
        shutil.rmtree(folder)
    tally.close()


main()
