#!/usr/bin/env python3
"""Looks at `meantime status` and `meantime watch` of a real cluster on real terminals, those of tmux.

    scripts/terminal-test.py                    # a minute; MEANTIME=path uses that binary
    scripts/terminal-test.py --keep DIRECTORY   # puts there what was on the screens

Terminals of 80 x 24 and of 200 x 60. What a screen shows of the members has to be what `status --json` says
at the same time, to the letter. Needs tmux; `scripts/check.sh --install` installs it. Says NOT RUN without
it, and exits with 77.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from lib import cluster as nodes
from lib.installing import why_missing
from lib.program import release_binary
from lib.waiting import WAIT_S, wait_for

SIZES = [(80, 24), (200, 60)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", metavar="DIRECTORY", help="put what was on the screens there")
    options = parser.parse_args()
    if why := why_missing("tmux", "tmux"):
        print(f"NOT RUN: status and watch on terminals: {why}")
        sys.exit(77)
    binary = release_binary()
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} is not a program; cargo build --release makes it")
    if options.keep:
        os.makedirs(options.keep, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, Cluster(binary, directory) as cluster:
        cluster.settle()
        for columns, lines in SIZES:
            with Terminal(columns, lines, directory, options.keep) as terminal:
                check_status(cluster, terminal)
                check_watch(cluster, terminal)
        with Terminal(*SIZES[0], directory, options.keep) as terminal:
            check_resize(cluster, terminal)
            check_restart(cluster, terminal)
    print("status and watch show what is, on terminals of " + " and ".join(f"{c} x {l}" for c, l in SIZES))


class Cluster(nodes.Cluster):
    """A server and three clients, one of which has no vote."""

    NAMES = ["attic", "barn", "cellar"]

    def __enter__(self):
        self.start_server("127.0.0.1:0")
        for number, name in enumerate(self.NAMES):
            wrong = [
                "--simulate-offset",
                f"{number * 2 - 1}.5s",
                "--simulate-drift",
                f"{number * 30 - 20}ppm",
            ]
            self.start(name, "client", self.address(), "--name", name, *wrong)
        return self

    def start_server(self, listen):
        options = ["--interval", "1s", "--output", "json", "--control", self.control()]
        self.start("server", "server", "--listen", listen, *options)

    def settle(self):
        """Until all are synchronized and measured once a round only, so that two looks can show the same."""

        def is_settled():
            status = self.status()
            members = status["clients"] if status else []
            old = all(member["admitted_ago_ns"] > 27e9 for member in members)
            return len(members) == 3 and old and all(member["state"] == "synchronized" for member in members)

        wait_for("the cluster to settle", is_settled, 2 * WAIT_S)
        removed = self.ask("members", "remove", "cellar")
        expect(removed.returncode == 0, f"cellar cannot be removed: {removed.stderr}")
        wait_for("a round without cellar", lambda: (self.status()["last_round"] or {}).get("members") == 3)


class Terminal:
    """A terminal of tmux, of a server of its own."""

    started = 0

    def __init__(self, columns, lines, directory, keep):
        Terminal.started += 1
        # The one before may still be about to end.
        self.socket = f"meantime-test-{os.getpid()}-{Terminal.started}"
        self.columns, self.lines, self.keep = columns, lines, keep
        self.shell = ["env", "-u", "NO_COLOR", "PS1=READY ", "sh"]

    def __enter__(self):
        size = ["-x", str(self.columns), "-y", str(self.lines)]
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, *self.shell)
        self.wait("READY")
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True, check=False)

    def tmux(self, *arguments):
        return subprocess.run(
            ["tmux", "-L", self.socket, *arguments], capture_output=True, text=True, check=True
        ).stdout

    def type(self, text):
        self.tmux("send-keys", text, "Enter")

    def key(self, key):
        self.tmux("send-keys", key)

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self):
        return self.tmux("capture-pane", "-p").split("\n")

    def colours(self):
        return self.tmux("capture-pane", "-p", "-e")

    def wait(self, text):
        def shown():
            screen = self.screen()
            return screen if any(text in line for line in screen) else None

        return wait_for(f"'{text}' on the screen", shown, screen=lambda: "\n".join(self.screen()))

    def save(self, name):
        if self.keep:
            path = os.path.join(self.keep, f"{name}-{self.columns}x{self.lines}.txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(self.screen()))


def check_status(cluster, terminal):
    """What `status` prints is what the JSON says, if nothing has changed between a look before and one
    after."""

    def look():
        terminal.type("clear; " + f"{cluster.program} status --control {cluster.control()}; echo DO''NE")
        before = cluster.status()
        screen = terminal.wait("DONE")
        return before, screen

    screen = same_in_both(cluster, look)
    expect(
        any("cellar is left out of the vote: removed by an operator" in line for line in screen),
        "who is out is said",
        screen,
    )
    expect("\x1b[32m" in terminal.colours(), "words are coloured on a terminal", screen)
    terminal.save("status")
    terminal.type("clear")
    terminal.wait("READY")


def check_watch(cluster, terminal):
    terminal.type(f"{cluster.program} watch --every 200ms --control {cluster.control()}")
    screen = terminal.wait("HISTORY")
    expect(
        ("ADDRESS" in "".join(screen)) == (terminal.columns > 100),
        "addresses stand where there is room",
        screen,
    )

    def look():
        before = cluster.status()
        time.sleep(0.45)
        return before, terminal.screen()

    screen = same_in_both(cluster, look)
    for words in ["EVENTS", "got connected successfully", "q: quit", "Removed from the vote by hand: cellar"]:
        expect(any(words in line for line in screen), f"'{words}' is on the screen", screen)

    def has_bars():
        return any(
            line.startswith("attic") and re.search("[▁▂▃▄▅▆▇█]{8}", line) for line in terminal.screen()
        )

    wait_for("eight rounds as bars", has_bars, screen=lambda: "\n".join(terminal.screen()))
    terminal.key("n")
    terminal.key("r")

    def is_reversed():
        rows = [
            line.split()[0]
            for line in terminal.screen()
            if line.split()[:1] and line.split()[0] in Cluster.NAMES
        ]
        return rows[:3] == Cluster.NAMES[::-1]

    wait_for("the members in the other order", is_reversed)
    terminal.save("watch")
    quit_watch(terminal)


def check_resize(cluster, terminal):
    terminal.type(f"{cluster.program} watch --every 200ms --control {cluster.control()}")
    terminal.wait("HISTORY")
    terminal.resize(200, 60)
    terminal.wait("ADDRESS")
    terminal.resize(80, 24)
    wait_for("a narrow screen", lambda: not any("ADDRESS" in line for line in terminal.screen()))
    terminal.resize(80, 10)
    screen = terminal.wait("attic")
    expect(any("Server synchronized" in line for line in screen), "the cluster's line stays", screen)
    terminal.save("watch")
    terminal.resize(80, 24)
    quit_watch(terminal)


def check_restart(cluster, terminal):
    terminal.type(f"{cluster.program} watch --every 200ms --control {cluster.control()}")
    terminal.wait("HISTORY")
    address = cluster.address()
    cluster.stop("server", signal.SIGKILL)
    terminal.wait("No answer")
    terminal.save("lost")
    cluster.start_server(address)
    wait_for("the server's answer", lambda: not any("No answer" in line for line in terminal.screen()))
    terminal.wait("adopted from")
    quit_watch(terminal)


def quit_watch(terminal):
    terminal.key("q")
    terminal.wait("READY")
    expect(
        not any("HISTORY" in line for line in terminal.screen()),
        "the screen of before is back",
        terminal.screen(),
    )


def group(member):
    """The unit whose votes a member shares, and its part of a vote."""
    shares = member["vote"] == "in" and member["weight"] < 1
    return member["group"] + (f", {member['weight']:.2f} votes" if shares else "")


def same_in_both(cluster, look):
    """Looks until the JSON before and after says the same of the members; then the screen has to say it,
    too."""
    for _ in range(200):
        before, screen = look()
        after = cluster.status()
        if before and after and figures(before) == figures(after):
            compare(after, screen)
            return screen
    sys.exit("the figures never stood still between two looks")


def figures(status):
    names = [
        "name",
        "state",
        "offset_ns",
        "offset_error_ns",
        "bound_ns",
        "delay_ns",
        "frequency_ppb",
        "heard",
        "rounds",
        "vote",
    ]
    return status["last_round"]["round"], [[member[name] for name in names] for member in status["clients"]]


def compare(status, screen):
    round_, text = status["last_round"], "\n".join(screen)
    for line in [
        f"Server {status['state']}, {len(status['clients'])} clients",
        f"{round_['members']} members, {round_['heard']} heard, {round_['agreeing']} agree within {span(round_['spread_ns'])}",
        f"Any two of the {round_['covered']} covered clocks differ by ",
        "at most now, guaranteed",
    ]:
        expect(line in text, f"'{line}' is on the screen", screen)
    titles = next(line for line in screen if line.startswith("NAME")).split()
    for member in status["clients"]:
        shown = {
            "NAME": member["name"],
            "STATE": {"synchronized": "sync"}.get(member["state"], member["state"]),
            "OFFSET": signed(member["offset_ns"]),
            "ERROR": span(member["offset_error_ns"]),
            "BOUND": span(member["bound_ns"]),
            "DELAY": span(member["delay_ns"]),
            "PPM": f"{member['frequency_ppb'] / 1e3:+.3f}",
            "ROUNDS": f"{member['heard']}/{member['rounds']}",
            "VOTE": member["vote"],
            "GROUP": group(member),
            "ADDRESS": member["address"],
        }
        # When it was last heard changes from one look to the next.
        row = [
            r"[\d.]+ \S+" if title == "HEARD" else re.escape(shown[title])
            for title in titles
            if title != "HISTORY"
        ]
        found = [line for line in screen if re.match(r"\s+".join(row) + r"\s", line + " ")]
        expect(len(found) == 1, f"the line of {member['name']}: {row}", screen)
    expect(
        {"NAME", "STATE", "OFFSET", "BOUND", "DELAY", "PPM", "VOTE", "HEARD"} <= set(titles),
        "the columns are there",
        screen,
    )


def span(ns):
    """A length of time as meantime prints it."""
    size = abs(ns)
    sign = "-" if ns < 0 else ""
    if size < 1_000:
        return f"{sign}{size} ns"
    for unit, most, name in [
        (1e3, 1e3, "µs"),
        (1e6, 1e3, "ms"),
        (1e9, 60, "s"),
        (60e9, 60, "min"),
        (3600e9, 24, "h"),
    ]:
        value = size / unit
        tenths = 1 if int(value * 10 + 0.5) < 1_000 else 0
        if int(value * 10**tenths + 0.5) / 10**tenths < most:
            return f"{sign}{value:.{tenths}f} {name}"
    return f"{sign}{size / 86_400e9:.0f} d"


def signed(ns):
    return ("+" if ns >= 0 else "") + span(ns)


def expect(holds, what, screen=()):
    if not holds:
        sys.exit(f"not so: {what}\n" + "\n".join(screen))


if __name__ == "__main__":
    main()
