#!/usr/bin/env bash
# Shows a cluster on this machine: one server and some clients whose clocks are seconds apart and drift.
#
#   scripts/demo.sh [CLIENTS] [--seconds N] [--servers 2] [--watch]
#
# With --servers 2 there are two servers. The active one is killed in the middle, while the lines run, and the
# other one takes over.
# With --watch it shows the cluster live (`meantime watch` at its server) until you quit that, instead of what
# the nodes print. Draws at the end what the server has recorded, in target/demo.svg. Exits 0 only if the
# clocks really agreed within a millisecond: measured here, from pairs of readings (the host's oscillator, the
# node's time) that every node prints, and not from what the nodes claim. MEANTIME=path/to/meantime uses that
# binary instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

clients=3
seconds=
watch=
servers=1
limit_ns=1000000
points=10 # how many moments of the last second or so are compared

usage() {
    echo "usage: scripts/demo.sh [CLIENTS] [--seconds N] [--servers 2] [--watch]" >&2
    echo "       1 to 50 clients, 5 to 3600 seconds (with two servers at least 40)" >&2
    exit 2
}

while (($#)); do
    case $1 in
        --seconds) seconds=${2:-}; shift 2 || usage ;;
        --servers) servers=${2:-}; shift 2 || usage ;;
        --watch) watch=yes; shift ;;
        [0-9]*) clients=$1; shift ;;
        *) usage ;;
    esac
done
# With --watch the user decides how long; the clocks still need some rounds to agree.
[[ $servers == 1 || $servers == 2 ]] || usage
((servers == 1)) || : "${seconds:=60}"
: "${seconds:=${watch:+10}}" "${seconds:=25}"
[[ $clients =~ ^[0-9]{1,2}$ && $seconds =~ ^[0-9]{1,4}$ ]] || usage
((clients = 10#$clients, seconds = 10#$seconds, 1)) || usage
((clients >= 1 && clients <= 50 && seconds >= 5 && seconds <= 3600)) || usage
((servers == 1 || seconds >= 40)) || usage

if [[ -n $watch && ! ( -t 0 && -t 1 ) ]]; then
    echo "demo: --watch needs a terminal" >&2
    exit 2
fi

dir=$(mktemp -d)
names=() pids=() offsets=() drifts=()

# Ends every process that was started here, the clients first so that they can say goodbye.
stop_all() {
    local i tries
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || true
        for ((tries = 0; tries < 20; tries++)); do
            kill -0 "${pids[i]}" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL "${pids[i]}" 2>/dev/null || true
    done
    pids=()
    sleep 0.1 # the last lines are still on their way through the prefixes
}

finish() {
    trap - EXIT
    trap '' INT TERM
    stop_all
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "demo: $*" >&2
    cat "$dir"/*.log >&2 2>/dev/null || true
    exit 1
}

# Prefixes the lines of one node, and puts its ticks into a file instead.
label() {
    local name=$1 line
    trap '' INT TERM
    while IFS= read -r line; do
        case $line in
            'tick '*) echo "$line" >>"$dir/$name.ticks" ;;
            *)
                echo "$line" >>"$dir/$name.out"
                [[ -n $watch ]] || printf '%-9s | %s\n' "$name" "$line"
                ;;
        esac
    done
}

# start NAME OFFSET DRIFT ARGUMENT...
start() {
    local name=$1 offset=$2 drift=$3
    shift 3
    : >"$dir/$name.ticks"
    : >"$dir/$name.out"
    "$bin" "$@" --name "$name" --simulate-offset "$offset" --simulate-drift "$drift" \
        --tick 100ms --log-level error > >(label "$name") 2>"$dir/$name.log" &
    pids+=($!) names+=("$name") offsets+=("$offset") drifts+=("$drift")
}

all_alive() {
    local i
    for ((i = 0; i < ${#pids[@]}; i++)); do
        kill -0 "${pids[i]}" 2>/dev/null || fail "${names[i]} has died"
    done
}

# The address that a server printed.
server_address() {
    local tries address
    for ((tries = 0; tries < 100; tries++)); do
        address=$(awk '/^Clock server started on /{print $NF; exit}' "$dir/$1.out")
        [[ -n $address ]] && break
        all_alive
        sleep 0.1
    done
    [[ -n $address ]] || fail "the server did not start within ten seconds"
    echo "$address"
}

# reading NAME RAW: what the node's clock showed when the host's oscillator read RAW, by interpolation
# between two ticks. Whole numbers throughout: 19 digits are too many for awk's floating point.
reading() {
    local before_raw='' before_cluster='' raw cluster after
    while read -r _ raw cluster _; do
        raw=${raw#raw_ns=} cluster=${cluster#cluster_ns=}
        if ((raw >= $2)); then
            [[ -n $before_raw ]] || return 1
            ((after = $2 - before_raw, raw -= before_raw, cluster -= before_cluster, 1))
            # What the clock gained on the oscillator is small: nothing overflows.
            echo $((before_cluster + after + (cluster - raw) * after / raw))
            return 0
        fi
        before_raw=$raw before_cluster=$cluster
    done < <(tail -n 300 "$dir/$1.ticks")
    return 1
}

# The newest moments that every node has ticks before and after.
common_moments() {
    local name last newest=
    for name in "${names[@]}"; do
        last=$(awk 'END { sub("raw_ns=", "", $2); print $2 }' "$dir/$name.ticks")
        [[ $last =~ ^[0-9]+$ ]] || fail "$name has printed no ticks"
        if [[ -z $newest ]] || ((last < newest)); then newest=$last; fi
    done
    for ((last = 0; last < points; last++)); do echo $((newest - last * 100000000)); done
}

state() {
    awk 'END { sub("state=", "", $4); print $4 }' "$dir/$1.ticks"
}

# microseconds NS [+]: nanoseconds as microseconds; with a plus where that says something.
microseconds() {
    local ns=$1 sign=${2:-}
    if ((ns < 0)); then sign=- ns=$((-ns)); fi
    printf '%s%d.%03d µs' "$sign" $((ns / 1000)) $((ns % 1000))
}

# Compares all clocks at all moments; sets `worst` and, for the newest moment, `nows`.
compare() {
    local moment name own min max base
    worst=0 nows=()
    for moment in "$@"; do
        min='' max='' base=''
        for name in "${names[@]}"; do
            own=$(reading "$name" "$moment") || fail "$name has no ticks around the moment of comparison"
            : "${base:=$own}"
            if [[ -z $min ]] || ((own < min)); then min=$own; fi
            if [[ -z $max ]] || ((own > max)); then max=$own; fi
            if [[ $moment == "$1" ]]; then nows+=($((own - base))); fi
        done
        if ((max - min > worst)); then worst=$((max - min)); fi
    done
}

table() {
    local i
    printf '\n%-9s | %12s | %8s | %-14s | %s\n' node 'start offset' drift state 'ahead of the server now'
    for ((i = 0; i < ${#names[@]}; i++)); do
        printf '%-9s | %12s | %8s | %-14s | %s\n' "${names[i]}" "${offsets[i]}" "${drifts[i]}" \
            "${states[i]}" "$(microseconds "${nows[i]}" +)"
    done
    printf '\nThe two clocks farthest apart in the last second: %s\n' "$(microseconds "$worst")"
}

bin=${MEANTIME:-}
if [[ -z $bin ]]; then
    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
    echo "Building meantime (the first time, this takes about a minute) ..."
    cargo build --locked --profile demo --quiet || fail "the build failed"
    bin=${CARGO_TARGET_DIR:-target}/demo/meantime
fi
[[ -x $bin ]] || fail "$bin is not a program"

# Two ports that no socket on this machine has.
free_ports() {
    local port used
    used=$(awk 'NR > 1 { sub(/.*:/, "", $2); print $2 }' /proc/net/udp /proc/net/udp6 2>/dev/null || true)
    for ((port = 20000 + $$ % 10000; ; port += 2)); do
        if ! grep -qi "^$(printf '%04x' "$port")$\|^$(printf '%04x' $((port + 1)))$" <<<"$used"; then
            echo "$port $((port + 1))"
            return
        fi
    done
}

# Ends the active server at once, as a power failure would. Its clock is not compared any more.
kill_active() {
    echo "--- server-1, the active server, is killed (kill -9) ---"
    kill -KILL "${pids[0]}"
    wait "${pids[0]}" 2>/dev/null || true
    pids=("${pids[@]:1}") names=("${names[@]:1}") offsets=("${offsets[@]:1}") drifts=("${drifts[@]:1}")
}

shown=server
if ((servers == 1)); then
    start server -3.0s 21ppm server --listen 127.0.0.1:0 --interval 2s --record "$dir/record.csv" \
        --control "$dir/server.sock"
    address=$(server_address server)
else
    read -r one other < <(free_ports)
    address=127.0.0.1:$one,127.0.0.1:$other shown=server-2
    for ((n = 1; n <= 2; n++)); do
        port=$one offset=-3.0s drift=21ppm
        if ((n == 2)); then port=$other offset=4.2s drift=-33ppm; fi
        start "server-$n" "$offset" "$drift" server --servers "$address" --rank "$n" \
            --listen "127.0.0.1:$port" --interval 2s --record "$dir/record-$n.csv" --control "$dir/server-$n.sock"
        server_address "server-$n" >"$dir/address"
    done
fi
for ((n = 1; n <= clients; n++)); do
    tenths=$((n * 37 % 89 + 11)) drift=$((n * 29 % 79 + 11))
    sign=''
    if ((n % 2 == 0)); then sign=-; fi
    start "client-$n" "$sign$((tenths / 10)).$((tenths % 10))s" "$sign${drift}ppm" client "$address"
done

SECONDS=0
if [[ -n $watch ]]; then
    "$bin" watch --control "$dir/$shown.sock" || fail "the live view has failed"
    all_alive
    ((SECONDS >= seconds)) || echo "Letting the clocks run for $((seconds - SECONDS)) more seconds ..."
fi
killed=
while ((SECONDS < seconds)); do
    sleep 0.5
    all_alive
    if ((servers == 2 && 2 * SECONDS >= seconds)) && [[ -z $killed ]]; then
        kill_active
        killed=yes
    fi
done

mapfile -t moments < <(common_moments)
states=()
for name in "${names[@]}"; do states+=("$(state "$name")"); done
((${#moments[@]} == points)) || fail "there is nothing to compare"
compare "${moments[@]}"
stop_all
table

for ((n = 0; n < ${#names[@]}; n++)); do
    [[ ${states[n]} == synchronized ]] || fail "${names[n]} is not synchronized but ${states[n]}"
done
((worst <= limit_ns)) || fail "the clocks do not agree within a millisecond"
echo "All $((clients + 1)) clocks agree within a millisecond."
((servers == 1)) || echo "server-2 has taken over."
echo "They are on one machine, so they share one vote; clocks on machines of their own have one each."

picture=${CARGO_TARGET_DIR:-target}/demo.svg
mkdir -p "${picture%/*}"
record=$dir/record.csv
((servers == 1)) || record=$dir/record-2.csv
"$bin" plot "$record" --output "$picture" || fail "the record cannot be drawn"
echo "What the server has recorded is drawn in $picture"
