#!/usr/bin/env bash
# Runs the quick tests of the whole workspace: a few minutes on two processors, with the build.
#
#   scripts/test.sh [ARGUMENT...]           the quick tests; arguments go to cargo test, as in --test wire
#   scripts/test.sh --long [ARGUMENT...]    the long tests: simulations of days, or of many worlds
#   scripts/test.sh --all [ARGUMENT...]     both
#   scripts/test.sh --list-long             the names of the long tests
#   scripts/test.sh --help                  this text
#
# A long test is marked `#[ignore = "long: scripts/check.sh runs it"]`, so `cargo test` shows each of them as
# ignored. scripts/check.sh, which is what CI runs, runs both kinds. Of the long tests, those that would take
# minutes run a sample of their worlds, and print how many (--nocapture shows it); with MEANTIME_WORLDS=all,
# which scripts/long.sh sets, they run all of them. Needs a Rust toolchain and a C compiler, and no rights.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=quick
case ${1:-} in
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --long | --all | --list-long) kind=${1#--}; shift ;;
esac
# Words after `--` go to the tests themselves.
arguments=() words=()
while (($#)); do
    [[ $1 != -- ]] || { shift; words=("$@"); break; }
    arguments+=("$1")
    shift
done
case $kind in
    quick) ;;
    long) words+=(--ignored) ;;
    all) words+=(--include-ignored) ;;
    list-long) words+=(--ignored --list) ;;
esac
# Tests of whole processes wait most of the time: with more threads than processors they wait together.
[[ $kind != quick ]] || export RUST_TEST_THREADS=${RUST_TEST_THREADS:-8}
exec cargo test --locked --workspace "${arguments[@]}" -- "${words[@]}"
