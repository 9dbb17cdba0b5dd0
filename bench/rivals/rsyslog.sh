#!/usr/bin/env bash
# rsyslog's imfile → omkafka, a record a line. The verbs are those of run.sh; it runs until it is ended.
set -euo pipefail

case $1 in
  need) scripts/need.sh rsyslogd omkafka ;;
  title) rsyslogd -v | sed -n 's/^rsyslogd *\([^ ]*\).*/rsyslog \1/p' ;;
  run)
    dir=$2 spool=$3 topic=$4 broker=$5
    mkdir -p "$dir/state"
    cat >"$dir/conf" <<EOC
global(workDirectory="$dir/state" maxMessageSize="1m")
module(load="imfile" mode="inotify")
module(load="omkafka")
template(name="raw" type="string" string="%msg%")
main_queue(queue.size="100000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
input(type="imfile" File="$spool/*.log" Tag="bench" addMetadata="off")
action(type="omkafka" broker=["$broker"] topic="$topic" template="raw" resubmitOnFailure="on" partitions.auto="on"
       confParam=["compression.codec=$COMPRESSION","linger.ms=50","queue.buffering.max.messages=200000"])
EOC
    # It reads its settings before it starts: what is wrong in them shows here, not in a log.
    rsyslogd -N1 -f "$dir/conf"
    exec rsyslogd -n -f "$dir/conf" -i "$dir/pid"
    ;;
  seconds) ;;
esac
