#!/usr/bin/env bash
# Runs real clusters over networks that lose, delay, reorder, duplicate and corrupt datagrams, or fail for 20
# s.
#
#   scripts/netem-test.sh        # 90 s, with a virtual machine four minutes; MEANTIME=path uses that binary
#
# Server and clients run in network namespaces of their own. tc's netem makes the network bad: here, as root,
# where the kernel has netem; otherwise in a virtual machine (scripts/vm/fetch.sh says what that needs), and
# here, with nftables, what that can do. Says with RAN where which cases ran, and with NOT RUN what could not
# be had. Exits with 1 if a case has failed, with 77 if none could run. KEEP=directory keeps what the nodes
# told.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

cases=(loss delay reorder duplicate corrupt outage)
without_netem=(loss outage)

none_ran() {
    echo "NOT RUN: clusters over bad networks: $1"
    exit 77
}

command -v python3 >/dev/null || none_ran "python3 is missing"
meantime=${MEANTIME:-}
if [[ -z $meantime ]]; then
    cargo build --locked --release || exit 1
    meantime=${CARGO_TARGET_DIR:-target}/release/meantime
fi
meantime=$(realpath "$meantime") || exit 1

dir=$(mktemp -d)
probe=meantime-$$-probe
running=()
finish() {
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null; done
    wait
    ip netns delete "$probe" 2>/dev/null
    [[ -z ${KEEP:-} ]] || { mkdir -p "$KEEP" && cp -r "$dir"/here-* "$dir"/inside-* "$KEEP" 2>/dev/null; }
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# How the network of namespaces can be made bad on this machine: sets `by` to netem, to nft, or to nothing,
# and then `why`.
try_here() {
    by='' why=''
    [[ $(id -u) == 0 ]] || { why="only root can make network namespaces"; return; }
    where=$(scripts/vm/fetch.sh iproute2 nftables 2>&1) || { why=${where##*$'\n'}; return; }
    eval "$where"
    why=$(with_tools "$ip" netns add "$probe" 2>&1) || return
    if why=$(with_tools "$ip" netns exec "$probe" "$tc" qdisc add dev lo root netem loss 1% 2>&1); then
        by=netem
    elif why=$(with_tools "$ip" netns exec "$probe" "$nft" -f - 2>&1 <<<'table bridge faults {
        chain forward {
            type filter hook forward priority 0
            numgen random mod 100 < 20 drop
        }
    }'); then
        by=nft
    fi
    with_tools "$ip" netns delete "$probe"
}

with_tools() {
    LD_LIBRARY_PATH=$libraries "$@"
}

# run_here ATTEMPT CASE...
run_here() {
    local results=$dir/here-$1
    shift
    mkdir "$results"
    IP=$ip TC=$tc NFT=$nft TC_LIB_DIR=$TC_LIB_DIR LD_LIBRARY_PATH=$libraries \
        timeout --kill-after=20 240 sh scripts/netem/cases.sh "$by" "$results" "$meantime" "$@" &
    running+=($!)
}

# The results come back as an archive on the machine's disk.
run_in_vm() {
    cat >"$dir/main" <<MAIN
echo "the cases begin"
INTERVAL=2s APART=25 IP=/usr/bin/ip TC=/usr/bin/tc sh /cases.sh netem /out /usr/bin/meantime $*
tar -cf /dev/vda -C /out .
sync
poweroff -f
MAIN
    scripts/vm/initramfs.sh "$dir/initrd" "$dir/main" \
        "program:$meantime:/usr/bin/meantime" "program:$ip" "program:$tc" \
        file:scripts/netem/cases.sh:/cases.sh "file:$TC_LIB_DIR/normal.dist:/usr/lib/x86_64-linux-gnu/tc/normal.dist" \
        module:sch_netem module:veth module:bridge module:virtio_blk module:virtio_pci || return
    truncate -s 256M "$dir/disk"
    # An emulated processor that has to wait for others does not keep up with the time. A privileged
    # caller gives it a higher priority.
    local first=()
    nice -n -5 true 2>/dev/null && first=(nice -n -5)
    timeout 500 "${first[@]}" "$qemu" -accel "$accelerator" -m 512 -smp 2 \
        -no-reboot -nodefaults -display none \
        -kernel "$kernel" -initrd "$dir/initrd" -append "console=ttyS0 quiet panic=-1 tsc=reliable" \
        -drive "file=$dir/disk,if=virtio,format=raw" -serial "file:$dir/console" </dev/null 2>"$dir/qemu" &
    running+=($!)
}

# judge DIRECTORY WHERE ARGUMENT...: sets `judged` and `unjudged`.
judge() {
    local directory=$1 place=$2 what name
    shift 2
    judged=() unjudged=()
    printf '\n%s:\n' "$place"
    python3 scripts/netem-test.py "$directory" "$@" | tee "$dir/judged"
    ((PIPESTATUS[0] == 0)) || failed=1
    while read -r what name; do
        case $what in
            ok | FAILED) judged+=("${name%%:*}") ;;
            UNJUDGED) unjudged+=("${name%%:*}") ;;
        esac
    done < <(grep '^[a-zA-Z]' "$dir/judged")
    ((${#judged[@]} == 0)) || summary+=("RAN: clusters over bad networks, $place: ${judged[*]}")
}

# What is wanted and did not run, and why not.
lacking() {
    local why=$1
    shift
    summary+=("NOT RUN: clusters over bad networks, $*: $why")
}

failed=0 summary=() here=() inside=()
try_here
case $by in
    netem) here=("${cases[@]}") ;;
    nft) here=("${without_netem[@]}") inside=("${cases[@]}") ;;
    *) inside=("${cases[@]}") ;;
esac
if ((${#inside[@]})); then
    echo "no netem on this machine: the cases with it run in a virtual machine${why:+; and none here: $why}"
    if where=$(scripts/vm/fetch.sh qemu kernel iproute2 2>&1); then
        eval "$where"
    else
        lacking "no netem on this machine, and in a virtual one: ${where##*$'\n'}" "${inside[@]}"
        inside=()
    fi
fi

# What cannot be judged, for want of processor time, gets another chance.
last=()
for attempt in first second; do
    # Both at the same time: they hardly need a processor, but for the emulated one.
    ((${#here[@]} == 0)) || run_here "$attempt" "${here[@]}"
    ((${#inside[@]} == 0)) || run_in_vm "${inside[@]}"
    wait
    if ((${#here[@]})); then
        judge "$dir/here-$attempt" "on this machine, by ${by/nft/nftables}" "${last[@]}" "${here[@]}"
        here=("${unjudged[@]}")
    fi
    if ((${#inside[@]})) && ! grep -q "the cases begin" "$dir/console" 2>/dev/null; then
        why=$(cat "$dir/qemu" "$dir/console" 2>/dev/null | tail -n 1)
        lacking "the virtual machine did not start: $why" "${inside[@]}"
        inside=()
    elif ((${#inside[@]})); then
        mkdir "$dir/inside-$attempt"
        tar -xf "$dir/disk" -C "$dir/inside-$attempt" 2>/dev/null
        judge "$dir/inside-$attempt" "in a virtual machine ($accelerator), by netem" "${last[@]}" "${inside[@]}"
        inside=("${unjudged[@]}")
    fi
    last=(--last)
done
unjudged=("${here[@]}" "${inside[@]}")
((${#unjudged[@]} == 0)) ||
    lacking "nodes stood still for seconds, twice: this machine is too busy" "${unjudged[@]}"

printf '\n'
printf '%s\n' "${summary[@]}"
[[ ${summary[*]} == *RAN:* ]] || exit 77
if ((failed)); then echo "FAILED clusters over bad networks"; else echo "PASS clusters over bad networks"; fi
exit "$failed"
