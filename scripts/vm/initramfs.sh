#!/usr/bin/env bash
# Makes the initramfs of a virtual machine that does one thing.
#
#   scripts/vm/initramfs.sh OUTPUT MAIN [ITEM...]
#
# Each ITEM is program:PATH[:TARGET], file:PATH:TARGET, tree:PATH:TARGET or module:NAME.
#
# MAIN is a script for busybox' sh that runs as process 1, with PATH=/usr/bin:/bin, when the file systems are
# mounted, the modules are loaded (with all that they need, in the order given) and the loopback interface is
# up; it ends the machine with `poweroff -f`. A program goes to /usr/bin, or to TARGET, with its shared
# libraries; a file to TARGET, and so does what is in a tree, a directory. Busybox and all its applets are in
# /bin. To busybox' shell an applet comes before any program of that name: iproute2's ip has to be called as
# /usr/bin/ip.
set -euo pipefail
(($# >= 2)) || { sed -n '2,6s/^# \?//p' "$0" >&2; exit 2; }
output=$(realpath "$1") main=$(realpath "$2")
shift 2

where=$("$(dirname "$0")/fetch.sh" kernel busybox) || exit
eval "$where"
fetched=${busybox%/*bin/busybox}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,modules,proc,run,sys,tmp,usr/bin,var}
ln -s /run "$root/var/run"
chmod 755 "$root" # it becomes the root directory, for every user
cp "$busybox" "$root/bin/busybox"
cp "$main" "$root/main"
: >"$root/modules/order"

add_program() {
    local library
    add_file "$1" "${2:-/usr/bin/$(basename "$1")}"
    LD_LIBRARY_PATH=$libraries ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "${library#"$fetched"}")"
        cp -L "$library" "$root${library#"$fetched"}"
    done
}

add_file() {
    mkdir -p "$root$(dirname "$2")"
    cp -L "$1" "$root$2"
}

add_tree() {
    mkdir -p "$root$2"
    cp -R "$1/." "$root$2"
}

# The line of a module in modules.dep names what it needs, nearest first. What is built into the kernel has
# none.
add_module() {
    local line path name
    line=$(grep -E "/${1//[-_]/[-_]}\.ko[.a-z]*:" "$modules/modules.dep") || {
        grep -qE "/${1//[-_]/[-_]}\.ko" "$modules/modules.builtin" && return
        echo "the kernel has no module $1" >&2
        return 1
    }
    for path in $(tr -d : <<<"$line" | tr ' ' '\n' | tac); do
        [[ -e $root/modules/$(basename "$path" .xz) ]] && continue
        # The kernels of newer releases have compressed modules, which busybox cannot load.
        name=$(basename "$path" .xz)
        case $path in
            *.xz) "$busybox" unxz -c "$modules/$path" >"$root/modules/$name" ;;
            *) cp "$modules/$path" "$root/modules/" ;;
        esac
        echo "$name" >>"$root/modules/order"
    done
}

for item; do
    IFS=: read -r kind what target <<<"$item"
    case $kind in
        program) add_program "$what" "$target" ;;
        file) add_file "$what" "$target" ;;
        tree) add_tree "$what" "$target" ;;
        module) add_module "$what" ;;
        *) echo "not program:, file:, tree: or module:: $item" >&2; exit 2 ;;
    esac
done

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
chmod 1777 /tmp
while read -r module; do insmod "/modules/$module" || echo "cannot load $module"; done </modules/order
ip link set lo up
exec sh /main
INIT
chmod +x "$root/init"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$output"
