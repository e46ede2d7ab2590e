"""What is written and printed of the runs."""

import csv
import dataclasses
import json
import os
import statistics

from .analysis import MS
from .experiment import SAMPLE_S

ROUND_S = 5.0  # meantime's rounds, by default


def write_clocks(path, moments, names):
    """The clocks at each moment, as CSV: how far each is ahead of the time since the start."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_s", *(f"{name}_ns" for name in names)])
        for at_s, row in zip(moments.times, moments.rows):
            writer.writerow([f"{at_s:.2f}", *("" if offset is None else round(offset) for offset in row)])


def write_summary(path, summary):
    """The summary as it is so far: whole, or the one before."""
    with open(path + ".new", "w") as file:
        json.dump(summary, file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.replace(path + ".new", path)


def table(runs, scenario):
    """The runs of a scenario, as a table in Markdown."""
    head = ["run", "RMS", "maximum", "to 1 ms", "to 100 µs", "again in 1 ms", "clocks ahead by", "frames"]
    head.append("host busy")
    rows = [head, ["---"] * len(head)]
    for run in runs:
        offsets = [offset for offset in run["offsets_us"] if offset is not None]
        ahead = statistics.median(offsets) / 1e6
        cells = [run["daemon"], length(run["rms_us"]), length(run["max_us"]), seconds(run["to_1ms_s"])]
        cells += [seconds(run["to_100us_s"]), seconds(run["again_s"]) if scenario.over_s is not None else "–"]
        cells += [f"{ahead:+.2f} s", str(run["packets"]), f"{run['host_busy']:.1f}"]
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


@dataclasses.dataclass
class Check:
    """What should be so, whether it is, and what was seen. What is no must is a goal: a busy host may miss
    it."""

    what: str
    good: bool
    seen: str
    must: bool = True

    @property
    def verdict(self):
        return "ok" if self.good else "FAILED" if self.must else "missed"


def led_table(led):
    """How far the clocks were from the reference over time, as a table in Markdown."""
    names = list(led["windows"][0]["nodes_us"])
    head = ["minutes", *names, "system clocks", "chronyd from UTC"]
    rows = [head, ["---"] * len(head)]
    for each in led["windows"]:
        cells = [f"{each['from_s'] / 60:g} to {each['to_s'] / 60:g}"]
        cells += [length(each["nodes_us"][name]) for name in names]
        rows.append([*cells, length(each["systems_us"]), length(each["reference_us"])])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    for each in led["stated"]:
        stated = f"{each['state']}, {signed(each['offset_us'])} from UTC, known to {length(each['error_us'])}"
        at, seen = f"{each['at_s'] / 60:.1f} min", signed(each["seen_us"])
        lines.append(f"{at}: the server states: {stated}; seen: {seen}")
    lines.append(f"within 1 ms, and from then on: after {seconds(led['within_1ms_s'])}")
    lines.append(f"events of the reference: gained {led['gained']}, lost {led['lost']}")
    return "\n".join(lines)


def signed(us):
    return "–" if us is None else ("−" if us < 0 else "+") + length(abs(us))


def judge_led(led, scenario):
    """What should be so of a cluster that is led to a reference."""
    within = f"{scenario.led_within_s / 60:g} minutes after the reference came"
    good = led["farthest_us"] is not None and led["farthest_us"] * 1e3 < MS
    yield Check(f"{within} all are within a millisecond of it", good, f"{length(led['farthest_us'])} at most")
    if led["systems_us"] is not None:
        good = led["systems_us"] * 1e3 < MS
        yield Check("so are the system clocks", good, f"{length(led['systems_us'])} at most")
    held = [each["held"] for each in led["stated"]]
    good = bool(held) and False not in held and held[-1]
    seen = f"{held.count(True)} of {len(held)} times"
    yield Check("the distance to UTC is what the server states", good, seen)


def judge(run, scenario):
    """What should be so of a run of meantime."""
    most = run["max_us"]
    agree = most is not None and most * 1e3 < MS
    yield Check("the clocks agree within a millisecond", agree, f"{length(most)} at most")
    bounds = run["bounds"]
    seen = (
        f"{bounds['broken']} of {bounds['compared']} comparisons outside" if bounds else "nothing was stated"
    )
    yield Check("the guaranteed bounds hold", bool(bounds) and not bounds["broken"], seen)
    if scenario.stays_within_s is not None:
        farthest = max(abs(offset) for offset in run["offsets_us"] if offset is not None) / 1e6
        good = farthest < scenario.stays_within_s
        yield Check("the time is that of the majority", good, f"{farthest:.3f} s from the start's")
    if run["led"]:
        yield from judge_led(run["led"], scenario)
    if scenario.liar:
        named = run["falsetickers"]
        good = named == [scenario.liar]
        yield Check("the falseticker is named, and no other", good, ", ".join(named) or "none is")
    if scenario.over_s is not None:
        again = run["again_s"]
        yield Check("they agree again within a round", in_a_round(again), seconds(again), must=False)
        yield Check("they agree again within a minute", again is not None and again <= 60, seconds(again))
    elif scenario.judged is None:
        worst = worst_pair(run["pairs_us"])
        yield Check("no pair is worse than twice the others' median", worst <= 2, f"{worst:.1f} times", must=False)
        after = None if None in (run["to_1ms_s"], run["joined_s"]) else run["to_1ms_s"] - run["joined_s"]
        yield Check(
            "within a millisecond a round after joining", in_a_round(after), seconds(after), must=False
        )


def worst_pair(pairs):
    """The largest RMS of a pair over the median of the others'."""
    shares = [each / statistics.median(pairs[:at] + pairs[at + 1 :]) for at, each in enumerate(pairs)]
    return max(shares, default=0.0)


def in_a_round(elapsed_s):
    """Samples are a quarter of a second apart."""
    return elapsed_s is not None and elapsed_s <= ROUND_S + SAMPLE_S


def compare(runs):
    """meantime's worst figures beside chrony's best, each as a share of it; None: one of them is missing."""
    figures = {}
    for daemon, pick in (("meantime", max), ("chrony", min)):
        mine = [run for run in runs if run["daemon"] == daemon and run["rms_us"] is not None]
        if not mine:
            return None
        figures[daemon] = [pick(run[what] for run in mine) for what in ("rms_us", "max_us")]
    return [one / other for one, other in zip(figures["meantime"], figures["chrony"])]


def length(us):
    """A length of time, given in µs, with three digits."""
    if us is None:
        return "–"
    size, unit = next((each for each in ((1e6, "s"), (1e3, "ms")) if us >= each[0]), (1, "µs"))
    return f"{us / size:,.0f} {unit}" if us >= 100 * size else f"{us / size:.3g} {unit}"


def seconds(value):
    return "never" if value is None else f"{value:.1f} s"
