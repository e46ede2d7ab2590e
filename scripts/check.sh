#!/usr/bin/env bash
# Everything that has to be right before a change goes in: format, lints, tests, documents, a short fuzzing, the systemd units,
# the demo, terminals, the dashboard in a browser, and what needs a kernel of its own: the machine's clock, the units
# again, bad networks, and the laboratory.
# This is what CI runs. Asks nothing, ends within its time limits, and says at the end what it found.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export CARGO_TERM_COLOR=never

results=()
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step NAME SECONDS COMMAND...
step() {
    local name=$1 limit=$2 started=$SECONDS code
    shift 2
    printf '\n== %s\n' "$name"
    timeout --kill-after=10 "$limit" "$@" </dev/null 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    case $code in
        0) results+=("ok       $name ($((SECONDS - started)) s)") ;;
        # It says itself why it did not run.
        77) code=0 ;;
        124 | 137) results+=("FAILED   $name: not done within $limit s") failed=1 ;;
        *) results+=("FAILED   $name (exit code $code)") failed=1 ;;
    esac
    # Tests that need what this machine does not have say so, and those that run elsewhere then say where.
    while IFS= read -r line; do results+=("         ${line#RAN: }"); done < <(grep '^RAN: ' "$log")
    while IFS= read -r line; do results+=("NOT RUN  ${line#*NOT RUN: }"); done < <(grep 'NOT RUN: ' "$log")
    return "$code"
}

not_run() {
    results+=("NOT RUN  $1")
    failed=1
}

# The tests in network namespaces need iproute2; without it they say that they did not run.
if ! command -v ip >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "installing iproute2, for the tests in network namespaces"
    timeout 180 sh -c 'apt-get update && apt-get install -y --no-install-recommends iproute2' \
        </dev/null >/dev/null 2>&1 || echo "iproute2 cannot be installed"
fi

if step "dependencies" 600 cargo fetch --locked; then
    if cargo fmt --version >/dev/null 2>&1; then
        step "format" 60 cargo fmt --all --check
    else
        not_run "format: rustfmt is not installed (rustup component add rustfmt)"
    fi
    if cargo clippy --version >/dev/null 2>&1; then
        step "lints" 900 cargo clippy --locked --workspace --all-targets -- -D warnings
        step "lints without the dashboard" 900 cargo clippy --locked --all-targets --no-default-features -- -D warnings
    else
        not_run "lints: clippy is not installed (rustup component add clippy)"
    fi
    step "tests" 2700 cargo test --locked --no-fail-fast
    step "documents" 600 env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
    step "release build" 900 cargo build --locked --release
    # Five seconds a target, once they are built.
    step "fuzzing" 1200 scripts/fuzz.sh --seconds 5
    step "the systemd units" 300 env MEANTIME=target/release/meantime scripts/systemd-test.py
    step "demo" 120 scripts/demo.sh
    # Long enough to install tmux before.
    step "terminals" 400 scripts/terminal-test.py
    # Long enough to install a browser before.
    step "the dashboard" 900 scripts/dashboard-test.py
    # Long enough to fetch a kernel and qemu before.
    step "the machine's clock" 900 scripts/vm-clock-test.sh
    step "the systemd units in a virtual machine" 900 env MEANTIME=target/release/meantime scripts/vm-systemd-test.sh
    step "bad networks" 900 scripts/netem-test.sh
    step "the laboratory" 900 scripts/lab --short
else
    not_run "format, lints, tests, documents, fuzzing, the systemd units, demo, terminals, the dashboard, the machine's clock, the systemd units in a virtual machine, bad networks, the laboratory: the dependencies cannot be had"
fi

printf '\n== summary\n'
printf '%s\n' "${results[@]}"
exit "$failed"
