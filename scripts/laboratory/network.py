"""A network of its own for the machines: a bridge with a port for each, in a namespace that nothing else is
in."""

import os
import subprocess


class Network:
    def __init__(self, count):
        self.namespace = f"meantime-lab-{os.getpid()}"
        run("ip", "netns", "add", self.namespace)
        try:
            self._in("ip", "link", "add", "lan", "type", "bridge", "stp_state", "0", "forward_delay", "0")
            # Without addresses the host says nothing on this network.
            self._in("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            self._in("ip", "link", "set", "lan", "up")
            for port in map(self.port, range(count)):
                self._in("ip", "tuntap", "add", port, "mode", "tap")
                self._in("ip", "link", "set", port, "master", "lan", "up")
        except BaseException:
            self.end()
            raise

    @staticmethod
    def port(number):
        return f"port{number}"

    def wrap(self, command):
        """The command, in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def plug(self, number, connected):
        """Connects a machine's cable, or pulls it out."""
        self._in(
            "ip",
            "link",
            "set",
            self.port(number),
            "master" if connected else "nomaster",
            *["lan"] * connected,
        )

    def frames(self, number):
        """How many frames a machine has sent and received."""
        names = ("rx_packets", "tx_packets")
        paths = [f"/sys/class/net/{self.port(number)}/statistics/{name}" for name in names]
        # A namespace's /sys shows the namespace's interfaces.
        text = subprocess.run(self.wrap(["cat", *paths]), check=True, capture_output=True, text=True).stdout
        return tuple(map(int, text.split()))

    def end(self):
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False)

    def _in(self, *command):
        run(*self.wrap(command))


def run(*command):
    subprocess.run(command, check=True)
