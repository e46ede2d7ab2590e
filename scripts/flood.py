#!/usr/bin/env python3
"""Floods a real server with 50 real clients, and says whether its rounds keep their time and all clocks
agree.

    scripts/flood.py [--clients 50] [--seconds 60] [--interval 1s] [--keys] [--binary target/release/meantime]

Three floods one after the other, each as fast as one process can send: random bytes; Registers from ever
other addresses of 127.0.0.0/8; what a genuine client has sent, from its own address. With --keys, server
and clients have a key.

Prints a row for each, and one for as long a time without a flood: how far rounds began from their time, at
most and on average; how far any two of the clocks were apart at most, from pairs of (host's oscillator,
node's time); what of the rounds agreed; the server's memory. Exits 1 if a round began 50 ms or more from
its time in a flood, a client was not synchronized, clocks were a millisecond or more apart, or the memory
grew by a megabyte or more in the second half of a flood.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from lib import cluster as nodes
from lib.events import reading
from lib.program import TARGET, resident_kb

NOT_IN_TIME_NS = 50_000_000
APART_NS = 1_000_000
GROWN_KB = 1_024
SECOND_NS = 1_000_000_000
UNITS = {"ms": 1_000_000, "s": 1_000_000_000}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--interval", default="1s", help="in s or ms")
    parser.add_argument("--settle", type=int, default=40, help="seconds before anything is measured")
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--binary", default=os.path.join(TARGET, "release", "meantime"))
    parser.add_argument("--flooder", default=os.path.join(TARGET, "release", "flood"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with Cluster(arguments, directory) as cluster:
            time.sleep(arguments.settle)
            bad = [
                trouble for kind in (None, "noise", "register", "replay") for trouble in cluster.endure(kind)
            ]
        with open(cluster.path("server", "err"), encoding="utf-8") as log:
            print("the server:", log.read().strip().splitlines()[-1])
    print("\n".join(bad) if bad else "Rounds kept their time, and all clocks agreed.")
    sys.exit(bool(bad))


class Cluster(nodes.Cluster):
    """A server and its clients."""

    def __init__(self, arguments, directory):
        super().__init__(arguments.binary, directory)
        self.arguments = arguments
        self.options = ["--output", "json", "--tick", "250ms"]
        if arguments.keys:
            key = os.path.join(directory, "cluster.key")
            subprocess.run([arguments.binary, "keygen", key], check=True, stdout=subprocess.DEVNULL)
            self.options += ["--key-file", key]
        self.clients = [f"client-{number}" for number in range(1, arguments.clients + 1)]

    def __enter__(self):
        self.start_node("server", "server", "--listen", "127.0.0.1:0", "--interval", self.arguments.interval)
        for number, name in enumerate(self.clients):
            wrong = [f"--simulate-offset={number % 7 - 3}s", f"--simulate-drift={number * 37 % 100 - 50}ppm"]
            self.start_node(name, "client", self.address(), *wrong)
        print(
            f"{'flood':<10} {'sent/s':>9} {'late, mean':>11} {'late, most':>11} {'apart':>10} {'agreed':>8} {'memory':>10}"
        )
        return self

    def start_node(self, name, role, *options):
        return self.start(
            name, role, *options, "--name", name, *self.options, "--control", self.control(name)
        )

    def endure(self, kind):
        """Floods for a while; prints what became of it, and returns what is not as it must be."""
        seconds, sent, extra = self.arguments.seconds, 0, None
        if kind:
            command = [self.arguments.flooder, self.address(), kind, str(seconds)]
            flooder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            if kind == "replay":
                extra = self.start_node("relayed", "client", flooder.stdout.readline().strip())
                time.sleep(15)
        begun = self.events("server")[-1]["raw_ns"]
        time.sleep(seconds / 2)
        memory = [resident_kb(self.processes["server"].pid)]
        time.sleep(seconds / 2 - 1)
        ended = self.events("server")[-1]["raw_ns"]
        memory.append(resident_kb(self.processes["server"].pid))
        if kind:
            sent = int(flooder.communicate(timeout=60)[0].split()[-1])
        if extra:
            self.stop("relayed")
        return self.judge(kind or "none", sent // seconds, begun, ended, memory)

    def judge(self, kind, rate, begun, ended, memory):
        between = lambda event: begun < event["raw_ns"] <= ended
        inside = [event for event in self.events("server") if between(event)]
        starts = [event["raw_ns"] for event in inside if event["event"] == "round_started"]
        late = [
            abs(after - before - span_ns(self.arguments.interval))
            for before, after in zip(starts, starts[1:])
        ]
        outcomes = [event["outcome"] for event in inside if event["event"] == "round_ended"]
        series, lost = [], []
        for name in ["server", *self.clients]:
            ticks = [event for event in self.events(name, "tick") if between(event)]
            series.append([(tick["raw_ns"], tick["cluster_ns"]) for tick in ticks])
            if not ticks or any(tick["state"] != "synchronized" for tick in ticks):
                lost.append(name)
        apart = max(
            (spread(series, raw) for raw in range(begun + SECOND_NS, ended - SECOND_NS, SECOND_NS)), default=0
        )
        agreed = outcomes.count("agreed") / max(len(outcomes), 1)
        print(
            f"{kind:<10} {rate:>9} {statistics.mean(late) / 1e6:>8.2f} ms {max(late) / 1e6:>8.2f} ms "
            f"{apart / 1e3:>7.1f} us {agreed:>8.0%} {memory[1]:>7} kB",
            flush=True,
        )
        bad = []
        if max(late) >= NOT_IN_TIME_NS:
            bad.append(f"{kind}: a round began {max(late) / 1e6:.1f} ms from its time")
        if apart >= APART_NS:
            bad.append(f"{kind}: two clocks were {apart / 1e6:.3f} ms apart")
        if lost:
            bad.append(f"{kind}: {len(lost)} were not synchronized: {', '.join(lost[:5])}")
        if memory[1] - memory[0] >= GROWN_KB:
            bad.append(f"{kind}: the server grew from {memory[0]} to {memory[1]} kB")
        return bad


def spread(series, raw):
    shown = [reading(ticks, raw) for ticks in series if ticks]
    shown = [time_ns for time_ns in shown if time_ns is not None]
    return max(shown) - min(shown) if shown else 0


def span_ns(text):
    unit = "ms" if text.endswith("ms") else "s"
    return int(text.removesuffix(unit)) * UNITS[unit]


if __name__ == "__main__":
    main()
