#!/usr/bin/env bash
# Endurance of real processes: a server and some clients on loopback, for an hour, while clients come and go
# and stand still.
#
#   scripts/soak.sh [--seconds N] [--clients N]     3600 s and 8 clients unless given
#   scripts/soak.sh --simulated DAYS                the same in the simulator: months of random faults
#
# Looks every ten seconds at memory and file descriptors of every process, and at the end at the rounds: none
# may be missing, and each must have begun within 50 ms of its time. Exits 0 if memory and descriptors are
# flat after the first sixth, the rounds kept their time, and all clocks agree. docs/RELIABILITY.md has what
# came of it. MEANTIME=path/to/meantime uses that binary.
exec python3 -u "$(dirname "$0")/soak.py" "$@"
