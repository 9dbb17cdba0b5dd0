#!/usr/bin/env bash
# The agent: exactly once, to the last file's new name. The verbs are those of run.sh.
set -euo pipefail

case $1 in
  need) ;; # run.sh has built it
  title) echo agent ;;
  run)
    dir=$2 spool=$3 topic=$4 broker=$5
    cat >"$dir/pipeline.yaml" <<YAML
apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {name: bench, namespace: $topic}
spec:
  source:
    spoolDir: {path: $spool, settleTime: 100ms}
  sink:
    kafka: {bootstrapServers: ["$broker"], topic: $topic, compression: ${COMPRESSION^}}
YAML
    exec "$CARGO_TARGET_DIR/release/spoolway" agent -f "$dir/pipeline.yaml" --once --agent-id bench >"$dir/out"
    ;;
  # From the first read to the last rename, which comes after the last commit.
  seconds) sed -n 's/.*to the last completed file \([0-9.]*\) s.*/\1/p' "$2/out" ;;
esac
