"""What the scripts that draw have in common: matplotlib in an environment of its own, colours, style."""

import os
import subprocess
import sys
import venv

from .program import TARGET

MATPLOTLIB = "matplotlib==3.10.8"
ENVIRONMENT = os.path.realpath(os.path.join(TARGET, "plots"))

BLUE, RED, GREEN, YELLOW = "#4477aa", "#ee6677", "#228833", "#ccbb44"


def enter_environment():
    """Starts this script again where matplotlib is, unless that has happened."""
    if os.path.realpath(sys.prefix) == ENVIRONMENT:
        return
    python = environment()
    os.execv(python, [python, *sys.argv])


def environment():
    """The Python that has matplotlib; the first time, it is fetched from PyPI."""
    python = os.path.join(ENVIRONMENT, "bin", "python")
    if not os.path.exists(python):
        venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MATPLOTLIB], check=True
    )
    return python


def set_style():
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "meantime",
            "svg.fonttype": "none",  # letters, not their outlines: small, and can be searched
            "font.size": 10,
            "figure.figsize": (8.6, 3.8),
            "figure.constrained_layout.use": True,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.edgecolor": "#999999",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": "#e4e4e4",
            "legend.frameon": False,
            "path.simplify_threshold": 0.5,
        }
    )


def with_legend(figure, axes, title=None):
    """The figure with the legend of these axes above it, in a row: there it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(handles), title=title)
    return figure
