"""Judges what scripts/vm-systemd-test.sh brought home from its virtual machine."""

import json
import re
import sys

from lib.machine_report import Report

UNSYNCHRONIZED, CAP_SYS_TIME = 0x40, 1 << 25
# Setting the clock disturbs the kernel's timestamps for a moment, and every node on the machine logs that.
OF_A_STEP = "timestamps: user; the kernel's do not come, or another program sets the machine's clock"
# What systemd says about a process that does not answer any more.
OF_THE_WATCHDOG = ("Watchdog timeout", "code=killed, status=6/ABRT", "Failed with result 'watchdog'")

machine = Report(sys.argv[1])
files, report, check = machine.files, machine.said, machine.check


def output(key):
    return report.get(key, "")


def done(key):
    return output(key).endswith("exit 0")


def shown(key):
    return dict(line.split("=", 1) for line in output(key).splitlines() if "=" in line)


def process(key):
    return dict(line.split(":", 1) for line in output(key).splitlines() if ":" in line)


def status_bits(key):
    found = re.search(r"status:\s*(\d+)", output(key))
    return int(found.group(1)) if found else 0


def ahead(key):
    found = re.match(r"\d+", output(key))
    return int(found.group()) if found else 0


def rights(what, key, uid, effective, bounding):
    """A process of a user that is not root, with these capabilities and no way to more."""
    seen = process(key)
    ids = set(seen.get("Uid", "0").split())
    check(
        f"{what} is not root's",
        len(ids) == 1 and "0" not in ids and uid in (None, *ids),
        seen.get("Uid", "").strip(),
    )
    sets = {
        name: int(seen.get(name, "f" * 16), 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")
    }
    good = sets == {"CapEff": effective, "CapPrm": effective, "CapBnd": bounding, "CapInh": 0, "CapAmb": 0}
    right = "CAP_SYS_TIME and no other right" if effective else "no right"
    good = good and seen.get("NoNewPrivs", "").strip() == "1"
    check(f"{what} has {right}, and gets no more", good, f"{sets['CapEff']:#x} of {sets['CapBnd']:#x}")
    return seen


def warnings(lines):
    bad = re.compile(r"\[(WARN|ERROR)\]|^meantime: |not permitted")
    return [line for line in lines if bad.search(line) and OF_A_STEP not in line]


def unit(role):
    what = f"the {role}'s unit"
    state = shown(f"{role}_shown")
    check(
        f"{what} starts",
        done(f"{role}_start") and (state.get("ActiveState"), state.get("NRestarts")) == ("active", "0"),
    )
    check(f"{what} is in its cluster", done(f"{role}_joined"))
    sentence = state.get("StatusText", "")
    check("systemd shows how it stands", sentence.startswith("synchronized, "), sentence)
    seen = rights(f"{what}'s process", f"{role}_process", None, CAP_SYS_TIME, CAP_SYS_TIME)
    check("its system calls are filtered", seen.get("Seccomp", "").strip() == "2")
    check(
        "its control socket answers root",
        done(f"{role}_status") and "synchronized" in output(f"{role}_status"),
    )
    stepped = ahead(f"{role}_ahead") - ahead(f"{role}_ahead_before")
    check("the machine's clock is stepped", 18 <= stepped <= 22, f"{stepped} s")
    check("and kept: the kernel calls it synchronized", done(f"{role}_kept"))
    pid, uid = state.get("MainPID", ""), seen.get("Uid", "x").split()[0]
    lock = output(f"{role}_lock").split()
    good = len(lock) > 9 and (lock[0], lock[2], lock[-3]) == ("-rw-r--r--", uid, pid)
    check(
        "it holds the one lock of the clock, with its number in it",
        good,
        output(f"{role}_lock").replace("\n", " "),
    )
    second = output(f"{role}_second")
    check(
        "so that a second one refuses",
        "exit 1" in second and "/run/meantime-clock.lock); only one can" in second,
    )
    directory = output(f"{role}_state").split()
    good = len(directory) > 2 and (directory[0], directory[2]) == ("drwx------", uid)
    check("its state directory is its user's alone", good)

    # A node tries that at its start, and would warn. A fresh cluster may need minutes until there is
    # something to keep.
    can_keep = "cannot write in the state directory" not in output(f"{role}_journal")
    kept = "what it knows" if ".memory" in output(f"{role}_files") else "nothing sure enough yet"
    check("in which it can keep what it learns", can_keep, kept)

    state, again = shown(f"{role}_again_shown"), ahead(f"{role}_again_ahead")
    good = done(f"{role}_again") and (state.get("ActiveState"), state.get("NRestarts")) == ("active", "1")
    new_pid = state.get("MainPID")
    check(
        "one that hangs is killed and started again",
        good and new_pid not in (pid, "0"),
        f"{pid}, then {new_pid}",
    )
    check(
        "by the watchdog", any(OF_THE_WATCHDOG[0] in line for line in output(f"{role}_systemd").splitlines())
    )
    check("and is in its cluster again", done(f"{role}_again_joined"))
    check(
        "with the time as it was",
        abs(again - ahead(f"{role}_ahead")) <= 1,
        f"{again - ahead(f'{role}_ahead')} s away",
    )

    state = shown(f"{role}_stopped")
    good = done(f"{role}_stop") and (state.get("ActiveState"), state.get("Result")) == ("inactive", "success")
    check(f"{what} stops", good, state.get("Result", ""))
    check("and leaves a clock that counts as unsynchronized", status_bits(f"{role}_after") & UNSYNCHRONIZED)
    complaints = warnings(output(f"{role}_journal").splitlines())
    good = "will follow" in output(f"{role}_journal") and not complaints
    check(f"{what} has nothing refused and warns of nothing", good, complaints or "")


check("the kernel calls the clock unsynchronized before", status_bits("before") & UNSYNCHRONIZED)
unit("server")
answers = [json.loads(line) for line in output("server_again_status").splitlines() if line.startswith("{")]
offsets = [client["offset_ns"] for answer in answers for client in answer["clients"]]
good = len(offsets) == 1 and offsets[0] is not None and abs(offsets[0]) < 10_000_000
check("and with it its member, which had kept the time", good, f"{offsets} ns away")
rights("a server that is no unit, with --user nobody,", "plain_process", "65534", 0, 0)
unit("client")

rights("a client that is no unit, with --user nobody,", "user_process", "65534", CAP_SYS_TIME, 0)
following = [line for line in files.get("user.json", []) if '"event":"system_following"' in line]
check("steers the clock", following and done("user_kept"))
check("ends well", done("user_end"))
check("leaves a clock that counts as unsynchronized", status_bits("user_after") & UNSYNCHRONIZED)
complaints = warnings(files.get("user.err", []) + files.get("plain.err", []))
check("and warns of nothing", not complaints, complaints or "")

for role, other in (("client", "server"), ("server", "client")):
    here, gone = shown(f"place_{role}_shown"), shown(f"place_{role}_other")
    good = done(f"place_{role}") and (here.get("ActiveState"), here.get("NRestarts")) == ("active", "0")
    good = good and (gone.get("ActiveState"), gone.get("Result")) == ("inactive", "success")
    check(f"the {role} takes the {other}'s place", good and done(f"place_{role}_status"))
others = [line for line in output("warnings").splitlines() if "meantime" in line]
others = [line for line in others if not any(part in line for part in OF_THE_WATCHDOG)]
check("systemd warns of nothing else in the units", not others, others or "")
if machine.failed:
    for key in ("server_systemd", "client_systemd", "warnings"):
        print(f"-- {key}\n{output(key)}")
    for role in ("server", "client"):
        print(f"-- {role}_journal, its warnings", *warnings(output(f"{role}_journal").splitlines()), sep="\n")
machine.end("the systemd units in a virtual machine")
