#!/usr/bin/env bash
# Runs `meantime --clock system` on a real kernel: in a virtual machine, so that no clock of this machine is touched.
#
#   scripts/vm-clock-test.sh        # a minute and a half; MEANTIME=path/to/meantime uses that binary
#
# Prints PASS, FAILED (exit code 1) or NOT RUN (exit code 77). Needs qemu-system-x86_64, busybox, cpio, python3 and a
# Debian cloud kernel; as root on Debian it installs what is missing, and keeps the kernel under target/vm. MEANTIME_VM_KERNEL
# names another bzImage (with a serial console, the CMOS clock and IPv4 built in).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

not_run() {
    echo "NOT RUN: --clock system in a virtual machine: $1"
    exit 77
}

install() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    { apt-get update && apt-get install -y --no-install-recommends "$@"; } </dev/null >/dev/null 2>&1
}

[[ $(uname -m) == x86_64 ]] || not_run "this machine is no x86_64"
command -v qemu-system-x86_64 >/dev/null || install qemu-system-x86 || not_run "qemu-system-x86_64 is missing"
busybox=$(command -v busybox) && ! ldd "$busybox" >/dev/null 2>&1 || { install busybox-static && busybox=$(command -v busybox); } ||
    not_run "a static busybox is missing"
command -v cpio >/dev/null || install cpio || not_run "cpio is missing"
command -v python3 >/dev/null || not_run "python3 is missing"

kernel=${MEANTIME_VM_KERNEL:-}
if [[ -z $kernel ]]; then
    mkdir -p target/vm
    kernel=$(find target/vm -name 'vmlinuz-*' | head -n 1)
    if [[ -z $kernel ]]; then
        package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
        [[ -n $package ]] && (cd target/vm && apt-get download "$package" && dpkg -x "$package"_*.deb .) >/dev/null 2>&1
        kernel=$(find target/vm -name 'vmlinuz-*' | head -n 1)
    fi
fi
[[ -n $kernel && -r $kernel ]] || not_run "there is no kernel to start; name one with MEANTIME_VM_KERNEL"

meantime=${MEANTIME:-}
if [[ -z $meantime ]]; then
    cargo build --locked --release || exit 1
    meantime=target/release/meantime
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=$dir/root
mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,etc,out}
cp "$busybox" "$root/bin/busybox"
cp "$meantime" "$root/bin/meantime"
ldd "$meantime" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
done
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
chmod 1777 /tmp
ip link set lo up
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
# Somebody sets the time by hand, and later the frequency.
date -s "@$(($(date +%s) - 1000))" >/dev/null
sleep 8
adjtimex -f 6553600 >/dev/null
sleep 12
say disturbed adjtimex >>report
kill -TERM $client_pid; wait $client_pid; echo "== client_end
exit $?" >>report
say after adjtimex >>report

# One that is killed leaves a clock that nobody keeps; the next one takes it.
$client --clock system --name killed >killed.json 2>killed.err & killed_pid=$!
sleep 6
kill -KILL $killed_pid; wait $killed_pid
say left_behind timeout -s TERM 5 $client --clock system --name next >>report
# A daemon that is at work is not fought.
(while :; do adjtimex -f 655360; sleep 0.2; adjtimex -f 327680; sleep 0.2; done) >/dev/null 2>&1 & daemon_pid=$!
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
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/initrd"

timeout 300 qemu-system-x86_64 -accel tcg -m 256 -smp 1 -no-reboot -nodefaults -display none \
    -kernel "$kernel" -initrd "$dir/initrd" -append "console=ttyS0 quiet panic=-1 tsc=reliable" \
    -rtc base=2026-03-01T12:00:00 -serial "file:$dir/console" -serial "file:$dir/out" </dev/null ||
    not_run "the virtual machine did not end"
if ! grep -q '^=== complete' "$dir/out"; then
    tail -n 20 "$dir/console" "$dir/out"
    not_run "the virtual machine did not get to its end"
fi
[[ -z ${KEEP:-} ]] || cp "$dir/out" "$KEEP"
exec python3 scripts/vm-clock-test.py "$dir/out"
