#!/usr/bin/env python3
"""The newest Go clientv3 runs the same program against kvd and etcd; the transcripts are compared line by
line. Needs a current Go on PATH; the module is fetched by the ordinary go command."""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
from kvdtest import ROOT, Server, Tally, etcd_path, etcd_version

# Lines that may differ from the etcd on PATH, which is Debian's 3.4 where nothing newer is there.
ALLOWED = [
    (r"^hashkv at the end", "3.4 hashes other bytes (tombstones at the compaction revision)"),
    (r"^sort 1 [012] ", "equal versions: 3.4 leaves their order open, ours stays by key (stable)"),
]


def go_is_current():
    go = shutil.which("go")
    if go is None:
        return "no go on PATH"
    out = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    match = re.search(r"go1\.(\d+)", out)
    if match is None or int(match.group(1)) < 24:
        return f"go is too old: {out.strip()}"
    return None


def build():
    program = os.path.join(ROOT, "build/compat-go")
    run = subprocess.run(["go", "build", "-mod=mod", "-o", program, "."], cwd=os.path.join(HERE, "go"),
                         capture_output=True, text=True, env=dict(os.environ, CGO_ENABLED="0"))
    if run.returncode != 0:
        raise RuntimeError(run.stderr)
    return program


def transcript(program, server):
    run = subprocess.run([program, server.endpoint], capture_output=True, text=True,
                         errors="backslashreplace", timeout=240)
    if run.returncode != 0:
        raise RuntimeError(run.stdout[-2000:] + run.stderr)
    return run.stdout.splitlines()


def main():
    tally = Tally()
    missing = go_is_current()
    if missing:
        tally.skip("Go clientv3", missing)
        tally.close()
    program = build()
    with Server("kvd") as kvd:
        ours = transcript(program, kvd)
    with tally.case("the whole program runs against kvd"):
        assert ours[-1].startswith("hashkv at the end"), ours[-5:]
    with tally.case("1,000 watchers"):
        assert "1000 watchers: 0 saw anything but each event once, in order" in ours
    with tally.case("sorting is stable: equal versions stay in key order"):
        line = next(x for x in ours if x.startswith("sort 1 2 limit 0"))
        items = re.findall(r"(k/\d+)=\S+\(c\d+ m\d+ v(\d+)", line)
        assert items == sorted(items, key=lambda kv: (-int(kv[1]), kv[0])) and len(items) == 20, line
    if etcd_path() is None:
        tally.skip("comparison with etcd", "no etcd on PATH")
        tally.close()
    print(f"comparing with etcd {etcd_version()}")
    with Server("etcd") as etcd:
        theirs = transcript(program, etcd)
    for i in range(max(len(ours), len(theirs))):
        mine = ours[i] if i < len(ours) else "(nothing)"
        other = theirs[i] if i < len(theirs) else "(nothing)"
        reasons = [why for pattern, why in ALLOWED if re.search(pattern, mine)]
        with tally.case(f"line {i + 1}: {mine[:60]}"):
            if mine != other and reasons:
                print(f"     differs: {reasons[0]}")
            elif mine != other:
                raise AssertionError(f"\n kvd:  {mine}\n etcd: {other}")
    tally.close()


main()
