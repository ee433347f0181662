#!/usr/bin/env python3
"""The generator of the API server's tables refuses mistakes in schema files with file and line."""
import contextlib
import io
import os
import random
import re
import runpy
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GENERATE = os.path.join(ROOT, "plugins/schema/generate.py")
HEAD = "group example v1\n"

# name: (lines after the head, complaint or None when it is fine)
CASES = {
    "a type": ("type A \"One.\"\n 1 name !string needed\n 2 at Time\n", None),
    "unknown type": ("type A\n 1 name strin\n", "3: unknown type strin"),
    "number twice": ("type A\n 1 a string\n 1 b string\n", "4: A has number 1 twice: a, b"),
    "name twice": ("type A\n 1 a string\n 2 a string\n", "4: A has the field a twice"),
    "kind twice": ("kind A as cluster\n    verbs get\n 1 metadata B\nkind A as cluster\n"
                   "    verbs get\n 1 metadata B\ntype B\n 1 name string\n", "5: A is defined twice"),
    "type twice": ("type A\n 1 a string\ntype A\n", "4: A is defined twice"),
    "unknown attribute": ("type A\n 1 a string frozen\n", "3: unknown attribute frozen"),
    "merge key": ("type A\n 1 a []B merge=id\ntype B\n 1 name string\n",
                  "3: merge key id is no field of B"),
    "map key": ("type A\n 1 a []B merge=name keys=name,id\ntype B\n 1 name string\n",
                "3: key id is no field of B"),
    "default": ("type A\n 1 a int32 default=ten\n", "3: default ten does not fit the type"),
    "default of enum": ("enum E A B\ntype A1\n 1 a E default=C\n", "4: default C does not fit the type"),
    "kind words": ("kind A as everywhere\n",
                   '2: a kind is: kind Name plural namespaced|cluster [defaulted] [checked] "about"'),
    "optional list": ("type A\n 1 a ?string\n 2 b ?[]string\n",
                      "4: lists and maps have no ?: absent and empty are one"),
    "min of text": ("type A\n 1 a string min=0\n", "3: min is for integers"),
    "inline clash": ("type A\n 1 a string\n 2 b inline B\ntype B\n 1 a string\n",
                     "6: A has the field a twice"),
    "verb": ("kind A as cluster\n    verbs look\n 1 metadata B\ntype B\n 1 name string\n",
             "3: unknown verb look"),
    "selector": ("kind A as cluster\n    verbs get\n    select spec.x\n 1 metadata B\ntype B\n 1 name string\n",
                 "2: field selector spec.x leads nowhere"),
    "no metadata": ("kind A as cluster\n    verbs get\n 1 spec string\n", "2: A has no metadata"),
    "quote": ("type A \"open\n", "2: a quote that is not closed"),
    "stray field": (" 1 a string\n", "2: a field outside of a type"),
}


def run(folder, text):
    path = os.path.join(folder, "example-v1.schema")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(HEAD + text)
    out = os.path.join(folder, "out")
    result = subprocess.run([sys.executable, GENERATE, out, path], capture_output=True, text=True)
    return path, result, os.path.exists(os.path.join(out, "schema_tables.c"))


def mutated(dice, text):
    """One thing made wrong: a byte, a word or a line is changed, doubled, moved or gone."""
    lines = text.split("\n")
    i, k = dice.randrange(len(lines)), dice.randrange(len(lines))
    words = lines[i].split(" ")
    w = dice.randrange(len(words))
    how = dice.randrange(7)
    if how == 0:
        del lines[i]
    elif how == 1:
        lines.insert(k, lines[i])
    elif how == 2:
        lines[i], lines[k] = lines[k], lines[i]
    elif how == 3:
        del words[w]
        lines[i] = " ".join(words)
    elif how == 4:
        words[w] = dice.choice(lines[k].split(" "))
        lines[i] = " ".join(words)
    elif how == 5 and lines[i]:
        at = dice.randrange(len(lines[i]))
        lines[i] = lines[i][:at] + chr(dice.choice([0, 9, 34, 35, 45, 61, 63, 91, 228, 0x1F600])) + lines[i][at + 1:]
    else:
        return text[:dice.randrange(len(text))]
    return "\n".join(lines)


def generated(folder, text, seed):
    """Runs the generator on a changed apps-v1 beside the others. None, or what is wrong with how it ended."""
    path = os.path.join(folder, "apps-v1.schema")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)
    others = [os.path.join(ROOT, "plugins/schema", name) for name in ("core-v1.schema", "meta-v1.schema")]
    told, argv = io.StringIO(), sys.argv
    sys.argv = [GENERATE, os.path.join(folder, "out"), path, *others]
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            runpy.run_path(GENERATE, run_name="__main__")
        return None
    except SystemExit as end:
        complaints = told.getvalue().strip().splitlines()
        if end.code in (0, None):
            return None
        if end.code == 1 and complaints and all(re.match(r".*\.schema:\d+: .", c) for c in complaints):
            return None
        return f"seed {seed}: status {end.code}, {complaints}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"seed {seed}: {type(error).__name__}: {error}"
    finally:
        sys.argv = argv


def wrong_in_every_way():
    """Random mistakes: each is refused with file and line, or harmless; never a traceback."""
    with open(os.path.join(ROOT, "plugins/schema/apps-v1.schema"), encoding="utf-8") as handle:
        text = handle.read()
    count = int(os.environ.get("MUTATIONS", "60"))
    first = int(os.environ.get("SEED", "1"))
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            dice = random.Random(seed)
            found = generated(folder, mutated(dice, text), seed)
            bad += [found] if found else []
    return bad


def main():
    passed = failed = 0
    bad = wrong_in_every_way()
    for finding in bad:
        print(f"FAIL mutated: {finding}")
    failed += len(bad)
    passed += not bad
    for name, (text, complaint) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path, result, made = run(folder, text)
            if complaint is None:
                good = result.returncode == 0 and made and result.stderr == ""
            else:
                good = result.returncode == 1 and not made and f"{path}:{complaint}" in result.stderr.splitlines()
            if good:
                passed += 1
            else:
                failed += 1
                print(f"FAIL {name}: status {result.returncode}\n{result.stderr}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
