#!/usr/bin/env python3
"""Runs a real cluster on this machine and draws how its clocks come into agreement.

    scripts/convergence.py [--seconds 20] [--interval 5s] [-o docs/figures/convergence.svg]

One server and four clients with clocks that are wrong on purpose. Every node prints, ten times a second, a
reading of the host's oscillator together with its own time; from these pairs alone the picture is made. The
time axis starts with the first reading that all nodes have; the vertical axis is logarithmic on both sides
of zero.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile

from lib.cluster import Cluster
from lib.events import reading, ticks
from lib.program import TARGET

NODES = [  # name, start offset in seconds, drift in ppm
    ("server", -3.0, 21),
    ("client-1", 4.8, 40),
    ("client-2", -8.5, -69),
    ("client-3", 0.6, 90),
    ("client-4", 2.2, -35),
]
COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377"]
STEP_NS = 50_000_000
FLOOR_NS = 1_000  # within a microsecond the axis is linear
TOP_NS = 20_000_000_000


def run(binary, interval, seconds, directory):
    """Runs the cluster; returns the ticks of each node as lists of (raw_ns, cluster_ns)."""
    with Cluster(binary, directory) as cluster:

        def start(node, *arguments):
            name, offset, drift = node
            options = [
                "--name",
                name,
                "--output",
                "json",
                "--tick",
                "50ms",
                "--control",
                cluster.control(name),
            ]
            options += ["--simulate-offset", f"{offset}s", "--simulate-drift", f"{drift}ppm"]
            return cluster.start(name, *arguments, *options)

        server = start(NODES[0], "server", "--listen", "127.0.0.1:0", "--interval", interval)
        for node in NODES[1:]:
            start(node, "client", cluster.address())
        try:
            server.wait(timeout=seconds)
            sys.exit("the server has died")
        except subprocess.TimeoutExpired:
            pass
    return [ticks(cluster.path(name)) for name, _, _ in NODES]


def curves(series):
    """For each node, (seconds, offset from the median in ns) at common moments."""
    first = max(node[0][0] for node in series)
    last = min(node[-1][0] for node in series)
    result = [[] for _ in series]
    for raw in range(first + STEP_NS, last, STEP_NS):
        readings = [reading(node, raw) for node in series]
        if None in readings:
            continue
        middle = statistics.median_low(readings)
        for curve, own in zip(result, readings):
            curve.append(((raw - first) * 1e-9, own - middle))
    return result


def height(ns, half):
    """Logarithmic on both sides of a linear middle."""
    scale = half / (1 + math.log10(TOP_NS / FLOOR_NS))
    size = abs(ns) / FLOOR_NS
    y = scale * (size if size <= 1 else 1 + math.log10(size))
    return math.copysign(min(y, half), ns)


def picture(all_curves, seconds, interval):
    width, left, right, top, half = 860, 78, 110, 46, 190
    bottom = top + 2 * half
    x = lambda s: left + s / seconds * (width - left - right)
    y = lambda ns: top + half - height(ns, half)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 52}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{bottom + 52}" fill="white"/>',
        f'<text x="{left}" y="24" font-size="15">Five wrong clocks on one machine come into agreement'
        f" (rounds every {interval})</text>",
    ]
    for power in range(3, 11):
        for sign in (1, -1):
            ns = sign * 10**power
            label = {
                3: "1 µs",
                4: "10 µs",
                5: "100 µs",
                6: "1 ms",
                7: "10 ms",
                8: "100 ms",
                9: "1 s",
                10: "10 s",
            }[power]
            out.append(
                f'<line x1="{left}" x2="{width - right}" y1="{y(ns):.1f}" y2="{y(ns):.1f}" stroke="#e4e4e4"/>'
            )
            mark = "+" if sign > 0 else "−"
            out.append(
                f'<text x="{left - 8}" y="{y(ns) + 4:.1f}" text-anchor="end" fill="#555">{mark}{label}</text>'
            )
    out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(0)}" y2="{y(0)}" stroke="#999"/>')
    for second in range(0, int(seconds) + 1, 5 if seconds > 12 else 1):
        out.append(
            f'<line x1="{x(second):.1f}" x2="{x(second):.1f}" y1="{top}" y2="{bottom}" stroke="#e4e4e4"/>'
        )
        out.append(
            f'<text x="{x(second):.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{second}</text>'
        )
    out.append(
        f'<text x="{(left + width - right) / 2}" y="{bottom + 40}" text-anchor="middle">seconds</text>'
    )
    out.append(
        f'<text transform="translate(16 {top + half}) rotate(-90)" text-anchor="middle">'
        "ahead of the median of all clocks</text>"
    )
    for (name, _, _), colour, curve, row in zip(NODES, COLOURS, all_curves, range(len(NODES))):
        points = " ".join(f"{x(s):.1f},{y(ns):.1f}" for s, ns in curve if s <= seconds)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        row_y = top + 14 + row * 20
        out.append(
            f'<line x1="{width - right + 14}" x2="{width - right + 34}" y1="{row_y}" y2="{row_y}" stroke="{colour}" stroke-width="3"/>'
        )
        out.append(f'<text x="{width - right + 40}" y="{row_y + 4}">{name}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--interval", default="5s")
    parser.add_argument("--binary", default=os.path.join(TARGET, "release", "meantime"))
    parser.add_argument("-o", "--output", default="docs/figures/convergence.svg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        series = run(options.binary, options.interval, options.seconds + 1, directory)
    if any(len(node) < 2 for node in series):
        sys.exit("too few readings")
    drawn = curves(series)
    with open(options.output, "w", encoding="utf-8") as out:
        out.write(picture(drawn, options.seconds, options.interval))
    last = [ns for curve in drawn for s, ns in curve if s > options.seconds - 2]
    print(
        f"{options.output}: in the last two seconds all clocks within {(max(last) - min(last)) / 1e3:.1f} µs"
    )


if __name__ == "__main__":
    main()
