#!/usr/bin/env python3
"""The units in contrib/systemd: systemd finds nothing wrong with them, rates them as the documents say, and their filters
allow every system call that server and client really make (strace of real ones on loopback, with a clock of their own).

    scripts/systemd-test.py        exits 0 if all is well, 77 with NOT RUN if systemd or strace is missing

MEANTIME=path/to/meantime uses that binary instead of building one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
UNITS = HOME / "contrib" / "systemd"
# systemd's rating, of 10 for everything allowed. What is left is the network, and the right to set the clock.
MOST_EXPOSED = 2.0
# What is needed, and the package that it is in.
TOOLS = {"systemd-analyze": "systemd", "strace": "strace"}


def main():
    for tool, package in TOOLS.items():
        if not shutil.which(tool) and not install(package, tool):
            print(f"NOT RUN: the systemd units: {tool} is missing (Debian's package {package})")
            return 77
    meantime = binary()
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        made = calls(meantime, Path(scratch))
        for role in ("server", "client"):
            unit = UNITS / f"meantime-{role}.service"
            wrong += verify(unit, meantime, Path(scratch))
            wrong += rate(unit)
            missing = sorted(made[role] - allowed(unit))
            print(f"{unit.name}: {len(made[role])} system calls made, not allowed: {missing or 'none'}")
            wrong += [f"{unit.name} does not allow {call}" for call in missing]
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0


def install(package, tool):
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print(f"installing {package}")
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180, check=False)
    return shutil.which(tool) is not None


def binary():
    if "MEANTIME" in os.environ:
        return Path(os.environ["MEANTIME"]).resolve()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=HOME, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target")).resolve() / "release" / "meantime"


def verify(unit, meantime, scratch):
    """What systemd finds wrong; the program need not be installed for that."""
    copy = scratch / unit.name
    copy.write_text(unit.read_text().replace("/usr/local/bin/meantime", str(meantime)))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
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
    said = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in said.splitlines()[1:]]
    return {name for line in lines if line and not line.startswith("#") for name in expand(line)}


def calls(meantime, scratch):
    """The system calls that a server and a client make, from their start to their end, each with all its files."""
    traces, nodes = {}, []
    log = (scratch / "server.out").open("w+")
    try:
        for role in ("server", "client"):
            where = ["--listen", "127.0.0.1:0", "--interval", "500ms"] if role == "server" else [address(log)]
            files = ["--state-dir", scratch / "state", "--control", scratch / f"{role}.sock", "--record", scratch / f"{role}.csv"]
            trace = traces[role] = scratch / f"{role}.trace"
            command = ["strace", "-D", "-f", "-o", trace, meantime, role, *where, *files, "--output", "json"]
            out = log if role == "server" else subprocess.DEVNULL
            # What it tells the service manager is part of it: nobody listens, which makes no difference to what it calls.
            environment = {**os.environ, "NOTIFY_SOCKET": str(scratch / "notify"), "WATCHDOG_USEC": "600000"}
            nodes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment))
            time.sleep(1)
        time.sleep(4)
        subprocess.run([meantime, "status", "--control", scratch / "server.sock"], stdout=subprocess.DEVNULL, check=True)
        subprocess.run([meantime, "status", "--control", scratch / "client.sock"], stdout=subprocess.DEVNULL, check=True)
    finally:
        for node in reversed(nodes):
            node.send_signal(signal.SIGTERM)
            node.wait(timeout=20)
    called = re.compile(r"^(?:\d+ +)?([a-z_0-9]+)\(", re.MULTILINE)
    # What strace shows before the filter is there: starting the program is systemd's part.
    return {role: set(called.findall(trace.read_text())) - {"execve"} for role, trace in traces.items()}


def address(log):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = re.search(r'"address":"127\.0\.0\.1:(\d+)"', Path(log.name).read_text())
        if found:
            return f"localhost:{found.group(1)}"
        time.sleep(0.1)
    raise TimeoutError("the server does not listen")


if __name__ == "__main__":
    sys.exit(main())
