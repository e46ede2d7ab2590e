#!/usr/bin/env bash
# Fuzzes what comes from outside: datagrams, sequences of them to a server and to a client, what may happen to
# three servers and two clients, the key file, the kept frequency, the control socket, the record.
# docs/RELIABILITY.md says what each target asserts. The target `servers` is run only by its name, until it
# has run for long without a finding.
#
#   scripts/fuzz.sh [--seconds N] [--runs N] [--fast] [TARGET...]
#   scripts/fuzz.sh --merge [TARGET...]      afterwards: adds what was found worth keeping to fuzz/corpus
#
# 60 s for each target unless given; --runs ends it sooner.
#
# With --fast the fuzzer does not trace comparisons: half as many executions more, for long runs over a
# good corpus.
#
# Needs cargo-fuzz (installed here if cargo can) and a C++ compiler; the stable toolchain will do, since the
# core has no unsafe code that a sanitizer could watch. What it finds is in fuzz/artifacts. Exits 0 if nothing
# was found, 77 (NOT RUN) without cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60 runs=-1 merge=0 directory=fuzz/target compares=() targets=()
while (($#)); do
    case $1 in
        --seconds) seconds=$2; shift 2 ;;
        --runs) runs=$2; shift 2 ;;
        --merge) merge=1; shift ;;
        --fast) directory=fuzz/target/fast compares=(--no-trace-compares); shift ;;
        -*) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
        *) targets+=("$1"); shift ;;
    esac
done
[[ $seconds =~ ^[0-9]+$ && $runs =~ ^-?[0-9]+$ ]] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
((${#targets[@]})) || targets=(decode server client key_file state_file control record)

not_run() {
    echo "NOT RUN: fuzzing: $1"
    exit 77
}

command -v c++ >/dev/null || not_run "there is no C++ compiler"
# Beside the build, so that nothing is installed for the user.
tools=${CARGO_TARGET_DIR:-target}/tools
export PATH=$PATH:$PWD/$tools/bin:$tools/bin
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz in $tools"
    # It only calls cargo: that it is built quickly matters more than that it is fast.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        timeout 900 cargo install --quiet --locked --root "$tools" cargo-fuzz </dev/null ||
        not_run "cargo-fuzz cannot be installed"
fi

# Most executions need some large tables: memory that goes back to the system after each costs as much as all
# else.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_TOP_PAD_=16777216

failed=0
for target in "${targets[@]}"; do
    cargo fuzz build --sanitizer none --target-dir "$directory" "${compares[@]}" "$target" 2>&1 |
        grep -E '^(error|warning)' -A5 || true
    found=fuzz/target/found/$target
    mkdir -p "$found" "fuzz/artifacts/$target" "fuzz/corpus/$target"
    binary=$(echo "$directory"/*-*/release/"$target")
    [[ -x $binary ]] || { echo "FAILED: $target cannot be built"; exit 1; }
    if ((merge)); then
        "$binary" -set_cover_merge=1 -max_len=512 "fuzz/corpus/$target" "$found" 2>&1 | tail -1
        continue
    fi
    log=$found.log
    if "$binary" -runs="$runs" -max_total_time="$seconds" -max_len=512 -timeout=20 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" "$found" "fuzz/corpus/$target" >"$log" 2>&1; then
        count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        covered=$(grep -oE 'cov: [0-9]+' "$log" | tail -1)
        echo "$target: $count executions, ${covered#cov: } edges covered, nothing found"
    else
        failed=1
        echo "FAILED: $target"
        grep -A1 -E 'panicked|ERROR|Test unit written' "$log" | head -20
    fi
done
exit "$failed"
