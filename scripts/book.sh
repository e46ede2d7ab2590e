#!/usr/bin/env bash
# Builds the book of docs/ into target/book, and checks its links.
#
#   scripts/book.sh
#
# Uses the mdbook of PATH or of target/tools; without one, installs it into target/tools, which takes some
# minutes. Exit code: 0 if all is well, 1 if the book cannot be built or a link is broken, 77 and a line NOT
# RUN if mdbook cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
version=0.5.4

not_run() {
    echo "NOT RUN: the book: $*"
    exit 77
}

command -v python3 >/dev/null || not_run "python3 is missing"
mdbook=$(command -v mdbook || true)
if [[ -z $mdbook ]]; then
    mdbook=$target/tools/bin/mdbook
    if [[ ! -x $mdbook ]]; then
        command -v cargo >/dev/null || not_run "mdbook and cargo are missing"
        echo "installing mdbook $version into $target/tools"
        # It runs for some seconds: that it is built quickly matters more than that it is fast.
        export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off
        export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
        timeout 800 cargo install --quiet --locked --root "$target/tools" --target-dir "$target/tools/build" \
            --no-default-features --features search mdbook@$version </dev/null ||
            not_run "mdbook cannot be installed"
        rm -rf "$target/tools/build"
    fi
fi

rm -rf target/book
"$mdbook" build docs
scripts/book-links.py check target/book
