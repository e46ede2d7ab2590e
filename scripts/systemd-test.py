#!/usr/bin/env python3
"""The units in contrib/systemd: systemd finds nothing wrong with them, rates them as the documents say, and
their filters allow every system call that server and client really make (strace of real ones on loopback,
with a clock of their own). The same with the drop-in for network cards, and the process that restores them.

    scripts/systemd-test.py        exits 0 if all is well, 77 with NOT RUN if systemd or strace is missing

MEANTIME=path/to/meantime uses that binary instead of building one.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib.cluster import Cluster
from lib.installing import why_missing
from lib.program import HOME, find_meantime

UNITS = HOME / "contrib" / "systemd"
DROP_IN = UNITS / "hardware-timestamps.conf"
# By these a node starts that process and waits for it, with one C library or another.
STARTING = {"clone", "clone3", "dup2", "dup3", "execve", "pipe2", "setpgid", "vfork", "wait4", "waitid"}
# systemd's rating, of 10 for everything allowed. What is left is the network, and the right to set the clock.
MOST_EXPOSED = 2.0
# What is needed, and the package that it is in.
TOOLS = {"systemd-analyze": "systemd", "strace": "strace"}


def main():
    for tool, package in TOOLS.items():
        if why := why_missing(tool, package):
            print(f"NOT RUN: the systemd units: {why}")
            return 77
    meantime = find_meantime()
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        made = calls(meantime, Path(scratch))
        for role in ("server", "client"):
            unit = UNITS / f"meantime-{role}.service"
            wrong += verify(unit, meantime, Path(scratch))
            wrong += verify(unit, meantime, Path(scratch), DROP_IN)
            wrong += rate(unit)
            missing = sorted((made[role] | made["restore-cards"] | STARTING) - allowed(unit))
            print(f"{unit.name}: {len(made[role])} system calls made, not allowed: {missing or 'none'}")
            wrong += [f"{unit.name} does not allow {call}" for call in missing]
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0


def verify(unit, meantime, scratch, drop_in=None):
    """What systemd finds wrong; the program need not be installed for that."""
    copy = scratch / unit.name
    if drop_in:
        directory = scratch / f"{unit.name}.d"
        directory.mkdir()
        shutil.copy(drop_in, directory)
    copy.write_text(unit.read_text().replace("/usr/local/bin/meantime", str(meantime)))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    names = (unit.name, DROP_IN.name)
    said = [line for line in (done.stdout + done.stderr).splitlines() if any(name in line for name in names)]
    return [f"systemd-analyze verify: {line}" for line in said]


def rate(unit):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    exposed = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said).group(1))
    print(f"{unit.name}: exposure {exposed}")
    return [f"{unit.name}: exposure {exposed}, more than {MOST_EXPOSED}"] if exposed > MOST_EXPOSED else []


def allowed(unit):
    """The system calls that the unit's SystemCallFilter= lines allow, taken in order as systemd does."""
    found = set(expand("@default"))
    for line in unit.read_text().splitlines():
        if not line.startswith("SystemCallFilter="):
            continue
        words = line.removeprefix("SystemCallFilter=")
        names = {name for word in words.removeprefix("~").split() for name in expand(word)}
        found = found - names if words.startswith("~") else found | names
    return found


def expand(word):
    if not word.startswith("@"):
        return {word}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in said.splitlines()[1:]]
    return {name for line in lines if line and not line.startswith("#") for name in expand(line)}


def calls(meantime, scratch):
    """The system calls that a server and a client make, from their start to their end, each with all its
    files."""
    traces = {role: scratch / f"{role}.trace" for role in ("server", "client")}
    # What a node tells the service manager is part of it: it makes the same calls without one that listens.
    environment = {**os.environ, "NOTIFY_SOCKET": str(scratch / "notify"), "WATCHDOG_USEC": "600000"}
    with Cluster(meantime, scratch) as cluster:

        def start(role, *where):
            files = [
                "--state-dir",
                scratch / "state",
                "--control",
                cluster.control(role),
                "--record",
                scratch / f"{role}.csv",
            ]
            strace = ["strace", "-D", "-f", "-o", traces[role]]
            cluster.start(
                role, role, *where, *files, "--output", "json", wrapper=strace, environment=environment
            )

        start("server", "--listen", "127.0.0.1:0", "--interval", "500ms")
        start("client", cluster.address().replace("127.0.0.1", "localhost"))
        time.sleep(5)
        for role in traces:
            cluster.ask("status", name=role).check_returncode()
    # It takes a card over, waits for the end of its input, and fails: loopback is no card.
    traces["restore-cards"] = scratch / "restore-cards.trace"
    restore = ["strace", "-f", "-o", traces["restore-cards"], meantime, "restore-cards"]
    subprocess.run(restore, input=b"lo:1:0:0:1:1\n", capture_output=True, check=False)
    called = re.compile(r"^(?:\d+ +)?([a-z_0-9]+)\(", re.MULTILINE)
    # What strace shows before the filter is there: starting the program is systemd's part.
    return {role: set(called.findall(trace.read_text())) - {"execve"} for role, trace in traces.items()}


if __name__ == "__main__":
    sys.exit(main())
