#!/usr/bin/env bash
# The bench: ships one corpus of access logs into a real Kafka, with the smallest transactional loop around librdkafka (what this
# client can do at most) and with the agent, counts what arrived, and writes the medians between the markers of bench/README.md.
#
#   bench/run.sh        REPS=3 (repetitions), FILES=10 BYTES=100000000 (the corpus), PORT=29092, COMPRESSION=lz4, KEEP=1 (leave Kafka up)
#
# The loop and the agent take turns, and each run has a fresh topic: what disturbs the machine disturbs both. Compare ratios.
set -euo pipefail
cd "$(dirname "$0")/.."

reps=${REPS:-3} files=${FILES:-10} bytes=${BYTES:-100000000} port=${PORT:-29092} compression=${COMPRESSION:-lz4}
export SPOOLWAY_CACHE=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$SPOOLWAY_CACHE/target}
export KAFKA_BED=${KAFKA_BED:-$SPOOLWAY_CACHE/kafka-bench} KAFKA_HEAP=${KAFKA_HEAP:-1g}
kafka=tests/beds/kafka/kafka.sh
corpus=$SPOOLWAY_CACHE/corpus-1-${files}x$bytes
work=$SPOOLWAY_CACHE/bench
load=$(cut -d' ' -f1 /proc/loadavg) # told with the table: a machine that was busy before we began gives poor figures

cargo build --release --locked --bin spoolway --example loop --example corpus
bin=$CARGO_TARGET_DIR/release

if [ ! -f "$corpus/.summary" ]; then
  rm -rf "$corpus"
  "$bin/examples/corpus" "$corpus" --files "$files" --bytes "$bytes" >"$corpus.new"
  mv "$corpus.new" "$corpus/.summary"
fi
lines=$(awk '{ print $4 }' "$corpus/.summary") total=$(awk '{ print $6 }' "$corpus/.summary")

rm -rf "$work"
mkdir -p "$work"
"$kafka" wipe
bootstrap=$("$kafka" start --port "$port")
end() {
  [ -n "${KEEP:-}" ] || "$kafka" wipe
  # The agent's spool directories are hard links to the corpus: they cost nothing, but do not outlive the run.
  rm -rf "$work"/spool-*
}
trap end EXIT

# Exactly as many as were sent, as Kafka's own consumer counts them under read_committed: fewer or more and there is no table.
verify() { # verify TOPIC
  local seen
  seen=$("$kafka" count "$1")
  [ "$seen" = "$lines" ] || { echo "bench: $1 holds $seen records, the corpus has $lines lines" >&2; exit 1; }
}

# Each run ends with its topic: ten gigabytes of them would be on the disk otherwise.
drop() { "$kafka" run org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" --delete --topic "$1"; }

# A result is one line in results: who partitions lines/s CPU-s/GB RSS-MiB
run_loop() { # run_loop PARTITIONS TOPIC
  "$kafka" topic "$2" "$1"
  "$bin/examples/loop" --bootstrap "$bootstrap" --topic "$2" --partitions "$1" --compression "$compression" "$corpus"/*.log |
    awk -v p="$1" '{ for (i = 1; i < NF; i += 2) v[$i] = $(i + 1); print "loop", p, v["lines_per_second"], v["cpu_seconds_per_gb"], v["rss_mib"] }' |
    tee -a "$work/results"
  verify "$2"
  drop "$2"
}

run_agent() { # run_agent PARTITIONS TOPIC
  local spool=$work/spool-$2 seconds
  mkdir -p "$spool"
  # Hard links: the agent renames them; the corpus keeps its names.
  ln "$corpus"/*.log "$spool/"
  cat >"$work/$2.yaml" <<EOF
apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {name: bench, namespace: bench-$2}
spec:
  source:
    spoolDir: {path: $spool, settleTime: 1s}
  sink:
    kafka: {bootstrapServers: ["$bootstrap"], topic: $2, compression: ${compression^}}
EOF
  "$kafka" topic "$2" "$1"
  /usr/bin/time -v -o "$work/$2.time" "$bin/spoolway" agent -f "$work/$2.yaml" --once --agent-id bench \
    >"$work/$2.out" 2>"$work/$2.err" || { tail -20 "$work/$2.err" >&2; exit 1; }
  # Like the loop's, the time from the first read to the last commit; CPU and memory are those of the agent's whole life.
  seconds=$(sed -n 's/.*to the last commit \([0-9.]*\) s.*/\1/p' "$work/$2.out")
  [ -n "$seconds" ] || { echo "bench: no summary in $work/$2.out" >&2; exit 1; }
  awk -F': ' -v p="$1" -v lines="$lines" -v total="$total" -v seconds="$seconds" '
    /User time/ { cpu += $2 } /System time/ { cpu += $2 } /Maximum resident/ { rss = $2 / 1024 }
    END { printf "agent %d %.0f %.2f %.0f\n", p, lines / seconds, cpu / (total / 1e9), rss }' "$work/$2.time" | tee -a "$work/results"
  verify "$2"
  drop "$2"
}

shippers=(loop agent)

# One run that does not count: it compiles the broker's code and makes the transaction topic.
run_loop 1 warm-up >/dev/null
: >"$work/results"
for rep in $(seq "$reps"); do
  for partitions in 1 6; do
    for shipper in "${shippers[@]}"; do "run_$shipper" "$partitions" "$shipper-$partitions-$rep"; done
  done
done

# ---- the table ----

median() { # median WHO PARTITIONS FIELD
  awk -v who="$1" -v p="$2" -v f="$3" '$1 == who && $2 == p { print $f }' "$work/results" | sort -n |
    awk '{ v[NR] = $1 } END { if (!NR) { print "–"; exit } m = int((NR + 1) / 2); print NR % 2 ? v[m] : (v[m] + v[m + 1]) / 2 }'
}

thousands() { [ "$1" = – ] && echo – || awk -v n="$1" 'BEGIN { printf "%.2f M", n / 1e6 }'; }

row() { # row TITLE WHO
  local p cells=''
  for p in 1 6; do cells+=" $(thousands "$(median "$2" $p 3)") | $(median "$2" $p 4) | $(median "$2" $p 5) |"; done
  echo "| $1 |$cells"
}

ratio_row() {
  local p f cells='' a l
  for p in 1 6; do
    for f in 3 4 5; do
      a=$(median agent $p $f) l=$(median loop $p $f)
      if [ "$a" = – ]; then cells+=" – |"; else cells+=$(awk -v a="$a" -v l="$l" 'BEGIN { printf " %.2f |", a / l }'); fi
    done
  done
  echo "| agent ÷ loop |$cells"
}

machine() {
  local vendor memory
  vendor=$(sed -n 's/^model name[^:]*: \(AMD EPYC\|[^ ]* [^ ]*\).*/\1/p' /proc/cpuinfo | head -1)
  memory=$(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
  echo "$(nproc) cores ($vendor), $memory GiB"
}

{
  echo
  echo "$(date -u +%Y-%m-%d), $(machine), \`make bench REPS=$reps\`: $files files, $lines lines, $total bytes, $compression;"
  echo "Kafka on the same cores; medians of $reps; every run counted exactly; load average before it $load."
  echo
  echo "| | lines/s, 1 partition | CPU s/GB | RSS MiB | lines/s, 6 partitions | CPU s/GB | RSS MiB |"
  echo "|---|---|---|---|---|---|---|"
  row loop loop
  row agent agent
  ratio_row
  echo
} >"$work/table"
awk -v table="$work/table" '
  /<!-- bench:begin -->/ { print; while ((getline line < table) > 0) print line; skip = 1 }
  /<!-- bench:end -->/ { skip = 0 }
  !skip' bench/README.md >"$work/README.md"
cp "$work/README.md" bench/README.md
cat "$work/table"
