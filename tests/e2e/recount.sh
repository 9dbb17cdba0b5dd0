#!/usr/bin/env bash
# Counts again with nothing of ours: Kafka's console consumer, sort and comm.
#
#   KAFKA_BED=DIR recount.sh TOPIC DIRECTORY     every line of every file in DIRECTORY must be in TOPIC, read_committed, exactly as often
#                                                as it is in the files. Prints the counts; 1 if they differ, and where
#
# Lines end in a newline, the last one of a file too. Needs room for the topic's lines twice in TMPDIR, and for sort to work.
set -euo pipefail
topic=$1 directory=$2
export LC_ALL=C # bytes, not letters
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work

find "$directory" -type f -exec cat {} + | sort >"$work/files"
# It prints partition and offset in front of each value, ends when nothing came for a while, and fails if that was not the end. On a
# machine that is very busy its group may take longer than that to meet.
values() { "$(dirname "$0")/../beds/kafka/kafka.sh" console "$topic" --timeout-ms "$1" | cut -f 3- | sort >"$work/topic"; }
values 10000 || values 120000

# Column one: in the files more often than in the topic. Column two, after a tab: the other way round.
comm -3 "$work/files" "$work/topic" >"$work/differs"
missing=$(grep -vc $'^\t' "$work/differs" || true)
added=$(grep -c $'^\t' "$work/differs" || true)
echo "lines in the files: $(wc -l <"$work/files")"
echo "bytes in the files: $(wc -c <"$work/files")"
echo "lines in the files more than once: $(uniq -d "$work/files" | wc -l)"
echo "lines in the topic: $(wc -l <"$work/topic")"
echo "missing in the topic: $missing"
echo "too many in the topic: $added"
[ "$missing" = 0 ] && [ "$added" = 0 ] || { head -n 20 "$work/differs" >&2; exit 1; }
