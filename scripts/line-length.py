#!/usr/bin/env python3
"""Checks that no line of the source is longer than 110 columns.

    scripts/line-length.py        # exits 0 if none is

Looks at Rust, Python and shell. Characters are counted, not bytes. A line that cannot be broken stands in
ALLOWED.
"""

import re
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
MAX_COLUMNS = 110
MIN_LITERAL = 50


def main():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=HOME,
        capture_output=True,
        text=True,
    )
    names = listed.stdout.splitlines() if listed.returncode == 0 else map(str, everything())
    wrong = 0
    for name in sorted(names):
        path = HOME / name
        if not (path.suffix in (".rs", ".py", ".sh") or name == "scripts/lab") or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if len(line) > MAX_COLUMNS and not is_message(line):
                print(f"FAILED   {name}:{number}: {len(line)} columns")
                wrong += 1
    if wrong:
        print(f"{wrong} lines are longer than {MAX_COLUMNS} columns")
        sys.exit(1)
    print(f"ok       no line is longer than {MAX_COLUMNS} columns")


def is_message(line):
    """Whether a line is code that is short enough but for a long string in it."""
    if re.match(r"\s*(//|#[^!\[])", line):
        return False
    literals = re.findall(r'"(?:\\.|[^"\\])*"?|\'[^\']*\'', line)
    longest = max(map(len, literals), default=0)
    return longest >= MIN_LITERAL and len(line) - longest <= MAX_COLUMNS


def everything():
    """The files, where there is no git."""
    for path in HOME.rglob("*"):
        relative = path.relative_to(HOME)
        if "target" not in relative.parts and relative.parts[0] != ".git":
            yield relative


if __name__ == "__main__":
    main()
