"""What is done to the machines."""

import dataclasses
from typing import Callable

from . import daemons


@dataclasses.dataclass
class Plan:
    """A machine: how far its clock is ahead at the start, and by how much its oscillator runs fast."""

    name: str
    offset_s: float
    ppm: float


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
    # Whether the clocks are drawn against the time since the start, and not against the server's.
    drawn_from_start: bool = False
    # How far the clocks may be from the time since the start, by which the clients' are -2 s to 3 s off;
    # None: any.
    stays_within_s: float | None = 10.0
    # The falseticker, if there is one.
    liar: str = ""
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
        drawn_from_start=True,
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
        drawn_from_start=True,
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
]

SHORT = Scenario(
    "short",
    "A server and two clients on a clean network",
    machines=four()[:3],
    settle_s=30,
    seconds=60,
)


def named(name):
    return next((scenario for scenario in SCENARIOS if scenario.name == name), None)
