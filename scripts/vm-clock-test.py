"""Judges what scripts/vm-clock-test.sh brought home from its virtual machine."""

import json
import re
import statistics
import sys

from lib.machine_report import Report

UNSYNCHRONIZED, LOOPS = 0x40, 0x0F

machine = Report(sys.argv[1])
files, report, check = machine.files, machine.said, machine.check


def events(file, kind):
    printed = [json.loads(line) for line in files[file] if line.startswith("{")]
    return [event for event in printed if event["event"] == kind]


def kernel(moment):
    text = report[moment]
    number = lambda field: int(re.search(rf"{field}:\s*(-?\d+)", text).group(1))
    return {field: number(field) for field in ("status", "freq.adjust", "maxerror", "esterror", "tick")}


def distances(file, first, last, since):
    """The system's clock minus the cluster's time, in the ticks of these seconds after the last event of a
    kind."""
    start = events(file, since)[-1]["raw_ns"]
    ticks = [tick for tick in events(file, "tick") if first <= (tick["raw_ns"] - start) / 1e9 <= last]
    return [tick["system_ns"] - tick["cluster_ns"] for tick in ticks]


def follows(what, file, first, last, since="system_following"):
    """The steering's law is tested without a kernel, in src/clock/system/steering/tests.rs. This test finds a
    kernel that does not do what was asked: a wrong sign, unit or field costs milliseconds within seconds. A
    slow host costs less: its node adjusts the clock late, and the distance shrinks to 1/e in 4 s."""
    seen = sorted(abs(distance) for distance in distances(file, first, last, since)) or [10**18]
    median, most = statistics.median(seen), seen[int(len(seen) * 0.95)]
    check(
        f"{what} within 1 ms (95 %)",
        most <= 1_000_000,
        f"median {median} ns, 95 % {most} ns",
    )


before, during, disturbed, after = (kernel(m) for m in ("before", "during", "disturbed", "after"))
check("the kernel calls the clock unsynchronized before", before["status"] & UNSYNCHRONIZED)
stepped = events("client.json", "system_stepped")
added = stepped[0]["added_ns"] / 1e9 if stepped else 0
check("the clock is stepped at joining", 19 < added < 21, f"{added:.6f} s")
follows("the system's clock follows the cluster's time", "client.json", 10, 28)
check(
    "the kernel calls it synchronized, and no loop runs",
    not during["status"] & (UNSYNCHRONIZED | LOOPS),
    during,
)
check("its maximum error is kept up to date", during["maxerror"] < 10_000, f"{during['maxerror']} µs")
printed = [json.loads(line) for line in files["client.json"] if line.startswith("{")]
start = events("client.json", "system_following")[0]["raw_ns"]
until = min((event["raw_ns"] for event in events("client.json", "system_disturbed")), default=10**18)
around = [event["bound_ns"] for event in printed if start + 5e9 <= event["raw_ns"] < until]
least, most = (pick(bound for bound in around if bound is not None) / 1000 for pick in (min, max))
# The kernel was set at some moment between two events: the bound is least just after a measurement, and grows
# from then on. A wrong unit or field is off by far more than twice.
good = least / 2 <= during["maxerror"] <= 2 * most + 1_000 and during["esterror"] <= during["maxerror"]
check(
    "which is the guaranteed bound",
    good,
    f"{during['maxerror']} µs, the bound being {least:.0f} to {most:.0f} µs",
)
rtc, system = (int(report[key].split()[0]) for key in ("rtc_during", "system_during"))
check("the kernel has written the hardware clock", abs(rtc - system) <= 2, f"{rtc} beside {system}")
check("a second one refuses", "exit 1" in report["second"] and "only one can" in report["second"])
lacking = report["unprivileged"]
lines = [line for line in lacking.splitlines() if line.startswith("meantime: ")]
check(
    "without the privilege it says so in one line",
    "exit 1" in lacking and len(lines) == 1 and "CAP_SYS_TIME" in lacking,
    lacking.splitlines()[-2],
)
noticed = [(event["how"], event["added_ns"]) for event in events("client.json", "system_disturbed")]
check(
    "a time and a frequency set by another program are noticed",
    [how for how, _ in noticed] == ["step", "frequency"],
    noticed,
)
follows("both are taken back", "client.json", 8, 60, "system_disturbed")
check("it ends well", "exit 0" in report["client_end"])
learned = round(events("client.json", "tick")[-1]["frequency_ppb"] * 65.536)
# Between the last setting and the last tick the cluster's rate may have been steered by up to 0.1 ppm.
check(
    "it leaves the learned rate",
    abs(after["freq.adjust"] - learned) <= 6554,
    f"{after['freq.adjust']} for {learned}",
)
check(
    "and a clock that counts as unsynchronized",
    after["status"] & UNSYNCHRONIZED and not after["status"] & LOOPS,
    after,
)
check(
    "one that was killed is followed by the next",
    "exit 0" in report["left_behind"] or "exit 143" in report["left_behind"],
)
check("which steers", "will follow" in report["left_behind"])
rival = report["foreign"]
check("a daemon at work is not fought", "exit 1" in rival and "--force" in rival, rival.splitlines()[-2])
follows("a server's clock follows as well", "keeper.json", 8, 20)
check("and is left as it should", kernel("end")["status"] & UNSYNCHRONIZED)
machine.end("--clock system in a virtual machine")
