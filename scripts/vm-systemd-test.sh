#!/usr/bin/env bash
# Runs the units of contrib/systemd under systemd, and `--user NAME --clock system`, on a real kernel: in a
# virtual machine, so that neither the services nor the clock of this machine are touched.
#
#   scripts/vm-systemd-test.sh      # three to six minutes; MEANTIME=path/to/meantime uses that binary
#
# Prints PASS, FAILED (exit code 1) or NOT RUN (exit code 77). Needs x86_64, python3, and what
# scripts/vm/fetch.sh fetches, on Debian and with MEANTIME_INSTALL=1. KEEP=file keeps what the machine has
# told.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

not_run() {
    echo "NOT RUN: the systemd units in a virtual machine: $1"
    exit 77
}

command -v python3 >/dev/null || not_run "python3 is missing"
where=$(scripts/vm/fetch.sh qemu kernel busybox systemd 2>&1) || not_run "${where##*$'\n'}"
eval "$where"

meantime=${MEANTIME:-}
if [[ -z $meantime ]]; then
    cargo build --locked --release || exit 1
    meantime=${CARGO_TARGET_DIR:-target}/release/meantime
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

mkdir -p "$dir"/etc/systemd/system/meantime-client.service.d
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$dir/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$dir/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$dir/etc/nsswitch.conf"
# The name in the client's unit is this machine's own.
printf '127.0.0.1 localhost server.lan\n' >"$dir/etc/hosts"
printf 'ID=meantime-test\n' >"$dir/etc/os-release"
printf '0123456789abcdef0123456789abcdef\n' >"$dir/etc/machine-id"
cp contrib/systemd/*.service "$dir/etc/systemd/system/"
# As shipped but for this: the test does not wait for half a minute.
printf '[Service]\nWatchdogSec=15s\n' >"$dir/etc/systemd/system/meantime-client.service.d/watchdog.conf"
cat >"$dir/etc/systemd/system/test.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh /test
UNIT

# The initial root directory cannot be left by pivot_root(2), with which systemd sets services up.
cat >"$dir/main" <<'MAIN'
mkdir /sysroot
mount -t tmpfs -o mode=755 sysroot /sysroot
cp -a /bin /etc /lib /lib64 /test /usr /var /sysroot
cd /sysroot
mkdir -p dev proc root run sys tmp var/lib var/log var/tmp
chmod 1777 tmp var/tmp
chown -R 0:0 .
# Of what systemd does at the start of a machine only the journal is wanted, and only that is there.
for unit in lib/systemd/system/*.target.wants/*; do
    case $unit in *journald*) ;; *) rm "$unit" ;; esac
done
exec /bin/busybox switch_root /sysroot /lib/systemd/systemd
MAIN

cat >"$dir/test" <<'TEST'
export PATH=/usr/local/bin:/usr/bin:/bin
mkdir -m 1777 /out
cd /out
say() { echo "== $1"; shift; "$@" 2>&1; echo "exit $?"; }

now() { cut -d. -f1 /proc/uptime; }
# within SECONDS COMMAND...: waits until it succeeds.
within() {
    local until=$(($(now) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now)" -lt "$until" ] || return 1
        sleep 0.3
    done
}
status() { meantime status --json --control "/run/meantime/$1.sock"; }
# A server that comes back without a kept time takes that of its one member after a minute, when its own clock
# consents. Then it follows its members for 24 rounds, and has nothing agreed, nor vouches for the clock,
# before that.
followed() { status server | grep -q '"role":"server","state":"synchronized".*"outcome":"following'; }
agreed() { status server | grep -q '"outcome":"agreed","members":2,.*"heard":2'; }
synchronized() { status client | grep -q '"state":"synchronized","server":"127.0.0.1:5525","registered":true'; }
# The kernel's STA_UNSYNC is cleared.
kept() { [ $(($(adjtimex | sed -n 's/^.*status: *\([0-9]*\).*/\1/p') & 64)) = 0 ]; }
shown() {
    systemctl show "meantime-$1" -p ActiveState -p SubState -p Result -p NRestarts -p MainPID -p StatusText
}
main_pid() { systemctl show "meantime-$1" -p MainPID --value; }
# Asked at once: between two questions it may be killed.
again() { [ "$(systemctl show "meantime-$1" -p ActiveState -p NRestarts | sort | tr '\n' ' ')" = "ActiveState=active NRestarts=1 " ]; }
# How far the clock is from one that is never set.
ahead() { awk -v real="$(date +%s)" '{ print int(real - $1) }' /proc/uptime; }

# unit ROLE JOINED AGAIN: everything about one unit, but its end. JOINED is a command that says whether it is
# in the cluster, AGAIN one that says so after a restart.
unit() {
    local role=$1 joined=$2 joined_again=$3 pid
    say "${role}_ahead_before" ahead
    say "${role}_start" systemctl start "meantime-$role"
    say "${role}_joined" within 120 "$joined"
    say "${role}_kept" within 30 kept
    # With its next watchdog message it reports its status to systemd.
    within 20 sh -c "systemctl show meantime-$role -p StatusText | grep =synchronized"
    say "${role}_ahead" ahead
    say "${role}_shown" shown "$role"
    pid=$(main_pid "$role")
    say "${role}_process" cat "/proc/$pid/status"
    say "${role}_lock" sh -c "ls -ln /run/meantime-clock.lock; cat /run/meantime-clock.lock"
    say "${role}_second" timeout 10 meantime client 127.0.0.1 --clock system --name second
    say "${role}_status" meantime status --control "/run/meantime/$role.sock"
    say "${role}_state" ls -lnd /var/lib/private/meantime

    kill -STOP "$pid"
    say "${role}_again" within 75 again "$role"
    again "$role" && say "${role}_again_joined" within 180 "$joined_again"
    say "${role}_again_shown" shown "$role"
    say "${role}_again_status" status "$role"
    say "${role}_again_ahead" ahead
}

# stop ROLE
stop() {
    say "$1_stop" systemctl stop "meantime-$1"
    say "$1_stopped" shown "$1"
    say "$1_after" adjtimex
    say "$1_files" ls -ln /var/lib/private/meantime
}

exec >/dev/ttyS1 2>&1
echo "=== file report"
# Two clocks: the other's is 40 s ahead, so that the cluster's time is 20 s ahead of the machine's.
say before adjtimex
(within 60 test -S /run/meantime/server.sock
exec su -s /bin/sh nobody -c "exec meantime client 127.0.0.1 --simulate-offset 40s --name member --output json") \
    >member.json 2>member.err & member_pid=$!
unit server agreed followed
stop server
kill -TERM $member_pid; wait $member_pid

# The other way round: the unit is the client, of a plain process that becomes nobody.
meantime server --listen 127.0.0.1:5525 --interval 1s --simulate-offset 40s --user nobody \
    >plain.out 2>plain.err & plain_pid=$!
within 20 test -S /run/meantime/server.sock
say plain_process cat /proc/$plain_pid/status
unit client synchronized synchronized
stop client

# Neither is a unit: one becomes nobody, and keeps the one right.
meantime client 127.0.0.1 --clock system --user nobody --name plain --output json \
    >user.json 2>user.err & user_pid=$!
within 30 grep -q system_following user.json
say user_kept within 30 kept
say user_process cat /proc/$user_pid/status
kill -TERM $user_pid; wait $user_pid; echo "== user_end
exit $?"
say user_after adjtimex
kill -TERM $plain_pid; wait $plain_pid

# Each takes the other's place.
systemctl start meantime-server
for role in client server; do
    other=$([ $role = server ] && echo client || echo server)
    say "place_$role" systemctl start meantime-$role
    say "place_${role}_status" status $role
    say "place_${role}_shown" shown $role
    say "place_${role}_other" shown $other
done
systemctl stop meantime-server

for role in server client; do
    say "${role}_journal" journalctl -q -o cat -u meantime-$role _COMM=meantime
    say "${role}_systemd" journalctl -q -o cat UNIT=meantime-$role.service
done
say warnings journalctl -q -b -p warning -o short-monotonic

for file in *.json *.err; do echo "=== file $file"; cat "$file"; done
echo "=== complete"
sync; sleep 1; poweroff -f
TEST

scripts/vm/initramfs.sh "$dir/initrd" "$dir/main" "tree:$dir/etc:/etc" "tree:$units:/lib/systemd/system" \
    "file:$dir/test:/test" "program:$meantime:/usr/local/bin/meantime" \
    "program:$systemd:/lib/systemd/systemd" \
    "program:$journald:/lib/systemd/systemd-journald" "program:$systemctl" "program:$journalctl" \
    "program:$touch:/bin/touch" "program:$chmod:/bin/chmod" "program:$chown:/bin/chown" || exit 1

# More than all waits together: a machine that waited in vain is judged, too.
why=$(scripts/vm/run.sh "$dir" 1150 512 systemd.unit=test.service systemd.show_status=0) || not_run "$why"
python3 scripts/vm-systemd-test.py "$dir/out" && exit
tail -n 20 "$dir/console"
exit 1
