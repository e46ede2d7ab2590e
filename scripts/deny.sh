#!/usr/bin/env bash
# Checks the dependencies with cargo-deny, as deny.toml says: licences, duplicates, sources and security
# advisories.
#
#   scripts/deny.sh
#
# cargo-deny is built in target/tools if it is missing. The advisories come from RustSec's database on GitHub:
# where that cannot be reached, they are NOT RUN, and the other parts are. Exits 0 if nothing was found, 77
# (NOT RUN) without cargo-deny.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

tools=${CARGO_TARGET_DIR:-target}/tools
export PATH=$PATH:$PWD/$tools/bin:$tools/bin
if ! cargo deny --version >/dev/null 2>&1; then
    echo "building cargo-deny in $tools"
    # It runs for a second: that it is built quickly matters more than that it is fast.
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off
    export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    if ! timeout 1500 cargo install --quiet --locked --root "$tools" cargo-deny </dev/null; then
        echo "NOT RUN: licences and advisories: cargo-deny cannot be built (cargo install --locked cargo-deny)"
        exit 77
    fi
fi

failed=0
for manifest in Cargo.toml fuzz/Cargo.toml; do
    cargo deny --locked --manifest-path "$manifest" --config "$PWD/deny.toml" check licenses bans sources ||
        failed=1
done
if timeout 120 cargo deny --locked fetch db >/dev/null 2>&1; then
    cargo deny --locked check --disable-fetch advisories || failed=1
else
    echo "NOT RUN: advisories: RustSec's database, github.com/RustSec/advisory-db, cannot be fetched"
fi
exit "$failed"
