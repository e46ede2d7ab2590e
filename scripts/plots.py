#!/usr/bin/env python3
"""Simulates some cases and draws how far the clocks are apart: the figures of docs/ALGORITHM.md.

    scripts/plots.py [-o docs/figures]

The seeds are fixed, so the same program draws the same pictures. Builds meantime; the first run installs
matplotlib from PyPI into an environment of its own under target/.
"""

import argparse
import itertools
import os
import subprocess
import tempfile

from lib.drawing import BLUE, GREEN, RED, enter_environment, set_style, with_legend
from lib.program import TARGET

SERVER_AND_CLIENTS = ["server", "client-1", "client-2", "client-3"]
LAN = []  # 100 µs and an exponential wait of 20 µs each way
FAR = ["--delay", "5ms", "--jitter", "1ms"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", default="docs/figures", help="the directory of the figures")
    options = parser.parse_args()
    enter_environment()
    subprocess.run(["cargo", "build", "--release", "--quiet"], check=True)
    set_style()
    for figure in (cold_start, stated_error, slow_queue, warming_up):
        path = os.path.join(options.output, figure.__name__.replace("_", "-") + ".svg")
        figure().savefig(path, metadata={"Date": None})
        print(f"{path}: {os.path.getsize(path) / 1e3:.0f} kB")


# What is simulated


def simulate(*arguments, seed=1, duration="10000s", sample="1s"):
    """A run of a server and three clients: an array for each column, no number where it is empty."""
    import numpy

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "samples.csv")
        command = [
            os.path.join(TARGET, "release", "meantime"),
            "simulate",
            "--seed",
            str(seed),
            "--samples",
            path,
        ]
        command += ["--duration", duration, "--sample", sample, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return numpy.genfromtxt(path, delimiter=",", names=True, deletechars="")


def disagreement_us(run):
    """Root of the mean square over all pairs of nodes, in µs, at each moment."""
    import numpy

    clocks = [run[f"{node}_ns"] for node in SERVER_AND_CLIENTS]
    squares = [(a - b) ** 2 for a, b in itertools.combinations(clocks, 2)]
    return numpy.sqrt(numpy.mean(squares, axis=0)) / 1e3


def error_us(run, client):
    """By how much a client's clock is ahead of the server's, in µs."""
    return (run[f"{client}_ns"] - run["server_ns"]) / 1e3


def stated_us(run, client):
    return run[f"{client}_error_ns"] / 1e3


# What is drawn


def cold_start():
    """Pairwise disagreement from the first second on."""
    import numpy
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    edges = numpy.geomspace(1, 10_000, 121)
    middles = numpy.sqrt(edges[1:] * edges[:-1])
    for link, colour, label in ((FAR, RED, "5 ms + exp. 1 ms each way"), (LAN, BLUE, "100 µs + exp. 20 µs")):
        squares = []
        for seed in range(1, 6):
            run = simulate(*link, seed=seed, sample="100ms")
            place = numpy.digitize(run["true_s"], edges) - 1
            apart = disagreement_us(run) ** 2
            squares.append([numpy.mean(apart[place == k]) for k in range(len(middles))])
            axes.plot(middles, numpy.sqrt(squares[-1]), color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(middles, numpy.sqrt(numpy.mean(squares, axis=0)), color=colour, linewidth=2, label=label)
    axes.set(xscale="log", yscale="log", xlim=(1, 10_000), xlabel="since the start")
    axes.set_xticks([10**k for k in range(5)], labels=["1 s", "10 s", "100 s", "1,000 s", "10,000 s"])
    axes.set_yticks([10**k for k in range(-1, 8)], labels=MICROSECONDS)
    axes.minorticks_off()
    axes.set_ylabel("pairwise disagreement, RMS")
    return with_legend(figure, axes, "five seeds, and all together (thick)")


def stated_error():
    """A client's error beside what it states, over 5 ms."""
    from matplotlib import pyplot

    figure, (start, later) = pyplot.subplots(1, 2, width_ratios=(1, 2))
    run = simulate(*FAR)
    for axes, first, last, step, limit in ((start, 0, 10, 2, 150), (later, 10, 160, 30, 30)):
        part = run[first * 60 + 8 : last * 60 : step]
        draw_error(axes, part, "client-1", BLUE, "error of a client")
        axes.set(xlabel="minutes since the start", xlim=(first, last), ylim=(-limit, limit))
    start.set_ylabel("ahead of the server, µs")
    return with_legend(figure, later)


def slow_queue():
    """Waits that hang together over a minute."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    draw_error(
        axes,
        simulate("--queue", "50us")[1_000::30],
        "client-1",
        RED,
        "error of a client, with the slow queue",
    )
    plain = simulate()[1_000::30]
    axes.plot(plain["true_s"] / 60, error_us(plain, "client-1"), color=BLUE, linewidth=1, label="without it")
    axes.set(
        xlabel="minutes since the start", xlim=(1_000 / 60, 10_000 / 60), ylabel="ahead of the server, µs"
    )
    return with_legend(figure, axes)


def warming_up():
    """One oscillator drifts by 1 ppm within ten minutes."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    run = simulate("--fault", "6000s:ramp:client-1:1ppm:10min")[5_400:8_400:5]
    axes.axvspan(100, 110, color="#e6e6e6", label="client-1 drifts by 1 ppm")
    for client, colour, above in (("client-1", RED, 3), ("client-2", BLUE, 2), ("client-3", GREEN, 2)):
        error = error_us(run, client)
        axes.plot(run["true_s"] / 60, error, color=colour, linewidth=1.2, zorder=above, label=client)
    axes.set(xlabel="minutes since the start", xlim=(90, 140), ylabel="ahead of the server, µs")
    return with_legend(figure, axes)


def draw_error(axes, run, client, colour, label):
    """A client's error, and one sigma of it by its own word."""
    minutes, stated = run["true_s"] / 60, stated_us(run, client)
    axes.fill_between(
        minutes, -stated, stated, color=colour, alpha=0.18, linewidth=0, label="± one sigma, as stated"
    )
    axes.plot(minutes, error_us(run, client), color=colour, linewidth=1, label=label)


MICROSECONDS = ["0.1 µs", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]


if __name__ == "__main__":
    main()
