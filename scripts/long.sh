#!/bin/sh
# The long simulations, too long for the full check: thirty days at 20 % loss, one exchange a round, for the
# cluster's rate; a day of clusters in agreement; ten thousand worlds of random faults; and the long tests
# with all their worlds, of which the full check runs a sample.
#
#   scripts/long.sh [DAYS [WORLDS]]     30 days and 10000 worlds unless given; about an hour
#   MEANTIME_WORLDS=all scripts/test.sh --long      the long tests alone, half an hour on two processors
#
# Prints a line for each run, and exits 1 if any of them broke its limit.
set -eu
cd "$(dirname "$0")/.."

case ${1:-} in
*[!0-9]*)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
esac
days=${1:-30}
worlds=${2:-10000}
failed=0

cargo build --release --quiet
meantime=${CARGO_TARGET_DIR:-target}/release/meantime

# The value of a field in the summary line on stdin.
field() {
    sed -n '/"event":"summary"/s/.*"'"$1"'":\([^,}]*\).*/\1/p'
}

# below NAME VALUE LIMIT: complains unless VALUE is a number below LIMIT.
below() {
    if ! awk -v value="$2" -v limit="$3" 'BEGIN { exit !(value ~ /^[0-9.e+-]+$/ && value + 0 < limit + 0) }'; then
        echo "FAILED: $1 is $2, not below $3"
        failed=1
    fi
}

# rate CLIENTS WANDER LIMIT_PPB: the cluster's rate against its members', RMS of hourly means.
rate() {
    summary=$("$meantime" simulate --clients "$1" --wander "$2" --duration "${days}d" --settle 3h \
        --burst 1 --loss 0.2 --seed 1 --output json)
    rms=$(echo "$summary" | field rate_rms_ppb)
    max=$(echo "$summary" | field rate_max_ppb)
    apart=$(echo "$summary" | field pairwise_rms_ns)
    echo "$days days, $1 clients, wander $2: rate $rms ppb RMS, $max ppb at most; clocks $apart ns RMS apart"
    below "rate error" "$rms" "$3"
}

# day CLIENTS LOSS: a day with the default link; two clocks are never 100 µs apart.
day() {
    summary=$("$meantime" simulate --clients "$1" --loss "$2" --duration 1d --settle 1000s --seed 1 \
        --output json)
    rms=$(echo "$summary" | field pairwise_rms_ns)
    max=$(echo "$summary" | field pairwise_max_ns)
    echo "1 day, $1 clients, loss $2: clocks $rms ns RMS, $max ns at most apart"
    below "disagreement in ns" "$max" 100000
}

for clients in 2 3 8 15; do
    rate "$clients" 1e-9 15
    rate "$clients" 1e-8 100
done
for clients in 3 8; do
    day "$clients" 0
    day "$clients" 0.2
done
seed=1000
while [ "$seed" -lt $((1000 + worlds)) ]; do
    if ! "$meantime" simulate --faults-seed "$seed" --output json >/dev/null; then
        failed=1
    fi
    seed=$((seed + 1))
done
echo "$worlds worlds of random faults, seeds 1000 to $((999 + worlds))"
echo "the long tests, with all their worlds"
MEANTIME_WORLDS=all scripts/test.sh --long --no-fail-fast || failed=1
exit "$failed"
