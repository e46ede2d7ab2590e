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
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
INTERVAL_S = 1.0
# A round begins when the loop wakes up: a busy machine may be late, but never by so much, and never more from round to round.
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
    meantime = binary()
    if arguments.simulated:
        return simulated(meantime, arguments.simulated)
    if arguments.seconds < 60 or not 2 <= arguments.clients <= 100:
        parser.error("at least 60 seconds, and 2 to 100 clients")
    with tempfile.TemporaryDirectory() as scratch:
        soak = Soak(meantime, Path(scratch), arguments.clients)
        try:
            soak.run(arguments.seconds)
            return soak.judge()
        finally:
            soak.stop()


def binary():
    if "MEANTIME" in os.environ:
        return str(Path(os.environ["MEANTIME"]).resolve())
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=HOME, check=True)
    return str(Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target")).resolve() / "release" / "meantime")


def simulated(meantime, days):
    """The simulator's own memory is looked at as well: it holds the nodes."""
    command = [meantime, "simulate", "--faults-seed", "17", "--soak", f"{days}d", "--output", "json"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    resident = []
    while process.poll() is None:
        try:
            resident.append(look(process.pid)[0])
        except (OSError, KeyError):
            break
        time.sleep(0.5)
    line = json.loads(process.stdout.read().splitlines()[-1])
    code = process.wait()
    settled = resident[len(resident) // 6] if resident else 0
    grown = max(resident[len(resident) // 6 :], default=0) - settled
    print(f"{days} days in {time.monotonic() - started:.0f} s: {line['episodes']} episodes of faults,"
          f" {line['episodes_failed']} without agreement after it; slowest recovery {line['slowest_recovery_s']:.0f} s;"
          f" memory {settled} kB, grown by {grown} kB")
    return 1 if code or line["episodes_failed"] or grown > MOST_GROWTH_KB else 0


def look(pid):
    """Resident memory in kB, and how many descriptors are open."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd"))


class Soak:
    def __init__(self, meantime, scratch, clients):
        self.meantime, self.scratch = meantime, scratch
        self.random = random.Random(17)
        self.nodes = {}
        self.looks = {}
        self.start("server", ["server", "--listen", "127.0.0.1:0", "--interval", f"{INTERVAL_S:.0f}s"])
        self.address = self.wait_for("server", "listening")["address"]
        # The last one comes and goes; the one before it stands still now and then.
        self.names = [f"client-{number}" for number in range(1, clients + 1)]
        for number, name in enumerate(self.names):
            self.start_client(name, number)

    def start_client(self, name, number):
        wrong = ["--simulate-offset", f"{number - 3}s", "--simulate-drift", f"{20 * number - 60}ppm"]
        self.start(name, ["client", self.address, "--name", name, *wrong])

    def start(self, name, arguments):
        files = ["--control", self.scratch / f"{name}.sock", "--record", self.scratch / f"{name}.csv", "--record-size", "64KiB"]
        command = [self.meantime, *arguments, *files, "--state-dir", self.scratch, "--output", "json", "--tick", "1s"]
        out, err = (open(self.scratch / f"{name}.{kind}", "ab") for kind in ("out", "err"))
        self.nodes[name] = subprocess.Popen(command, stdout=out, stderr=err)

    def events(self, name):
        with open(self.scratch / f"{name}.out") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    def wait_for(self, name, kind):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for event in self.events(name):
                if event["event"] == kind:
                    return event
            time.sleep(0.1)
        raise TimeoutError(f"{name} does not tell of '{kind}'")

    def run(self, seconds):
        started = time.monotonic()
        turn = 0
        while (left := started + seconds - time.monotonic()) > 0:
            time.sleep(min(10, left))
            turn += 1
            # Quiet at the end, so that all must agree.
            if left > 40:
                self.trouble(turn)
            # Whoever is asked needs a connection, which must be closed again.
            subprocess.run([self.meantime, "status", "--control", self.scratch / "server.sock"], stdout=subprocess.DEVNULL, check=True)
            for name, process in self.nodes.items():
                if name != self.names[-1]:
                    self.looks.setdefault(name, []).append(look(process.pid))

    def trouble(self, turn):
        stopped = self.nodes[self.names[-2]]
        if turn % 6 == 3:
            stopped.send_signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(1, 6))
            stopped.send_signal(signal.SIGCONT)
        if turn % 2 == 0:
            leaving = self.nodes[self.names[-1]]
            leaving.send_signal(self.random.choice([signal.SIGTERM, signal.SIGKILL]))
            leaving.wait(timeout=20)
            self.start_client(self.names[-1], len(self.names) - 1)

    def judge(self):
        wrong = []
        for name, looks in self.looks.items():
            settled = looks[len(looks) // 6 :]
            resident, descriptors = zip(*settled)
            growth = max(resident) - resident[0]
            print(f"{name}: {resident[0]} kB, grown by {growth} kB; {descriptors[0]} descriptors, at most {max(descriptors)}")
            wrong += [f"{name} grows by {growth} kB"] if growth > MOST_GROWTH_KB else []
            # One for whoever asks at that moment.
            wrong += [f"{name} has {max(descriptors)} descriptors"] if max(descriptors) > descriptors[0] + 1 else []
        wrong += self.judge_rounds() + self.judge_agreement()
        for line in wrong:
            print(f"FAILED: {line}")
        return 1 if wrong else 0

    def judge_rounds(self):
        rounds = [(event["round"], event["raw_ns"] / 1e9) for event in self.events("server") if event["event"] == "round_started"]
        (first, begun), (last, ended) = rounds[0], rounds[-1]
        period = (ended - begun) / (last - first)
        late = [at - begun - (number - first) * INTERVAL_S for number, at in rounds]
        # The raw oscillator of the host, by which is told, runs beside the monotonic clock, by which rounds are planned.
        trend = [value - (period - INTERVAL_S) * (number - first) for (number, _), value in zip(rounds, late)]
        print(f"rounds: {len(rounds)}, {last - first + 1 - len(rounds)} missing; period {period:.6f} s;"
              f" at most {1000 * (max(trend) - min(trend)):.1f} ms from their time")
        wrong = [] if len(rounds) == last - first + 1 else ["rounds are missing"]
        # 500 ppm is more than any two clocks of a machine differ by.
        wrong += [f"the period drifts: {period} s"] if abs(period - INTERVAL_S) > 500e-6 * INTERVAL_S else []
        return wrong + ([f"a round was {max(trend):.3f} s late"] if max(trend) > LATEST_S else [])

    def judge_agreement(self):
        """Every client's last ticks against the server's, both read together with the host's oscillator."""
        def points(name):
            return [(event["raw_ns"], event["cluster_ns"] - event["raw_ns"]) for event in self.events(name) if event["event"] == "tick"]

        server = points("server")
        worst = 0
        for name in self.names[:-1]:
            for raw, ahead in points(name)[-10:]:
                before = max((point for point in server if point[0] <= raw), default=None)
                after = min((point for point in server if point[0] > raw), default=None)
                if before and after:
                    share = (raw - before[0]) / (after[0] - before[0])
                    worst = max(worst, abs(ahead - before[1] - share * (after[1] - before[1])))
        print(f"clients at the end: at most {worst / 1000:.1f} µs from the server")
        return [f"clocks are {worst} ns apart"] if worst > AGREEMENT_NS else []

    def stop(self):
        for process in self.nodes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.nodes.values():
            process.wait(timeout=20)


if __name__ == "__main__":
    sys.exit(main())
