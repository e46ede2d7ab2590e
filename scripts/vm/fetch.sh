#!/usr/bin/env bash
# Fetches what the tests in virtual machines need, without installing it: from Debian's packages into
# target/vm.
#
#   scripts/vm/fetch.sh kernel busybox iproute2 nftables chrony systemd qemu igb   # one or more of these
#
# Prints where things are, as assignments for `eval`, with absolute paths; fetches nothing that is there
# already. Only with MEANTIME_INSTALL=1, which scripts/check.sh --install sets, does it call apt-get.
#
#   kernel     kernel=…/vmlinuz-…, modules=…/lib/modules/…: the cloud flavour, and its modules
#   busybox    busybox=…: static, with cpio and depmod
#   iproute2   ip=…, tc=…, TC_LIB_DIR=…: the last has tc's distributions (normal and others)
#   nftables   nft=…
#   chrony     chronyd=…, chronyc=…
#   systemd    systemd=…, journald=…, systemctl=…, journalctl=…, units=… (a directory);
#              touch=…, chmod=…, chown=…: coreutils', for units that call them
#   qemu       qemu=…, accelerator=… (kvm or tcg): installed, as root, if it is missing
#   igb        igb_qemu=…, igb_qemu_modules=…, igb_firmware=…: a QEMU that emulates the network card igb, and
#              directories for QEMU_MODULE_DIR and -L; igb_kernel=…, igb_modules=…: a kernel with its driver;
#              from Debian's backports where the release has none
#
# and with any of them `libraries=…`, the LD_LIBRARY_PATH with which the programs (but busybox and qemu) run
# here and with which ldd finds what they need. MEANTIME_VM_KERNEL names another bzImage,
# MEANTIME_VM_MODULES the directory of its modules, and MEANTIME_VM_QEMU another QEMU. Exits with 77 and one
# line of why on stderr if something cannot be had.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

not_had() {
    echo "$1" >&2
    exit 77
}

hint="scripts/check.sh --install, or MEANTIME_INSTALL=1, does it"

may_install() {
    [[ ${MEANTIME_INSTALL:-} == 1 ]]
}

# Packages may be named that the lists of a fresh machine, or old lists, do not have yet.
update_once() {
    [[ -z ${updated:-} && $(id -u) == 0 ]] || return 1
    updated=1
    timeout 300 apt-get update </dev/null >/dev/null 2>&1
}

# The package and the libraries that it needs. The C library is the machine's own: the one that its loader
# fits to.
with_libraries() {
    apt-cache depends --recurse --important "$1" 2>/dev/null | awk -v wanted="$1" '
        /^[a-z0-9]/ { package = $1 }
        /^ .*Depends: [a-z0-9]/ { needs[package] = needs[package] " " $NF }
        END {
            queue[n = 1] = wanted
            for (i = 1; i <= n; i++) {
                if (queue[i] in seen) continue
                seen[queue[i]]
                print queue[i]
                count = split(needs[queue[i]], next_ones)
                for (j = 1; j <= count; j++)
                    if (next_ones[j] ~ /^lib/ && next_ones[j] !~ /^lib(c6|gcc-s1|crypt1)$/)
                        queue[++n] = next_ones[j]
            }
        }'
}

# Unpacks these packages.
unpack() {
    local download tries archive
    download=$(mktemp -d) || return 1
    # Where apt drops its privileges for a download it must be able to write there.
    chmod 755 "$download" && chown _apt "$download" 2>/dev/null
    for tries in 1 2; do
        if (cd "$download" && timeout 600 apt-get download "$@") </dev/null >/dev/null 2>&1; then
            for archive in "$download"/*.deb; do
                dpkg -x "$archive" "$root" || return 1
            done
            rm -rf "$download"
            return 0
        fi
        ((tries == 1)) && update_once || break
    done
    rm -rf "$download"
    return 1
}

# fetch PACKAGE: with its libraries, unless that was done before.
fetch() {
    local package=$1 packages
    [[ -e $vm/fetched/$package ]] && return
    may_install || not_had "Debian's package $package is not there, and is not fetched ($hint)"
    command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
        not_had "$package is missing, and this is no Debian"
    apt-cache show "$package" >/dev/null 2>&1 || update_once
    mapfile -t packages < <(with_libraries "$package")
    ((${#packages[@]})) && unpack "${packages[@]}" || not_had "Debian's package $package cannot be fetched"
    touch "$vm/fetched/$package"
}

# where PATH: what a package has at /PATH or, as packages of newer releases do, at /usr/PATH.
where() {
    local path
    for path in "$root/$1" "$root/usr/$1"; do
        [[ -e $path ]] && echo "$path" && return
    done
    not_had "$1 was fetched, but is not there"
}

# show_paths NAME PATH...: where these are.
show_paths() {
    local path
    while (($#)); do
        path=$(where "$2") || exit
        echo "$1=$path"
        shift 2
    done
}

fetch_kernel() {
    if [[ -n ${MEANTIME_VM_KERNEL:-} ]]; then
        [[ -r $MEANTIME_VM_KERNEL ]] || not_had "there is no kernel $MEANTIME_VM_KERNEL"
        echo "kernel=$(realpath "$MEANTIME_VM_KERNEL")"
        echo "modules=${MEANTIME_VM_MODULES:-}"
        return
    fi
    local package version
    [[ $(uname -m) == x86_64 ]] || not_had "this machine is no x86_64"
    package=$(cat "$vm/fetched/kernel" 2>/dev/null)
    if [[ -z $package ]]; then
        may_install || not_had "Debian's cloud kernel is not there, and is not fetched ($hint)"
        fetch_busybox >/dev/null
        apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || update_once
        package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
            awk '/Depends: linux-image/ { print $2; exit }')
        [[ -n $package ]] && unpack "$package" || not_had "Debian's cloud kernel cannot be fetched"
        # The package leaves it to the installation to find out which module needs which.
        "$root/bin/busybox" depmod -b "$root" "${package#linux-image-}" >/dev/null 2>&1 ||
            not_had "depmod has failed"
        echo "$package" >"$vm/fetched/kernel"
    fi
    version=${package#linux-image-}
    show_paths kernel "boot/vmlinuz-$version" modules "lib/modules/$version"
}

fetch_busybox() {
    fetch busybox-static
    show_paths busybox bin/busybox
}

fetch_iproute2() {
    fetch iproute2
    show_paths ip bin/ip tc sbin/tc TC_LIB_DIR lib/x86_64-linux-gnu/tc
}

fetch_nftables() {
    fetch nftables
    show_paths nft sbin/nft
}

fetch_chrony() {
    fetch chrony
    show_paths chronyd sbin/chronyd chronyc bin/chronyc
}

fetch_systemd() {
    fetch systemd
    fetch coreutils
    show_paths systemd lib/systemd/systemd journald lib/systemd/systemd-journald units lib/systemd/system \
        systemctl bin/systemctl journalctl bin/journalctl touch bin/touch chmod bin/chmod chown bin/chown
}

fetch_qemu() {
    local accelerator=tcg qemu=${MEANTIME_VM_QEMU:-qemu-system-x86_64}
    if ! command -v "$qemu" >/dev/null; then
        may_install || not_had "qemu-system-x86_64 is missing (apt-get install qemu-system-x86; $hint)"
        [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || not_had "qemu-system-x86_64 is missing"
        update_once
        timeout 900 apt-get install -y --no-install-recommends qemu-system-x86 </dev/null >/dev/null 2>&1 ||
            not_had "qemu-system-x86_64 is missing, and cannot be installed"
    fi
    # A paravirtual guest may have a /dev/kvm that answers, and still start no kernel of Debian's.
    if grep -qwE 'vmx|svm' /proc/cpuinfo && [[ -r /dev/kvm && -w /dev/kvm ]]; then accelerator=kvm; fi
    echo "qemu=$(command -v "$qemu")"
    echo "accelerator=$accelerator"
}

# apt-get or apt-cache with lists of its own, of the release's backports; the system's stay as they are.
apt_newer() {
    local tool=$1 uri codename
    shift
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" 2>/dev/null |
        head -n 1)
    [[ -n $uri ]] || return 1
    mkdir -p "$vm"/apt/{lists/partial,cache/archives/partial} || return 1
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $codename-backports main" \
        >"$vm/apt/sources.list"
    "$tool" -o "Dir::Etc::sourcelist=$vm/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o "Dir::State::lists=$vm/apt/lists" -o "Dir::Cache=$vm/apt/cache" "$@" </dev/null 2>/dev/null
}

# has_igb QEMU [MODULES]: QEMU loads no modules of another build, such as that of the QEMU that is installed.
has_igb() {
    [[ $(QEMU_MODULE_DIR=${2:-} "$1" -device igb,help 2>/dev/null) == *'igb options'* ]]
}

# The package of the newest kernel, by this command.
newest_kernel() {
    "$@" depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }'
}

unpack_igb() {
    local newer=$1 version=$2 download archive
    shift 2
    download=$(mktemp -d) && chmod 755 "$download" && chown _apt "$download" 2>/dev/null
    (
        cd "$download" &&
            "$@" download qemu-system-x86 qemu-system-common qemu-system-data seabios "linux-image-$version"
    ) >/dev/null ||
        not_had "QEMU and kernel with igb cannot be fetched"
    mkdir -p "$newer"
    for archive in "$download"/*.deb; do
        dpkg -x "$archive" "$newer" || not_had "$archive cannot be unpacked"
    done
    rm -rf "$download"
    "$root/bin/busybox" depmod -b "$newer" "$version" >/dev/null 2>&1 || not_had "depmod has failed"
    has_igb "$newer/usr/bin/qemu-system-x86_64" "$newer/$qemu_modules" || not_had "the QEMU that was fetched has no network card igb"
    echo "$version" >"$vm/fetched/igb"
}

qemu_modules=usr/lib/x86_64-linux-gnu/qemu

fetch_igb() {
    local newer=$vm/newer package
    # Its libraries are the same.
    fetch_qemu >/dev/null || exit
    if [[ ! -e $vm/fetched/igb ]]; then
        may_install || not_had "a QEMU with the network card igb is not there, and is not fetched ($hint)"
        fetch_busybox >/dev/null
        if has_igb qemu-system-x86_64; then
            package=$(newest_kernel apt-cache)
            unpack_igb "$newer" "${package#linux-image-}" apt-get
        else
            apt_newer apt-get update >/dev/null ||
                not_had "QEMU has no network card igb, and there are no backports"
            package=$(newest_kernel apt_newer apt-cache)
            unpack_igb "$newer" "${package#linux-image-}" apt_newer apt-get
        fi
    fi
    package=$(cat "$vm/fetched/igb")
    echo "igb_qemu=$newer/usr/bin/qemu-system-x86_64"
    echo "igb_qemu_modules=$newer/$qemu_modules"
    echo "igb_firmware=$newer/usr/share/qemu:$newer/usr/share/seabios"
    echo "igb_kernel=$newer/boot/vmlinuz-$package"
    echo "igb_modules=$newer/lib/modules/$package"
}

mkdir -p target/vm/root target/vm/fetched || exit 1
vm=$PWD/target/vm root=$PWD/target/vm/root
# Two that run at the same time would unpack into each other's files.
exec 9>"$vm/lock"
flock 9
for what; do
    case $what in
        kernel | busybox | iproute2 | nftables | chrony | systemd | qemu | igb) "fetch_$what" || exit ;;
        *) echo "usage: scripts/vm/fetch.sh [kernel|busybox|iproute2|nftables|chrony|systemd|qemu|igb]..." >&2; exit 2 ;;
    esac
done
libraries=
for directory in {,usr/}lib/x86_64-linux-gnu{,/systemd}; do
    [[ -d $root/$directory ]] && libraries+=${libraries:+:}$root/$directory
done
echo "libraries=$libraries"
