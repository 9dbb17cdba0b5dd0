#!/usr/bin/env bash
# Apache Flume, spooling directory → channel (the last argument: memory or file) → Kafka sink. The verbs are those of run.sh; it runs
# until it is ended. No archive of it can be had any more; flume-pom.xml assembles it from its own jars.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's:.*<flume.version>\(.*\)</flume.version>.*:\1:p' "$here/flume-pom.xml")
libs=$SPOOLWAY_CACHE/flume-$version-libs
channel=${!#}

# Flume's own default, 100 events, is too small for batches of 1000, the size at which it is fastest.
channel_settings() { # channel_settings DIR
  case $channel in
    memory) printf 'a.channels.c.%s\n' capacity=100000 transactionCapacity=1000 ;;
    file) printf 'a.channels.c.%s\n' "checkpointDir=$1/checkpoint" "dataDirs=$1/data" ;;
  esac
}

case $1 in
  need) scripts/need.sh java && scripts/jars.sh "$here/flume-pom.xml" "$libs" ;;
  title) echo "Flume $version, $channel channel" ;;
  run)
    dir=$2 spool=$3 topic=$4 broker=$5
    {
      cat <<EOC
a.sources=s
a.channels=c
a.sinks=k
a.sources.s.type=spooldir
a.sources.s.channels=c
a.sources.s.spoolDir=$spool
a.sources.s.batchSize=1000
# characters; unset, it cuts at 2048
a.sources.s.deserializer.maxLineLength=1000000
a.channels.c.type=$channel
a.sinks.k.type=org.apache.flume.sink.kafka.KafkaSink
a.sinks.k.channel=c
a.sinks.k.kafka.bootstrap.servers=$broker
a.sinks.k.kafka.topic=$topic
a.sinks.k.flumeBatchSize=1000
a.sinks.k.kafka.producer.acks=all
a.sinks.k.kafka.producer.compression.type=$COMPRESSION
EOC
      channel_settings "$dir"
    } >"$dir/flume.properties"
    cat >"$dir/log4j2.properties" <<'EOC'
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.target=SYSTEM_ERR
EOC
    exec java -Xmx512m -Djava.io.tmpdir="$dir" -Dlog4j2.configurationFile="$dir/log4j2.properties" -cp "$libs/*" \
      org.apache.flume.node.Application --name a --conf-file "$dir/flume.properties" --no-reload-conf
    ;;
  seconds) ;;
esac
