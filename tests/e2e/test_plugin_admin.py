#!/usr/bin/env python3
"""Operators and plugins: kvctl plugin against a kvd with real .so files - what is shown, settings and code
that change while it serves, what fails on the way, disable and quarantine over restarts."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import KVCTL, Server, Tally, equal
from plugintest import ENV, Operator, await_line, await_true, build, get, lines

FAILURE = 1
WAIT_SECONDS_MAX = 30

WORKER = r"""
/* worker.c - writes its word under /worker every few milliseconds while it leads. */
#include <kvplugin.h>
#include <stdlib.h>
#include <string.h>

struct conf { const char *word; int64_t every; int64_t level; const char *token; };
static const struct kvp_option options[] = {
    {.name = "word", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, word), .def = "hello",
     .flags = KVP_OPT_RELOADABLE, .help = "what to write"},
    {.name = "every", .type = KVP_OPT_DURATION, .offset = offsetof(struct conf, every), .def = "5ms",
     .min = 1, .max = 60000, .help = "how often"},
    {.name = "level", .type = KVP_OPT_INT, .offset = offsetof(struct conf, level)},
    {.name = "token", .type = KVP_OPT_STRING, .offset = offsetof(struct conf, token),
     .flags = KVP_OPT_SECRET, .help = "nobody may see it"},
    {.name = NULL}};

struct self { const struct kvp_host *host; struct kvp_ctx *root; struct kvp_ctx *term; const struct conf *conf; };

static void tick(void *data)
{
    struct self *s = data;
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("/worker"), .value = kvp_str(s->conf->word)};
    s->host->put(s->term, &put, NULL, NULL);
}

static void on_events(void *data, const struct kvp_batch *b)
{
    (void)data;
    for (size_t i = 0; i < b->count; i++) {
        if (b->events[i].row.key.len == 5 && memcmp(b->events[i].row.key.data, "/kill", 5) == 0)
            abort();
    }
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    struct self *s = host->alloc(ctx, sizeof(*s));
    (void)e;
    s->host = host;
    s->root = ctx;
    s->conf = conf;
    *self = s;
    return 0;
}

static int start(void *self, struct kvp_ctx *ctx, uint64_t term)
{
    struct self *s = self;
    struct kvp_timer_args timer = {.size = sizeof(timer), .repeat_ms = (uint64_t)s->conf->every,
                                   .fire = tick, .data = s};
    struct kvp_watch_args watch = {.size = sizeof(watch), .key = kvp_str("/kill"), .events = on_events};
    (void)term;
    s->term = ctx;
    s->host->watch(ctx, &watch, NULL);
    return s->host->timer(ctx, &timer, NULL);
}

static int reload(void *self, const void *conf, struct kvp_errmsg *e)
{
    struct self *s = self;
    const struct conf *c = conf;
    if (strcmp(c->word, "rude") == 0) {
        strcpy(e->text, "mind your language");
        return 1;
    }
    s->conf = conf;
    return 0;
}

static void fini(void *self)
{
    struct self *s = self;
    s->host->release(s->root, s);
}

KVP_PLUGIN(.name = "worker", .version = "1.0", .about = "Writes a word.", .options = options,
           .conf_size = sizeof(struct conf), .init = init, .start = start, .reload = reload, .fini = fini);
"""

SICK = WORKER.replace("    *self = s;\n    return 0;", """    (void)self;
    host->release(ctx, s);
    strcpy(e->text, "no flux");
    return 1;""").replace('"1.0"', '"1.9"')

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


# ---- what is shown -----------------------------------------------------------------------------------


def looking(tally, operator, so):
    with tally.case("list: who is there, and what failed"):
        operator.await_state("leading")
        out = operator("list")
        assert re.search(r"^worker +1\.0 +leading +\d+s +\d+ +thread +Writes a word\.$", out, re.M), out
        assert re.search(r"^/nowhere\.so +failed .*/nowhere\.so: cannot be read: No such file", out,
                         re.M), out
        info = operator.info()
        equal((info["file"], info["lane"], info["follows"], info["strikes"], info["epoch"]),
              (so, "thread", False, 0, 1), "info")
        assert re.fullmatch("[0-9a-f]{64}", info["sha256"]), info
        assert info["term"] > 0 and info["abi_major"] == 1, info
    with tally.case("describe"):
        out = operator("describe", "worker")
        assert f"\nFile:       {so}\n" in out and "\nStrikes:    0\n" in out, out
        assert re.search(r"^Under way: .* 1 watches, 1 timers", out, re.M), out
        assert re.search(r"^Memory: +\d+ B in 1 allocations$", out, re.M), out
    with tally.case("config: values, where they come from, and no secret anywhere"):
        got = operator.options()
        equal((got["word"]["value"], got["word"]["source"]), ("moin", "flag"), "word")
        equal((got["every"]["value"], got["every"]["source"], got["every"]["maximum"]),
              ("5ms", "default", 60000), "every")
        equal((got["token"]["value"], got["token"]["secret"], got["token"]["source"]), ("", True, "flag"),
              "token")
        for words in (["config", "worker"], ["describe", "worker"], ["list"], ["top"]):
            for form in ("simple", "json"):
                assert "s3cret" not in operator(*words, "-w", form), words
        assert "s3cret" not in operator.server.log_text(), "the log"
    with tally.case("top: callbacks are counted and timed"):
        before = operator.load()
        await_true("50 more callbacks", lambda: operator.load()["callbacks"] > before["callbacks"] + 50)
        load = operator.load()
        assert 0 < load["time_p50_ns"] <= load["time_p99_ns"] <= load["time_max_ns"], load
        assert before["time_sum_ns"] < load["time_sum_ns"], load
        equal((load["watches"], load["timers"], load["allocations"]), (1, 1, 1), "held")
    with tally.case("top on a terminal shows rates"):
        fd, theirs = pty.openpty()
        with subprocess.Popen([KVCTL, "--endpoints", operator.server.endpoint, "plugin", "top"],
                              stdin=subprocess.DEVNULL, stdout=theirs, env=ENV) as process:
            os.close(theirs)
            seen = ""
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            while not re.search(r"worker +leading +\d+\.\d% +[1-9]\d*/s ", seen):
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([fd], [], [], left)[0]:
                    process.kill()
                    raise AssertionError(seen)
                seen += os.read(fd, 65536).decode()
            process.send_signal(signal.SIGINT)
        os.close(fd)
    with tally.case("a name that is not quite right"):
        equal(operator.refused("describe", "wrker"),
              'there is no plugin "wrker" on this member; the nearest is "worker"', "sentence")


# ---- what is changed ---------------------------------------------------------------------------------


def reloading(tally, folder, operator):
    server = operator.server
    with tally.case("a setting changes in place"):
        epoch = operator.info()["epoch"]
        equal(operator("reload", "worker", "word=servus"),
              "worker reloaded: version 1.0, the same code; it is leading\n", "answer")
        await_true("the new word", lambda: get(server, "/worker") == "servus")
        equal(operator.info()["epoch"], epoch, "epoch: its term went on")
        word = operator.options()["word"]
        equal((word["value"], word["source"]), ("servus", "reload"), "word")
    with tally.case("the plugin may refuse"):
        equal(operator.refused("reload", "worker", "word=rude"),
              "plugin worker keeps its old options: mind your language", "sentence")
        equal(operator.options()["word"]["value"], "servus", "word")
    with tally.case("settings that are wrong change nothing"):
        for setting, sentence in [
                ("wort=x", "plugin worker: it has no option wort; the nearest is word"),
                ("every=1h1m", "plugin worker: option every: 1h1m is outside 1..60000"),
                ("level=high", 'plugin worker: option level: "high" is not a whole number'),
                ("word=a,b=c", "option word: a value has no comma")]:
            equal(operator.refused("reload", "worker", setting), sentence, setting)
        assert "s3cret" not in operator.run("reload", "worker", "wort=s3cret2")[2], "a value in a sentence"
        equal(operator.info()["state"], "leading", "state")
    with tally.case("a setting that cannot change in place: another instance"):
        epoch = operator.info()["epoch"]
        equal(operator("reload", "worker", "level=7"),
              "worker reloaded: version 1.0, the same code; it is leading\n", "answer")
        equal(operator.info()["epoch"], epoch + 1, "epoch")
        equal(operator.options()["word"]["value"], "servus", "the other settings stay")
    with tally.case("a changed file: its code runs, with the settings there were"):
        build(folder, "worker", WORKER.replace('"1.0"', '"1.1"').replace(
            "kvp_str(s->conf->word)", 'kvp_str("code of 1.1")'))
        equal(operator("reload", "worker"),
              "worker reloaded: version 1.1 (was 1.0), new code; it is leading\n", "answer")
        await_true("what the new code writes", lambda: get(server, "/worker") == "code of 1.1")
        equal(operator.options()["word"]["value"], "servus", "word")
        await_line(server, "plugin loaded", version="1.1")
    with tally.case("a file that is no plugin any more: the code before works on, untouched"):
        so = os.path.join(folder, "worker.so")
        epoch = operator.info()["epoch"]
        with open(so + ".new", "w") as out:
            out.write("not ELF")
        os.chmod(so + ".new", 0o755)
        os.rename(so + ".new", so)
        assert f"{so}: cannot be loaded: " in operator.refused("reload", "worker"), "sentence"
        os.unlink(so)
        equal(operator.refused("reload", "worker"),
              f"{so}: cannot be read: No such file or directory", "sentence")
        build(folder, "worker", STUCK)
        equal(operator.refused("reload", "worker"),
              f"{so} holds plugin stuck now, not worker: load it with --plugin", "sentence")
        info = operator.info()
        equal((info["version"], info["state"], info["epoch"]), ("1.1", "leading", epoch), "info")
    with tally.case("an init that fails brings the code before back"):
        build(folder, "worker", SICK)
        equal(operator.refused("reload", "worker"),
              f"{so}: init failed: no flux; the code before works on", "sentence")
        info = operator.info()
        equal((info["version"], info["state"]), ("1.1", "leading"), "info")
        count = operator.load()["callbacks"]
        await_true("it works on", lambda: operator.load()["callbacks"] > count)
        build(folder, "worker", WORKER)
        equal(operator("reload", "worker", "word=back"),
              "worker reloaded: version 1.0 (was 1.1), new code; it is leading\n", "answer")
        await_true("the old code again", lambda: get(server, "/worker") == "back")
    with tally.case("one that failed can be loaded once its file is there"):
        equal(operator.refused("enable", "/nowhere.so"),
              "/nowhere.so: cannot be read: No such file or directory", "sentence")


def disabling(tally, operator):
    server = operator.server
    with tally.case("disabled: it stops, also over a restart, until it is enabled"):
        out = operator("disable", "worker")
        equal(out, "worker disabled; it is disabled (an operator disabled it: `kvctl plugin enable worker` "
                   "starts it)\n", "answer")
        server.etcdctl("put", "/worker", "nobody", check=True)
        equal(operator.refused("reload", "worker"), "plugin worker is disabled: enable it first", "reload")
        equal(operator("disable", "worker"), out, "again")
        equal(server.stop(), -signal.SIGTERM, "stop")
        server.start()
        equal(operator.info()["state"], "disabled", "state")
        equal(get(server, "/worker"), "nobody", "value")
        equal(operator("enable", "worker"), "worker enabled; it is leading\n", "enable")
        await_true("it writes again", lambda: get(server, "/worker") == "moin")
        equal(operator.options()["word"]["source"], "flag", "settings of reloads ended with the process")
        equal(operator("enable", "worker"), "worker enabled; it is leading\n", "again")


def quarantine(tally, operator):
    server = operator.server
    with tally.case("quarantined after three deaths, until it is enabled"):
        for n in range(3):
            operator.await_state("leading")
            equal(operator.info()["strikes"], n, "strikes")
            server.etcdctl("put", "/kill", "now", timeout=20)
            equal(server.process.wait(WAIT_SECONDS_MAX), -signal.SIGABRT, "status")
            server.process = None
            server.start()
        info = operator.info()
        equal((info["state"], info["strikes"]), ("quarantined", 3), "info")
        assert "the process died 3 times" in info["why"] and "kvctl plugin enable worker" in info["why"], info
        equal(operator.refused("reload", "worker"), "plugin worker is quarantined: enable it first", "reload")
        equal(operator("enable", "worker"), "worker enabled; it is leading\n", "enable")
        equal(operator.info()["strikes"], 0, "strikes")


def stuck(tally, folder):
    path = build(folder, "stuck", STUCK)
    with Server(flags=["--plugin", path]) as server:
        operator = Operator(server)
        with tally.case("a plugin that does not stop: nobody waits for ever, and it is named"):
            operator.await_state("leading", "stuck")
            status, out, err = operator.run("disable", "stuck", "--command-timeout=300ms")
            equal((status, out), (FAILURE, ""), "status")
            assert "deadline exceeded" in err and "it may have been done all the same" in err, err
            equal(operator.refused("enable", "stuck"),
                  "another change of stuck is under way, it is in stop: try again", "second change")
            load = operator.load("stuck")
            equal((load["running"], load["state"]), ("stop", "stopping"), "breadcrumb")
            await_true("how long", lambda: operator.load("stuck")["running_ms"] > load["running_ms"])
            server.etcdctl("put", "a", "1", check=True)


def without(tally):
    with Server() as server:
        operator = Operator(server)
        with tally.case("a kvd without plugins"):
            equal(operator("list"), "NAME  VERSION  STATE  FOR  TERM  LANE  ABOUT OR WHY\n", "list")
            equal(operator("top").count("\n"), 1, "top")
            equal(operator.json("list")["plugins"], [], "json")
            for words in (["describe", "x"], ["config", "x"], ["reload", "x"], ["enable", "x"],
                          ["disable", "x"], ["top", "x"]):
                equal(operator.refused(*words),
                      'there is no plugin "x": none is loaded on this member', words)
            equal(os.path.exists(os.path.join(server.data_dir, "plugins.d")), False, "a trace on disk")


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-plugins.")
    try:
        so = build(folder, "worker", WORKER)
        with Server(flags=["--plugin", f"{so},word=moin,token=s3cret-value", "--plugin",
                           "/nowhere.so"]) as server:
            operator = Operator(server)
            looking(tally, operator, so)
            reloading(tally, folder, operator)
            disabling(tally, operator)
            quarantine(tally, operator)
            with tally.case("no plugin left memory behind"):
                equal(server.stop(), -signal.SIGTERM, "stop")
                equal(lines(server, "a plugin left memory behind"), [], "leaks")
        stuck(tally, folder)
        without(tally)
    finally:
        shutil.rmtree(folder)
    tally.close()


main()
