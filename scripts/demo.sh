#!/usr/bin/env bash
# `make demo`: demo.sh [ARGS of spoolway demo]. With --kafka it starts a real Kafka on loopback, lets `spoolway demo` ship into it
# and kill its agent on the way, counts once more with Kafka's own console consumer, and leaves no process and no file behind.
#
#   demo.sh --kafka [--lines N]     PORT=29192: the first port that is tried
set -euo pipefail
cd "$(dirname "$0")/.."

spoolway=${CARGO_TARGET_DIR:-${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}/target}/release/spoolway
kafka=tests/beds/kafka/kafka.sh
real= args=()
for arg in "$@"; do if [ "$arg" = --kafka ]; then real=1; else args+=("$arg"); fi; done
[ -n "$real" ] || exec "$spoolway" demo "$@"

"$kafka" fetch
work=$(mktemp -d "${TMPDIR:-/tmp}/spoolway-demo-XXXXXX")
export KAFKA_BED=$work/kafka
demo=
end() {
  trap '' INT TERM HUP # an impatient second ctrl-c must not leave a broker behind
  if [ -n "$demo" ]; then kill "$demo" 2>/dev/null && wait "$demo" || true; fi
  "$kafka" wipe
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=${PORT:-29192}
while answers "$port" || answers $((port + 1)); do port=$((port + 2)); done

bootstrap=$("$kafka" start --port "$port")
"$kafka" topic web-access 4
# In the background, so that a signal to this script is served at once.
"$spoolway" demo --kafka "$bootstrap" --keep "$work/run" "${args[@]}" &
demo=$!
wait "$demo" || { code=$?; demo=; exit $code; }
demo=

# One id for each record; whatever has none is told from all that have.
export LC_ALL=C
ids() { sed -E 's/.*[?]rid=([0-9]+-[0-9]+) .*/\1/; t; s/.*/no-id/' | sort -S 200M; }
cat "$work"/run/spool/*.COMPLETED | ids >"$work/written"
"$kafka" read web-access | ids >"$work/found"
number() { wc -l | sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta'; }
missing=$(comm -23 <(uniq "$work/written") <(uniq "$work/found") | number)
foreign=$(comm -13 <(uniq "$work/written") <(uniq "$work/found") | number)
twice=$(uniq -d "$work/found" | number)
echo
echo "read back by Kafka's own console consumer, read_committed, ids sorted and compared"
printf '  lines written   %11s\n  records found   %11s\n' "$(number <"$work/written")" "$(number <"$work/found")"
echo "  missing $missing, twice $twice, foreign $foreign"
cmp -s "$work/written" "$work/found" || { echo "  NOT exactly once"; exit 1; }
echo "  exactly once; $SECONDS s in all"
