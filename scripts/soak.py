"""What scripts/soak.sh does; see there."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from lib import cluster as nodes
from lib.events import reading, ticks
from lib.program import find_meantime, resident_kb

INTERVAL_S = 1.0
# A round begins when the loop wakes up: a busy machine may be late, but never by so much, and never more from
# round to round.
LATEST_S = 0.050
# Allocators keep pages; a leak of a hundred bytes a round would be 360 kB in an hour.
MOST_GROWTH_KB = 256
AGREEMENT_NS = 1_000_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--simulated", type=int, metavar="DAYS")
    arguments = parser.parse_args()
    meantime = find_meantime()
    if arguments.simulated:
        return simulated(meantime, arguments.simulated)
    if arguments.seconds < 60 or not 2 <= arguments.clients <= 100:
        parser.error("at least 60 seconds, and 2 to 100 clients")
    with tempfile.TemporaryDirectory() as scratch:
        with Soak(meantime, scratch, arguments.clients) as soak:
            soak.run(arguments.seconds)
            return soak.judge()


def simulated(meantime, days):
    """The simulator's own memory is looked at as well: it holds the nodes."""
    command = [meantime, "simulate", "--faults-seed", "17", "--soak", f"{days}d", "--output", "json"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    resident = []
    while process.poll() is None:
        try:
            resident.append(resident_kb(process.pid))
        except (OSError, StopIteration):
            break
        time.sleep(0.5)
    line = json.loads(process.stdout.read().splitlines()[-1])
    code = process.wait()
    settled = resident[len(resident) // 6] if resident else 0
    grown = max(resident[len(resident) // 6 :], default=0) - settled
    print(
        f"{days} days in {time.monotonic() - started:.0f} s: {line['episodes']} episodes of faults,"
        f" {line['episodes_failed']} without agreement after it; slowest recovery {line['slowest_recovery_s']:.0f} s;"
        f" memory {settled} kB, grown by {grown} kB"
    )
    return 1 if code or line["episodes_failed"] or grown > MOST_GROWTH_KB else 0


def look(pid):
    """Resident memory in kB, and how many descriptors are open."""
    return resident_kb(pid), len(os.listdir(f"/proc/{pid}/fd"))


class Soak(nodes.Cluster):
    def __init__(self, meantime, scratch, clients):
        super().__init__(meantime, scratch)
        self.random = random.Random(17)
        self.looks = {}
        # The last one comes and goes; the one before it stands still now and then.
        self.names = [f"client-{number}" for number in range(1, clients + 1)]

    def __enter__(self):
        self.start_node("server", "server", "--listen", "127.0.0.1:0", "--interval", f"{INTERVAL_S:.0f}s")
        for number, name in enumerate(self.names):
            self.start_client(name, number)
        return self

    def start_client(self, name, number):
        wrong = [f"--simulate-offset={number - 3}s", f"--simulate-drift={20 * number - 60}ppm"]
        self.start_node(name, "client", self.address(), "--name", name, *wrong)

    def start_node(self, name, *arguments):
        files = [
            "--control",
            self.control(name),
            "--record",
            self.path(name, "csv"),
            "--record-size",
            "64KiB",
        ]
        common = ["--state-dir", self.directory, "--output", "json", "--tick", "1s"]
        self.start(name, *arguments, *files, *common, append=True)

    def run(self, seconds):
        started = time.monotonic()
        turn = 0
        while (left := started + seconds - time.monotonic()) > 0:
            time.sleep(min(10, left))
            turn += 1
            # Quiet at the end, so that all must agree.
            if left > 40:
                self.trouble(turn)
            # A question needs a connection, which must be closed again.
            self.ask("status").check_returncode()
            for name, process in self.processes.items():
                if name != self.names[-1]:
                    self.looks.setdefault(name, []).append(look(process.pid))

    def trouble(self, turn):
        stopped = self.processes[self.names[-2]]
        if turn % 6 == 3:
            stopped.send_signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(1, 6))
            stopped.send_signal(signal.SIGCONT)
        if turn % 2 == 0:
            leaving = self.processes[self.names[-1]]
            leaving.send_signal(self.random.choice([signal.SIGTERM, signal.SIGKILL]))
            leaving.wait(timeout=20)
            self.start_client(self.names[-1], len(self.names) - 1)

    def judge(self):
        wrong = []
        for name, looks in self.looks.items():
            settled = looks[len(looks) // 6 :]
            resident, descriptors = zip(*settled)
            growth = max(resident) - resident[0]
            print(
                f"{name}: {resident[0]} kB, grown by {growth} kB; {descriptors[0]} descriptors, at most {max(descriptors)}"
            )
            wrong += [f"{name} grows by {growth} kB"] if growth > MOST_GROWTH_KB else []
            # One for a connection of that moment.
            wrong += (
                [f"{name} has {max(descriptors)} descriptors"]
                if max(descriptors) > descriptors[0] + 1
                else []
            )
        wrong += self.judge_rounds() + self.judge_agreement()
        for line in wrong:
            print(f"FAILED: {line}")
        return 1 if wrong else 0

    def judge_rounds(self):
        rounds = [(event["round"], event["raw_ns"] / 1e9) for event in self.events("server", "round_started")]
        (first, begun), (last, ended) = rounds[0], rounds[-1]
        period = (ended - begun) / (last - first)
        late = [at - begun - (number - first) * INTERVAL_S for number, at in rounds]
        # Events state the host's raw oscillator, whose rate differs from that of the monotonic clock, on
        # which rounds are timed.
        trend = [value - (period - INTERVAL_S) * (number - first) for (number, _), value in zip(rounds, late)]
        print(
            f"rounds: {len(rounds)}, {last - first + 1 - len(rounds)} missing; period {period:.6f} s;"
            f" at most {1000 * (max(trend) - min(trend)):.1f} ms from their time"
        )
        wrong = [] if len(rounds) == last - first + 1 else ["rounds are missing"]
        # 500 ppm is more than any two clocks of a machine differ by.
        wrong += [f"the period drifts: {period} s"] if abs(period - INTERVAL_S) > 500e-6 * INTERVAL_S else []
        return wrong + ([f"a round was {max(trend):.3f} s late"] if max(trend) > LATEST_S else [])

    def judge_agreement(self):
        """Every client's last ticks against the server's, both read together with the host's oscillator."""
        server = ticks(self.path("server"))
        worst = 0
        for name in self.names[:-1]:
            for raw, shown in ticks(self.path(name))[-10:]:
                expected = reading(server, raw)
                if expected is not None:
                    worst = max(worst, abs(shown - expected))
        print(f"clients at the end: at most {worst / 1000:.1f} µs from the server")
        return [f"clocks are {worst} ns apart"] if worst > AGREEMENT_NS else []

    def stop_all(self):
        # A process that is stopped does not end.
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
        return super().stop_all()


if __name__ == "__main__":
    sys.exit(main())
