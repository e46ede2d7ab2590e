"""The networks of the machines: for each a bridge with a port for each of its machines, in a namespace that
nothing else is in."""

import os
import subprocess


LAN, OUTSIDE = "lan", "outside"  # all of the cluster are on the first


class Network:
    def __init__(self, machines):
        """`machines`: the names of the networks that each is on."""
        self.namespace = f"meantime-lab-{os.getpid()}"
        run("ip", "netns", "add", self.namespace)
        try:
            # Without addresses the host says nothing on these networks.
            self._in("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            for name in sorted(set().union(*machines)):
                self._in("ip", "link", "add", name, "type", "bridge", "stp_state", "0", "forward_delay", "0")
                self._in("ip", "link", "set", name, "up")
            for number, names in enumerate(machines):
                for name in names:
                    self._in("ip", "tuntap", "add", self.port(number, name), "mode", "tap")
                    self._in("ip", "link", "set", self.port(number, name), "master", name, "up")
        except BaseException:
            self.end()
            raise

    @staticmethod
    def port(number, name=LAN):
        return f"{name}-{number}"

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
            *[LAN] * connected,
        )

    def frames(self, number):
        """How many frames a machine has sent and received on the first network."""
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
