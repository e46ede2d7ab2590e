#!/bin/sh
# Runs clusters over bad networks, and writes down what their nodes print. As root; for scripts/netem-test.sh,
# which calls it on this machine or inside a virtual one: so this is for any sh, and needs no more than
# iproute2 (IP, TC: their paths), and nft (NFT) where the kernel has no netem.
#
#   scripts/netem/cases.sh netem|nft OUTPUT MEANTIME CASE...     # all at the same time, each in its own hosts
#
# INTERVAL is the time from one round to the next (1s); APART=SECONDS has each case begin so many seconds
# after the one before. Both are for processors that are emulated: what the first exchanges say takes clients
# some arithmetic for half a minute, and they are slow at that.
#
# For each case a server and three clients, each in a network namespace of its own that a veth pair joins to a
# bridge in one more namespace. To OUTPUT/CASE/ go NODE.json, NODE.err, NODE.snmp (the kernel's counters, at
# the end), marks (when the outage began and ended: the server's last event then), died (which did not end
# well) and, last of all, complete.
set -u
by=$1 output=$2 meantime=$3
shift 3
: "${IP:=ip}" "${TC:=tc}" "${NFT:=nft}"

nodes='server client-1 client-2 client-3'

# What a client's clock is like: as wrong as those of machines without synchronization.
clock_of() {
    case $1 in
        server) echo "--simulate-offset=-3s --simulate-drift=21ppm" ;;
        client-1) echo "--simulate-offset=4800ms --simulate-drift=40ppm" ;;
        client-2) echo "--simulate-offset=-8500ms --simulate-drift=-69ppm" ;;
        client-3) echo "--simulate-offset=600ms --simulate-drift=90ppm" ;;
    esac
}

# What netem does in each direction. Reordered are those that overtake what waits out its delay.
netem_of() {
    case $1 in
        loss) echo "loss 20%" ;;
        delay) echo "delay 10ms 3ms distribution normal" ;;
        reorder) echo "delay 10ms reorder 25%" ;;
        duplicate) echo "duplicate 30%" ;;
        corrupt) echo "corrupt 20%" ;;
        calm) echo "loss 0%" ;;
        outage) echo "loss 100%" ;;
    esac
}

# The same with nftables, as far as that can do it: each frame passes the bridge once.
nft_of() {
    case $1 in
        loss) echo "numgen random mod 100 < 20 drop" ;;
        calm) echo "accept" ;;
        outage) echo "drop" ;;
    esac
}

# distort SWITCH HOW: what the network does from now on. On the switch's side of each cable: what a node's own
# kernel stamps as sent has left it, and a delay before that would not be seen.
distort() {
    case $by in
        netem)
            for node in $nodes; do
                echo "qdisc replace dev $node root netem $(netem_of "$2")"
            done | "$IP" netns exec "$1" "$TC" -batch -
            ;;
        nft)
            "$IP" netns exec "$1" "$NFT" -f - <<RULES
table bridge faults
delete table bridge faults
table bridge faults {
    chain forward {
        type filter hook forward priority 0
        ether type ip $(nft_of "$2")
    }
}
RULES
            ;;
    esac
}

# build CASE: the hosts, the switch and the cables. In few calls: where a processor is emulated, each takes
# long.
build() {
    for node in switch $nodes; do
        "$IP" netns add "$prefix-$1-$node" || return 1
    done
    {
        echo "link add name lan type bridge"
        echo "link set lan up"
        for node in $nodes; do
            echo "link add $node type veth peer name lan netns $prefix-$1-$node"
            echo "link set $node master lan up"
        done
    } | "$IP" -n "$prefix-$1-switch" -batch - || return 1
    number=0
    for node in $nodes; do
        number=$((number + 1))
        {
            echo "link set lan address 02:00:00:00:00:0$number"
            echo "address add 10.98.0.$number/24 dev lan"
            echo "link set lan up"
            # The addresses are known in advance: a lost or corrupted ARP would hold everything up for
            # seconds, and this is no test of ARP.
            for other in 1 2 3 4; do
                [ "$other" = "$number" ] ||
                    echo "neighbour add 10.98.0.$other lladdr 02:00:00:00:00:0$other nud permanent dev lan"
            done
        } | "$IP" -n "$prefix-$1-$node" -batch - || return 1
    done
}

remove() {
    for node in switch $nodes; do
        "$IP" netns delete "$prefix-$1-$node" 2>/dev/null
    done
}

# mark WORD: notes down what the server has printed last, for its reading of the oscillator.
mark() {
    echo "$1 $(tail -n 1 "$dir/server.json")" >>"$dir/marks"
}

# A sleep that a signal ends.
pause() {
    sleep "$1" &
    sleeper=$!
    wait "$sleeper"
}

# Waits until all clients are in, but no longer than half a minute.
joined() {
    tries=30
    until [ "$(cat "$dir"/client-*.json 2>/dev/null | grep -c '"event":"registered"')" = 3 ]; do
        [ "$((tries -= 1))" -gt 0 ] || return 1
        pause 1
    done
}

# start NODE ARGUMENT...: sets `started`.
start() {
    node=$1
    shift
    # The words are arguments of their own.
    # shellcheck disable=SC2046
    "$IP" netns exec "$host-$node" \
        "$meantime" "$@" --name "$node" $(clock_of "$node") --output json --tick 200ms \
        >"$dir/$node.json" 2>"$dir/$node.err" &
    started=$!
}

# Ends these processes; a process that is gone already, does not end, or ends with an error is noted down.
stop() {
    kill "$@" 2>>"$dir/died"
    (sleep 10 && kill -KILL "$@") 2>/dev/null &
    sleeper=$!
    for pid; do
        wait "$pid" || echo "exit code $?" >>"$dir/died"
    done
    kill "$sleeper"
}

# run CASE SECONDS: after so many seconds.
run() {
    dir=$output/$1 host=$prefix-$1 server='' clients='' sleeper=''
    trap 'trap "" TERM INT; kill $clients $server $sleeper 2>/dev/null' EXIT
    trap 'exit 1' TERM INT
    pause "$2"
    # To join takes four datagrams in a row, and a client that fails tries again less and less often: where
    # datagrams get lost, one time in a hundred it takes longer than a case lasts. So those begin when all
    # clients are members.
    case $1 in
        loss | corrupt | outage) distort "$host-switch" calm ;;
        *) distort "$host-switch" "$1" ;;
    esac || exit 1
    start server server --listen 10.98.0.1:5525 --interval "${INTERVAL:-1s}"
    server=$started
    for node in client-1 client-2 client-3; do
        start "$node" client 10.98.0.1
        clients="$clients $started"
    done
    joined || exit 1
    case $1 in
        outage)
            pause 30
            distort "$host-switch" outage && mark silent || exit 1
            pause 20
            distort "$host-switch" calm && mark over || exit 1
            pause 20
            ;;
        *)
            distort "$host-switch" "$1" || exit 1
            pause 60
            ;;
    esac
    # The clients first: to them a server that says goodbye is one that is lost.
    # shellcheck disable=SC2086
    stop $clients
    clients=''
    stop "$server"
    server='' sleeper=''
    for node in $nodes; do
        "$IP" netns exec "$host-$node" cat /proc/net/snmp >"$dir/$node.snmp"
    done
    : >"$dir/complete"
}

prefix=meantime-$$ runs=''
trap 'trap "" TERM INT; kill $runs 2>/dev/null; wait; for name; do remove "$name"; done' EXIT
trap 'exit 1' TERM INT
for name; do
    mkdir -p "$output/$name" && build "$name" || exit 1
done
delay=0
for name; do
    (run "$name" "$delay") &
    runs="$runs $!"
    delay=$((delay + ${APART:-0}))
done
wait
runs=''
