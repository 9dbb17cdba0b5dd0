#!/usr/bin/env bash
# bench/loop.rs: the smallest transactional loop around librdkafka. The verbs are those of run.sh.
set -euo pipefail

case $1 in
  need) ;; # run.sh has built it
  title) echo loop ;;
  run)
    dir=$2 spool=$3 topic=$4 broker=$5 partitions=$6
    exec "$CARGO_TARGET_DIR/release/examples/loop" --bootstrap "$broker" --topic "$topic" --partitions "$partitions" \
      --compression "$COMPRESSION" "$spool"/*.log >"$dir/out"
    ;;
  # From the first read to the last commit.
  seconds) sed -n 's/.* seconds \([0-9.]*\) .*/\1/p' "$2/out" ;;
esac
