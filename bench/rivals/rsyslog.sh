#!/usr/bin/env bash
# A rival for comparison: rsyslog's imfile → omkafka, a record a line.   rsyslog.sh start FILE TOPIC BROKER | stop | stats
# Needs rsyslog and rsyslog-kafka (Debian). State in $RSYSLOG_BED (default ~/.cache/spoolway/rsyslog). Not a part of `make bench`.
set -euo pipefail

bed=${RSYSLOG_BED:-${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}/rsyslog}
mkdir -p "$bed/work"

case ${1:-} in
  start)
    cat >"$bed/conf" <<EOF
global(workDirectory="$bed/work" maxMessageSize="1m")
module(load="imfile" mode="inotify")
module(load="omkafka")
module(load="impstats" interval="1" log.syslog="off" log.file="$bed/stats" format="json" resetCounters="off")
template(name="raw" type="string" string="%msg%")
main_queue(queue.size="100000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
input(type="imfile" File="${2:?FILE}" Tag="bed" addMetadata="off")
action(type="omkafka" broker=["${4:?BROKER}"] topic="${3:?TOPIC}" template="raw" resubmitOnFailure="on"
       confParam=["compression.codec=none","linger.ms=5","queue.buffering.max.messages=200000"])
EOF
    # It reads its settings before it starts: what is wrong in them shows here, not in a log.
    rsyslogd -N1 -f "$bed/conf"
    rm -f "$bed/stats"
    setsid rsyslogd -n -f "$bed/conf" -i "$bed/pid.own" >"$bed/log" 2>&1 </dev/null &
    echo $! >"$bed/pid"
    # It runs when it writes statistics, once a second.
    until [ -s "$bed/stats" ]; do
      kill -0 "$(cat "$bed/pid")" 2>/dev/null || { cat "$bed/log" >&2; exit 1; }
      sleep 0.1
    done
    echo "pid $(cat "$bed/pid")"
    ;;
  stop)
    pid=$(cat "$bed/pid")
    kill "$pid"
    timeout 10 tail --pid="$pid" -s 0.1 -f /dev/null || kill -9 "$pid"
    rm -f "$bed/pid" "$bed/pid.own"
    ;;
  stats)
    grep -h omkafka "$bed/stats" | tail -1
    grep VmRSS "/proc/$(cat "$bed/pid")/status"
    ;;
  *) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
