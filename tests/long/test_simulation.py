#!/usr/bin/env python3
"""Many seeds of the simulator, one member and three, in chunks with progress. Each seed counts as a case.

SEEDS=n per form (default 10000), SEED_START=n the first one (default 1), MEMBERS="1 3" which forms,
KVD_SIM=path another build (default: the plain, optimised one, which is made first)."""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import ROOT, Tally

SEEDS = int(os.environ.get("SEEDS", "10000"))
SEED_START = int(os.environ.get("SEED_START", "1"))
MEMBERS = [int(word) for word in os.environ.get("MEMBERS", "1 3").split()]
CHUNK = 500
# A seed ends itself after five minutes of processor time; a chunk takes seconds to minutes.
CHUNK_SECONDS_MAX = 3600


def built():
    """The simulator to run."""
    if "KVD_SIM" in os.environ:
        return os.environ["KVD_SIM"]
    subprocess.run(["make", "--no-print-directory", "build/out/tests/kvd-sim"], cwd=ROOT, check=True)
    return os.path.join(ROOT, "build/out/tests/kvd-sim")


def run_chunk(program, members, first, count):
    """(seeds passed, seeds failed); prints what failed and how to rerun it."""
    run = subprocess.run([program, "--members", str(members), "--seed", str(first), "--count", str(count)],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                         timeout=CHUNK_SECONDS_MAX)
    sums = re.findall(r"^(\d+) passed, (\d+) failed$", run.stdout, re.M)
    passed, failed = (int(n) for n in sums[-1]) if sums else (0, count)
    if failed or run.returncode != 0:
        print(re.sub(r"^(\.\.\. .*|\d+ passed, .*)\n", "", run.stdout, flags=re.M))
        failed = failed or 1
    if passed + failed < count:
        failed = count - passed
    return passed, failed


def run_form(tally, program, members):
    start = time.monotonic()
    end = SEED_START + SEEDS
    failed_here = 0
    for first in range(SEED_START, end, CHUNK):
        count = min(CHUNK, end - first)
        passed, failed = run_chunk(program, members, first, count)
        tally.passed += passed
        tally.failed += failed
        failed_here += failed
        print(f"members {members}: seeds {first} to {first + count - 1}: {failed} failed; "
              f"{first + count - SEED_START} of {SEEDS} in {time.monotonic() - start:.0f} s, "
              f"{failed_here} failed so far", flush=True)


def main():
    tally = Tally()
    program = built()
    for members in MEMBERS:
        run_form(tally, program, members)
    tally.close()


main()
