"""What the machines are started from: Debian's kernel, and an initramfs with the programs."""

import os
import shlex
import subprocess

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ("ip", "tc", "chronyd", "chronyc")
MODULES = ("virtio_pci", "virtio_net", "virtio_console", "veth")
MODULES += ("sch_netem", "sch_ingress", "cls_matchall", "act_mirred", "act_gact")


class NotHad(Exception):
    """Something that the laboratory needs cannot be had here."""


class Image:
    """Kernel, initramfs, and what emulates the machine."""

    def __init__(self, directory, target):
        had = check_packages()
        self.kernel, self.qemu, self.accelerator = had["kernel"], had["qemu"], had["accelerator"]
        self.witness = os.path.join(target, "release", "witness")
        self.initramfs = os.path.join(directory, "initramfs")
        items = [f"program:{had[name]}" for name in PROGRAMS]
        for name in ("meantime", "witness"):
            # Half of a machine's memory is for its files: what a debugger would read does not go in.
            program = os.path.join(directory, name)
            subprocess.run(["strip", "-o", program, os.path.join(target, "release", name)], check=True)
            items.append(f"program:{program}")
        items += [f"file:{had['TC_LIB_DIR']}/normal.dist:/usr/lib/tc/normal.dist"]
        items += [f"module:{name}" for name in MODULES]
        main = os.path.join(SCRIPTS, "laboratory", "main.sh")
        subprocess.run([f"{SCRIPTS}/vm/initramfs.sh", self.initramfs, main, *items], check=True)


def check_packages():
    """Where the parts of Debian's packages are, by name. Raises NotHad if one is missing and cannot be
    fetched."""
    command = [f"{SCRIPTS}/vm/fetch.sh", "kernel", "busybox", "iproute2", "chrony", "qemu"]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        raise NotHad(fetched.stderr.strip() or "Debian's packages cannot be had")
    return dict(shlex.split(line)[0].split("=", 1) for line in fetched.stdout.splitlines())


def build(target):
    """The observed programs and the observer, as users build them."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--workspace", "--bins"]
    subprocess.run(command, check=True, env={**os.environ, "CARGO_TARGET_DIR": target})
