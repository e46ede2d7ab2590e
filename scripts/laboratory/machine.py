"""A virtual machine: its emulator, the shell in it, and the memory that it shares with the host."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import time

from .network import LAN, OUTSIDE

MEMORY_MIB = 128
PAGE_BYTES = 1 << 20
NICE = -10
PR_SET_PDEATHSIG = 1  # linux/prctl.h
SUBNETS = {LAN: 77, OUTSIDE: 78}


class Machine:
    """Starts to boot when it is made; `wait()` until it is there."""

    def __init__(self, number, plan, khz, image, network, directory):
        self.number, self.name, self.networks = number, plan.name, plan.networks
        self.path = lambda what: os.path.join(directory, f"{plan.name}.{what}")
        self.page_path = self.path("page")
        with open(self.page_path, "wb") as page:
            page.truncate(PAGE_BYTES)
        # The kernel gets the rate of its counter as a parameter, and has nothing else to find out by: so its
        # clock is really wrong.
        line = f"console=ttyS0 quiet panic=-1 no-kvmclock tsc=reliable tsc_early_khz={khz} pmtmr=0 lab.name={self.name}"
        command = [
            *(
                image.qemu,
                "-accel",
                image.accelerator,
                "-M",
                "pc,hpet=off",
                "-m",
                str(MEMORY_MIB),
                "-smp",
                "1",
            ),
            *(
                "-no-reboot",
                "-nodefaults",
                "-display",
                "none",
                "-kernel",
                image.kernel,
                "-initrd",
                image.initramfs,
            ),
            *("-append", line, "-rtc", "base=2026-03-01T12:00:00", "-serial", f"file:{self.path('console')}"),
            *("-qmp", f"unix:{self.path('qmp')},server=on,wait=off"),
            *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=shell"),
            *("-chardev", f"socket,id=shell,path={self.path('shell')},server=on,wait=off"),
            *("-object", f"memory-backend-file,id=page,share=on,size={PAGE_BYTES},mem-path={self.page_path}"),
            *("-device", "ivshmem-plain,memdev=page"),
        ]
        for name in self.networks:
            mac = f"52:54:00:{SUBNETS[name]}:00:{number + 1:02x}"
            tap = f"tap,id={name},ifname={network.port(number, name)},script=no,downscript=no"
            command += ["-netdev", tap]
            command += ["-device", f"virtio-net-pci,netdev={name},mac={mac},romfile="]
        self.process = subprocess.Popen(
            network.wrap(command), stdin=subprocess.DEVNULL, preexec_fn=take_part, start_new_session=True
        )
        self._shell = self._qmp = None
        self._count = 0
        try:
            deadline = time.monotonic() + 20
            self._shell = Channel(connect(self.path("shell"), deadline, self.process))
            self._qmp = Channel(connect(self.path("qmp"), deadline, self.process))
            self._qmp.until(b"\n", deadline)
            self._command("qmp_capabilities")
        except BaseException:
            self.end()
            raise

    def wait(self, seconds=90):
        """Until the shell in the machine answers."""
        self.run("true", seconds)

    def run(self, command, seconds=20):
        """What a command of the machine's shell prints; whatever it returns."""
        self._count += 1
        mark = f"--{self._count}--"
        # The mark must not stand in what is sent: a console might echo it.
        self._shell.send(f"{command}\necho; echo '--'{self._count}'--'\n".encode())
        text = self._shell.until(f"\n{mark}\n".encode(), time.monotonic() + seconds)
        return text.decode(errors="replace")

    def addresses(self):
        """Of each interface, in the order in which the kernel names them."""
        return [f"10.{SUBNETS[name]}.0.{self.number + 1}" for name in self.networks]

    def pause(self):
        self._command("stop")

    def resume(self):
        self._command("cont")

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for channel in (self._shell, self._qmp):
            if channel:
                channel.close()
        for what in ("qmp", "shell", "page"):
            if os.path.exists(self.path(what)):
                os.remove(self.path(what))

    def _command(self, name):
        self._qmp.send(json.dumps({"execute": name}).encode() + b"\n")
        while "return" not in (answer := json.loads(self._qmp.until(b"\n", time.monotonic() + 20))):
            if "error" in answer:
                raise RuntimeError(f"{self.name}: {name}: {answer['error']['desc']}")


class Channel:
    """Bytes to and from a socket, up to a mark."""

    def __init__(self, stream):
        self._stream, self._had = stream, b""

    def send(self, data):
        self._stream.settimeout(20)
        self._stream.sendall(data)

    def until(self, mark, deadline):
        while mark not in self._had:
            self._stream.settimeout(max(deadline - time.monotonic(), 0.01))
            more = self._stream.recv(1 << 16)
            if not more:
                raise RuntimeError("a machine has ended by itself")
            self._had += more
        text, self._had = self._had.split(mark, 1)
        return text

    def close(self):
        self._stream.close()


def connect(path, deadline, process):
    """A connection to the emulator, which makes its sockets when it gets to it."""
    while True:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(path)
            return stream
        except OSError:
            stream.close()
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the emulator does not start (exit code {process.poll()})") from None
            time.sleep(0.05)


def take_part():
    """In the new process: it is not to outlive the laboratory, however that ends; and what else the host
    does shall not be what is measured."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICE)
    # Where a session is a group to the scheduler, what counts is the group's.
    if os.path.exists("/proc/self/autogroup"):
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(NICE))
