#!/usr/bin/env bash
# The estimators side by side: pairwise disagreement over links of many kinds, in the simulator.
#
#   scripts/estimators.sh [CLIENTS [SEEDS]]     3 clients and 3 seeds unless given; about three minutes
#
# 10,000 s after 1,000 s of settling, 5 s rounds, bursts of 4, frequency errors within ± 100 ppm; RMS over all seeds
# and the maximum of all seeds, in µs, for each estimator.
set -euo pipefail
cd "$(dirname "$0")/.."

clients=${1:-3}
seeds=${2:-3}
cargo build --release --quiet
meantime=${CARGO_TARGET_DIR:-target}/release/meantime

# summary ESTIMATOR OPTION...: "RMS / maximum" over the seeds.
summary() {
    local estimator=$1 seed
    shift
    for ((seed = 1; seed <= seeds; seed++)); do
        "$meantime" simulate --clients "$clients" --duration 11000s --settle 1000s --seed "$seed" \
            --estimator "$estimator" --output json "$@" | tail -n 1
    done | awk -v RS=',' -F: '
        /"pairwise_rms_ns"/ { squares += $2 * $2; n++ }
        /"pairwise_max_ns"/ { if ($2 + 0 > max) max = $2 + 0 }
        END { printf "%.2f / %.1f", sqrt(squares / n) / 1000, max / 1000 }'
}

# row LABEL OPTION...
row() {
    local label=$1
    shift
    printf '| %s | %s | %s |\n' "$label" "$(summary least-delay "$@")" "$(summary one-sided "$@")"
}

printf '| links (each way), wander | least delay | one-sided |\n|---|---|---|\n'
row '100 µs + exp. 20 µs, 1e-9'
row 'the same, 20 % loss' --loss 0.2
row '100 µs + exp. 20 µs, 1e-8' --wander 1e-8
row '5 ms + exp. 1 ms, 1e-9' --delay 5ms --jitter 1ms
row 'the same, 20 % loss' --delay 5ms --jitter 1ms --loss 0.2
row '5 ms + exp. 1 ms, 1e-8' --delay 5ms --jitter 1ms --wander 1e-8
row '100 µs, no jitter, 1e-9' --jitter-kind none
row '100 µs + gamma (shape 4, mean 40 µs)' --jitter-kind gamma --jitter 40us
row '200 µs + Pareto (1.5, scale 50 µs)' --delay 200us --jitter-kind pareto --jitter 50us
row '80 % exp. 20 µs, 20 % of packets + 500 µs' --jitter-kind mixture
row 'slow correlated queue (50 µs, 60 s)' --queue 50us
row 'burst 1: 100 µs + exp. 20 µs' --burst 1
row 'burst 1: 5 ms + exp. 1 ms' --burst 1 --delay 5ms --jitter 1ms
