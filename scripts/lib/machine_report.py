"""What a virtual machine has reported, and the verdict on it.

It writes files, each after a line `=== file NAME`; of these, `report` has what commands have said, each
after a line `== KEY`.
"""

import re
import sys


class Report:
    def __init__(self, path):
        self.files, self.failed, name = {}, [], None
        for line in open(path, errors="replace").read().replace("\r", "").splitlines():
            if line.startswith("=== file "):
                name = line.removeprefix("=== file ")
                self.files[name] = []
            elif name and not line.startswith("=== "):
                self.files[name].append(line)
        text = "\n".join(self.files["report"])
        self.said = dict(re.findall(r"== (\w+)\n(.*?)(?=\n== |\Z)", text, re.S))

    def check(self, what, good, seen=""):
        print(f"{'ok      ' if good else 'FAILED  '} {what}{f': {seen}' if seen != '' else ''}")
        if not good:
            self.failed.append(what)

    def end(self, what):
        """Says how it was, and ends the process."""
        print("FAILED" if self.failed else "PASS", what)
        sys.exit(bool(self.failed))
