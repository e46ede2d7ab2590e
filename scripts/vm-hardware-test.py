"""Judges what scripts/vm-hardware-test.sh brought home from its virtual machine."""

import json
import re
import statistics
import sys

from lib.events import reading
from lib.machine_report import Report

NET_ADMIN = 1 << 12

machine = Report(sys.argv[1])
files, report, check = machine.files, machine.said, machine.check


def events(file, kind):
    printed = [json.loads(line) for line in files[file] if line.startswith("{") and line.endswith("}")]
    return [event for event in printed if event["event"] == kind]


def log(file):
    return "\n".join(files[file])


check(
    "without a card, --timestamps hardware ends with one line",
    re.fullmatch(r"[^\n]*no network card stamps[^\n]*127\.0\.0\.1 has none[^\n]*\nexit 1\n?", report["demanded"]),
    report["demanded"].strip(),
)
check("to set a card up needs CAP_NET_ADMIN", "eth1: to set it up needs CAP_NET_ADMIN" in report["unprivileged"])
check("a card that is set up already needs no capability", "card eth1 stamps what is sent" in report["settled"])
for name, card in (("server", "eth0"), ("client", "eth1")):
    told = f"timestamps: hardware_transmit; from the network card {card}"
    check(f"the {name} uses its card's timestamps of what it sends", told in log(f"{name}.err"))
    words = [tick["timestamps"] for tick in events(f"{name}.json", "tick")]
    used = words[::-1].index("kernel") if "kernel" in words else len(words)
    check(f"and goes on to, on the {name}", used > 100, f"the last {used} ticks")
    check(f"no timestamp of the {name}'s card is refused", "refused" not in log(f"{name}.err"))

held = [line.rsplit(maxsplit=1) for line in report["all_rights"].splitlines() if "CapPrm" in line]
nodes = [int(caps, 16) for who, caps in held if " restore-cards" not in who]
helpers = [int(caps, 16) for who, caps in held if " restore-cards" in who]
check("the nodes keep no capability", len(nodes) == 2 and not any(nodes), held)
check("those that restore the cards keep one", helpers == [NET_ADMIN] * 2, held)
for moment, card in (("restored", "eth1"), ("unused", "eth1"), ("restored_too", "eth0")):
    check(
        f"the settings of {card} are restored",
        f"{card}: to set it up needs CAP_NET_ADMIN" in report[moment],
        report[moment].strip().splitlines()[-2:],
    )
check("a node that ends leaves a card to another one", "card eth1 stamps what is sent" in report["shared"])
check("and says so", "eth1 stay as they are: another node uses the card" in log("first.err"), files["first.err"][-2:])
check("no timestamp of the other's card is refused", "refused" not in log("second.err"))
check("no process is left", report["left"].strip() == "exit 1", report["left"])

series = {
    name: [(tick["raw_ns"], tick["cluster_ns"]) for tick in events(f"{name}.json", "tick") if tick["state"] == "synchronized"]
    for name in ("server", "client")
}
apart = [reading(series["server"], raw) for raw, _ in series["client"]]
apart = [abs(there - here) for there, (_, here) in zip(apart, series["client"]) if there is not None]
late = sorted(apart[len(apart) // 2 :]) or [10**18]
median, most = statistics.median(late), late[int(len(late) * 0.95)]
# An emulated processor that shares this machine with others receives late, which is the kernel's timestamp.
check("the cluster agrees within 1 ms (95 %)", most <= 1_000_000, f"median {median} ns, 95 % {most} ns")
machine.end("network cards' timestamps in a virtual machine")
