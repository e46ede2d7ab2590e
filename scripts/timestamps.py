#!/usr/bin/env python3
"""Compares the program's own timestamps with the kernel's, on a machine that is fully busy.

    scripts/timestamps.py [--seconds 60] [--settle 30] [--interval 1s] [--clients 3] [--spinners N] [--limit-us 15]

Runs a server and its clients on loopback, one process spinning on each processor, first with `--timestamps user`,
then with `kernel`. Every node prints pairs of (host's oscillator, its own time) ten times a second; from these pairs
alone follows by how much any two nodes disagree, at the same readings of the oscillator. Prints RMS and maximum over
all pairs of nodes and moments, side by side. Exits with 1 if the RMS with the kernel's timestamps is above the
limit, and with 77 if the kernel gives none.
"""

import argparse
import bisect
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time

DRIFTS_PPM = [21, 40, -69, 90, -35, 55, -80, 10, -15]
OFFSETS_S = [-3.0, 4.8, -8.5, 0.6, 2.2, -1.1, 0.3, 7.0, -0.4]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long is measured")
    parser.add_argument("--settle", type=float, default=30, help="how long the clocks have before that")
    parser.add_argument("--interval", default="1s", help="from one round to the next")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--spinners", type=int, default=os.cpu_count(), help="busy processes; 0 for an idle machine")
    parser.add_argument("--limit-us", type=float, default=15, help="the highest RMS with the kernel's timestamps")
    parser.add_argument("--binary", default="target/release/meantime")
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

    print(f"{options.clients + 1} nodes, {options.spinners} spinning processes on {os.cpu_count()} processors,")
    print(f"a round each {options.interval}, {options.seconds:g} s after {options.settle:g} s of settling\n")
    print(f"{'timestamps':<12}{'RMS':>12}{'95 %':>12}{'maximum':>12}{'compared':>12}")
    for kind, (rms, most, p95, count) in results.items():
        print(f"{kind:<12}{rms / 1e3:>9.2f} µs{p95 / 1e3:>9.2f} µs{most / 1e3:>9.2f} µs{count:>12}")
    sys.exit(0 if results["kernel"][0] <= options.limit_us * 1e3 else 1)


def run(options, kind, directory):
    """Runs a cluster; returns the ticks of each node."""
    processes, paths = [], []

    def start(*arguments):
        index = len(processes)
        path = os.path.join(directory, f"node-{index}")
        paths.append(path)
        command = [options.binary, *arguments, "--name", f"node-{index}", "--output", "json", "--tick", "100ms"]
        command += ["--timestamps", kind, "--simulate-offset", f"{OFFSETS_S[index]}s"]
        command += ["--simulate-drift", f"{DRIFTS_PPM[index]}ppm"]
        with open(path, "w", encoding="utf-8") as out:
            processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL))

    try:
        start("server", "--listen", "127.0.0.1:0", "--interval", options.interval)
        address = listening_address(paths[0])
        for _ in range(options.clients):
            start("client", address)
        time.sleep(options.settle + options.seconds)
        if any(process.poll() is not None for process in processes):
            sys.exit("a node has died")
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=20)
    return [[event for event in events(path) if event["event"] == "tick"] for path in paths]


def listening_address(path):
    for _ in range(200):
        for event in events(path):
            if event["event"] == "listening":
                return event["address"]
        time.sleep(0.1)
    sys.exit("the server does not say where it listens")


def events(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]


def disagreement(nodes, seconds):
    """RMS, maximum, 95th percentile (ns) over all pairs of nodes and moments, and how many that were."""
    series = [([tick["raw_ns"] for tick in ticks], [tick["cluster_ns"] for tick in ticks]) for ticks in nodes]
    newest = min(raws[-1] for raws, _ in series)
    moments = range(newest - int(seconds * 1e9), newest, 100_000_000)
    apart = []
    for moment in moments:
        shown = [at(raws, times, moment) for raws, times in series]
        apart += [abs(one - other) for one, other in itertools.combinations(shown, 2) if None not in (one, other)]
    apart.sort()
    rms = math.sqrt(sum(ns * ns for ns in apart) / len(apart))
    return rms, apart[-1], apart[int(len(apart) * 0.95)], len(apart)


def at(raws, times, moment):
    """What a node showed when the oscillator read `moment`, between two of its ticks. Whole numbers throughout."""
    after = bisect.bisect_left(raws, moment)
    if not 0 < after < len(raws):
        return None
    before = after - 1
    elapsed, span = moment - raws[before], raws[after] - raws[before]
    return times[before] + (times[after] - times[before]) * elapsed // span


if __name__ == "__main__":
    main()
