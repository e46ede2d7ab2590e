"""What a run shows: how far the clocks were apart."""

import bisect
import itertools
import math
import statistics

from .experiment import SAMPLE_S, START_NS

MS, US = 1e6, 1e3
HOLDS_S = 10  # a limit is reached when it is kept for so long


class Moments:
    """The clocks at common moments: for each, its time in s and how far each clock is ahead of the time
    since the start, in ns (None where a machine was not there)."""

    def __init__(self, run):
        rows = {}
        for number, samples in enumerate(run.samples):
            for at_ns, real, *_ in samples:
                index = round(at_ns / 1e9 / SAMPLE_S)
                # What is read late is carried to the moment at the nominal rate: 100 ppm in 50 ms are 5 µs.
                if abs(at_ns / 1e9 - index * SAMPLE_S) < LATE_S:
                    rows.setdefault(index, [None] * len(run.names))[number] = real - START_NS - at_ns
        self.times = [index * SAMPLE_S for index in sorted(rows)]
        self.rows = [rows[index] for index in sorted(rows)]

    def between(self, first_s, last_s):
        begin, end = bisect.bisect_left(self.times, first_s), bisect.bisect_right(self.times, last_s)
        return self.times[begin:end], self.rows[begin:end]

    def spreads(self, first_s, last_s, of=None):
        """At each moment when all of these clocks were seen: how far the two farthest are apart."""
        times, rows = self.between(first_s, last_s)
        for at_s, row in zip(times, rows):
            seen = [offset for number, offset in enumerate(row) if of is None or number in of]
            if None not in seen:
                yield at_s, max(seen) - min(seen)

    def disagreement(self, first_s, last_s, of=None):
        """Over all pairs of clocks and all moments, in ns: root of the mean square, and maximum."""
        _, rows = self.between(first_s, last_s)
        squares, most = [], 0.0
        for row in rows:
            seen = [offset for number, offset in enumerate(row) if of is None or number in of]
            if None in seen:
                continue
            apart = [a - b for a, b in itertools.combinations(seen, 2)]
            squares.append(statistics.fmean(each * each for each in apart))
            most = max(most, *map(abs, apart))
        if not squares:
            return None, None
        return math.sqrt(statistics.fmean(squares)), most

    def reached(self, limit_ns, since_s, of=None):
        """How long after `since_s` all came within a limit and stayed there for a while; None: they did
        not."""
        begin = None
        for at_s, spread in self.spreads(since_s, self.times[-1], of):
            if spread > limit_ns:
                begin = None
            elif begin is None:
                begin = at_s
            elif at_s - begin >= HOLDS_S:
                return begin - since_s
        return None

    def offsets(self, first_s, last_s):
        """Of each machine: the median of its offset from the time since the start, in ns."""
        _, rows = self.between(first_s, last_s)
        seen = [[each for each in column if each is not None] for column in zip(*rows)]
        return [statistics.median(column) if column else None for column in seen]

    def rate_ppm(self, first_s, last_s):
        """How fast the mean of all clocks ran, compared to the host's."""
        times, rows = self.between(first_s, last_s)
        seen = [(at_s, statistics.fmean(row)) for at_s, row in zip(times, rows) if None not in row]
        return statistics.linear_regression(*zip(*seen)).slope / 1e3


def figures(run, moments, scenario):
    """The figures of a run, as they are kept."""
    rms, most = moments.disagreement(scenario.settle_s, scenario.seconds, scenario.judged)
    return {
        "daemon": run.daemon,
        "clock": run.clock,
        "rms_us": in_us(rms),
        "max_us": in_us(most),
        "to_1ms_s": moments.reached(MS, run.started_s, scenario.judged),
        "to_100us_s": moments.reached(100 * US, run.started_s, scenario.judged),
        "again_s": None if scenario.over_s is None else moments.reached(MS, scenario.over_s),
        "joined_s": joined_s(run),
        "packets": run.frames,
        "host_busy": round(run.host_busy, 2),
        "rate_ppm": moments.rate_ppm(scenario.settle_s, scenario.seconds),
        "offsets_us": [in_us(each) for each in moments.offsets(scenario.settle_s, scenario.seconds)],
        "falsetickers": falsetickers(run),
        "bounds": bounds(run),
        "steering_us": steering(run, scenario),
        "measured_to_us": in_us(run.uncertainty_ns + reading_ns(run)),
    }


def straightness_us(run, scenario):
    """If no daemon steers the clocks, each runs evenly against each other: what their differences depart
    from that is the error of the observation. Root of the mean square and maximum over all pairs and
    moments, in µs."""
    times, rows = Moments(run).between(scenario.settle_s, scenario.seconds)
    departures = []
    for one, other in itertools.combinations(range(len(run.names)), 2):
        apart = [(at_s, row[one] - row[other]) for at_s, row in zip(times, rows) if None not in row]
        line = statistics.linear_regression(*zip(*apart))
        departures += [difference - line.intercept - line.slope * at_s for at_s, difference in apart]
    return in_us(math.sqrt(statistics.fmean(each * each for each in departures))), in_us(
        max(map(abs, departures))
    )


def in_us(nanoseconds):
    return None if nanoseconds is None else round(nanoseconds / US, 3)


def reading_ns(run):
    """Half of how long 95 % of the readings took at most: between the two, the clock was read."""
    widths = sorted(width for samples in run.samples for *_, width in samples)
    return widths[int(len(widths) * 0.95)] / 2 if widths else 0.0


def falsetickers(run):
    """Whom the vote has ever left out."""
    return sorted({event["client"] or "server" for event in run.events[0] if event["event"] == "falseticker"})


def joined_s(run):
    """When the last client had joined, from the start of the last daemon; None: unknown."""
    moments = []
    for number, events in enumerate(run.events):
        joined = [event["raw_ns"] for event in events if event["event"] == "registered"]
        if joined:
            moments.append(Oscillator(run.samples[number]).at_ns(joined[0]) / 1e9)
    return round(max(moments) - run.started_s, 3) if moments else None


class Oscillator:
    """When a machine's oscillator showed a time. It runs evenly, but stands still while the machine is
    paused."""

    def __init__(self, samples):
        self._raw = [raw for _, _, _, raw, _ in samples]
        self._at = [at for _, _, at, _, _ in samples]

    def at_ns(self, raw):
        after = min(max(bisect.bisect(self._raw, raw), 1), len(self._raw) - 1)
        (raw0, raw1), (at0, at1) = self._raw[after - 1 : after + 1], self._at[after - 1 : after + 1]
        return at0 + (raw - raw0) / (raw1 - raw0) * (at1 - at0)


class Overlay:
    """What a node says that its clock showed, brought to the host's time."""

    def __init__(self, run, number):
        oscillator = Oscillator(run.samples[number])
        self.ticks = []
        for event in run.events[number]:
            if event["event"] == "tick" and event["bound_ns"] is not None:
                at_ns = oscillator.at_ns(event["raw_ns"])
                self.ticks.append((at_ns, event["cluster_ns"] - START_NS - at_ns, event["bound_ns"], event))
        self._times = [tick[0] for tick in self.ticks]

    def near(self, at_ns):
        """How far it was ahead, its bound, and how far it moved between the two ticks around that moment,
        if they are near."""
        after = bisect.bisect(self._times, at_ns)
        if not 0 < after < len(self.ticks):
            return None
        (at0, offset0, bound0, _), (at1, offset1, bound1, _) = self.ticks[after - 1 : after + 1]
        if at1 - at0 > 2.5e9:
            return None
        share = (at_ns - at0) / (at1 - at0)
        return offset0 + share * (offset1 - offset0), max(bound0, bound1), abs(offset1 - offset0)


def bounds(run):
    """How often two nodes' clocks were farther apart than both their bounds allow, of how many comparisons;
    and how much of that they took at most."""
    overlays = [Overlay(run, number) for number in range(len(run.names)) if run.events[number]]
    compared = broken = 0
    most = 0.0
    for one, other in itertools.permutations(overlays, 2):
        for at_ns, offset, bound, _ in one.ticks:
            found = other.near(at_ns)
            if found is None:
                continue
            compared += 1
            other_offset, other_bound, moved = found
            # How it moved between its ticks is unknown.
            taken = max(abs(offset - other_offset) - moved, 0) / (bound + other_bound)
            broken += taken > 1
            most = max(most, taken)
    return {"compared": compared, "broken": broken, "most": round(most, 3)} if compared else None


def steering(run, scenario):
    """By how much the machines' clocks were off from what meantime had to make of them: RMS, in µs."""
    found = [
        event["system_ns"] - event["cluster_ns"]
        for number in range(len(run.names))
        for at_ns, _, _, event in Overlay(run, number).ticks
        if "system_ns" in event and at_ns / 1e9 >= scenario.settle_s
    ]
    return in_us(math.sqrt(statistics.fmean(each * each for each in found))) if found else None


LATE_S = 0.06
