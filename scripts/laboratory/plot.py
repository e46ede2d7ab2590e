"""Draws how far the clocks were apart: `plot.py TITLE OUTPUT MODE CSV...`, a panel for each file.

MODE is `start` to draw the clocks against the time since the start, or the name of the machine against whose
clock they are drawn. It runs where matplotlib is.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.drawing import BLUE, GREEN, RED, YELLOW, set_style, with_legend  # noqa: E402

COLOURS = [RED, BLUE, GREEN, YELLOW]  # for the machines of the cluster


def main():
    title, output, mode, *files = sys.argv[1:]
    set_style()
    import numpy
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(files), sharey=True, squeeze=False)
    farthest = 0.0
    for axes, path in zip(panels[0], files):
        run = numpy.genfromtxt(path, delimiter=",", names=True, deletechars="", encoding="utf-8")
        run = run[numpy.isclose(run["time_s"] % 1, 0)]  # a point each second is enough for the eye
        clocks = {name.removesuffix("_ns"): run[name] / 1e9 for name in run.dtype.names[1:]}
        reference = 0 if mode == "start" else clocks[mode]
        for colour, (name, offset) in zip(COLOURS, clocks.items()):
            axes.plot(run["time_s"], offset - reference, color=colour, linewidth=1, label=name)
            farthest = max(farthest, numpy.nanmax(abs(offset - reference)))
        axes.set_yscale("symlog", linthresh=1e-4, linscale=1.5)
        axes.set(xlabel="s since the start", title=os.path.basename(path).split("-")[-1].removesuffix(".csv"))
    shown = [tick for tick in TICKS if abs(tick) < 3 * farthest]
    panels[0][0].set(ylim=(-3 * farthest, 3 * farthest), ylabel=f"ahead of {LABELS.get(mode, mode)}")
    panels[0][0].set_yticks(shown, labels=[TICKS[tick] for tick in shown])
    panels[0][0].minorticks_off()
    with_legend(figure, panels[0][0], title)
    figure.savefig(output, metadata={"Date": None})


LABELS = {"start": "the time since the start", "server": "the server's clock"}
SIZES = {
    1e-4: "100 µs",
    1e-3: "1 ms",
    1e-2: "10 ms",
    1e-1: "100 ms",
    1.0: "1 s",
    60.0: "1 min",
    3600.0: "1 h",
}
TICKS = (
    {-size: f"−{label}" for size, label in reversed(SIZES.items())}
    | {-5e-5: "−50 µs", 0: "0", 5e-5: "50 µs"}
    | SIZES
)

if __name__ == "__main__":
    main()
