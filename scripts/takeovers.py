#!/usr/bin/env python3
"""Kills the active server of a cluster again and again, and measures what its members notice of it.

    scripts/takeovers.py                         # three servers and six clients, ten kills; some ten minutes
    scripts/takeovers.py --signal TERM           # the active server hands over before it ends
    scripts/takeovers.py --kills 3 --clients 2   # fewer

Each node is a process on a host of its own: a network namespace of this machine. All of them share one
oscillator, and every event states its reading together with the node's time: so the clocks are compared
exactly, at common readings, from outside. A killed server is started again, and stands by. Prints a line for
each kill and one with all figures; exits 1 if a clock stepped, a bound did not hold, or a client was without
corrections for more than three rounds. On a machine whose processors are busy these figures are worse.
Needs root, for the namespaces.
"""

import argparse
import itertools
import math
import signal
import sys
import tempfile

from lib.cluster import Cluster
from lib.events import reading, stated
from lib.hosts import Hosts
from lib.program import find_meantime
from lib.waiting import wait_for

MOMENTS_NS = 100_000_000
# The frequencies of the clocks, up to 160 ppm apart, are being learned so long.
SETTLING_S = 60
# What a client may be without corrections, in rounds: as after a kill.
MOST_ROUNDS = 3
PATIENCE_S = 120.0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS", help="from round to round")
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    options = parser.parse_args()
    if not (2 <= options.servers <= 15 and 1 <= options.clients <= 200 and options.kills > 0):
        parser.error("2 to 15 servers, 1 to 200 clients, and at least one kill")
    meantime = find_meantime()
    servers = [f"server-{rank}" for rank in range(1, options.servers + 1)]
    clients = [f"client-{number}" for number in range(1, options.clients + 1)]
    with tempfile.TemporaryDirectory() as directory, Hosts(servers + clients) as hosts:
        with Takeovers(meantime, directory, hosts, servers, clients, options) as takeovers:
            takeovers.run()
            return takeovers.judge()


class Takeovers(Cluster):
    def __init__(self, meantime, directory, hosts, servers, clients, options):
        super().__init__(meantime, directory)
        self.hosts, self.servers, self.clients, self.options = hosts, servers, clients, options
        self.list = ",".join(map(hosts.address, servers))
        # A server that is started again prints to another file: its clock is another one.
        self.running = {}
        self.all = []

    def run(self):
        for server in self.servers:
            self.start_server(server)
        for number, client in enumerate(self.clients, 1):
            self.start_node(client, client, number, "client", self.list)
        for name in self.all:
            wait_for(f"{name} to have the cluster's time", lambda: self.has_time(name), PATIENCE_S)
        self.agreed()
        self.settled = self.newest() + int(SETTLING_S * 1e9)
        self.pass_time(SETTLING_S)
        for number in range(1, self.options.kills + 1):
            self.kill(number)
        self.pass_time(2 * self.options.interval)

    def start_server(self, server):
        name = f"{server}-{sum(each.startswith(server) for each in self.all) + 1}"
        address = self.hosts.address(server)
        arguments = ["--listen", address, "--servers", self.list, "--interval", f"{self.options.interval}s"]
        self.start_node(name, server, -self.servers.index(server) - 1, "server", *arguments)
        self.running[server] = name

    def start_node(self, name, host, number, *arguments):
        """Its clock is as wrong as those of machines without synchronization, another one for each number."""
        drift = 80 * math.sin(number * 2.4)
        wrong = [f"--simulate-offset={number * 137}ms", f"--simulate-drift={drift:.1f}ppm"]
        common = ["--name", host, "--control", self.control(name), "--output", "json", "--tick", "100ms"]
        self.start(name, *arguments, *common, *wrong, wrapper=self.hosts.wrapper(host))
        self.all.append(name)

    def kill(self, number):
        active = self.agreed()
        server = self.servers[active - 1]
        name = self.running.pop(server)
        killed = self.newest()
        self.stop(name, getattr(signal, f"SIG{self.options.signal}"))
        for client in self.clients:
            wait_for(
                f"{client} to be corrected again", lambda: self.is_corrected(client, killed), PATIENCE_S
            )
        second = self.agreed()
        gap, _ = self.longest_gap(killed)
        line = f"{number:3}: server {active} ended, server {second} took over; longest gap {gap:.1f} s"
        print(line, flush=True)
        self.start_server(server)
        back = self.running[server]
        wait_for(f"{back} to have the cluster's time", lambda: self.has_time(back), PATIENCE_S)
        self.pass_time(2 * self.options.interval)

    def agreed(self):
        """Waits until one server is active and all others that run follow it. Returns its place."""

        def one():
            states = [(self.status(name) or {}).get("replica") for name in self.running.values()]
            if None in states:
                return None
            active = [state for state in states if state["role"] == "active"]
            if len(active) != 1:
                return None
            active = active[0]
            followed = all(
                state["service"] == "served" and state["term"] == active["term"] for state in states
            )
            return active["rank"] if followed and active["standbys"] == len(states) - 1 else None

        return wait_for("one active server, which all others follow", one, PATIENCE_S)

    def has_time(self, name):
        return any(tick["bound_ns"] is not None for tick in self.events(name, "tick"))

    def newest(self):
        """The newest reading of the oscillator that a client has told."""
        return max(tick["raw_ns"] for tick in self.events(self.clients[0], "tick"))

    def pass_time(self, seconds):
        end = self.newest() + int(seconds * 1e9)
        wait_for("time to pass", lambda: self.newest() > end, 2 * seconds + PATIENCE_S, pause_s=0.5)

    def is_corrected(self, client, since):
        return any(event["raw_ns"] > since for event in self.events(client, "corrected"))

    def longest_gap(self, since):
        """The longest time (s) without corrections that ended after this reading, and which client had it."""
        found = (0.0, "")
        for client in self.clients:
            times = [event["raw_ns"] for event in self.events(client, "corrected")]
            gaps = (after - before for before, after in itertools.pairwise(times) if after >= since)
            found = max(found, (max(gaps, default=0) / 1e9, client))
        return found

    def judge(self):
        series, bounds = {}, {}
        for name in self.all:
            ticks = [tick for tick in self.events(name, "tick") if tick["bound_ns"] is not None]
            series[name] = [(tick["raw_ns"], tick["cluster_ns"]) for tick in ticks]
            bounds[name] = [(tick["raw_ns"], tick["bound_ns"]) for tick in ticks]
        apart, share, compared = self.compare(series, bounds)
        steps = sum(
            event["adjustment"] == "step" and event["raw_ns"] > self.settled
            for client in self.clients
            for event in self.events(client, "corrected")
        )
        gap, client = self.longest_gap(self.settled)
        rounds = gap / self.options.interval
        print(
            f"{self.options.kills} times: without corrections for {gap:.1f} s at most ({client};"
            f" {rounds:.1f} rounds); {apart / 1e3:.1f} µs apart at most, {share * 100:.0f} % of the bounds at most,"
            f" over {compared} comparisons; {steps} steps"
        )
        return int(rounds > MOST_ROUNDS or share > 1 or steps > 0 or compared == 0)

    def compare(self, series, bounds):
        """How far two clocks were apart at most (ns), by which share of their bounds, and how often compared."""
        apart, share, compared = 0, 0.0, 0
        ended = max(times[-1][0] for times in series.values())
        for moment in range(self.settled, ended, MOMENTS_NS):
            shown = {name: reading(each, moment) for name, each in series.items() if each}
            shown = {name: time for name, time in shown.items() if time is not None}
            for one, other in itertools.combinations(shown, 2):
                between = abs(shown[one] - shown[other])
                apart, compared = max(apart, between), compared + 1
                share = max(share, between / (stated(bounds[one], moment) + stated(bounds[other], moment)))
        return apart, share, compared


if __name__ == "__main__":
    sys.exit(main())
