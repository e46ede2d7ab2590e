"""What is done to the machines."""

import dataclasses
import json
from typing import Callable

from . import daemons
from .network import LAN, OUTSIDE


@dataclasses.dataclass
class Plan:
    """A machine: how far its clock is ahead at the start, and by how much its oscillator runs fast."""

    name: str
    offset_s: float
    ppm: float
    networks: tuple = (LAN,)


@dataclasses.dataclass
class Scenario:
    name: str
    title: str
    machines: list = dataclasses.field(default_factory=lambda: four())
    netem: str = ""
    settle_s: float = 120
    seconds: float = 300
    daemons: str = "meantime chrony"
    # When, and what is done: a function of the Experiment.
    happenings: list = dataclasses.field(default_factory=list)
    # The numbers of the machines whose clocks are compared; all of them if None.
    judged: set | None = None
    # When all is as it was: how soon they agree again is reported.
    over_s: float | None = None
    # The machine against whose clock the clocks are drawn; `start`: against the time since the start.
    drawn_against: str = "server"
    # How far the clocks may be from the time since the start, by which the clients' are -2 s to 3 s off;
    # None: any.
    stays_within_s: float | None = 10.0
    # The falseticker, if there is one.
    liar: str = ""
    # When a machine gets a time from outside, to which the cluster is led.
    led_at_s: float | None = None
    # From how long after that on all clocks are to be within a millisecond of it.
    led_within_s: float = 1800
    # What each machine starts, where not all start the same.
    daemon_of: Callable = lambda daemon, machine: daemon


def four(server_offset_s=0.0, server_ppm=0.0):
    """A server and three clients."""
    return [
        Plan("server", server_offset_s, server_ppm),
        Plan("client-1", 3.0, 80.0),
        Plan("client-2", -2.0, -60.0),
        Plan("client-3", 0.5, 30.0),
    ]


def set_server_clock(experiment):
    experiment.machines[0].run(f"witness shift {3600 * 10**9}")


def kill_server(experiment):
    daemons.kill(experiment.machines[0])


def start_server(experiment):
    experiment.daemon.start(experiment.machines[0])


def unplug_all(experiment):
    for machine in experiment.machines:
        experiment.network.plug(machine.number, False)


def plug_all(experiment):
    for machine in experiment.machines:
        experiment.network.plug(machine.number, True)


def pause_client(experiment):
    experiment.machines[1].pause()


def resume_client(experiment):
    experiment.resume(1)


def behind_a_liar(daemon, machine):
    """The last client is a falseticker: an attacker on its path makes its clock a second ahead."""
    if machine.number != 3 or daemon.name != "meantime":
        return daemon
    return daemons.LiedFor(daemon.clock)


def island(server_s, reference_s, second_s, third_s):
    """A server and three clients that start so far ahead. The first client's machine is also on a second
    network, where another machine has UTC."""
    return [
        Plan("server", server_s, 0.0),
        Plan(daemons.REFERENCE, reference_s, 80.0, (LAN, OUTSIDE)),
        Plan("client-2", second_s, -60.0),
        Plan("client-3", third_s, 30.0),
        Plan(daemons.UTC, 0.0, 0.0, (OUTSIDE,)),
    ]


def led(daemon, machine):
    """chronyd serves UTC on one machine; meantime runs on the others."""
    return daemons.ChronySource() if machine.name == daemons.UTC else daemons.Led(daemon)


def start_chronyd(experiment):
    machine = next(each for each in experiment.machines if each.name == daemons.REFERENCE)
    daemons.start_chronyd(machine, daemons.CHRONY_REFERENCE, pid="/run/chronyd.pid")


def ask_utc(experiment):
    """What the server states of UTC."""
    said = experiment.machines[0].run("meantime status --json")
    experiment.notes.append((experiment.now_s(), json.loads(said)["utc"]))


def asked(first_s, last_s, each_s):
    return [(at_s, ask_utc) for at_s in range(first_s, last_s, each_s)]


COMPARED = "meantime chrony meantime chrony"
NETEM = "delay 5ms 1ms distribution normal loss 20%"

SCENARIOS = [
    Scenario(
        "observer",
        "No daemon steers the clocks: how well they are observed",
        settle_s=5,
        seconds=65,
        daemons="none",
        stays_within_s=None,
    ),
    Scenario("clean", "A clean network", daemons=COMPARED),
    Scenario("netem", "5 ms ± 1 ms each way, 20 % loss each way", netem=NETEM, daemons=COMPARED),
    Scenario(
        "server-hour",
        "The server's clock is an hour ahead at the start",
        machines=four(server_offset_s=3600.0),
        seconds=240,
        drawn_against="start",
    ),
    Scenario("server-fast", "The server's oscillator runs 150 ppm fast", machines=four(server_ppm=150.0)),
    Scenario(
        "server-away",
        "The server dies after two minutes, and comes back two minutes later",
        seconds=330,
        happenings=[(120, kill_server), (240, start_server)],
        over_s=240,
    ),
    Scenario(
        "server-set",
        "The server's clock is set an hour ahead after two minutes",
        settle_s=130,
        seconds=240,
        happenings=[(120, set_server_clock)],
        over_s=120,
        drawn_against="start",
    ),
    Scenario(
        "liar",
        "A client says that its clock is a second ahead",
        seconds=240,
        daemons="meantime",
        daemon_of=behind_a_liar,
        liar="client-3",
    ),
    Scenario(
        "outage",
        "The network is away from the third minute to the twelfth",
        seconds=840,
        happenings=[(120, unplug_all), (720, plug_all)],
        over_s=720,
    ),
    Scenario(
        "paused",
        "A client's machine is paused for a minute",
        happenings=[(120, pause_client), (180, resume_client)],
        judged={0, 2, 3},
        over_s=180,
    ),
    Scenario(
        "reference",
        "One machine gets UTC from outside after two minutes",
        machines=island(0.004, 0.020, -0.010, 0.014),
        seconds=1980,
        daemons="meantime",
        happenings=[(120, start_chronyd), *asked(420, 1980, 300)],
        judged={0, 2, 3},
        drawn_against=daemons.REFERENCE,
        led_at_s=120,
        daemon_of=led,
    ),
]

# As clocks without a battery begin: no majority of them can found the cluster's time.
IN_1970_S = 3600.0 - 1_772_366_400

FOUNDED = Scenario(
    "founded",
    "All clocks begin in 1970, and one machine gets UTC from outside",
    machines=island(IN_1970_S, IN_1970_S + 3, IN_1970_S - 2, IN_1970_S + 0.5),
    settle_s=120,
    seconds=180,
    daemons="meantime",
    happenings=[(0, start_chronyd), *asked(60, 180, 30)],
    judged={0, 2, 3},
    drawn_against="start",
    stays_within_s=None,
    led_at_s=0,
    led_within_s=120,
    daemon_of=led,
)
SCENARIOS.append(FOUNDED)

SHORT = Scenario(
    "short",
    "A server and two clients on a clean network",
    machines=four()[:3],
    settle_s=30,
    seconds=60,
)


def named(name):
    return next((scenario for scenario in SCENARIOS if scenario.name == name), None)
