#!/usr/bin/python3
"""kvctl plugin: what is asked of a member and what is printed, against a service of the test's own (so that
every state and every failure can be shown), against a kvd, and against an etcd where one is on PATH."""
import concurrent.futures
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from grpcraw import field, grpc, number, parse
from kvdtest import KVCTL, Server, Tally, equal, etcd_path, free_ports

OK, FAILURE, BAD_FEATURE, BAD_ARGS = 0, 1, 4, 128
CLEAN_ENV = {k: v for k, v in os.environ.items() if not k.startswith(("KVCTL_", "ETCDCTL_"))}
READS = (["list"], ["describe", "hello"], ["top"], ["config", "hello"])
CHANGES = (["reload", "hello"], ["enable", "hello"], ["disable", "hello"])
WAIT_SECONDS_MAX = 30


def run(endpoint, *words):
    """(status, stdout, stderr) of `kvctl plugin WORDS`."""
    done = subprocess.run([KVCTL, "--endpoints", endpoint, "plugin", *words], capture_output=True,
                          text=True, timeout=60, env=CLEAN_ENV, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


class FakeMember:
    """Answers kvdpb.Plugin: `answer(method, request)` gives bytes, or (code name, text) to refuse."""

    def __init__(self, member=1):
        self.member = member
        self.requests = []
        self.looks = 0
        self.refuse = None
        self.leader = 9
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((self,))
        self.endpoint = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        if details.method == "/etcdserverpb.Maintenance/Status":
            return grpc.unary_unary_rpc_method_handler(self.status)
        if not details.method.startswith("/kvdpb.Plugin/"):
            return None
        method = details.method.rsplit("/", 1)[1]

        def answer(request, context):
            self.requests.append((method, parse(request)))
            if self.refuse is not None:
                context.abort(*self.refuse)
            return field(1, number(2, self.member) + number(3, 5)) + getattr(self, method)()

        return grpc.unary_unary_rpc_method_handler(answer)

    def status(self, request, context):
        """Which member leads: that is all that is asked for."""
        return field(1, number(2, self.member)) + number(4, self.leader)

    def info(self, about=b"says hello", why=b"", state=4):
        return (field(1, b"hello") + field(2, b"1.2") + field(3, about) + field(4, b"./hello.so") +
                field(5, b"ab12") + number(6, 1) + number(7, 1) + number(10, state) +
                field(11, why) + number(12, 1000000) + number(13, 7) + number(14, 3))

    def load(self):
        """A second member-time lies between two looks, half of it in the plugin."""
        return (field(1, b"hello") + number(2, 4) + number(3, 100 * self.looks) +
                number(5, 500000000 * self.looks) + number(6, 4000) + number(16, 2000))

    def options(self, field_number):
        secret = field(1, b"token") + number(2, 5) + number(11, 1) + number(12, 1)
        every = (field(1, b"every") + number(2, 3) + field(3, b"5s") + field(4, b"1s") +
                 number(5, 100) + number(6, 60000) + number(9, 1) + number(12, 2))
        return field(field_number, every) + field(field_number, secret)

    def List(self):
        bad = field(1, b"bad.so") + number(10, 9) + field(11, b"bad.so: it has no entry")
        return number(2, 1192000) + field(3, self.info()) + field(3, bad)

    def Describe(self):
        return number(2, 1192000) + field(3, self.info()) + self.options(4) + field(5, self.load())

    def Top(self):
        self.looks += 1
        return number(2, 1000000000 * self.looks) + field(3, self.load())

    def Config(self):
        return field(2, b"hello") + self.options(3)

    def Reload(self):
        return number(2, 1000000) + field(3, self.info()) + field(4, b"1.1") + field(5, b"00ff")

    def Enable(self):
        return number(2, 1000000) + field(3, self.info(state=1))

    def Disable(self):
        return number(2, 1000000) + field(3, self.info(state=7, why=b"by an operator"))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.stop(None).wait()


# ---- the command line --------------------------------------------------------------------------------


def command_line(tally):
    for words, status, sentence in [
            (["list", "x"], BAD_ARGS, "plugin list takes no arguments"),
            (["describe"], BAD_ARGS, "plugin describe takes the name of one plugin, see `kvctl plugin"),
            (["describe", "a", "b"], BAD_ARGS, "takes the name of one plugin"),
            (["describe", ""], BAD_ARGS, "takes the name of one plugin"),
            (["describe", "a", "-w", "table"], BAD_FEATURE, "`plugin describe` has no table form"),
            (["top", "a", "b"], BAD_ARGS, "plugin top takes the name of one plugin, or none for all"),
            (["config"], BAD_ARGS, "takes the name of one plugin"),
            (["enable"], BAD_ARGS, "takes the name of one plugin"),
            (["enable", "a", "-w", "table"], BAD_FEATURE, "`plugin enable` has no table form"),
            (["disable", "a", "b"], BAD_ARGS, "takes the name of one plugin"),
            (["reload"], BAD_ARGS, "plugin reload takes the name of a plugin, and settings may follow"),
            (["reload", "", "a=b"], BAD_ARGS, "plugin reload takes the name of a plugin"),
            (["reload", "a", "b"], BAD_ARGS, '"b" is no setting: write name=value'),
            (["reload", "a", "b=1", "=c"], BAD_ARGS, '"=c" is no setting: write name=value'),
            (["reload", "a", "-w", "table"], BAD_FEATURE, "`plugin reload` has no table form"),
            (["frob"], BAD_ARGS, 'there is no command "plugin frob"')]:
        with tally.case("wrong: kvctl plugin " + " ".join(words)):
            got, out, err = run("127.0.0.1:1", *words)
            assert err.startswith("Error: ") and sentence in err, err
            equal((got, out), (status, ""), "status, output")
            if status == BAD_ARGS:
                assert "See `kvctl help" in err, err


# ---- one member --------------------------------------------------------------------------------------


def reading(tally, m):
    with tally.case("list: columns, a table, JSON"):
        equal(run(m.endpoint, "list"), (OK,
              "NAME    VERSION  STATE    FOR    TERM  LANE    ABOUT OR WHY\n"
              "hello   1.2      leading  3m12s  7     thread  says hello\n"
              "bad.so           failed                        bad.so: it has no entry\n", ""), "simple")
        status, out, err = run(m.endpoint, "list", "-w", "table")
        equal((status, err), (OK, ""), "table")
        assert "|  NAME  | VERSION |" in out, out
        status, out, err = run(m.endpoint, "list", "-w", "json")
        equal((status, err, out.count("\n")), (OK, "", 1), "json")
        answer, = json.loads(out)
        equal(answer["endpoint"], m.endpoint, "endpoint")
        equal(answer["header"], {"member_id": 1, "revision": 5}, "header")
        equal([(p["name"], p["state"]) for p in answer["plugins"]],
              [("hello", "leading"), ("bad.so", "failed")], "plugins")
        equal(m.requests[-1], ("List", {}), "request")
    with tally.case("describe"):
        status, out, err = run(m.endpoint, "describe", "hello")
        equal((status, err), (OK, ""), "status")
        equal(m.requests[-1], ("Describe", {1: [b"hello"]}), "request")
        for line in ("Name:       hello", "State:      leading for 3m12s", "Term:       7, epoch 3",
                     "File:       ./hello.so", "Works on:   the leader"):
            assert f"\n{line}\n" in "\n" + out, (line, out)
        assert re.search(r"^every +5s +reload +1s +duration +100ms\.\.1m0s +reload", out, re.M), out
        answer, = json.loads(run(m.endpoint, "describe", "hello", "-w", "json")[1])
        equal((answer["plugin"]["sha256"], answer["load"]["time_p50_ns"], len(answer["options"])),
              ("ab12", 4000, 2), "json")
    with tally.case("config: a secret is only known to be set"):
        status, out, err = run(m.endpoint, "config", "hello")
        equal((status, err), (OK, ""), "status")
        assert re.search(r"^token +\(secret\) +flag", out, re.M), out
        answer, = json.loads(run(m.endpoint, "config", "hello", "-w", "json")[1])
        equal([o["value"] for o in answer["options"]], ["5s", ""], "values")
        assert re.search(r"\| +token \| +\(secret\) \|", run(m.endpoint, "config", "hello", "-w", "table")[1])
    with tally.case("top, once"):
        m.looks = 0
        status, out, err = run(m.endpoint, "top")
        equal((status, err), (OK, ""), "status")
        assert re.search(r"^hello +leading +500ms +100 +4\.00µs ", out, re.M), out
        equal(m.requests[-1], ("Top", {}), "all")
        status, out, err = run(m.endpoint, "top", "hello", "-w", "json")
        equal((status, err), (OK, ""), "json")
        equal(m.requests[-1], ("Top", {1: [b"hello"]}), "one")
        equal(json.loads(out)[0]["loads"][0]["callbacks"], 200, "callbacks")


class Terminal:
    """kvctl plugin top on a terminal of its own."""

    def __init__(self, endpoint, *words):
        self.fd, theirs = pty.openpty()
        self.process = subprocess.Popen([KVCTL, "--endpoints", endpoint, "plugin", "top", *words],
                                        stdin=subprocess.DEVNULL, stdout=theirs,
                                        stderr=subprocess.PIPE, env=CLEAN_ENV)
        os.close(theirs)
        self.seen = ""

    def until(self, pattern):
        """Reads until what was printed has this; what stood before it is dropped."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"not seen: {pattern!r} in {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended before {pattern!r}: {self.seen!r} "
                                     f"{self.process.stderr.read()!r}") from None

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS_MAX)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.fd)


def live(tally, m):
    with tally.case("top on a terminal shows what the last second cost, until it is interrupted"):
        m.looks = 0
        with Terminal(m.endpoint) as top:
            top.until(r"\x1b\[H *NAME .*\x1b\[K\r\nhello +leading +500ms +100 .*\x1b\[K\r\n\x1b\[J")
            for _ in range(2):
                top.until(r"\x1b\[H *NAME .*\x1b\[K\r\nhello +leading +50\.0% +100/s .*\x1b\[K\r\n\x1b\[J")
            equal(top.end(signal.SIGINT), -signal.SIGINT, "status")
    with tally.case("top goes on when the member is away for a while"):
        with Terminal(m.endpoint) as top:
            top.until(r"hello +leading +\S+s ")
            m.refuse = (grpc.StatusCode.UNAVAILABLE, "kvd: away")
            top.until(r"\x1b\[HError: kvd: away\x1b\[K\r\n\x1b\[J")
            m.refuse = None
            top.until(r"hello +leading +")
    with tally.case("top --once on a terminal ends"):
        with Terminal(m.endpoint, "--once") as top:
            top.until(r"hello +leading ")
            equal(top.end(), OK, "status")
            assert "\x1b" not in top.seen, top.seen
    with tally.case("JSON on a terminal is one answer"):
        with Terminal(m.endpoint, "-w", "json") as top:
            top.until(r'"running_revision":0}\]}\]\r\n')
            equal(top.end(), OK, "status")
    with tally.case("top of a member that refuses ends with its sentence"):
        m.refuse = (grpc.StatusCode.UNIMPLEMENTED, "kvd: no host")
        with Terminal(m.endpoint) as top:
            equal(top.end(), FAILURE, "status")
            equal(top.process.stderr.read(), b"Error: kvd: no host\n", "sentence")
        m.refuse = None


def changing(tally, m):
    with tally.case("reload sends settings, also empty and with ="):
        equal(run(m.endpoint, "reload", "hello", "every=5s", "text=a=b", "none="),
              (OK, "hello reloaded: version 1.2 (was 1.1), new code; it is leading\n", ""), "answer")
        method, request = m.requests[-1]
        equal((method, request[1]), ("Reload", [b"hello"]), "request")
        equal([parse(s) for s in request[2]], [{1: [b"every"], 2: [b"5s"]}, {1: [b"text"], 2: [b"a=b"]},
                                               {1: [b"none"]}], "settings")
    with tally.case("enable, disable"):
        equal(run(m.endpoint, "enable", "hello"), (OK, "hello enabled; it is starting\n", ""), "enable")
        equal(run(m.endpoint, "disable", "hello"),
              (OK, "hello disabled; it is disabled (by an operator)\n", ""), "disable")
        answer, = json.loads(run(m.endpoint, "disable", "hello", "-w", "json")[1])
        equal((answer["plugin"]["state"], answer["plugin"]["why"]), ("disabled", "by an operator"), "json")


def refusals(tally, m):
    for words in READS + CHANGES:
        with tally.case("a refusal is printed as it is: " + words[0]):
            m.refuse = (grpc.StatusCode.FAILED_PRECONDITION, "kvd: hello is quarantined")
            equal(run(m.endpoint, *words), (FAILURE, "", "Error: kvd: hello is quarantined\n"), "answer")
            m.refuse = None
    with tally.case("a deadline that the member saw first: a change may have been done"):
        m.refuse = (grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        sentence = f"Error: context deadline exceeded: no answer from {m.endpoint} within --command-timeout"
        equal(run(m.endpoint, "list"), (FAILURE, "", sentence + "\n"), "list")
        equal(run(m.endpoint, "enable", "hello"),
              (FAILURE, "", sentence + "; it may have been done all the same\n"), "enable")
        m.refuse = None
    with tally.case("an answer that cannot be read"):
        m.List = lambda: b"\x0a"
        status, out, err = run(m.endpoint, "list")
        del m.List
        equal((status, out), (FAILURE, ""), "status")
        assert "sent an answer that cannot be read" in err, err
    with tally.case("control characters of a plugin do not reach the terminal"):
        m.List = lambda: field(3, m.info(about=b"\x1b[2Jx\r\n\xc2\x9b"))
        for form in ("simple", "table", "json"):
            status, out, err = run(m.endpoint, "list", "-w", form)
            equal((status, err), (OK, ""), form)
            equal(re.findall(r"[\0-\x09\x0b-\x1f\x7f-\x9f]", out), [], form)
        del m.List


# ---- several members ---------------------------------------------------------------------------------


def several(tally, m, second):
    both = f"{m.endpoint},{second.endpoint}"
    gone = f"127.0.0.1:{free_ports(1)[0]}"
    with tally.case("every endpoint is asked, the first column says which"):
        status, out, err = run(both, "list")
        equal((status, err), (OK, ""), "status")
        lines = out.splitlines()
        assert lines[0].startswith("ENDPOINT "), out
        equal([line.split()[0] for line in lines[1:]], [m.endpoint] * 2 + [second.endpoint] * 2, "rows")
        equal([a["header"]["member_id"] for a in json.loads(run(both, "list", "-w", "json")[1])],
              [1, 2], "members")
        out = run(both, "describe", "hello")[1]
        assert out.startswith(f"Endpoint:   {m.endpoint}\nName:"), out
        assert f"\n\nEndpoint:   {second.endpoint}\nName:" in out, out
        equal(run(both, "top")[1].count("hello"), 2, "top")
        equal(run(both, "config", "hello")[1].count("(secret)"), 2, "config")
    with tally.case("one that is gone does not keep the other from answering"):
        for words in READS:
            status, out, err = run(f"{gone},{m.endpoint}", *words, "--dial-timeout=100ms")
            equal(status, FAILURE, words)
            assert "hello" in out or "token" in out, out
            assert err.startswith(f"Error: {gone}: cannot connect"), err
    with tally.case("a change goes from one to the next, and stops where it fails"):
        equal(run(both, "enable", "hello"), (OK, f"{m.endpoint}: hello enabled; it is starting\n"
                                             f"{second.endpoint}: hello enabled; it is starting\n", ""),
              "both")
        count = len(second.requests)
        m.refuse = (grpc.StatusCode.FAILED_PRECONDITION, "kvd: no")
        equal(run(both, "reload", "hello"),
              (FAILURE, "", f"Error: {m.endpoint}: kvd: no\n"
                            "Nothing was changed at the 1 endpoint after it.\n"), "the first fails")
        m.refuse = None
        equal(len(second.requests), count, "requests of the second")


    with tally.case("followers are changed first, the leader last, whatever the order of the endpoints"):
        for leader, order in ((m, [second, m]), (second, [m, second])):
            m.leader = second.leader = leader.member
            equal(run(both, "reload", "hello")[1].count("reloaded"), 2, "reloaded")
            equal([line.split(": ")[0] for line in run(both, "disable", "hello")[1].splitlines()],
                  [s.endpoint for s in order], "order")
        m.leader = second.leader = m.member
        second.refuse = (grpc.StatusCode.FAILED_PRECONDITION, "kvd: no")
        equal(run(both, "reload", "hello"),
              (FAILURE, "", f"Error: {second.endpoint}: kvd: no\n"
                            "Nothing was changed at the 1 endpoint after it.\n"), "a follower refuses")
        second.refuse = None
        m.leader = second.leader = 9
    with tally.case("a member that is gone keeps the leader from being changed"):
        m.leader = m.member
        count = len(m.requests)
        status, out, err = run(f"{m.endpoint},{gone}", "reload", "hello", "--dial-timeout=100ms")
        equal((status, out, len(m.requests)), (FAILURE, "", count), "status")
        m.leader = 9


# ---- real servers ------------------------------------------------------------------------------------


def by_member_list(tally):
    with Server("kvd") as server:
        with tally.case("the member list gives the endpoints"):
            for words in (["list"], ["top"]):
                status, out, err = run(server.endpoint, *words, "--cluster")
                equal((status, err, out.count("\n")), (OK, "", 1), words)
            equal(run(server.endpoint, "enable", "x", "--cluster"),
                  (FAILURE, "", 'Error: kvd: there is no plugin "x": none is loaded on this member\n'), "enable")


def other_server(tally):
    if etcd_path() is None:
        tally.skip("a server that is no kvd", "no etcd on PATH")
        return
    with Server("etcd") as server:
        for words in (["list"], ["top"], ["reload", "hello"]):
            with tally.case("a server that is no kvd: " + words[0]):
                status, out, err = run(server.endpoint, *words)
                equal((status, out), (FAILURE, ""), "status")
                assert "unknown service kvdpb.Plugin: only kvd has plugins, is this another server?" in err, err


def main():
    tally = Tally()
    command_line(tally)
    if grpc is None:
        tally.skip("a member of the test's own", "python3-grpcio is not installed")
    else:
        with FakeMember() as member, FakeMember(2) as second:
            reading(tally, member)
            live(tally, member)
            changing(tally, member)
            refusals(tally, member)
            several(tally, member, second)
    by_member_list(tally)
    other_server(tally)
    tally.close()


main()
