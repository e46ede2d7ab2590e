#!/usr/bin/env python3
"""Compares the program's own timestamps with the kernel's, on a machine that is fully busy.

    scripts/timestamps.py [--seconds 60] [--settle 30] [--interval 1s] [--clients 3] [--spinners N]
                          [--limit-us 15]

Runs a server and its clients on loopback, one process spinning on each processor, first with `--timestamps
user`, then with `kernel`. Every node prints pairs of (host's oscillator, its own time) ten times a second;
from these pairs alone follows by how much any two nodes disagree, at the same readings of the oscillator.
Prints RMS and maximum over all pairs of nodes and moments, side by side. Exits with 1 if the RMS with the
kernel's timestamps is above the limit, and with 77 if the kernel gives none.
"""

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time

from lib.cluster import Cluster
from lib.events import reading
from lib.program import TARGET

DRIFTS_PPM = [21, 40, -69, 90, -35, 55, -80, 10, -15]
OFFSETS_S = [-3.0, 4.8, -8.5, 0.6, 2.2, -1.1, 0.3, 7.0, -0.4]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long is measured")
    parser.add_argument("--settle", type=float, default=30, help="how long the clocks have before that")
    parser.add_argument("--interval", default="1s", help="from one round to the next")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument(
        "--spinners", type=int, default=os.cpu_count(), help="busy processes; 0 for an idle machine"
    )
    parser.add_argument(
        "--limit-us", type=float, default=15, help="the highest RMS with the kernel's timestamps"
    )
    parser.add_argument("--binary", default=os.path.join(TARGET, "release", "meantime"))
    options = parser.parse_args()
    if options.clients >= len(DRIFTS_PPM):
        sys.exit(f"at most {len(DRIFTS_PPM) - 1} clients")

    results = {}
    for kind in ("user", "kernel"):
        spinners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(options.spinners)]
        try:
            with tempfile.TemporaryDirectory() as directory:
                nodes = run(options, kind, directory)
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
        used = {tick["timestamps"] for ticks in nodes for tick in ticks[len(ticks) // 2 :]}
        if kind == "kernel" and used != {"kernel"}:
            print(f"NOT RUN: the kernel's timestamps were not in use throughout: {sorted(used)}")
            sys.exit(77)
        results[kind] = disagreement(nodes, options.seconds)

    print(
        f"{options.clients + 1} nodes, {options.spinners} spinning processes on {os.cpu_count()} processors,"
    )
    print(f"a round each {options.interval}, {options.seconds:g} s after {options.settle:g} s of settling\n")
    print(f"{'timestamps':<12}{'RMS':>12}{'95 %':>12}{'maximum':>12}{'compared':>12}")
    for kind, (rms, most, p95, count) in results.items():
        print(f"{kind:<12}{rms / 1e3:>9.2f} µs{p95 / 1e3:>9.2f} µs{most / 1e3:>9.2f} µs{count:>12}")
    sys.exit(0 if results["kernel"][0] <= options.limit_us * 1e3 else 1)


def run(options, kind, directory):
    """Runs a cluster; returns the ticks of each node."""
    with Cluster(options.binary, directory) as cluster:

        def start(*arguments):
            index = len(cluster.processes)
            name = f"node-{index}"
            common = [
                "--name",
                name,
                "--output",
                "json",
                "--tick",
                "100ms",
                "--control",
                cluster.control(name),
            ]
            common += ["--timestamps", kind, "--simulate-offset", f"{OFFSETS_S[index]}s"]
            cluster.start(name, *arguments, *common, "--simulate-drift", f"{DRIFTS_PPM[index]}ppm")

        start("server", "--listen", "127.0.0.1:0", "--interval", options.interval)
        for _ in range(options.clients):
            start("client", cluster.address("node-0"))
        time.sleep(options.settle + options.seconds)
        if any(process.poll() is not None for process in cluster.processes.values()):
            sys.exit("a node has died")
        names = list(cluster.processes)
    return [cluster.events(name, "tick") for name in names]


def disagreement(nodes, seconds):
    """RMS, maximum, 95th percentile (ns) over all pairs of nodes and moments, and how many that were."""
    series = [[(tick["raw_ns"], tick["cluster_ns"]) for tick in ticks] for ticks in nodes]
    newest = min(ticks[-1][0] for ticks in series)
    moments = range(newest - int(seconds * 1e9), newest, 100_000_000)
    apart = []
    for moment in moments:
        shown = [reading(ticks, moment) for ticks in series]
        apart += [
            abs(one - other) for one, other in itertools.combinations(shown, 2) if None not in (one, other)
        ]
    apart.sort()
    rms = math.sqrt(sum(ns * ns for ns in apart) / len(apart))
    return rms, apart[-1], apart[int(len(apart) * 0.95)], len(apart)


if __name__ == "__main__":
    main()
