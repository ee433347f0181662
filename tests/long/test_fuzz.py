#!/usr/bin/env python3
"""Each libFuzzer target for FUZZ_SECONDS (default 600), from its seeds in tests/fuzz/corpus and from what
earlier runs found interesting, which grows in build/fuzz/corpus. A finding is printed with the way to rerun it.

FUZZ_ONLY=text runs only targets whose name contains it, FUZZ_JOBS=n runs so many at once (default 1)."""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import ROOT, Tally

SECONDS = int(os.environ.get("FUZZ_SECONDS", "600"))
ONLY = os.environ.get("FUZZ_ONLY", "")
JOBS = int(os.environ.get("FUZZ_JOBS", "1"))
# What one input may take: more is a finding. Debian's libFuzzer ends a run at its total time by itself.
INPUT_SECONDS_MAX = 25
INPUT_BYTES_MAX = 4096
RESIDENT_MB_MAX = 2048
GRACE_SECONDS = 300
PROGRESS_SECONDS = 60


def say(text):
    print(text, flush=True)


def targets():
    names = [os.path.basename(path)[len("fuzz_"):-2] for path in sorted(glob.glob("tests/fuzz/fuzz_*.c"))]
    return [name for name in names if ONLY in name]


def tail(path):
    """The newest figures of a target that runs."""
    with open(path, errors="replace") as log:
        lines = re.findall(r"^#\d+.*cov: \d+.*$", log.read(), re.M)
    found = re.match(r"#(\d+).*?cov: (\d+).*?corp: (\d+).*?exec/s: (\d+)", lines[-1]) if lines else None
    return "{} runs, {} edges, {} inputs, {} runs/s".format(*found.groups()) if found else "starting"


def finding(name, path):
    """What to print for a target that did not end well."""
    with open(path, errors="replace") as log:
        text = log.read()
    kept = [line for line in text.splitlines() if not re.match(r"#\d+\s+(NEW|REDUCE|pulse|RELOAD)", line)]
    words = ["\n".join(kept[-60:])]
    for artifact in re.findall(r"Test unit written to (\S+)", text):
        words.append(f"rerun: build/fuzz/fuzz_{name} {artifact}")
        words.append(f"small: build/fuzz/fuzz_{name} -minimize_crash=1 -max_total_time=60 {artifact}")
    return "\n".join(words)


def run(name):
    """(status, summary, log path) of one target."""
    corpus = f"build/fuzz/corpus/{name}"
    os.makedirs(corpus, exist_ok=True)
    path = f"build/fuzz/{name}.log"
    command = [f"build/fuzz/fuzz_{name}", f"-max_total_time={SECONDS}", f"-max_len={INPUT_BYTES_MAX}",
               f"-timeout={INPUT_SECONDS_MAX}", f"-rss_limit_mb={RESIDENT_MB_MAX}",
               f"-artifact_prefix=build/fuzz/{name}-", corpus, f"tests/fuzz/corpus/{name}"]
    start = time.monotonic()
    with open(path, "w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while True:
            try:
                status = process.wait(PROGRESS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - start
                say(f"... {name}: {seconds:.0f} s, {tail(path)}")
                if seconds > SECONDS + GRACE_SECONDS:
                    raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    with open(path, errors="replace") as log:
        done = re.findall(r"^Done (\d+) runs in (\d+) second", log.read(), re.M)
    runs = f"{done[-1][0]} runs in {done[-1][1]} s" if done else "no end"
    return status, f"{runs}; {tail(path)}", path


def report(tally, name, future):
    with tally.case(name):
        status, summary, path = future.result()
        if status != 0:
            raise AssertionError(f"status {status}\n{finding(name, path)}")
        say(f"     {name}: {summary}")


def main():
    os.chdir(ROOT)
    tally = Tally()
    if shutil.which("clang") is None:
        tally.skip("everything", "clang is not installed")
        tally.close()
    subprocess.run(["make", "--no-print-directory", f"-j{os.cpu_count() or 2}", "fuzz"], check=True,
                   stdout=subprocess.DEVNULL)
    names = targets()
    say(f"{len(names)} targets, {SECONDS} s each, {JOBS} at once")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        futures = {pool.submit(run, name): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            report(tally, futures[future], future)
    tally.close()


main()
