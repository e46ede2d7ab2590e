"""One run: machines are started, something keeps their clocks, things happen to them, and their clocks are
observed."""

import dataclasses
import os
import sys
import time
from datetime import datetime, timezone

from .machine import Machine
from .network import LAN, Network
from .truth import Page

SAMPLE_S = 0.25
START_NS = int(datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()) * 1_000_000_000


@dataclasses.dataclass
class Run:
    """What was seen."""

    daemon: str
    clock: str
    names: list
    samples: list  # of each machine, as truth.Page has them, but the counter in ns since the start
    events: list  # of each machine, as meantime prints them
    logs: list
    notes: list  # when, and what the server stated then of UTC
    frames: int  # all that were sent on the network
    started_s: float  # when the last daemon was started
    ended_s: float
    uncertainty_ns: float
    host_busy: float  # how many processors of the host were busy, on average


class Experiment:
    """The machines of a scenario, from boot to end: a context."""

    def __init__(self, scenario, daemon, image, counter, directory):
        self.scenario, self.daemon, self.counter = scenario, daemon, counter
        self.machines, self.pages, self.notes, self.network = [], [], [], None
        self._image, self._directory = image, directory

    def __enter__(self):
        try:
            self._boot()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *_):
        for page in self.pages:
            page.close()
        for machine in self.machines:
            machine.end()
        if self.network:
            self.network.end()

    def run(self):
        """Lets happen what shall, and brings home what was seen."""
        frames, busy_s = -self._frames(), -host_busy_s()
        for machine in self.machines:
            self.scenario.daemon_of(self.daemon, machine).start(machine)
        started_s = self.now_s()
        for at_s, happen in sorted(self.scenario.happenings, key=lambda each: each[0]):
            self._sleep_until(at_s)
            happen(self)
        self._sleep_until(self.scenario.seconds)
        frames, busy_s = frames + self._frames(), busy_s + host_busy_s()
        for page in self.pages:
            page.relate()
        evidence = [
            self.scenario.daemon_of(self.daemon, machine).evidence(machine) for machine in self.machines
        ]
        in_ns = lambda at: self.counter.nanoseconds(at - self.zero)
        return Run(
            daemon=self.daemon.name,
            clock=self.daemon.clock,
            names=[machine.name for machine in self.machines],
            samples=[
                [
                    (in_ns(real_at), real, in_ns(raw_at), raw, width)
                    for real_at, real, raw_at, raw, width in page.samples()
                    if in_ns(real_at) <= self.scenario.seconds * 1e9
                ]
                for page in self.pages
            ],
            events=[events for events, _ in evidence],
            logs=[log for _, log in evidence],
            notes=self.notes,
            frames=frames,
            started_s=started_s,
            ended_s=self.now_s(),
            uncertainty_ns=max(page.uncertainty_ns() for page in self.pages),
            host_busy=busy_s / (self.scenario.seconds - started_s),
        )

    def now_s(self):
        return self.counter.nanoseconds(self.counter.now() - self.zero) / 1e9

    def resume(self, number):
        """Goes on with a machine that was paused: its counter has stood still."""
        self.pages[number].paused()
        self.machines[number].resume()
        self.pages[number].relate()
        self._sample(self.pages[number])

    def _boot(self):
        plans = self.scenario.machines
        self.network = Network([plan.networks for plan in plans])
        for number, plan in enumerate(plans):
            khz = round(self.counter.khz / (1 + plan.ppm * 1e-6))
            self.machines.append(Machine(number, plan, khz, self._image, self.network, self._directory))
        for machine in self.machines:
            machine.wait()
            self._connect(machine)
            self.pages.append(Page(machine, self.counter))
        for page in self.pages:
            page.relate()
        # The first second is for setting the clocks.
        self.zero = self.counter.now() + round(self.counter.khz * 1e3)
        for page, plan in zip(self.pages, plans):
            shown = START_NS + round(plan.offset_s * 1e9)
            page.machine.run(f"witness set {page.of_host(self.zero)} {shown} {self.counter.khz}")
            self._sample(page)

    def _sample(self, page):
        page.sample_from(self.zero, round(self.counter.khz * SAMPLE_S * 1e3))

    def _connect(self, machine):
        said = machine.run(NETEM.format(netem=self.scenario.netem) if self.scenario.netem else "true")
        for number, address in enumerate(machine.addresses()):
            said += machine.run(f"ip addr add {address}/24 dev eth{number} && ip link set eth{number} up")
        if said.strip():
            raise RuntimeError(f"{machine.name}: {said.strip()}")

    def _frames(self):
        return sum(self.network.frames(each.number)[0] for each in self.machines if LAN in each.networks)

    def _sleep_until(self, at_s):
        ended = [machine.name for machine in self.machines if machine.process.poll() is not None]
        if ended:
            raise RuntimeError(f"{', '.join(ended)}: the machine has ended by itself")
        time.sleep(max(at_s - self.now_s(), 0))


def host_busy_s():
    """How long the host's processors have worked, whatever for."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, *others = map(int, file.readline().split()[1:])
    # What guests of its own have used is counted in user and nice already.
    return (user + nice + system + sum(others[:3])) / os.sysconf("SC_CLK_TCK")


# What disturbs the packets stands behind a clean eth0. On eth0 itself it would come before the kernel takes
# the time at which a packet leaves: half of the disturbance would not be seen.
NETEM = """
# To busybox' shell its own applets come first.
ip=/usr/bin/ip tc=/usr/bin/tc
address=$(cat /sys/class/net/eth0/address)
$ip link set eth0 name wire && $ip link add eth0 address "$address" type veth peer name inside
$tc qdisc add dev wire ingress && $tc qdisc add dev inside ingress
$tc filter add dev wire ingress matchall action mirred egress redirect dev inside
# A copy, and not the frame itself: that belongs to a socket still, which would get another timestamp later,
# when it left.
$tc filter add dev inside ingress matchall action mirred egress mirror dev wire pipe action drop
TC_LIB_DIR=/usr/lib/tc $tc qdisc add dev wire root netem limit 10000 {netem}
$ip link set wire up && $ip link set inside up
"""
