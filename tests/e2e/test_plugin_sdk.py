#!/usr/bin/env python3
"""What an author of plugins gets: `make install` into an empty tree, then the samples are built and tested
there with gcc and clang, against nothing but installed files, and loaded into a real kvd."""
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import KVCTL, ROOT, Server, Tally, equal  # noqa: E402

SAMPLES = ["hello", "ttl-janitor", "webhello"]
COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]
CXX = [c for c in ("g++", "clang++") if shutil.which(c)]


def run(*command, cwd=None, env=None, status=0):
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    equal(done.returncode, status, f"status of {' '.join(command)}:\n{done.stdout}{done.stderr}\n")
    return done.stdout + done.stderr


def until(seconds, what, condition):
    """Waits for a condition that can be observed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def symbols(path, *flags):
    out = run("nm", *flags, path)
    return sorted(line.split()[-1] for line in out.splitlines() if len(line.split()) == 3)


def kvctl(server, *words):
    return run(KVCTL, *words, env=dict(os.environ, KVCTL_ENDPOINTS=server.endpoint))


def installed(root):
    """`make install`, and the environment in which its .pc files are found."""
    run("make", "install", f"DESTDIR={root}", "PREFIX=/usr", cwd=ROOT)
    return dict(os.environ, PKG_CONFIG_PATH=os.path.join(root, "usr/lib/pkgconfig"),
                PKG_CONFIG_SYSROOT_DIR=root)


def header_cases(tally, root):
    """Each header alone in a file, as strict as compilers are."""
    include = "-I" + os.path.join(root, "usr/include")
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", include]
    for header in ("kvplugin.h", "kvplugin-test.h"):
        for suffix, standards, compilers in (("c", ["c11"], COMPILERS), ("cc", ["c++11", "c++20"], CXX)):
            path = os.path.join(root, f"only.{suffix}")
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"#include <{header}>\nstatic const size_t size = sizeof(struct kvp_host);\n"
                        "size_t use(void);\nsize_t use(void) { return size; }\n")
            for compiler in compilers:
                for std in standards:
                    with tally.case(f"{header} is {std} for {compiler}"):
                        run(compiler, f"-std={std}", *strict, path)


def library_cases(tally, root):
    with tally.case("the test library shows its own names only"):
        names = symbols(os.path.join(root, "usr/lib/libkvplugin-test.a"), "-g", "--defined-only")
        equal([n for n in names if not n.startswith("t_")], [], "other global names")
        assert "t_open_at" in names, names


def sample_cases(tally, root, env):
    for compiler in COMPILERS:
        place = os.path.join(root, compiler)
        shutil.copytree(os.path.join(ROOT, "plugins/sample"), place,
                        ignore=shutil.ignore_patterns("*.so", "test_*[!c]"))
        for name in SAMPLES:
            folder = os.path.join(place, name)
            with tally.case(f"{name} is built with {compiler}, exporting one symbol"):
                run("make", f"CC={compiler}", f"{name}.so", cwd=folder, env=env)
                equal(symbols(os.path.join(folder, f"{name}.so"), "-D", "--defined-only"),
                      ["kvplugin_entry"], "symbols")
            with tally.case(f"{name} passes its tests with {compiler}"):
                out = run("make", f"CC={compiler}", "test", cwd=folder, env=env)
                assert f"{name}: passed" in out, out


def sanitizer_cases(tally, root, env):
    flags = "-std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
    for name in SAMPLES:
        folder = os.path.join(root, COMPILERS[0], name)
        with tally.case(f"{name} passes its tests under sanitizers"):
            run("make", "clean", cwd=folder, env=env)
            out = run("make", f"CC={COMPILERS[0]}", f"CFLAGS={flags}", "test", cwd=folder, env=env)
            assert f"{name}: passed" in out, out
            run("make", "clean", f"{name}.so", cwd=folder, env=env)


def broken_case(tally, root, env):
    """A plugin with a bug fails its test, with a sentence, a place and the seed that repeats it."""
    folder = os.path.join(root, COMPILERS[0], "broken")
    shutil.copytree(os.path.join(ROOT, "plugins/sample/hello"), folder,
                    ignore=shutil.ignore_patterns("*.so", "test_hello"))
    source = os.path.join(folder, "hello.c")
    with open(source, encoding="utf-8") as f:
        text = f.read()
    with open(source, "w", encoding="utf-8") as f:
        f.write(text.replace("row.mod_revision)", "row.mod_revision - 1)"))
    with tally.case("a broken plugin fails its test with sentence, place and seed"):
        out = run("make", "test", cwd=folder, env=env, status=2)
        assert "test_hello.c:" in out and 'expected "stamped"' in out, out
        assert "again with KVP_TEST_SEED=1" in out, out


def webhello_cases(tally, server):
    with tally.case("kvd serves webhello's page"):
        with urllib.request.urlopen(f"http://{server.endpoint}/webhello", timeout=10) as answer:
            assert "EventSource('/webhello/events')" in answer.read().decode()
    with tally.case("kvd streams what happens to webhello's clients"):
        kvctl(server, "put", "/hello/web", "first")
        with urllib.request.urlopen(f"http://{server.endpoint}/webhello/events", timeout=20) as answer:
            lines = (line.decode().rstrip("\n") for line in answer)
            next(line for line in lines if line == "data: /hello/web\tfirst")
            kvctl(server, "put", "/hello/web", "second")
            next(line for line in lines if line == "data: /hello/web\tsecond")
            kvctl(server, "del", "/hello/web")
            next(line for line in lines if line == "event: delete")
            equal(next(lines), "data: /hello/web", "the deleted key")


def kvd_cases(tally, root):
    folder = os.path.join(root, COMPILERS[0])
    flags = []
    for name in SAMPLES:
        path = os.path.join(folder, name, f"{name}.so")
        os.chmod(path, 0o644)
        flags += ["--plugin", path]
    with Server("kvd", flags) as server:
        webhello_cases(tally, server)
        with tally.case("kvd runs hello: keys are stamped"):
            kvctl(server, "put", "/hello/a", "")
            until(20, "the stamp", lambda: "stamped" in kvctl(server, "get", "/hello/a"))
            kvctl(server, "put", "/hello/b", "mine")
            kvctl(server, "put", "/hello/c", "")
            until(20, "the stamp", lambda: "stamped" in kvctl(server, "get", "/hello/c"))
            equal(kvctl(server, "get", "/hello/b", "--print-value-only"), "mine\n", "a value of its own")
        with tally.case("hello's counter is among kvd's metrics"):
            with urllib.request.urlopen(f"http://{server.endpoint}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            lines = [x for x in text.splitlines() if x.startswith("kvd_plugin_hello_stamped")]
            assert lines and float(lines[0].split()[-1]) >= 2, lines
        with tally.case("kvd runs ttl-janitor: a key goes after its time"):
            kvctl(server, "put", "/ttl/a", "1s")
            kvctl(server, "put", "/ttl/b", "never")
            until(20, "the lease", lambda: '"lease":0' not in kvctl(server, "get", "/ttl/a", "-w", "json"))
            until(30, "the deletion", lambda: kvctl(server, "get", "/ttl/a") == "")
            equal(kvctl(server, "get", "/ttl/b", "--print-value-only"), "never\n", "other values")
        server.stop()
        server.start()
        with tally.case("the next start of kvd leads with a new epoch, and stamps"):
            kvctl(server, "put", "/hello/d", "")
            until(20, "the stamp", lambda: "stamped" in kvctl(server, "get", "/hello/d"))


def main():
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="kvd-sdk.") as root:
        with tally.case("make install"):
            env = installed(root)
        header_cases(tally, root)
        library_cases(tally, root)
        sample_cases(tally, root, env)
        sanitizer_cases(tally, root, env)
        broken_case(tally, root, env)
        kvd_cases(tally, root)
    tally.close()


main()
