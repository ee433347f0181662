#!/usr/bin/env python3
"""docs/status.md is true as far as a program can tell: every row of the contract is there once, in one of
three states, `done` names a test, and each file and case that is named exists."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from kvdtest import ROOT, Tally, equal

# Rows of the contract: prefix and how many, numbered from 1.
ROWS = {"W": 13, "R": 10, "K": 13, "S": 7, "P": 8, "D": 2, "T": 11, "C": 8, "WA": 24, "L": 15, "LE": 8,
        "M": 17, "MT": 14, "G": 3, "A": 22, "E": 6, "H": 11, "J": 9, "F": 8, "LG": 5, "X": 8, "GU": 7,
        "PL": 24}  # the last are our own: plugins
STATES = {"done", "partial", "not yet"}
SHORT = {"etcdctl": "e2e/test_etcdctl.py", "go": "compat/go/main.go"}
REFERENCE = re.compile(r"((?:unit|e2e|compat|sim)/[\w/.-]+|\btest_\w+\.c|\betcdctl|\bgo)(?:: ([^;|]+))?")


ROW = re.compile(r"[A-Z]+-\d\d|8\.[34]")


def rows():
    """[(id, state, text)] of the contract's rows, and of the parts of the control plane."""
    found, parts = [], []
    with open(os.path.join(ROOT, "docs/status.md")) as f:
        for line in f:
            assert len(line) <= 360, f"{len(line)} columns: {line}"
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("|") and len(cells) == 3 and ROW.fullmatch(cells[0]) and cells[1] in STATES:
                found.append(tuple(cells))
            elif line.startswith("|") and len(cells) == 3:
                parts.append(tuple(cells))
    return found, parts


def named(text):
    """(path below tests/, case or None) of each test a row names."""
    folder = ""
    for file, cases in REFERENCE.findall(text):
        path = SHORT.get(file, file)
        if "/" not in path:
            path = f"{folder}/{path}"
        folder = os.path.dirname(path) if path.startswith("unit/") else folder
        if not cases:
            if file not in SHORT:
                yield path, None
            continue
        cases = cases.strip().rstrip(")")
        with open(os.path.join(ROOT, "tests", path)) as f:
            whole = cases in f.read()
        for case in [cases] if whole else cases.split(", "):
            yield path, re.sub(r" \(.*", "", case.strip())


def main():
    tally = Tally()
    found, parts = rows()
    with tally.case("every row once"):
        want = [f"{p}-{i:02d}" for p, n in ROWS.items() for i in range(1, n + 1)] + ["8.3", "8.4"]
        equal(sorted(r[0] for r in found), sorted(want), "rows")
    with tally.case("what is done names a test"):
        for row, state, text in found:
            assert state != "done" or list(named(text)), f"{row}: {text}"
    with tally.case("the tests named exist"):
        missing = []
        for row, _, text in found + parts:
            for path, case in named(text):
                with open(os.path.join(ROOT, "tests", path)) as f:
                    source = f.read()
                for piece in (case or "").split("..."):
                    if piece.strip() not in source:
                        missing.append(f"{row}: {path}: {case}")
        equal(missing, [], "tests that do not exist")
    for state in sorted(STATES):
        print(f"{sum(1 for r in found if r[1] == state)} {state}")
    tally.close()


main()
