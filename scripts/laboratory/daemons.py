"""What keeps the machines' clocks: how it is started and stopped, and what it says about itself."""

import json
import shlex

SERVER = "server.lan"


class Meantime:
    name = "meantime"
    join_at = SERVER

    def __init__(self, clock="system"):
        self.clock = clock
        self.keys = {}  # the texts of the nodes' key files, where there are keys

    def start(self, machine):
        role = "server" if machine.number == 0 else f"client {self.join_at}"
        options = f"--clock {self.clock_on(machine)} --output json --tick 1s {self.options(machine)}"
        started(machine, f"meantime {role} {options}", "/run/events")

    def clock_on(self, machine):
        return self.clock

    def options(self, machine):
        return ""

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


class Led(Meantime):
    """meantime where the system clock of one machine is the reference, which chronyd keeps: the server follows
    it by the machine's name. All nodes have keys, so no other machine can take that name."""

    def __init__(self, meantime):
        super().__init__(meantime.clock)
        self.keys = meantime.keys

    def start(self, machine):
        if machine.number == 0:
            machine.run("meantime keygen /run/key")
            for name in CLIENTS:
                machine.run(f"meantime keygen --for {name} --from /run/key /run/{name}.key")
                self.keys[name] = machine.run(f"cat /run/{name}.key")
        else:
            text = shlex.quote(self.keys[machine.name])
            machine.run(f"umask 077; printf %s {text} >/run/key")
        super().start(machine)

    def clock_on(self, machine):
        return "overlay" if machine.name == REFERENCE else self.clock

    def options(self, machine):
        led = {"server": f"--follow-references {REFERENCE}", REFERENCE: "--reference system"}
        return f"--key-file /run/key {led.get(machine.name, '')}"

    def evidence(self, machine):
        events, log = super().evidence(machine)
        return events, log + (chronyc(machine) if machine.name == REFERENCE else "")


class Chrony:
    name = "chrony"
    clock = "system"

    def start(self, machine):
        start_chronyd(machine, CHRONY_SERVER if machine.number == 0 else CHRONY_CLIENT)

    def evidence(self, machine):
        """No events; the log, and what chronyc says at the end."""
        return [], chronyc(machine)


class ChronySource(Chrony):
    """chronyd on the machine outside of the cluster whose time is UTC: it serves that, and steers nothing."""

    def start(self, machine):
        start_chronyd(machine, ["local stratum 1", "allow 10.78.0.0/24"])


def start_chronyd(machine, lines, pid="/run/daemon.pid"):
    machine.run(f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} >/etc/chrony.conf")
    started(machine, "chronyd -n -u root -f /etc/chrony.conf", "/run/chronyd.log", pid)


def chronyc(machine):
    commands = "; ".join(f"chronyc -n {what}" for what in ("tracking", "sources", "ntpdata"))
    return machine.run(f"cat /run/chronyd.log /run/chronyd.log.err; {commands}")


UTC, REFERENCE, CLIENTS = "utc", "client-1", ("client-1", "client-2", "client-3")
# Without rtcsync chronyd does not tell the kernel that the clock is synchronized.
CHRONY_REFERENCE = ["server utc.outside iburst minpoll 2 maxpoll 2", "makestep 0.1 3", "rtcsync"]
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
