#!/usr/bin/env bash
# Proves that the core cannot do I/O: no socket, clock, file, process, thread or output.
#
#   scripts/core-forbids.sh
#
# Takes a copy of the core's sources, adds to it one line at a time that does what the core must not do, and
# expects the compiler to refuse each. Without such a line the copy has to compile. Then looks for crates that
# the core must not depend on. Exits 0 if all is refused.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# What is refused: a name, and the function that is added to the core.
forbidden=(
    "UDP sockets" "pub fn forbidden() { let _ = std::net::UdpSocket::bind(\"127.0.0.1:0\"); }"
    "TCP sockets" "pub fn forbidden() { let _ = std::net::TcpStream::connect(\"127.0.0.1:1\"); }"
    "the monotonic clock" "pub fn forbidden() { let _ = std::time::Instant::now(); }"
    "the system's clock" "pub fn forbidden() { let _ = std::time::SystemTime::now(); }"
    "files" "pub fn forbidden() { let _ = std::fs::read(\"/etc/hostname\"); }"
    "the environment" "pub fn forbidden() { let _ = std::env::var(\"HOME\"); }"
    "processes" "pub fn forbidden() { let _ = std::process::id(); }"
    "threads" "pub fn forbidden() { std::thread::yield_now(); }"
    "output" "pub fn forbidden() { println!(); }"
    "unsafe code" "pub fn forbidden() { unsafe { core::hint::unreachable_unchecked() } }"
)
# Crates that open sockets or files, read clocks, draw randomness from the system, log, or parse a command
# line.
crates='mio|socket2|nix|libc|rustix|tokio|async-io|smol|clap|log|tracing|simplelog|env_logger|chrono|time|getrandom|signal-hook|sd-notify|tempfile|serde_json|memmap2'

target=$PWD/${CARGO_TARGET_DIR:-target}
[[ ${CARGO_TARGET_DIR:-} != /* ]] || target=$CARGO_TARGET_DIR
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# The core by itself, in a workspace that has the same settings.
mkdir "$copy/crates"
cp -R crates/meantime-core "$copy/crates/"
cp Cargo.lock "$copy/"
sed -n '/^\[workspace\.package\]/,/^\[features\]/p' Cargo.toml |
    sed '/^\[features\]/d; /^meantime-/d' >"$copy/rest"
{ printf '[workspace]\nresolver = "3"\nmembers = ["crates/meantime-core"]\n\n'; cat "$copy/rest"; } >"$copy/Cargo.toml"
module=$copy/crates/meantime-core/src/time/mod.rs
[[ -f $module ]] || module=$copy/crates/meantime-core/src/time.rs
[[ -f $module ]] || { echo "FAILED: the core has no module 'time' to add a line to"; exit 1; }
cp "$module" "$copy/module"

check() {
    (cd "$copy" && cargo check --quiet --offline -p meantime-core --target-dir "$target/core-forbids") \
        >"$copy/output" 2>&1
}

failed=0
if ! check; then
    echo "FAILED: the core does not compile by itself"
    head -n 30 "$copy/output"
    exit 1
fi
echo "ok       the core compiles by itself"
for ((i = 0; i < ${#forbidden[@]}; i += 2)); do
    { cat "$copy/module"; printf '\n/// What the core must not do.\n%s\n' "${forbidden[i + 1]}"; } >"$module"
    if check; then
        echo "FAILED   the core can use ${forbidden[i]}"
        failed=1
    elif grep -qE '^error(\[E0433\]|\[E0463\]|\[E0425\]|: cannot find macro|: usage of an `unsafe` block|: usage of)' "$copy/output"; then
        echo "ok       refused: ${forbidden[i]}"
    else
        echo "FAILED   ${forbidden[i]}: refused for another reason"
        head -n 10 "$copy/output"
        failed=1
    fi
done
# A module that declares the standard library would have it: only lib.rs may, and there it gives it no name,
# but for the unit tests.
declared=$(grep -rnE 'extern crate|no_std' crates/meantime-core/src --include='*.rs' |
    grep -v '^[^:]*:[0-9]*: *//' | sed 's/^[^:]*\/src\///; s/:[0-9]*:/ /')
expected='lib.rs #![no_std]
lib.rs extern crate alloc;
lib.rs extern crate std;
lib.rs extern crate std as _;'
if [[ $declared == "$expected" ]] &&
    grep -B1 '^extern crate std;' crates/meantime-core/src/lib.rs | grep -qxF '#[cfg(test)]'; then
    echo "ok       the standard library has no name in the core, but in its unit tests"
else
    printf 'FAILED   crates are declared in another way than expected:\n%s\n' "$declared"
    failed=1
fi
found=$(cargo tree --locked -p meantime-core -e normal --prefix none --no-dedupe |
    awk '{ print $1 }' | sort -u | grep -xE "$crates")
if [[ -n $found ]]; then
    echo "FAILED   the core depends on" $found
    failed=1
else
    echo "ok       the core depends on no crate that does I/O"
fi
exit "$failed"
