"""Nodes of the program on this machine, each a process with files of its own in one directory."""

import json
import os
import signal
import subprocess

from .events import events
from .waiting import wait_for

STOP_S = 20.0


def stop(process, how=signal.SIGTERM, limit_s=STOP_S):
    """Ends a process with a signal; kills it if it has not ended after `limit_s`. Returns whether it has ended
    without being killed."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
    return True


class Cluster:
    """Processes by name. Leaving the context ends them, the last one that was started first. A process that does
    not end by itself is killed, and that is a failure.

    A node's output is in NAME.out, its log in NAME.err, its control socket is NAME.sock.
    """

    def __init__(self, program, directory):
        os.makedirs(directory, exist_ok=True)
        self.program, self.directory = program, directory
        self.processes = {}

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        killed = self.stop_all()
        if killed and error is None:
            raise SystemExit(f"FAILED: had to be killed: {', '.join(killed)}")

    def path(self, name, kind="out"):
        """A file of a node. A name may have any characters; the file's name has letters, digits and hyphens
        only."""
        plain = "".join(each if each.isalnum() else "-" for each in name)
        return os.path.join(self.directory, f"{plain}.{kind}")

    def control(self, name="server"):
        return self.path(name, "sock")

    def start(self, name, *arguments, append=False, wrapper=(), environment=None):
        """Starts the program with these arguments. `append` keeps what an earlier process of this name has
        printed."""
        command = [*wrapper, self.program, *arguments]
        mode = "ab" if append else "wb"
        with open(self.path(name), mode) as out, open(self.path(name, "err"), mode) as err:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
            )
        return self.processes[name]

    def stop(self, name, how=signal.SIGTERM, limit_s=STOP_S):
        if not stop(self.processes.pop(name), how, limit_s):
            raise SystemExit(f"FAILED: {name} has not ended within {limit_s:.0f} s of {how.name}")

    def stop_all(self):
        """Ends all processes. Returns the names of those that had to be killed."""
        names = reversed(list(self.processes))
        return [name for name in names if not stop(self.processes.pop(name))]

    def printed(self, name):
        """What a node has printed so far."""
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def events(self, name, kind=None):
        """What a node that runs with `--output json` has printed so far."""
        return events(self.path(name), kind)

    def wait_for_event(self, name, kind, limit_s=STOP_S):
        """The first event of a kind."""

        def first():
            ended = self.processes[name].poll()
            found = self.events(name, kind)
            if ended is not None and not found:
                with open(self.path(name, "err"), encoding="utf-8", errors="replace") as log:
                    raise SystemExit(
                        f"FAILED: {name} has ended with exit code {ended}\n{log.read()}".rstrip()
                    )
            return found

        return wait_for(f"the event '{kind}' of {name}", first, limit_s)[0]

    def address(self, name="server"):
        """Where a server that runs with `--output json` listens."""
        return self.wait_for_event(name, "listening")["address"]

    def ask(self, *arguments, name="server"):
        """Runs a command of the program that asks a node."""
        command = [self.program, *arguments, "--control", self.control(name)]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def status(self, name="server"):
        """The node's answer to `status --json`; None if it gives none."""
        answer = self.ask("status", "--json", name=name)
        return json.loads(answer.stdout) if answer.returncode == 0 else None
