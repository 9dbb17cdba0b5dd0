#!/usr/bin/env bash
# `make soak`: soak.sh SECONDS. The network's faults at their full length (64 MiB over a link of 256 KiB/s; eleven minutes), then storm after
# storm until the time is over, one at least, each with a seed of its own. One that fails ends nothing: its seed is told, at once and at the
# end, and its output kept.
set -euo pipefail
cd "$(dirname "$0")/.."

begin=$SECONDS limit=${1:?soak.sh SECONDS} storms=0 failed=()
logs=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}/soak
mkdir -p "$logs"
echo "soak: the network's faults, at their full length" >&2
SPOOLWAY_SOAK=1 CI=true cargo test --release --locked --test main e2e::network:: -- --nocapture || failed+=(network)
until [ "$storms" -gt 0 ] && [ $((SECONDS - begin)) -ge "$limit" ]; do
  seed=$(od -An -N8 -tu8 /dev/urandom | tr -d ' ')
  storms=$((storms + 1))
  echo "soak: storm $storms, SEED=$seed" >&2
  if SEED=$seed make --no-print-directory storm 2>&1 | tee "$logs/$seed.log"; then
    rm "$logs/$seed.log"
  else
    failed+=("$seed")
    echo "soak: it failed; replay it with SEED=$seed make storm; its output is in $logs/$seed.log" >&2
  fi
done
echo "soak: $storms storms in $((SECONDS - begin)) s, ${#failed[@]} failed ${failed[*]}" >&2
[ ${#failed[@]} = 0 ]
