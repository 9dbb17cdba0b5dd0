#!/usr/bin/env bash
# kcat, fed by cat: librdkafka's own command line, which keeps no place. The verbs are those of run.sh.
set -euo pipefail

case $1 in
  need) scripts/need.sh kcat ;;
  title) kcat -V 2>&1 | sed -n 's/^Version \([^ ]*\).*/kcat \1/p' ;;
  run)
    spool=$3 topic=$4 broker=$5
    # The loop's linger; kcat's own, 5 ms, makes smaller batches.
    cat "$spool"/*.log |
      kcat -P -b "$broker" -t "$topic" -z "$COMPRESSION" -X enable.idempotence=true -X acks=all -X linger.ms=50
    ;;
  seconds) ;;
esac
