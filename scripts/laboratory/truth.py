"""What the machines' clocks show at one and the same moment, by the host's counter.

The memory that is read here is laid out in `witness/src/page.rs`.
"""

import mmap
import os
import struct
import subprocess
import time

PLAYED, ORIGIN, PERIOD, COUNT = 1, 7, 8, 9
SAMPLES, SAMPLE_WORDS = 512, 5


class Counter:
    """The host's time stamp counter."""

    def __init__(self, witness):
        self.witness = witness
        text = subprocess.run([witness, "counter"], check=True, capture_output=True, text=True).stdout
        self._began = time.monotonic()
        self._first, self.khz = int(text.split()[0]), float(text.split()[1])

    def now(self):
        """Where it stands, to some milliseconds: good enough to say when something was done."""
        return self._first + round((time.monotonic() - self._began) * self.khz * 1e3)

    def nanoseconds(self, counts):
        return counts / self.khz * 1e6


class Page:
    """A machine's memory that the host sees."""

    def __init__(self, machine, counter):
        self.machine, self.counter = machine, counter
        with open(machine.page_path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        # From which sample on, and the machine's counter minus the host's: minimum and maximum.
        self._behind = []

    def relate(self):
        """Relates the machine's counter to the host's, again or (after a pause) anew."""
        for _ in range(TRIES):
            least, most = self._play()
            if most - least < self.counter.khz * GOOD_NS / 1e6:
                break
        else:
            raise RuntimeError(
                f"{self.machine.name}: its counter cannot be related to the host's ({least} to {most})"
            )
        if self._behind:
            # All sessions speak of the same constant, and each may bound it better.
            since, known_least, known_most = self._behind.pop()
            least, most = max(least, known_least), min(most, known_most)
        else:
            since = 0
        if least > most:
            # The processors' counters may be some nanoseconds apart, and the machine moves from one to
            # another.
            moved_ns = self.counter.nanoseconds(least - most)
            if moved_ns > APART_NS:
                raise RuntimeError(
                    f"{self.machine.name}: its counter has moved against the host's by {moved_ns:.0f} ns"
                )
            least, most = most, least
        self._behind.append((since, least, most))

    def _play(self):
        command = [self.counter.witness, "relate", self.machine.page_path]
        run = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=come_first)
        return map(int, run.stdout.split())

    def paused(self):
        """The counter has stood still: what comes from now on belongs to the next `relate()`."""
        self._behind.append((self.count(), -1 << 63, 1 << 63))

    def of_host(self, counter):
        """The machine's counter when the host's is that."""
        _, least, most = self._behind[-1]
        return counter + (least + most) // 2

    def sample_from(self, host_counter, period_counts):
        """Wants samples each so many counts, from that one on; which may be before the machine was there."""
        periods = max(self.counter.now() - host_counter, 0) // period_counts + 1
        self._write(ORIGIN, self.of_host(host_counter + periods * period_counts))
        self._write(PERIOD, period_counts)

    def count(self):
        return self._read(COUNT)

    def uncertainty_ns(self):
        """Half of the widest interval that a relation left."""
        return self.counter.nanoseconds(max(most - least for _, least, most in self._behind) / 2)

    def samples(self):
        """For each sample: the host's counter and the clock's time, the host's counter and the oscillator's
        time, and how many ns the reading took."""
        found = []
        for index in range(self.count()):
            place = (SAMPLES + index * SAMPLE_WORDS) * 8
            real_at, real, raw_at, raw, width = struct.unpack_from("<5Q", self._memory, place)
            _, least, most = next(known for known in reversed(self._behind) if known[0] <= index)
            behind = (least + most) // 2
            found.append((real_at - behind, real, raw_at - behind, raw, self.counter.nanoseconds(width)))
        return found

    def close(self):
        self._memory.close()

    def _read(self, word):
        return struct.unpack_from("<Q", self._memory, word * 8)[0]

    def _write(self, word, value):
        struct.pack_into("<Q", self._memory, word * 8, value)


def come_first():
    """In a new process: it is there whenever the machine runs, or a busy machine would never be answered in
    time. It works for less than a second."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


# A session gives this mostly at once; on a busy host it may take some.
GOOD_NS = 300
# What two sessions may contradict one another by; what remains is stated as the uncertainty.
APART_NS = 1000
TRIES = 10
