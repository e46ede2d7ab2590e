"""The program that the scripts run, and what Linux says about a process of it."""

import os
import subprocess
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
TARGET = str(Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target")).resolve())


def find_meantime():
    """The path of the program in MEANTIME, or of the one that this builds (release)."""
    if named := os.environ.get("MEANTIME"):
        return os.path.abspath(named)
    subprocess.run(["cargo", "build", "--locked", "--release", "--quiet"], cwd=HOME, check=True)
    return os.path.join(TARGET, "release", "meantime")


def release_binary():
    """The path of the release build, or of the program in MEANTIME."""
    return os.path.abspath(os.environ.get("MEANTIME", os.path.join(TARGET, "release", "meantime")))


def resident_kb(pid):
    """Resident memory of a process, in kB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def processor_time_s(pid):
    """Processor time that a process has used, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
