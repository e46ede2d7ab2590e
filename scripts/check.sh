#!/usr/bin/env bash
# The full check: everything that has to be right before a change goes in. This is what CI runs.
#
#   scripts/check.sh                 all steps
#   scripts/check.sh --install       the same; installs and fetches Debian's packages that steps need, as root
#   scripts/check.sh --list          the names of the steps
#   scripts/check.sh NAME...         only the steps with these names
#
# Asks nothing. Every step ends within its time limit. The summary at the end says of each step whether it is
# ok, FAILED, or NOT RUN and why. Exits 0 if no step has failed. CONTRIBUTING.md says what runs where. Without
# --install nothing is installed on the system; cargo-fuzz and cargo-deny are built in target/tools if they
# are missing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export CARGO_TERM_COLOR=never

list='' wanted=()
while (($#)); do
    case $1 in
        --install) export MEANTIME_INSTALL=1 ;;
        --list) list=yes ;;
        -*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; [[ $1 == --help || $1 == -h ]]; exit $((2 * $?)) ;;
        *) wanted+=("$1") ;;
    esac
    shift
done

results=() names=()
steps_ok=0 steps_failed=0 tests_passed=0 tests_failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

is_wanted() {
    local name
    ((${#wanted[@]})) || return 0
    for name in "${wanted[@]}"; do [[ $name != "$1" ]] || return 0; done
    return 1
}

# step NAME SECONDS COMMAND...: runs it, unless other steps are wanted. Exit code 77 means that the step was
# not run and has said why.
step() {
    local name=$1 limit=$2 started=$SECONDS code
    shift 2
    names+=("$name")
    if [[ -n $list ]]; then
        echo "$name"
        return 0
    fi
    is_wanted "$name" || return 0
    printf '\n== %s\n' "$name"
    timeout --kill-after=10 "$limit" "$@" </dev/null 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    case $code in
        0) results+=("ok       $name ($((SECONDS - started)) s)") steps_ok=$((steps_ok + 1)) ;;
        # It has said itself why it did not run.
        77) code=0 ;;
        124 | 137) results+=("FAILED   $name: not done within $limit s") steps_failed=$((steps_failed + 1)) ;;
        *) results+=("FAILED   $name (exit code $code)") steps_failed=$((steps_failed + 1)) ;;
    esac
    # Parts that need what this machine does not have say so; those that run elsewhere say where.
    while IFS= read -r line; do results+=("         ${line#RAN: }"); done < <(grep '^RAN: ' "$log")
    while IFS= read -r line; do results+=("NOT RUN  ${line#*NOT RUN: }"); done < <(grep 'NOT RUN: ' "$log")
    return "$code"
}

# tests NAME SECONDS COMMAND...: a step of cargo test, whose tests are counted. Sets `passed`, `failed` and
# `ignored`.
tests() {
    local code
    passed=0 failed=0 ignored=0
    step "$@"
    code=$?
    [[ -z $list ]] && is_wanted "$1" || return "$code"
    read -r passed failed ignored < <(
        sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$log" |
            awk '{ passed += $1; failed += $2; ignored += $3 } END { print passed + 0, failed + 0, ignored + 0 }'
    )
    results+=("         $passed tests passed, $failed failed, $ignored ignored")
    # The summary stands at the end of a long output: what has failed, and why, must be found there.
    while IFS= read -r line; do results+=("         $line"); done < <(((failed)) && failures)
    tests_passed=$((tests_passed + passed)) tests_failed=$((tests_failed + failed))
    return "$code"
}

# The tests that have failed, by the log: of each a line with its name, where it panicked, and what it said.
failures() {
    awk '
        name != "" { reason[name] = where " " substr($0, 1, 300); name = "" }
        /^thread .* panicked at / {
            name = where = $0
            sub(/^thread ./, "", name); sub(/. .*/, "", name); sub(/.* panicked at /, "", where)
        }
        /^test .* \.\.\. FAILED$/ { failed[++count] = $2 }
        END { for (each = 1; each <= count; each++) print "failed: " failed[each] ": " reason[failed[each]] }
    ' "$log"
}

# lacking NAME REASON: a step that needs a tool of the Rust toolchain which is not installed. That is a
# failure.
lacking() {
    names+=("$1")
    if [[ -n $list ]]; then echo "$1"; return; fi
    is_wanted "$1" || return
    results+=("FAILED   $1: $2") steps_failed=$((steps_failed + 1))
}

# Installs what several steps need. The other packages are installed by the steps that need them.
install_packages() {
    local packages=() package
    for package in iproute2:ip python3:python3 g++:c++; do
        command -v "${package#*:}" >/dev/null || packages+=("${package%:*}")
    done
    ((${#packages[@]})) || return 0
    echo "installing ${packages[*]}"
    timeout 600 sh -c "apt-get update && apt-get install -y --no-install-recommends ${packages[*]}" </dev/null >/dev/null 2>&1 ||
        echo "cannot be installed: ${packages[*]}"
}
if [[ ${MEANTIME_INSTALL:-} == 1 && -z $list && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    install_packages
fi

finish() {
    [[ -z $list ]] || exit 0
    local name known
    for name in "${wanted[@]}"; do
        known=
        for each in "${names[@]}"; do [[ $each != "$name" ]] || known=yes; done
        [[ -n $known ]] || { results+=("FAILED   there is no step '$name' (scripts/check.sh --list)"); steps_failed=$((steps_failed + 1)); }
    done
    printf '\n== summary (%d min)\n' $((SECONDS / 60))
    printf '%s\n' "${results[@]}"
    printf 'steps: %d ok, %d failed\n' "$steps_ok" "$steps_failed"
    printf 'tests: %d passed, %d failed\n' "$tests_passed" "$tests_failed"
    exit $((steps_failed > 0))
}

# What is read, without a build.
if ! step "dependencies" 900 sh -c 'cargo fetch --locked && cargo fetch --locked --manifest-path fuzz/Cargo.toml'; then
    results+=("NOT RUN  all other steps: the dependencies cannot be had")
    finish
fi
if cargo fmt --version >/dev/null 2>&1; then
    step "format" 120 sh -c 'cargo fmt --all --check && cargo fmt --manifest-path fuzz/Cargo.toml --check'
else
    lacking "format" "rustfmt is not installed (rustup component add rustfmt)"
fi
step "line length" 60 scripts/line-length.py
step "structure" 120 scripts/structure-test.py
step "licences and advisories" 1800 scripts/deny.sh

# Compiler and tests.
step "the core cannot do I/O" 900 scripts/core-forbids.sh
if cargo clippy --version >/dev/null 2>&1; then
    step "lints" 1800 cargo clippy --locked --workspace --all-targets -- -D warnings
    step "lints without the dashboard" 1800 \
        cargo clippy --locked --all-targets --no-default-features -- -D warnings
else
    lacking "lints" "clippy is not installed (rustup component add clippy)"
fi
tests "quick tests" 2700 scripts/test.sh --no-fail-fast
quick_ignored=$ignored
tests "long tests" 3600 scripts/test.sh --long --no-fail-fast
if [[ -z $list ]] && is_wanted "quick tests" && is_wanted "long tests" &&
    ((quick_ignored != passed + failed)); then
    results+=("FAILED   $quick_ignored tests were left to the step \"long tests\", which has run $((passed + failed))")
    steps_failed=$((steps_failed + 1))
fi
step "documents" 900 env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
step "the book" 900 scripts/book.sh
# Five seconds for each target, once they are built.
step "fuzzing" 1800 scripts/fuzz.sh --seconds 5

# The program, on this machine.
step "release build" 1800 cargo build --locked --release
step "demo" 900 scripts/demo.sh
step "demo of the release build" 120 env MEANTIME=target/release/meantime scripts/demo.sh
step "the systemd units" 600 env MEANTIME=target/release/meantime scripts/systemd-test.py
step "terminals" 600 scripts/terminal-test.py
step "the dashboard" 1200 scripts/dashboard-test.py

# The program, in virtual machines: these need a kernel of their own.
step "the machine's clock" 1200 scripts/vm-clock-test.sh
step "network cards' timestamps" 900 env MEANTIME=target/release/meantime scripts/vm-hardware-test.sh
step "the systemd units in a virtual machine" 1500 \
    env MEANTIME=target/release/meantime scripts/vm-systemd-test.sh
step "bad networks" 1200 scripts/netem-test.sh
step "the laboratory" 1200 scripts/lab --short
finish
