"""The events that a node prints with `--output json`, and clocks that are computed from them.

Every event has a reading of the host's oscillator (`raw_ns`) together with the node's time (`cluster_ns`).
All nodes of a machine share the oscillator, so their clocks are compared at the same readings of it.
"""

import bisect
import json


def events(path, kind=None):
    """The events in a file, of one kind if it is given. A last line that is not finished is left out."""
    # To look for the word first is quicker than to parse every line.
    word = "" if kind is None else f'"{kind}"'
    with open(path, encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines if line.endswith("\n") and word in line]
    return [event for event in found if kind in (None, event["event"])]


def ticks(path):
    """The pairs (raw_ns, cluster_ns) of the ticks in a file, in order."""
    return [(event["raw_ns"], event["cluster_ns"]) for event in events(path, "tick")]


def reading(series, raw):
    """The node's time (ns) when the oscillator read `raw`, interpolated between two pairs of a series. None
    outside it."""
    at = bisect.bisect_left(series, (raw, 0))
    if at == 0 or at == len(series):
        return None
    (r0, c0), (r1, c1) = series[at - 1], series[at]
    # Whole numbers: 19 digits are too many for floating point.
    return c0 + (raw - r0) + ((c1 - r1) - (c0 - r0)) * (raw - r0) // (r1 - r0)


def stated(bounds, moment):
    """The larger one of the bounds in a series of (raw_ns, bound_ns) that are stated just before and just after a
    moment: in between it grows."""
    after = bisect.bisect_left(bounds, (moment, 0))
    return max(bound for _, bound in bounds[max(after - 1, 0) : after + 1])
