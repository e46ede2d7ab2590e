#!/usr/bin/env bash
# Runs a server and a client on emulated network cards that stamp what they send (QEMU's igb), in a virtual
# machine.
#
#   scripts/vm-hardware-test.sh      # two minutes; MEANTIME=path/to/meantime uses that binary
#
# The card stamps received datagrams of PTP only, so what is received has the kernel's timestamps. Prints
# PASS, FAILED (exit code 1) or NOT RUN (exit code 77). Needs x86_64, python3, and what scripts/vm/fetch.sh
# fetches, on Debian and with MEANTIME_INSTALL=1. KEEP=file keeps what the machine has told.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

not_run() {
    echo "NOT RUN: network cards' timestamps in a virtual machine: $1"
    exit 77
}

command -v python3 >/dev/null || not_run "python3 is missing"
where=$(scripts/vm/fetch.sh igb busybox iproute2 2>&1) || not_run "${where##*$'\n'}"
eval "$where"
export MEANTIME_VM_KERNEL=$igb_kernel MEANTIME_VM_MODULES=$igb_modules MEANTIME_VM_QEMU=$igb_qemu
export QEMU_MODULE_DIR=$igb_qemu_modules

meantime=${MEANTIME:-}
if [[ -z $meantime ]]; then
    cargo build --locked --release || exit 1
    meantime=${CARGO_TARGET_DIR:-target}/release/meantime
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$dir/passwd"

cat >"$dir/main" <<'MAIN'
mkdir /out
cd /out
ip=/usr/bin/ip
say() { echo "== $1"; shift; "$@" 2>&1; echo "exit $?"; }
mkdir -p /run/netns
$ip netns add server; $ip netns add client
$ip link set eth0 netns server; $ip link set eth1 netns client
$ip -n server link set lo up; $ip -n client link set lo up
$ip -n server addr add 192.0.2.1/24 dev eth0; $ip -n server link set eth0 up
$ip -n client addr add 192.0.2.2/24 dev eth1; $ip -n client link set eth1 up
sleep 4
on_server="$ip netns exec server"
on_client="$ip netns exec client"
tried="meantime client 192.0.2.1 --name tried --timestamps hardware"
chmod 644 /dev/ptp*

say demanded $on_server meantime server --listen 127.0.0.1:5525 --timestamps hardware >report
say unprivileged $on_client su -s /bin/sh nobody -c "timeout 10 $tried" >>report
# One socket for both families, and any address: IPv4 addresses are mapped.
$on_server meantime server --interval 1s --timestamps hardware --output json \
    --tick 200ms >server.json 2>server.err & server=$!
sleep 3
$on_client meantime client 192.0.2.1 --name far --timestamps hardware --output json --tick 200ms \
    --simulate-offset 2s --simulate-drift 40ppm >client.json 2>client.err & client=$!
sleep 5
# The card is set up already: that needs no capability.
say settled $on_client su -s /bin/sh nobody -c "timeout 10 $tried" >>report
say all_rights sh -c 'for pid in $(pidof meantime); do
    echo "$(tr "\0" " " </proc/$pid/cmdline | cut -d " " -f 1-2) $(grep ^CapPrm /proc/$pid/status)"
done' >>report
sleep 40
# However the node ends, its card's settings are restored.
kill -KILL $client
sleep 1
say restored $on_client su -s /bin/sh nobody -c "timeout 10 $tried" >>report
# Of two nodes on one card the first to end leaves its settings to the second. When that one ends, they are
# restored.
$on_client meantime client 192.0.2.1 --name first --timestamps hardware --output json \
    >first.json 2>first.err & first=$!
sleep 3
$on_client meantime client 192.0.2.1 --name second --timestamps hardware --output json --tick 200ms \
    >second.json 2>second.err & second=$!
sleep 5
kill -TERM $first; wait $first
sleep 3
say shared $on_client su -s /bin/sh nobody -c "timeout 10 $tried" >>report
kill -TERM $second; wait $second
sleep 3
say unused $on_client su -s /bin/sh nobody -c "timeout 10 $tried" >>report
kill -TERM $server; wait $server
say restored_too $on_server su -s /bin/sh nobody -c "timeout 10 $tried" >>report
say left pidof meantime >>report

for file in report *.json *.err; do echo "=== file $file"; cat "$file"; done >/dev/ttyS1
echo "=== complete" >/dev/ttyS1
sync; sleep 1; poweroff -f
MAIN
scripts/vm/initramfs.sh "$dir/initrd" "$dir/main" "program:$meantime:/usr/bin/meantime" \
    "program:$ip" "file:$dir/passwd:/etc/passwd" module:igb || exit 1

firmware=() devices=(-machine q35)
IFS=: read -ra paths <<<"$igb_firmware"
for path in "${paths[@]}"; do firmware+=(-L "$path"); done
# Two cards on one wire.
for side in 1 2; do
    devices+=(-netdev "hubport,hubid=0,id=wire$side" -device "pcie-root-port,id=port$side,chassis=$side"
        -device "igb,bus=port$side,netdev=wire$side,mac=52:54:00:00:00:0$side,romfile=")
done
# On a busy host the timer of an emulated machine is late, and the kernel would take it for broken.
export DEVICES="${firmware[*]} ${devices[*]}"
why=$(scripts/vm/run.sh "$dir" 400 512 no_timer_check) || not_run "$why"
exec python3 scripts/vm-hardware-test.py "$dir/out"
