#!/usr/bin/python3
"""A data directory that was damaged, cut, mixed up or is somebody else's: kvd must refuse to start with a
sentence that names the file (and, for the log, the offset), or serve exactly what was acknowledged. Never
less, never something else, never a crash. SEED=n repeats a run."""
import contextlib
import glob
import json
import os
import random
import re
import shutil
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import grpcraw
from grpcraw import Client
from kvdtest import KVD, Server, Tally, equal

SEED = int(os.environ.get("SEED", str(int(time.time()))))
PUTS = 300
# Nothing is sealed while the log is the only copy; small segments, so that there are several.
LOG_ONLY = ["--seal-interval", "1h", "--log-segment-bytes", "65536", "--log-trailing-bytes",
            "67108864", "--snapshot-catchup-entries", "100000"]
# The opposite: checkpoints all the time, and the log is cut behind them.
CHECKPOINTS = ["--seal-interval", "100ms", "--log-segment-bytes", "65536", "--log-trailing-bytes",
               "65536", "--snapshot-catchup-entries", "10", "--snapshot-count", "10"]
START_SECONDS = 20


class Golden:
    """A data directory left by kill -9 and what it acknowledged."""

    def __init__(self, place, flags, more=None):
        self.directory = os.path.join(place, "golden")
        self.flags = flags
        rand = random.Random(SEED)
        self.acked = {}
        server = Server("kvd", flags, data_dir=self.directory)
        with contextlib.closing(server), contextlib.closing(Client(server.start().port)) as client:
            for i in range(PUTS):
                key, value = b"key/%04d" % (i % 250), rand.randbytes(rand.randrange(10, 2000))
                self.acked[key] = (value, client.put(key, value))
                if i % 10 == 9:
                    gone = b"key/%04d" % rand.randrange(i % 250)
                    if client.delete(gone)[0]:
                        del self.acked[gone]
            if more is not None:
                more(self, client)
            self.revision = client.status()["revision"]
            server.kill()
        self.log = os.path.join(self.directory, "member/log")

    def copy(self, place):
        target = os.path.join(place, "copy")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.directory, target)
        return target


class Started:
    """What became of a start over a directory: refused(text) or served(rows, revision)."""

    def __init__(self, directory, flags=(), prefix=(), server=None):
        server = server or Server("kvd", flags, data_dir=directory, prefix=prefix)
        with contextlib.closing(server):
            server.start(wait=False)
            server.notify.settimeout(0.02)
            deadline = time.monotonic() + START_SECONDS
            self.status = None
            while not self._ready(server):
                self.status = server.process.poll()
                if self.status is not None:
                    break
                assert time.monotonic() < deadline, "neither ready nor ended:\n" + \
                    server.log_tail()
            server.notify.close()
            if self.status is None:
                with contextlib.closing(Client(server.port)) as client:
                    self.rows = {r.key: (r.value, r.mod) for r in client.pages()}
                    self.revision = client.status()["revision"]
                server.kill()
            self.text = server.log_text()

    @staticmethod
    def _ready(server):
        try:
            return b"READY=1" in server.notify.recv(4096)
        except socket.timeout:
            return False

    def refused(self, *parts):
        """Asserts that the start was refused in a sentence that contains the parts."""
        assert self.status is not None, "it started"
        assert self.status > 0, f"it died of signal {-self.status}:\n{self.text[-3000:]}"
        said = [x for x in map(line_text, self.text.splitlines()) if x]
        assert said, f"exit {self.status} without a word"
        for part in parts:
            assert any(part in x for x in said), f"{part!r} is not in what it said: {said[-3:]}"
        return said

    def refused_or_exact(self, golden, *parts):
        if self.status is not None:
            self.refused(*parts)
            return "refused"
        equal(self.revision, golden.revision, "revision")
        if self.rows != golden.acked:
            lost = sorted(set(golden.acked) - set(self.rows))[:5]
            made = sorted(set(self.rows) - set(golden.acked))[:5]
            other = [k for k in golden.acked if k in self.rows and
                     self.rows[k] != golden.acked[k]][:5]
            raise AssertionError(f"silent change: lost {lost}, made up {made}, other {other}")
        return "served exactly"


def line_text(line):
    """A log line of level warn and above, as text with its fields."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if fields.get("level") in ("debug", "info"):
        return ""
    return " ".join(str(v) for k, v in fields.items() if k not in ("ts", "caller", "level"))


def flip(path, offset, mask):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ mask]))


def used_bytes(path):
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def log_positions(golden, rand):
    """(file, offset) pairs: first, last and random bytes of each segment in use, and of a blank one."""
    out = []
    segments = sorted(glob.glob(golden.log + "/log-*"))
    used = [s for s in segments if used_bytes(s) > 0]
    blank = [s for s in segments if used_bytes(s) == 0]
    for path in sorted({used[i] for i in (0, 1, len(used) // 2, -2, -1)}):
        end = used_bytes(path)
        last_sector = (end - 1) // 512 * 512
        chosen = {0, 511, 512, last_sector, end - 1, rand.randrange(end), rand.randrange(end)}
        if path == used[-1]:
            # The newest record: the one that a naive reader would take for torn and drop.
            chosen |= {last_sector + 4, last_sector + 8, last_sector + 100, end, end + 511,
                       min(end + 5000, os.path.getsize(path) - 1), os.path.getsize(path) - 1}
            chosen |= {rand.randrange(end) for _ in range(8)}
        out += [(path, o) for o in sorted(chosen)]
    for path in blank[:1]:
        out += [(path, o) for o in (0, 4096, os.path.getsize(path) - 1)]
    return out


def place_of(said, name, offset, is_used):
    """The sentence must point at the damage: a slot of the term file, a block of a segment."""
    if name.endswith("/term"):
        assert ("first slot" if offset < 4096 else "second slot") in said, said
        return
    at = re.search(r"at byte (\d+)", said)
    assert at, f"no place in: {said}"
    if is_used:
        assert int(at.group(1)) <= offset < int(at.group(1)) + 4096, said


def flips(tally, place, golden):
    rand = random.Random(SEED + 1)
    positions = log_positions(golden, rand)
    term = os.path.join(golden.log, "term")
    positions += [(term, o) for o in (0, 4, 9, 16, 24, 32, 40, 300, 511, 600, 4096, 4100, 4120,
                                      4128, 4136, 4607, 8191) if o < os.path.getsize(term)]
    for name in ("id", "version"):
        path = os.path.join(golden.directory, "member", name)
        size = os.path.getsize(path)
        positions += [(path, o) for o in sorted({0, size // 3, size // 2, size - 2, size - 1})]
    outcomes = {}
    for path, offset in positions:
        name = os.path.relpath(path, golden.directory)
        mask = rand.choice((0x01, 0x80, 0xff))
        with tally.case(f"flip {name} at {offset} by {mask:#04x}"):
            copy = golden.copy(place)
            flip(os.path.join(copy, name), offset, mask)
            started = Started(copy, golden.flags)
            outcome = started.refused_or_exact(golden, os.path.basename(name))
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if outcome == "refused" and "/log/" in name:
                said = " ".join(started.refused())
                place_of(said, name, offset, offset < used_bytes(path))
            # A record that counts was changed: serving exactly would mean the check is not there.
            if "/log/log-" in name and offset < used_bytes(path) - 1:
                equal(outcome, "refused")
    print(f"     {len(positions)} flips: {outcomes}")


def structure(tally, place, golden):
    """Whole files lost, cut, repeated or mixed up."""
    used = [s for s in sorted(glob.glob(golden.log + "/log-*")) if used_bytes(s) > 0]
    names = [os.path.basename(s) for s in used]
    assert len(used) >= 3, f"only {len(used)} segments in use"

    def attempt(title, change, *parts, must_refuse=True):
        with tally.case(title):
            copy = golden.copy(place)
            change(os.path.join(copy, "member"))
            started = Started(copy, golden.flags)
            outcome = started.refused_or_exact(golden, *parts)
            if must_refuse:
                equal(outcome, "refused")

    for title, at in (("first", 0), ("middle", len(used) // 2), ("last", -1)):
        attempt(f"the {title} segment is lost",
                lambda m, at=at: os.unlink(f"{m}/log/{names[at]}"), "log-")
    attempt("all segments are lost",
            lambda m: [os.unlink(f) for f in glob.glob(m + "/log/log-*")], "log")
    attempt("a segment repeated in the place of the next",
            lambda m: shutil.copy(f"{m}/log/{names[0]}", f"{m}/log/{names[1]}"), names[1])
    attempt("the last segment is cut to half of what was written",
            lambda m: os.truncate(f"{m}/log/{names[-1]}", used_bytes(used[-1]) // 1024 * 512),
            names[-1])
    attempt("the last segment is empty", lambda m: os.truncate(f"{m}/log/{names[-1]}", 0),
            names[-1])
    attempt("a foreign file in the log's directory",
            lambda m: shutil.copy(f"{m}/id", f"{m}/log/notes.txt"), must_refuse=False)
    for name in ("log/term", "id", "version"):
        attempt(f"{name} is lost", lambda m, name=name: os.unlink(f"{m}/{name}"),
                os.path.basename(name))
        attempt(f"{name} is empty", lambda m, name=name: os.truncate(f"{m}/{name}", 0),
                os.path.basename(name))
    attempt("the log's directory is lost", lambda m: shutil.rmtree(m + "/log"), "log")
    attempt("the database is lost while the log has it all", lambda m: shutil.rmtree(m + "/db"),
            must_refuse=False)


def database(tally, place):
    """A directory whose log was cut: without its database nothing may start."""
    def cut(golden, client):
        def cut_enough():
            return not os.path.exists(first) and len(glob.glob(golden.directory +
                                                               "/member/log/log-*")) > 0
        first = sorted(glob.glob(golden.directory + "/member/log/log-*"))[0]
        deadline = time.monotonic() + 20
        i = 0
        while not cut_enough():
            assert time.monotonic() < deadline, "the log is never cut"
            golden.acked[b"cut"] = (b"x" * 8000, client.put(b"cut", b"x" * 8000))
            i += 1
    golden = Golden(place, CHECKPOINTS, cut)
    with tally.case("a log cut behind checkpoints serves exactly"):
        equal(Started(golden.copy(place), golden.flags).refused_or_exact(golden), "served exactly")
    with tally.case("a cut log without its database is refused"):
        copy = golden.copy(place)
        shutil.rmtree(copy + "/member/db")
        Started(copy, golden.flags).refused()
    with tally.case("a cut log with an empty database is refused"):
        copy = golden.copy(place)
        for path in glob.glob(copy + "/member/db/*"):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        Started(copy, golden.flags).refused()
    with tally.case("a log older than the database serves exactly or is refused"):
        copy = golden.copy(place)
        for path in glob.glob(copy + "/member/log/log-*"):
            os.unlink(path)
        started = Started(copy, golden.flags)
        if started.status is None:
            assert set(started.rows.items()) <= set(golden.acked.items()), "rows made up"
            equal(started.rows, golden.acked, "the newest writes lay in the log alone")
        else:
            started.refused("log")


def foreign(tally, place, golden):
    with tally.case("a second process on the same directory is refused, the first goes on"):
        copy = golden.copy(place)
        with Server("kvd", golden.flags, data_dir=copy) as first:
            Started(copy, golden.flags).refused(f"in use by pid {first.process.pid}")
            with contextlib.closing(Client(first.port)) as client:
                client.put(b"still", b"here")
    with tally.case("a newer format is refused and left alone"):
        copy = golden.copy(place)
        version = copy + "/member/version"
        with open(version) as f:
            text = f.read()
        newer = re.sub(r"\d+", lambda m: str(int(m.group(0)) + 1), text, count=1)
        with open(version, "w") as f:
            f.write(newer)
        before = tree(copy)
        Started(copy, golden.flags).refused(re.search(r"\d+", newer).group(0), "newer")
        equal(tree(copy) == before, True, "nothing changed")
    with tally.case("an etcd data directory is refused and left alone"):
        theirs = os.path.join(place, "theirs")
        os.makedirs(theirs + "/member/snap")
        os.makedirs(theirs + "/member/wal")
        with open(theirs + "/member/snap/db", "wb") as f:
            f.write(b"bolt" * 1000)
        before = tree(theirs)
        Started(theirs).refused("etcd")
        equal(tree(theirs) == before, True, "nothing changed")
    with tally.case("a file instead of a directory"):
        path = os.path.join(place, "file")
        with open(path, "w") as f:
            f.write("mine\n")
        Started(path).refused(path, "not a directory")
        with open(path) as f:
            equal(f.read(), "mine\n", "the file")
    with tally.case("a part of the path is a file"):
        Started(os.path.join(place, "file", "data")).refused(os.path.join(place, "file"))
    with tally.case("the client port is in use"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server = Server("kvd")
            server.port = taken.getsockname()[1]
            start = time.monotonic()
            started = Started(None, server=server)
            started.refused(str(taken.getsockname()[1]), "in use")
            assert time.monotonic() - start < 5, "not quick"
    not_writable(tally, place)


def not_writable(tally, place):
    name = "a directory of somebody else"
    if os.geteuid() != 0:
        tally.skip(name, "needs root to become somebody else")
        return
    with tally.case(name):
        # Everything the other user needs to see lies in a directory open to all.
        with tempfile.TemporaryDirectory(prefix="kvd-other.") as open_place:
            os.chmod(open_place, 0o755)
            program = os.path.join(open_place, "kvd")
            shutil.copy(KVD, program)
            data = os.path.join(open_place, "data")
            os.mkdir(data, 0o700)
            server = OtherUser(program, data)
            os.chmod(server.root, 0o777)
            started = Started(None, server=server)
            started.refused(data, "permission denied")
            equal(os.listdir(data), [], "files")


class OtherUser(Server):
    """kvd as nobody."""

    def __init__(self, program, data_dir):
        super().__init__("kvd", data_dir=data_dir)
        self.program = program

    def command(self):
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", self.program,
                *super().command()[1:]]


def tree(path):
    out = {}
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            with open(full, "rb") as f:
                out[os.path.relpath(full, path)] = f.read()
    out.pop("member/lock", None)  # holds the pid of whoever came last
    return out


def main():
    tally = Tally()
    if grpcraw.grpc is None:
        tally.skip("all", "python3-grpcio is not installed")
        tally.close()
    print(f"SEED={SEED}")
    with tempfile.TemporaryDirectory(prefix="kvd-damage.") as place:
        golden = Golden(place, LOG_ONLY)
        with tally.case("untouched, it serves exactly"):
            outcome = Started(golden.copy(place), golden.flags).refused_or_exact(golden)
            equal(outcome, "served exactly")
        flips(tally, place, golden)
        structure(tally, place, golden)
        foreign(tally, place, golden)
    with tempfile.TemporaryDirectory(prefix="kvd-damage.") as place:
        database(tally, place)
    tally.close()


main()
