#!/usr/bin/env bash
# Runs `meantime --clock system` on a real kernel: in a virtual machine, so that no clock of this machine is
# touched.
#
#   scripts/vm-clock-test.sh        # a minute and a half; MEANTIME=path/to/meantime uses that binary
#
# Prints PASS, FAILED (exit code 1) or NOT RUN (exit code 77). Needs x86_64, python3, and what
# scripts/vm/fetch.sh fetches, on Debian and with MEANTIME_INSTALL=1. MEANTIME_VM_KERNEL names another bzImage
# (with a serial console, the CMOS clock and IPv4 built in).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

not_run() {
    echo "NOT RUN: --clock system in a virtual machine: $1"
    exit 77
}

command -v python3 >/dev/null || not_run "python3 is missing"
where=$(scripts/vm/fetch.sh qemu kernel busybox 2>&1) || not_run "${where##*$'\n'}"

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
server="meantime server --listen 127.0.0.1:5525 --interval 1s --output json --tick 200ms"
client="meantime client 127.0.0.1 --output json"
say() { echo "== $1"; shift; "$@" 2>&1; echo "exit $?"; }

# Two clocks: the server's is 40 s ahead, so that the cluster's time is 20 s ahead of the machine's.
$server --simulate-offset 40s >server.json 2>server.err & server_pid=$!
sleep 1
say before adjtimex >>report
say rtc_before cat /sys/class/rtc/rtc0/since_epoch >>report
say unprivileged timeout 10 su -s /bin/sh nobody -c "$client --clock system --name nobody" >>report
$client --clock system --tick 200ms >client.json 2>client.err & client_pid=$!
sleep 4
say second timeout 10 $client --clock system --name second >>report
sleep 26
say during adjtimex >>report
say system_during date +%s >>report
say rtc_during cat /sys/class/rtc/rtc0/since_epoch >>report
# Another program sets the time, and later the frequency.
date -s "@$(($(date +%s) - 1000))" >/dev/null
sleep 8
adjtimex -f 6553600 >/dev/null
sleep 12
say disturbed adjtimex >>report
kill -TERM $client_pid; wait $client_pid; echo "== client_end
exit $?" >>report
say after adjtimex >>report

# A killed node leaves a clock that no process steers; the next node takes it over.
$client --clock system --name killed >killed.json 2>killed.err & killed_pid=$!
sleep 6
kill -KILL $killed_pid; wait $killed_pid
say left_behind timeout -s TERM 5 $client --clock system --name next >>report
# A daemon that is at work is not fought.
(while :; do adjtimex -f 655360; sleep 0.2; adjtimex -f 327680; sleep 0.2; done) >/dev/null 2>&1 &
daemon_pid=$!
say foreign timeout 10 $client --clock system --name rival >>report
kill $daemon_pid; kill -TERM $server_pid; wait $server_pid 2>/dev/null

# The server keeps its own machine's clock just as well.
$server --clock system >keeper.json 2>keeper.err & server_pid=$!
$client --simulate-offset 40s --simulate-drift 30ppm >/dev/null 2>&1 & client_pid=$!
sleep 25
kill -TERM $client_pid $server_pid; wait $server_pid
say end adjtimex >>report

for file in report *.json *.err; do echo "=== file $file"; cat "$file"; done >/dev/ttyS1
echo "=== complete" >/dev/ttyS1
sync; sleep 1; poweroff -f
MAIN
scripts/vm/initramfs.sh "$dir/initrd" "$dir/main" \
    "program:$meantime:/usr/bin/meantime" "file:$dir/passwd:/etc/passwd" || exit 1

why=$(scripts/vm/run.sh "$dir" 300 256) || not_run "$why"
exec python3 scripts/vm-clock-test.py "$dir/out"
