#!/usr/bin/env bash
# Runs a virtual machine that writes a report and ends.
#
#   scripts/vm/run.sh DIRECTORY SECONDS MEGABYTES [PARAMETER...]
#
# Boots DIRECTORY/initrd (of initramfs.sh) on the kernel of fetch.sh, with these kernel parameters beside the
# usual ones, and, in DEVICES, these options of QEMU. Its console goes to DIRECTORY/console, and what it
# writes to /dev/ttyS1 to DIRECTORY/out, of which the last line has to begin with `=== complete`; KEEP=file
# keeps that. Exits with 77 and one line of why on stdout if it is not over after so many seconds or did not
# get to its end.
set -uo pipefail
(($# >= 3)) || { sed -n '2,4s/^# \?//p' "$0" >&2; exit 2; }
dir=$1 seconds=$2 megabytes=$3
shift 3

where=$("$(dirname "$0")/fetch.sh" qemu kernel 2>&1) || { echo "${where##*$'\n'}"; exit 77; }
eval "$where"

timeout "$seconds" "$qemu" -accel "$accelerator" -m "$megabytes" -smp 1 -no-reboot -nodefaults \
    -display none ${DEVICES:-} \
    -kernel "$kernel" -initrd "$dir/initrd" -append "console=ttyS0 quiet panic=-1 tsc=reliable $*" \
    -rtc base=2026-03-01T12:00:00 -serial "file:$dir/console" -serial "file:$dir/out" </dev/null >&2 ||
    { echo "the virtual machine did not end"; exit 77; }
if ! grep -q '^=== complete' "$dir/out"; then
    tail -n 20 "$dir/console" "$dir/out" >&2
    echo "the virtual machine did not get to its end"
    exit 77
fi
[[ -z ${KEEP:-} ]] || cp "$dir/out" "$KEEP"
