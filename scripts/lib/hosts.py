"""Hosts on this machine: network namespaces that veth pairs join to a bridge in one more namespace."""

import os
import shutil
import subprocess
import sys


class Hosts:
    """Hosts with these names, which have addresses of 10.97.0.0/24 in that order. Leaving the context removes
    them. Needs root and iproute2."""

    def __init__(self, names):
        if os.geteuid() or not shutil.which("ip"):
            sys.exit("network namespaces need root, and the command ip (Debian's package iproute2)")
        self.names = list(names)

    def __enter__(self):
        try:
            for name in ["switch", *self.names]:
                ip("netns", "add", namespace(name))
            switch = ["link add name lan type bridge", "link set lan up"]
            for name in self.names:
                switch += [f"link add {name} type veth peer name lan netns {namespace(name)}"]
                switch += [f"link set {name} master lan up"]
            batch("switch", switch)
            for name in self.names:
                batch(name, [f"address add {self.address(name)}/24 dev lan", "link set lan up", "link set lo up"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in ["switch", *self.names]:
            subprocess.run(["ip", "netns", "delete", namespace(name)], check=False, stderr=subprocess.DEVNULL)

    def address(self, name):
        return f"10.97.0.{self.names.index(name) + 1}"

    @staticmethod
    def wrapper(name):
        """What runs a command on a host, when it stands before that command."""
        return ["ip", "netns", "exec", namespace(name)]


def namespace(name):
    return f"meantime-{os.getpid()}-{name}"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def batch(name, lines):
    """Runs several commands of ip on a host."""
    command = ["ip", "-n", namespace(name), "-batch", "-"]
    subprocess.run(command, check=True, text=True, input="\n".join(lines) + "\n")
