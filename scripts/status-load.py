#!/usr/bin/env python3
"""Asks a server of many members how it stands, again and again, and looks at whether its rounds notice.

    scripts/status-load.py [--clients 10000] [--rounds 8]     # two minutes; MEANTIME=path uses that binary

The members are as light as section 11 of docs/PROTOCOL.md allows: they register, answer probes, and follow
corrections. They all live in this process, on loopback, each with a socket of its own. Prints how long an
answer takes, from the request to its last byte, and how far rounds are from their period, first left alone,
then while a process asks twice a second. This process takes processor time for playing the members: on few
processors the figures are upper limits.
"""

import argparse
import random
import resource
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from lib.cluster import Cluster
from lib.program import processor_time_s, release_binary

INTERVAL = 5.0
HEADER = struct.Struct(">HBBHHQQII")
REGISTER, CHALLENGE, WELCOME, PROBE, REPORT, CORRECTION = 1, 2, 3, 5, 6, 7


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=8, help="rounds of each of the two halves")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (options.clients + 100,) * 2)
    with tempfile.TemporaryDirectory() as directory, Cluster(release_binary(), directory) as cluster:
        arguments = ["--listen", "127.0.0.1:0", "--interval", "5s", "--burst", "1", "--output", "json"]
        arguments += [
            "--max-clients",
            options.clients,
            "--control",
            cluster.control(),
            "--log-level",
            "error",
        ]
        measure(options, cluster, cluster.start("server", "server", *arguments))


def measure(options, cluster, server):
    host, port = cluster.address().rsplit(":", 1)
    players = Players((host, int(port)), options.clients)
    players.play(until=lambda: players.synchronized >= options.clients, most=40 * INTERVAL)
    print(f"{players.synchronized} of {options.clients} members are synchronized", flush=True)
    # Newcomers are measured five times a round for 36 rounds, three minutes; what is looked for is there
    # before and after.
    used = [processor_time_s(server.pid)]
    alone = players.play(most=options.rounds * INTERVAL)
    used.append(processor_time_s(server.pid))
    asker = Asker(cluster.control())
    asked = players.play(most=options.rounds * INTERVAL)
    asker.stop()
    used.append(processor_time_s(server.pid))
    # In seconds of CLOCK_MONOTONIC_RAW.
    rounds = [event["raw_ns"] / 1e9 for event in cluster.events("server", "round_started")]
    for name, span in [("left alone", alone), ("asked", asked)]:
        inside = [at for at in rounds if span[0] <= at <= span[1]]
        off = [abs(b - a - INTERVAL) * 1e3 for a, b in zip(inside, inside[1:])]
        print(
            f"{name}: {len(off)} periods, off by {statistics.median(off):.1f} ms (median), {max(off):.1f} ms (most)"
        )
    took = sorted(asker.took)
    print(
        f"{len(took)} answers of {asker.size / 1e6:.2f} MB: {statistics.median(took):.0f} ms (median), {took[-1]:.0f} ms (most)"
    )
    more = (used[2] - used[1]) - (used[1] - used[0]) * (asked[1] - asked[0]) / (alone[1] - alone[0])
    print(f"the server's processor time for each answer: {more * 1e3 / len(took):.0f} ms")
    with open(f"/proc/{server.pid}/status", encoding="utf-8") as status:
        print(next(line.strip() for line in status if line.startswith("VmHWM")))


def raw():
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


class Players:
    """All members, in one loop."""

    def __init__(self, server, count):
        self.epoll, self.members, self.synchronized = select.epoll(), {}, 0
        self.waiting = [self.member(server, number) for number in range(count)]
        self.unanswered = []

    def member(self, server, number):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(server)
        sock.setblocking(False)
        self.epoll.register(sock, select.EPOLLIN)
        member = Member(sock, f"member-{number}".encode())
        self.members[sock.fileno()] = member
        return member

    def play(self, most, until=lambda: False):
        begun = raw()
        while raw() < begun + most and not until():
            # Not all at once: a few hundred registrations a second and more, and those again that were lost.
            for _ in range(min(40, len(self.waiting))):
                member = self.waiting.pop()
                member.register(0)
                self.unanswered.append((raw(), member))
            while self.unanswered and raw() - self.unanswered[0][0] > 2.0:
                _, member = self.unanswered.pop(0)
                if not member.session:
                    self.waiting.append(member)
            for fd, _ in self.epoll.poll(0.02, 1024):
                self.synchronized += self.members[fd].receive()
        return begun, raw()


class Member:
    """The smallest correct client."""

    def __init__(self, sock, name):
        self.sock, self.name = sock, name
        self.sender, self.nonce = random.getrandbits(63) | 1, random.getrandbits(64)
        self.session = self.sequence = self.state = self.applied = self.ahead = 0
        self.memory = {}

    def send(self, kind, body, round_=0, sequence=0):
        header = HEADER.pack(0x4D54, 1, kind, self.state, 0, self.sender, self.session, sequence, round_)
        try:
            self.sock.send(header + body.ljust(64, b"\0"))
        except OSError:
            pass

    def register(self, cookie):
        self.send(REGISTER, struct.pack(">QQQ", self.nonce, cookie, 0) + self.name.ljust(24, b"\0"))

    def receive(self):
        """Handles one datagram; 1 if the clock is synchronized by it."""
        try:
            datagram = self.sock.recv(128)
        except OSError:
            return 0
        came = time.time_ns()
        _, _, kind, _, _, _, session, _, round_ = HEADER.unpack_from(datagram)
        if kind == PROBE:
            self.sequence += 1
            self.memory = {
                self.sequence: self.ahead,
                self.sequence - 1: self.memory.get(self.sequence - 1, 0),
            }
            nonce = datagram[32:40]
            rest = struct.pack(
                ">IiiIiIII", time.time_ns() - came, 0, 0, 0xFFFFFFFF, 0, self.applied, 0xFFFFFFFF, 0xFFFFFFFF
            )
            self.send(REPORT, nonce + struct.pack(">q", came + self.ahead) + rest, round_, self.sequence)
        elif kind == CORRECTION:
            about, _, correction = struct.unpack_from(">IIq", datagram, 32)
            if about in self.memory and about > self.applied:
                self.ahead, self.applied = self.memory[about] + correction, about
                first, self.state = self.state == 0, 1
                return int(first)
        elif kind == CHALLENGE:
            self.register(struct.unpack_from(">Q", datagram, 40)[0])
        elif kind == WELCOME:
            self.session, self.sequence = session, 0
        return 0


class Asker:
    """A process that asks for the status twice a second."""

    def __init__(self, path):
        self.took, self.size = [], 0
        self.output = tempfile.TemporaryFile(mode="w+")
        code = (
            "import socket,sys,time\n"
            "s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n"
            "while True:\n"
            ' t=time.monotonic();s.sendall(b\'{"request":"status"}\\n\');n=0\n'
            " while True:\n"
            "  b=s.recv(1<<20);n+=len(b)\n"
            "  if not b or b.endswith(b'\\n'):break\n"
            " print((time.monotonic()-t)*1e3,n,flush=True)\n"
            " time.sleep(0.5)\n"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code, path], stdout=self.output)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.output.seek(0)
        for line in self.output:
            took, size = line.split()
            self.took.append(float(took))
            self.size = int(size)


if __name__ == "__main__":
    main()
