#!/usr/bin/env python3
"""The generator of the API server's tables refuses mistakes in schema files with file and line."""
import os
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


def main():
    passed = failed = 0
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
