#!/usr/bin/env python3
"""kvd --dev as the author of a plugin meets it: started with nothing but the plugin's file, what it prints is
typed as printed, the plugin is loaded again when its file changes, and nothing stays behind."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import KVCTL, KVD, ROOT, Tally, equal  # noqa: E402
from plugintest import await_true, build  # noqa: E402

BANNER = "kvd --dev is ready on "


class Dev:
    """One `kvd --dev`, its standard output and errors in one file, as in a terminal."""

    def __init__(self, folder, *words):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.tmp = os.path.join(self.folder, "tmp")
        os.mkdir(self.tmp)
        self.path = os.path.join(self.folder, "terminal")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "KVD_"))}
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen([KVD, "--dev", *words], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, cwd=folder, env=dict(env, TMPDIR=self.tmp))

    def text(self):
        with open(self.path, errors="replace") as f:
            return f.read()

    def await_text(self, text):
        def found():
            assert self.process.poll() is None or text in self.text(), self.text()
            return text in self.text()
        await_true(f"{text!r} in\n{self.text()}", found)

    def ready(self):
        self.await_text("export KVCTL_ENDPOINTS=")
        self.endpoint = re.search(r"KVCTL_ENDPOINTS=(\S+)\n", self.text()).group(1)
        return self

    def kvctl(self, *words, status=0):
        run = subprocess.run([KVCTL, "--endpoints", self.endpoint, *words], capture_output=True, text=True,
                             timeout=30)
        equal(run.returncode, status, run.stdout + run.stderr)
        return run.stdout

    def get(self, key):
        return self.kvctl("get", key, "--print-value-only").strip()

    def printed(self):
        """The lines to type."""
        return re.findall(r"^  (.*kvctl .*)$", self.text(), re.M)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self.ready()

    def __exit__(self, *exc):
        if exc[0] is not None:
            print(self.text())
        self.close()


def hello(version, word):
    with open(os.path.join(ROOT, "plugins/sample/hello/hello.c"), encoding="utf-8") as f:
        text = f.read()
    changed = text.replace('"1.0"', f'"{version}"').replace('kvp_str("stamped")', f'kvp_str("{word}")')
    assert changed != text or version == "1.0"
    return changed


def starting(tally, folder):
    build(folder, "hello", hello("1.0", "stamped"))
    with Dev(folder, "--plugin", "./hello.so") as dev:
        with tally.case("what it prints is what to type"):
            lines = dev.printed()
            equal(len(lines), 3, dev.text())
            run = subprocess.run(lines[0], shell=True, capture_output=True, text=True, timeout=30,
                                 env=dict(os.environ, PATH=os.path.dirname(KVCTL) + ":" + os.environ["PATH"]))
            equal((run.returncode, run.stdout), (0, "OK\n"), lines[0] + run.stderr)
            await_true("the stamp", lambda: dev.get("/hello/world") == "stamped")
            run = subprocess.run(lines[1], shell=True, capture_output=True, text=True, timeout=30)
            equal(run.stdout, "/hello/world\nstamped\n", lines[1])
        with tally.case("logs are for people"):
            assert "\tplugin loaded\t" in dev.text(), dev.text()
            equal([x for x in dev.text().splitlines() if x.startswith("{")], [], "JSON lines")
        with tally.case("the data lies in a temporary directory, and goes"):
            data = os.listdir(dev.tmp)
            equal(len(data), 1, "directories")
            assert f"Its data lies in {dev.tmp}/{data[0]} and goes when it stops" in dev.text(), dev.text()
            with Dev(folder) as other:
                assert other.endpoint != dev.endpoint, dev.endpoint
                equal(other.kvctl("get", "--prefix", "/hello/"), "", "another store")
                equal(other.stop(), -signal.SIGTERM, "status")
            equal(dev.stop(), -signal.SIGTERM, "status")
            equal(os.listdir(dev.tmp), [], "left behind")
    with tally.case("a directory of one's own stays"):
        mine = os.path.join(folder, "mine")
        for value in ("", "1"):
            with Dev(folder, "--data-dir", mine) as dev:
                equal(dev.get("kept"), value, "value")
                dev.kvctl("put", "kept", "1")
                equal(dev.stop(), -signal.SIGTERM, "status")
                equal(os.listdir(dev.tmp), [], "a temporary directory")
    with tally.case("a refused setting leaves nothing behind"):
        dev = Dev(folder, "--election-timeout", "1")
        equal(dev.process.wait(20), 1, "status")
        assert "should be at least as 5 times" in dev.text(), dev.text()
        equal(os.listdir(dev.tmp), [], "left behind")


def write_slowly(path, content, between):
    """As a linker that writes in place: a part, then `between`, then the rest."""
    with open(path, "wb") as f:
        f.write(content[:len(content) // 2])
        f.flush()
        between()
        f.write(content[len(content) // 2:])


def reloading(tally, folder):
    so = build(folder, "hello", hello("1.0", "stamped"))
    other = os.path.join(folder, "other")
    os.makedirs(other, exist_ok=True)
    with Dev(folder, "--plugin", "./hello.so,prefix=/h/", "--plugin", "./late.so") as dev:
        with tally.case("a file that is replaced is loaded, with the options of the command line"):
            dev.await_text("plugin leads")
            build(folder, "hello", hello("1.1", "stamped by 1.1"))
            dev.await_text('"version": "1.1"')
            dev.kvctl("put", "/h/a", "")
            await_true("the stamp", lambda: dev.get("/h/a") == "stamped by 1.1")
        with tally.case("a file that is written slowly is loaded when it is complete"):
            with open(build(other, "hello", hello("1.2", "stamped by 1.2")), "rb") as f:
                content = f.read()
            looks = []

            def between():
                # Meanwhile a whole round of events, looks and commands goes by.
                for i in range(20):
                    dev.kvctl("put", "/h/b", "")
                    await_true("the stamp", lambda: dev.get("/h/b") == "stamped by 1.1")
                    looks.append(i)

            write_slowly(so, content, between)
            dev.await_text('"version": "1.2"')
            equal(len(looks), 20, "rounds")
            assert "a plugin was not changed" not in dev.text(), dev.text()
        with tally.case("a file that does not load keeps the old code at work and says why"):
            build(folder, "hello", hello("1.3", "").replace(
                "static void fini", "int nobody_has_this(void);\nstatic void fini").replace(
                "struct hello *h = self;\n    h->host->release", "struct hello *h = self;\n"
                "    nobody_has_this();\n    h->host->release"), defs=False)
            dev.await_text("undefined symbol: nobody_has_this")
            dev.kvctl("put", "/h/c", "")
            await_true("the stamp", lambda: dev.get("/h/c") == "stamped by 1.2")
            assert " 1.2 " in dev.kvctl("plugin", "list"), dev.kvctl("plugin", "list")
        with tally.case("and the next one is loaded"):
            build(folder, "hello", hello("1.4", "stamped by 1.4"))
            dev.await_text('"version": "1.4"')
        with tally.case("a file that was not there yet is loaded when it comes"):
            assert "./late.so: cannot be read: No such file or directory" in dev.text(), dev.text()
            build(folder, "late", hello("7.7", "late").replace('.name = "hello"', '.name = "late"'))
            dev.await_text('"version": "7.7"')
        with tally.case("it stops while a file changes"):
            build(folder, "hello", hello("1.5", "stamped by 1.5"))
            equal(dev.stop(), -signal.SIGTERM, "status")
            equal(os.listdir(dev.tmp), [], "left behind")


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="kvd-dev-test.")
    try:
        starting(tally, folder)
        reloading(tally, folder)
    finally:
        shutil.rmtree(folder)
    tally.close()


main()
