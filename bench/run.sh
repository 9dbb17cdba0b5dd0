#!/usr/bin/env bash
# The bench: ships the same access logs into a real Kafka with the agent, with the smallest transactional loop around librdkafka (what
# this client can do at most) and with rivals, counts what arrived, and writes the medians between the markers of bench/README.md.
#
#   bench/run.sh        REPS=3                             repetitions
#                       FILES=10 BYTES=100000000           the large files
#                       SMALL_FILES=5000 SMALL_BYTES=20000 the small ones
#                       SHIPPERS="loop agent"              only these
#                       CUT=30                             seconds after which a rival that is not done is ended
#                       COMPRESSION=lz4 PORT=29092 KEEP=1  (leave Kafka up)
#
# All take turns, and each run has a fresh topic: what disturbs the machine disturbs all. Compare ratios.
#
# A shipper is bench/rivals/NAME.sh; one called NAME-VARIANT gets VARIANT as its last argument. Its verbs:
#   need                                       get what it needs, or say in one line what is missing and fail
#   title                                      what the table calls it
#   run DIR SPOOL TOPIC BROKER PARTITIONS      ship SPOOL/*.log; DIR, empty before, for its settings, state and output
#   seconds DIR                                how long that took by its own clock. Nothing: by the broker's, see ship
set -euo pipefail
cd "$(dirname "$0")/.."

reps=${REPS:-3} port=${PORT:-29092} cut=${CUT:-30}
export SPOOLWAY_CACHE=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway} COMPRESSION=${COMPRESSION:-lz4}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$SPOOLWAY_CACHE/target}
export KAFKA_BED=${KAFKA_BED:-$SPOOLWAY_CACHE/kafka-bench} KAFKA_HEAP=${KAFKA_HEAP:-1g}
kafka=tests/beds/kafka/kafka.sh
work=$SPOOLWAY_CACHE/bench
load=$(cut -d' ' -f1 /proc/loadavg) # told with the table: a machine that was busy before we began gives poor figures

read -ra shippers <<<"${SHIPPERS:-loop agent kcat rsyslog flume-memory flume-file}"
# What is measured: the large files into 1 and into 6 partitions, the small ones into 1.
sets=(1 6 small)
# The slow ones ship that many of the large files, so that no run takes a minute.
declare -A part=([flume-memory]=4 [flume-file]=1)
# These wait for more files, and are ended when everything is there.
endless=" rsyslog flume-memory flume-file "
# Not with the small files: one takes no files at all, the other is slower than its sibling, which is cut off already.
not_small=" kcat flume-file "

cargo build --release --locked --bin spoolway --example loop --example corpus

corpus() { # corpus FILES BYTES: makes it once, prints where it is
  local dir=$SPOOLWAY_CACHE/corpus-1-$1x$2
  if [ ! -f "$dir/.summary" ]; then
    rm -rf "$dir"
    "$CARGO_TARGET_DIR/release/examples/corpus" "$dir" --files "$1" --bytes "$2" >"$dir.new"
    mv "$dir.new" "$dir/.summary"
  fi
  echo "$dir"
}
large=$(corpus "${FILES:-10}" "${BYTES:-100000000}")
small=$(corpus "${SMALL_FILES:-5000}" "${SMALL_BYTES:-20000}")

rm -rf "$work"
mkdir -p "$work"
notes=$work/notes # what the table has to say of single runs
: >"$notes"

# A shipper that cannot be had is left out, and the table says why.
present=()
for name in "${shippers[@]}"; do
  if "bench/rivals/${name%%-*}.sh" need "${name#*-}" 2>"$work/need"; then
    present+=("$name")
  else
    echo "without $name: $(tail -1 "$work/need")" | tee -a "$notes" >&2
  fi
done

"$kafka" wipe
bootstrap=$("$kafka" start --port "$port")
runs='' # the folder of the run that is under way
end() {
  [ -z "$runs" ] || stop "$runs"
  [ -n "${KEEP:-}" ] || "$kafka" wipe
  # The spool directories are hard links to the corpus: they cost nothing, but do not outlive the run.
  rm -rf "$work"/*/spool
}
trap end EXIT

# Ends a shipper by its pid, which is not that of the `time` around it.
stop() { # stop DIR
  local pid
  pid=$(cat "$1/pid") || return 0
  kill "$pid" 2>/dev/null || return 0
  timeout 20 tail --pid="$pid" -s 0.1 -f /dev/null || kill -9 "$pid"
}

fail() { # fail DIR WHAT
  tail -20 "$1/log" >&2
  echo "bench: $2; its files are in $1" >&2
  exit 1
}

# One run. A result is one line in results: name set lines/s CPU-s/GB RSS-MiB
ship() { # ship NAME SET REPETITION
  local name=$1 set=$2 topic=$1-$2-$3 corpus=$large partitions=$2 script=bench/rivals/${1%%-*}.sh
  local dir=$work/$topic files lines bytes seen seconds watcher outcome='all'
  if [ "$set" = small ]; then corpus=$small partitions=1; fi
  files=("$corpus"/*.log)
  [ "$set" = small ] || files=("${files[@]:0:${part[$name]:-${#files[@]}}}")
  mkdir -p "$dir/spool" "$dir/own"
  # Hard links: some rename them; the corpus keeps its names.
  ln "${files[@]}" "$dir/spool/"
  read -r lines bytes < <(cat "${files[@]}" | wc -lc)
  # The broker stamps what it appends, so its clock tells when things arrived.
  "$kafka" topic "$topic" "$partitions" message.timestamp.type=LogAppendTime
  if [[ $endless = *" $name "* ]]; then
    : >"$dir/await"
    "$kafka" await "$topic" "$lines" "$cut" >>"$dir/await" &
    watcher=$!
    # A Java that starts beside the rival would take its share of the cores.
    until grep -q watching "$dir/await"; do kill -0 $watcher && sleep 0.1; done
  fi
  # shellcheck disable=SC2016 # the inner shell expands it, and becomes the shipper
  /usr/bin/time -v -o "$dir/time" bash -c 'echo $$ >"$0/pid"; exec "$@"' "$dir" \
    "$script" run "$dir/own" "$dir/spool" "$topic" "$bootstrap" "$partitions" "${name#*-}" >"$dir/log" 2>&1 &
  runs=$dir
  if [ -n "${watcher:-}" ]; then
    wait $watcher || fail "$dir" "the watcher of $topic failed"
    outcome=$(tail -1 "$dir/await")
    stop "$dir"
    wait $! || true # it was ended
  else
    wait $! || fail "$dir" "$name failed"
  fi
  runs=''

  # Exactly as many as were sent, as Kafka's own consumer counts them under read_committed: fewer or more and there is no table.
  seen=$("$kafka" count "$topic")
  if [ "${outcome% *}" = cut ]; then
    echo "$name, $set, run $3: cut off after $cut s, with $seen of $lines lines there; its rate is that of those." >>"$notes"
    bytes=$((bytes * seen / lines)) lines=$seen
  fi
  [ "$seen" = "$lines" ] || fail "$dir" "$topic holds $seen records of $lines lines ($outcome)"

  # Who has no clock of his own is timed by the broker's, from the first record there to the last: his start does not count.
  seconds=$("$script" seconds "$dir/own")
  [ -n "$seconds" ] || seconds=$("$kafka" span "$topic" | awk '{ print ($2 - $1) / 1000 }')
  awk -F': ' -v who="$name $set" -v lines="$lines" -v bytes="$bytes" -v seconds="$seconds" '
    /User time/ { cpu += $2 } /System time/ { cpu += $2 } /Maximum resident/ { rss = $2 / 1024 }
    END { printf "%s %.0f %.2f %.0f\n", who, lines / seconds, cpu / (bytes / 1e9), rss }' "$dir/time" | tee -a "$work/results"
  # Each run ends with its topic and links: ten gigabytes of them would be on the disk otherwise.
  "$kafka" run org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" --delete --topic "$topic"
  rm -rf "$dir/spool"
}

measured() { [[ $2 != small || $not_small != *" $1 "* ]]; } # measured NAME SET

# Runs that do not count: they make the transaction topic, and let the broker's Java compile what all will use.
for set in "${sets[@]}"; do ship loop "$set" warm-up >/dev/null; done
: >"$work/results"
for rep in $(seq "$reps"); do
  # Every other repetition goes backwards: nobody always follows the same neighbour, whose data the disk is still writing.
  order=("${present[@]}")
  ((rep % 2)) || mapfile -t order < <(printf '%s\n' "${present[@]}" | tac)
  for set in "${sets[@]}"; do
    for name in "${order[@]}"; do
      if measured "$name" "$set"; then ship "$name" "$set" "$rep"; fi
    done
  done
done

# ---- the table ----

median() { # median NAME SET FIELD
  awk -v who="$1" -v set="$2" -v f="$3" '$1 == who && $2 == set { print $f }' "$work/results" | sort -n |
    awk '{ v[NR] = $1 } END { if (!NR) { print "–"; exit } m = int((NR + 1) / 2); print NR % 2 ? v[m] : (v[m] + v[m + 1]) / 2 }'
}

short() { # 1.53 M, 132 k, 3.6 k
  awk -v n="$1" 'BEGIN {
    if (n ~ /[^0-9.]/) print n
    else if (n < 1e5) printf "%.1f k", n / 1e3
    else if (n < 1e6) printf "%.0f k", n / 1e3
    else printf "%.2f M", n / 1e6
  }'
}

row() { # row NAME SET...
  local name=$1 set title cells=''
  shift
  title=$("bench/rivals/${name%%-*}.sh" title "${name#*-}")
  [ "$1" = small ] || [ -z "${part[$name]:-}" ] || title+=", ${part[$name]} of the files"
  for set in "$@"; do cells+=" $(short "$(median "$name" "$set" 3)") | $(median "$name" "$set" 4) | $(median "$name" "$set" 5) |"; done
  echo "| $title |$cells"
}

ratio_row() { # ratio_row NAME SET...: the agent to it
  local name=$1 set field cells=''
  shift
  for set in "$@"; do
    for field in 3 4 5; do
      cells+=$(awk -v a="$(median agent "$set" $field)" -v b="$(median "$name" "$set" $field)" \
        'BEGIN { if (a + 0 > 0 && b + 0 > 0) printf (a / b < 0.1 ? " %.2g |" : " %.2f |"), a / b; else printf " – |" }')
    done
  done
  echo "| agent ÷ $name |$cells"
}

rows() { # rows SET...: a table's body
  local name
  for name in "${present[@]}"; do measured "$name" "$1" && row "$name" "$@"; done
  for name in "${present[@]}"; do [ "$name" != agent ] && measured "$name" "$1" && ratio_row "$name" "$@"; done
  echo
}

machine() {
  local vendor memory
  vendor=$(sed -n 's/^model name[^:]*: \(AMD EPYC\|[^ ]* [^ ]*\).*/\1/p' /proc/cpuinfo | head -1)
  memory=$(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
  echo "$(nproc) cores ($vendor), $memory GiB"
}

{
  echo
  echo "$(date -u +%Y-%m-%d), $(machine), \`make bench REPS=$reps\`, $((SECONDS / 60)) minutes; Kafka on the same cores, $COMPRESSION; medians of"
  echo "$reps; every run counted exactly; load average before it $load. The large files: $(<"$large/.summary")."
  echo
  echo "| | lines/s, 1 partition | CPU s/GB | RSS MiB | lines/s, 6 partitions | CPU s/GB | RSS MiB |"
  echo "|---|---|---|---|---|---|---|"
  rows 1 6
  echo "Small files, into one partition: $(<"$small/.summary")."
  echo
  echo "| | lines/s | CPU s/GB | RSS MiB |"
  echo "|---|---|---|---|"
  rows small
  [ ! -s "$notes" ] || { sed 's/^/- /' "$notes"; echo; }
} >"$work/table"
awk -v table="$work/table" '
  /<!-- bench:begin -->/ { print; while ((getline line < table) > 0) print line; skip = 1 }
  /<!-- bench:end -->/ { skip = 0 }
  !skip' bench/README.md >"$work/README.md"
cp "$work/README.md" bench/README.md
cat "$work/table"
