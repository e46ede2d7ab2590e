#!/usr/bin/env python3
"""How many exchanges a second one core serves: this server beside a bare echo and chronyd, in turns.

Each server runs on one core, its client on another. The echo is the least that a server can do: it receives
and sends in batches and does nothing else (scripts/tools/src/bin/echo.rs). chronyd is Debian's package,
unpacked if it is not installed, never started system-wide, and without the right to touch any clock. Two
figures each: exchanges a second as they were, and by the second of processor time that the server took,
which is the same on a quiet machine where the server is the limit, and means something on a busy one, too.

usage: capacity.py [--seconds N] [--runs N] [--profile release|test] [--clients N]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib.installing import unpack
from lib.program import HOME, TARGET, processor_time_s

PORT = 21123
UNDER_LOAD, WITH_KEY = "meantime under load --rate max", "the same, with a key"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="how long each is asked")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", default="release", choices=["release", "test"])
    parser.add_argument("--clients", type=int, default=1000, help="of meantime load")
    args = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("capacity.py: two cores are needed, one for the server and one for its client")
    command = [
        "cargo",
        "build",
        "--quiet",
        "--profile",
        args.profile,
        "--bin",
        "meantime",
        "--package",
        "meantime",
        "--package",
        "meantime-tools",
        "--bin",
        "echo",
    ]
    subprocess.run(command, cwd=HOME, check=True)
    target = Path(TARGET) / ("release" if args.profile == "release" else "debug")
    with tempfile.TemporaryDirectory() as directory:
        contenders = contenders_of(target, Path(directory), args)
        found = {name: [] for name in contenders}
        for _ in range(args.runs):
            for name, (server, asker) in contenders.items():
                found[name].append(measure(server, asker, args.seconds))
        report(found)


def contenders_of(target, directory, args):
    """For each name the server's command, and a function that asks it and returns exchanges a second."""
    echo, meantime = target / "echo", target / "meantime"
    address = f"127.0.0.1:{PORT}"
    serve = [
        meantime,
        "server",
        "--listen",
        address,
        "--max-clients",
        "1000000",
        "--max-logged-clients",
        "0",
        "--control",
        directory / "control",
    ]
    drive = lambda kind: lambda: float(asked([echo, "drive", address, str(args.seconds), kind]))

    def load(*options):
        settle = 12
        command = [
            meantime,
            "load",
            address,
            "--clients",
            str(args.clients),
            "--rate",
            "max",
            "--settle",
            f"{settle}s",
            "--duration",
            f"{args.seconds + settle + 1}s",
            "--output",
            "json",
            *options,
        ]
        return json.loads(asked(command).splitlines()[-1])["exchanges_per_s"]

    key = ["--key-file", directory / "key"]
    subprocess.run([meantime, "keygen", directory / "key"], check=True, stdout=subprocess.DEVNULL)
    contenders = {
        "echo, 96 bytes": ([echo, "serve", address], drive("meantime")),
        "meantime": (serve, drive("meantime")),
        UNDER_LOAD: (serve, load),
        WITH_KEY: (serve + key, lambda: load(*key)),
        "echo, 48 bytes": ([echo, "serve", address], drive("ntp")),
    }
    if chronyd := chrony(directory):
        configuration = directory / "chrony.conf"
        configuration.write_text(
            f"port {PORT}\nbindaddress 127.0.0.1\nallow\nlocal stratum 10\ncmdport 0\nbindcmdaddress /\n"
            f"pidfile {directory}/chrony.pid\n"
        )
        contenders["chronyd"] = ([chronyd, "-x", "-d", "-u", "root", "-f", configuration], drive("ntp"))
    else:
        print(
            "NOT RUN: chronyd: it is not installed, and cannot be had (apt-get install chrony; MEANTIME_INSTALL=1 unpacks it)"
        )
    return contenders


def chrony(directory):
    """chronyd, from Debian's package if it is not installed."""
    if installed := shutil.which("chronyd", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return installed
    if unpack("chrony", directory / "chrony"):
        return None
    chronyd = directory / "chrony" / "usr" / "sbin" / "chronyd"
    done = subprocess.run([chronyd, "--version"], capture_output=True, timeout=180, check=False)
    return chronyd if done.returncode == 0 else None


def measure(server, asker, seconds):
    """Exchanges a second, and the part of a core that the server took for them."""
    cores = sorted(os.sched_getaffinity(0))
    pinned = lambda core: lambda: os.sched_setaffinity(0, {core})
    with subprocess.Popen(
        [str(word) for word in server],
        preexec_fn=pinned(cores[0]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            time.sleep(1)
            asked.preexec = pinned(cores[1])
            asked.watched = process.pid
            rate = asker()
            return rate, asked.busy
        finally:
            process.terminate()


def asked(command):
    """Runs the client, and watches meanwhile how busy the server is in the last two thirds of the last
    seconds."""
    samples = []
    words = [str(word) for word in command]
    with subprocess.Popen(
        words, preexec_fn=asked.preexec, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while process.poll() is None:
            samples.append((time.monotonic(), processor_time_s(asked.watched)))
            time.sleep(0.25)
        output = process.stdout.read()
    # The end: goodbyes and the like. The beginning: registrations, warming up.
    samples = samples[:-2][-12:]
    (since, before), (until, after) = samples[0], samples[-1]
    asked.busy = (after - before) / (until - since)
    return output


def report(found):
    print(f"{'':<32}{'exchanges/s':>14}{'busy':>8}{'by core-second':>18}")
    for name, runs in found.items():
        rate = statistics.median(rate for rate, _ in runs)
        busy = statistics.median(busy for _, busy in runs)
        print(f"{name:<32}{rate:>14.0f}{busy:>8.0%}{statistics.median(map(by_core_second, runs)):>18.0f}")
    echo, chronyd = "echo, 96 bytes", "chronyd"
    for name, other in [
        ("meantime", echo),
        (UNDER_LOAD, echo),
        (WITH_KEY, echo),
        ("meantime", chronyd),
        (UNDER_LOAD, chronyd),
        (chronyd, "echo, 48 bytes"),
    ]:
        if name in found and other in found:
            # Of each turn by itself: a machine is not as fast in one as in the next.
            ratios = sorted(
                by_core_second(one) / by_core_second(two) for one, two in zip(found[name], found[other])
            )
            print(f"{name} / {other}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def by_core_second(run):
    rate, busy = run
    return rate / max(busy, 0.01)


if __name__ == "__main__":
    main()
