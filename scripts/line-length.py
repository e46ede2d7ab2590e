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
            if len(line) > MAX_COLUMNS and not is_whole(line):
                print(f"FAILED   {name}:{number}: {len(line)} columns")
                wrong += 1
    if wrong:
        print(f"{wrong} lines are longer than {MAX_COLUMNS} columns")
        sys.exit(1)
    print(f"ok       no line is longer than {MAX_COLUMNS} columns")


def is_whole(line):
    """Whether a line cannot be broken: code that is short enough but for a long string in it, or a row."""
    # Rows of a table, and attributes, which rustfmt does not break.
    if re.match(r"\s*//[/!] \|.*\|$|\s*#\[.*\]$", line):
        return True
    if re.match(r"\s*(//|#[^!\[])", line):
        return False
    literals = re.findall(r'"(?:\\.|[^"\\])*"?|\'[^\']*\'', line)
    total = sum(map(len, literals))
    return total >= MIN_LITERAL and len(line) - total <= MAX_COLUMNS


def everything():
    """The files, where there is no git."""
    for path in HOME.rglob("*"):
        relative = path.relative_to(HOME)
        if "target" not in relative.parts and relative.parts[0] != ".git":
            yield relative


if __name__ == "__main__":
    main()
