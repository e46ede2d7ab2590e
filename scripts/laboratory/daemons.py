"""What keeps the machines' clocks: how it is started and stopped, and what it says about itself."""

import json
import shlex

SERVER = "server.lan"


class Meantime:
    name = "meantime"
    join_at = SERVER

    def __init__(self, clock="system"):
        self.clock = clock

    def start(self, machine):
        role = "server" if machine.number == 0 else f"client {self.join_at}"
        started(machine, f"meantime {role} --clock {self.clock} --output json --tick 1s", "/run/events")

    def evidence(self, machine):
        """Its events, and what it has logged."""
        lines = machine.run("cat /run/events", seconds=60).splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return events, machine.run("cat /run/events.err")


class LiedFor(Meantime):
    """meantime on a machine where an attacker on the path falsifies its reports: its clock seems to be a
    second ahead."""

    join_at = "127.0.0.1"

    def start(self, machine):
        started(machine, f"witness lie {10**9} {SERVER}", "/run/liar", pid="/run/liar.pid")
        super().start(machine)


class Chrony:
    name = "chrony"
    clock = "system"

    def start(self, machine):
        lines = CHRONY_SERVER if machine.number == 0 else CHRONY_CLIENT
        machine.run(f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} >/etc/chrony.conf")
        started(machine, "chronyd -n -u root -f /etc/chrony.conf", "/run/events")

    def evidence(self, machine):
        """No events; the log, and what chronyc says at the end."""
        commands = "; ".join(f"chronyc -n {what}" for what in ("tracking", "sources", "ntpdata"))
        return [], machine.run(f"cat /run/events /run/events.err; {commands}")


CHRONY_SERVER = ["local stratum 8", "allow 10.77.0.0/24"]
CHRONY_CLIENT = [f"server {SERVER} iburst minpoll 2 maxpoll 2", "makestep 0.1 3"]


class NoDaemon:
    """No daemon steers the clocks: this shows how well they are observed."""

    name = "none"
    clock = "system"

    def start(self, machine):
        pass

    def evidence(self, machine):
        return [], ""


def started(machine, command, output, pid="/run/daemon.pid"):
    machine.run(f"{command} </dev/null >>{output} 2>>{output}.err & echo $! >{pid}")


def kill(machine):
    """Kills the daemon that steers this machine's clock: it cannot say goodbye."""
    machine.run("kill -KILL $(cat /run/daemon.pid)")
