"""What a run shows: how far the clocks were apart."""

import bisect
import itertools
import math
import statistics

from .daemons import REFERENCE, UTC
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

    def pairs(self, first_s, last_s, of=None):
        """Of each pair of clocks: the root of the mean square of their distance, in ns."""
        _, rows = self.between(first_s, last_s)
        numbers = [number for number in range(len(rows[0]) if rows else 0) if of is None or number in of]
        for one, other in itertools.combinations(numbers, 2):
            apart = [row[one] - row[other] for row in rows if None not in (row[one], row[other])]
            if apart:
                yield math.sqrt(statistics.fmean(each * each for each in apart))

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
        "pairs_us": pairs_us(moments, scenario),
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
        "led": None if scenario.led_at_s is None else Led(run, moments, scenario).figures(),
        "steering_us": steering(run, scenario),
        "measured_to_us": in_us(run.uncertainty_ns + reading_ns(run)),
    }


def pairs_us(moments, scenario):
    """Of each pair of clocks: the root of the mean square of their distance, in µs."""
    return [in_us(each) for each in moments.pairs(scenario.settle_s, scenario.seconds, scenario.judged)]


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


class Led:
    """How far the nodes' clocks are from the reference: the system clock that chronyd keeps on one of their
    machines. A clock is what the node says at its ticks, brought to the host's time."""

    def __init__(self, run, moments, scenario):
        self.run, self.moments, self.scenario = run, moments, scenario
        self.reference, self.utc = run.names.index(REFERENCE), run.names.index(UTC)
        self.nodes = {
            name: [tick[:2] for tick in Overlay(run, number).ticks]
            for number, name in enumerate(run.names)
            if number != self.utc
        }

    def figures(self):
        since_s, end_s = self.scenario.led_at_s, self.scenario.seconds
        judged_s = since_s + self.scenario.led_within_s
        edges = {0.0, judged_s, *(since_s + each for each in range(0, int(judged_s - since_s), WINDOW_S))}
        edges = [*sorted(map(float, edges)), end_s]
        windows = [self._window(first, last) for first, last in itertools.pairwise(edges)]
        farthest = windows[-1]["nodes_us"].values()
        return {
            "windows": windows,
            "farthest_us": None if None in farthest else max(farthest),
            "systems_us": windows[-1]["systems_us"],
            "within_1ms_s": self._within(since_s, MS),
            "stated": [self._stated(at_s, utc) for at_s, utc in self.run.notes],
            "gained": self._count("reference_gained"),
            "lost": self._count("reference_lost"),
        }

    def _window(self, first_s, last_s):
        """The largest distances from one time to another, in µs."""
        _, rows = self.moments.between(first_s, last_s)
        names = self.run.names if self.run.clock == "system" else []
        steered = [number for number, name in enumerate(names) if name not in (REFERENCE, UTC)]
        apart = lambda number, other: most(
            abs(row[number] - row[other]) for row in rows if None not in (row[number], row[other])
        )
        return {
            "from_s": first_s - self.scenario.led_at_s,
            "to_s": last_s - self.scenario.led_at_s,
            "nodes_us": {
                name: in_us(most(abs(distance) for _, distance in self._distances(name, first_s, last_s)))
                for name in self.nodes
            },
            "systems_us": in_us(most(apart(number, self.reference) for number in steered)),
            "reference_us": in_us(apart(self.reference, self.utc)),
        }

    def _distances(self, name, first_s, last_s):
        """A node's clock minus the system clock that chronyd keeps."""
        for at_ns, offset in self.nodes[name]:
            if first_s * 1e9 <= at_ns < last_s * 1e9:
                reference = self._offset(self.reference, at_ns)
                if reference is not None:
                    yield at_ns / 1e9, offset - reference

    def _offset(self, number, at_ns):
        """How far a system clock was ahead of the time since the start."""
        samples = self.run.samples[number]
        after = bisect.bisect(samples, at_ns, key=lambda sample: sample[0])
        if not 0 < after < len(samples):
            return None
        (at0, real0, *_), (at1, real1, *_) = samples[after - 1 : after + 1]
        offset0, offset1 = real0 - START_NS - at0, real1 - START_NS - at1
        return offset0 + (at_ns - at0) / (at1 - at0) * (offset1 - offset0)

    def _within(self, since_s, limit_ns):
        """How long after `since_s` all nodes' clocks are within a limit, and stay there; None: they are not
        at the end."""
        end_s, last_s = self.scenario.seconds, since_s
        for name in self.nodes:
            beyond = [at_s for at_s, each in self._distances(name, 0, end_s) if abs(each) > limit_ns]
            last_s = max([last_s, *beyond])
        return None if end_s - last_s < HOLDS_S else round(last_s - since_s, 1)

    def _stated(self, at_s, utc):
        """What the server stated of UTC, and what was so."""
        ticks = self.nodes["server"]
        after = bisect.bisect(ticks, at_s * 1e9, key=lambda tick: tick[0])
        seen = None
        if 0 < after <= len(ticks):
            at_ns, offset = ticks[after - 1]
            true = self._offset(self.utc, at_ns)
            seen = None if true is None else in_us(offset - true)
        state, offset, error = map((utc or {}).get, ("state", "offset_ns", "error_ns"))
        held = None if None in (offset, error, seen) else abs(offset / US - seen) <= error / US
        return {
            "at_s": round(at_s - self.scenario.led_at_s, 1),
            "state": state,
            "offset_us": in_us(offset),
            "error_us": in_us(error),
            "seen_us": seen,
            "held": held,
        }

    def _count(self, event):
        return sum(each["event"] == event for each in self.run.events[self.reference])


def most(values):
    return max((value for value in values if value is not None), default=None)


WINDOW_S = 300
LATE_S = 0.06
