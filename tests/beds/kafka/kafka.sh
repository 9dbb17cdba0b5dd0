#!/usr/bin/env bash
# A real Apache Kafka (KRaft), from Maven Central, on loopback unless told otherwise: one node, or three that can be killed one by one.
#
#   kafka.sh fetch                                  get the jars (once for each version; nothing else here needs a network)
#   kafka.sh start [--host H] [--port P] [--nodes 1|3] [--links L] [k=v ...]
#                                                   prints H:P (127.0.0.1:19092); k=v are further broker settings. Uses ports P to
#                                                   P+2*nodes-1 of H, which clients must reach. With links each node listens on L more
#                                                   ports, from P+2*nodes on, and names to whoever comes in there the port behind it:
#                                                   a proxy may stand on that one and has all of the client's traffic
#   kafka.sh stop | wipe                            end all nodes | the same at once, and remove their data
#   kafka.sh kill N | restart N                     kill -9 node N | start it again on its data. After a kill -9 that takes up to
#                                                   broker.session.timeout.ms (9000) more: set it at start where tests do it often
#   kafka.sh status                                 one line a node
#   kafka.sh bootstrap                              the brokers' addresses
#   kafka.sh topic NAME PARTITIONS [k=v ...]        create a topic with these settings
#   kafka.sh topics
#   kafka.sh read TOPIC [--timeout-ms N]            every record, read_committed, from the beginning to the end:
#                                                   Partition:P TAB Offset:O TAB value, one record a line. Read.java, which is
#                                                   Kafka's own consumer with a loop around it: a million records in a few seconds
#   kafka.sh console TOPIC [--timeout-ms N]         the same by Kafka's console consumer: slow, and nothing of it is ours
#   kafka.sh count TOPIC [--timeout-ms N]           how many records read_committed sees; far faster than read
#   kafka.sh await TOPIC RECORDS SECONDS            prints "watching", looks at the topic's end once a second, and says what came first:
#                                                   "all N" records are there, "cut N": SECONDS since the first have passed, or
#                                                   "stalled N": no new one for 60 s. For topics without transactions: their markers count
#   kafka.sh span TOPIC                             the timestamps of the first and the last record, in ms since 1970
#   kafka.sh run CLASS ARGS...                      any class of Kafka's jars
#
# `read`, `console` and `count` fail (3) if they did not come to the end of the topic, for instance because an open transaction holds it up:
# a reader that gave up early must not look like a short topic.
#
# Environment: KAFKA_BED        this bed's state (default $SPOOLWAY_CACHE/kafka). Beds with a folder and ports of their own run side by side.
#              KAFKA_HEAP       the broker's heap (default 512m)
#              SPOOLWAY_CACHE   default ~/.cache/spoolway
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
bed=${KAFKA_BED:-$cache/kafka}
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
libs=$cache/kafka-$version-libs

fail() { echo "kafka.sh: $*" >&2; exit 1; }

# ---- jars ----

fetch() { "$here/../../../scripts/jars.sh" "$here/pom.xml" "$libs"; }

need_jars() { [ -f "$libs/.done" ] || fetch; }

# ---- nodes ----

# The running bed's shape, written by start: host, port, nodes, links.
shape() {
  host=127.0.0.1 links=0
  [ -f "$bed/shape" ] || fail "no bed in $bed: start one first"
  # shellcheck disable=SC1091
  . "$bed/shape"
}

address() { echo "$host:$((port + 2 * ($1 - 1)))"; }

# The port of a node's link; a proxy's is the one behind it.
link_port() { echo $((port + 2 * nodes + 2 * (($1 - 1) * links + $2 - 1))); }

# All brokers: a client that knows one only cannot start while that one is dead.
bootstrap() {
  local list='' i
  for i in $(seq "$nodes"); do list+=,$(address "$i"); done
  echo "${list#,}"
}

# The node's pid if it lives. The command line is looked at too: a pid may have been used again since.
pid_of() {
  local pid
  pid=$(cat "$bed/node-$1/pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$bed/node-$1/server.properties" && echo "$pid"
}

# Settings: a broker listens on port P+2(i-1), its controller on the next one.
write_settings() {
  local i=$1 voters='' k replicas=$nodes isr listen='' advertise='' map=''
  shift
  for k in $(seq "$nodes"); do voters+=,$k@$host:$((port + 2 * k - 1)); done
  for k in $(seq "$links"); do
    listen+=,LINK$k://$host:$(link_port "$i" "$k")
    advertise+=,LINK$k://$host:$(($(link_port "$i" "$k") + 1))
    map+=,LINK$k:PLAINTEXT
  done
  isr=$((nodes > 1 ? 2 : 1))
  cat >"$bed/node-$i/server.properties" <<EOF
process.roles=broker,controller
node.id=$i
controller.quorum.voters=${voters#,}
listeners=PLAINTEXT://$(address "$i"),CONTROLLER://$host:$((port + 2 * i - 1))$listen
advertised.listeners=PLAINTEXT://$(address "$i")$advertise
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$map
log.dirs=$bed/node-$i/data
# a typo must not make a topic
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$isr
# few partitions of the internal topics: creating 50 costs seconds in every fresh bed
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$replicas
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$isr
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$isr
group.initial.rebalance.delay.ms=0
# its default of 128 MiB is half the heap of a node of three, and one that restarts may then find no room
log.cleaner.dedupe.buffer.size=8388608
EOF
  printf '%s\n' "$@" >>"$bed/node-$i/server.properties"
}

launch() {
  local dir=$bed/node-$1
  if [ -f "$dir/broker.log" ]; then mv "$dir/broker.log" "$dir/broker.log.1"; fi
  : >"$dir/broker.log" # await may look before java has begun
  # Codecs unpack their native code into tmpdir; a killed node leaves it there, and wipe finds it here.
  # A session of its own, no stdin, no inherited lock: the node outlives the test that started it and is ended by pid.
  setsid java "-Xms256m" "-Xmx${KAFKA_HEAP:-512m}" -Djava.io.tmpdir="$dir" -Dlog4j2.configurationFile="$bed/log4j2.properties" -cp "$libs/*" \
    kafka.Kafka "$dir/server.properties" >"$dir/broker.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}

# Kafka says so once the broker is unfenced and its ports are open.
await() {
  local log=$bed/node-$1/broker.log deadline=$((SECONDS + 120))
  until grep -q 'Kafka Server started' "$log"; do
    if ! kill -0 "$(cat "$bed/node-$1/pid")" 2>/dev/null; then
      tail -30 "$log" >&2
      fail "node $1 died while it started; its log is $log"
    fi
    if [ $SECONDS -gt $deadline ]; then
      tail -30 "$log" >&2
      fail "node $1 did not start within 120 s; its log is $log"
    fi
    sleep 0.1
  done
}

start() {
  local want_host=127.0.0.1 want_port=19092 want_nodes=1 want_links=0 settings=() i id
  while [ $# -gt 0 ]; do
    case $1 in
      --host) want_host=$2; shift 2 ;;
      --port) want_port=$2; shift 2 ;;
      --nodes) want_nodes=$2; shift 2 ;;
      --links) want_links=$2; shift 2 ;;
      *=*) settings+=("$1"); shift ;;
      *) fail "start does not know '$1'" ;;
    esac
  done
  case $want_nodes in 1 | 3) ;; *) fail "--nodes is 1 or 3" ;; esac
  need_jars
  if [ -f "$bed/shape" ]; then
    shape
    [ "$host $port $nodes $links" = "$want_host $want_port $want_nodes $want_links" ] ||
      fail "the bed in $bed has address $host:$port, $nodes node(s) and $links link(s); wipe it first, or set KAFKA_BED"
  fi
  host=$want_host port=$want_port nodes=$want_nodes links=$want_links
  mkdir -p "$bed"
  printf 'host=%s\nport=%s\nnodes=%s\nlinks=%s\n' "$host" "$port" "$nodes" "$links" >"$bed/shape"
  cat >"$bed/log4j2.properties" <<'EOF'
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.target=SYSTEM_ERR
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
logger.s.name=kafka.server
logger.s.level=INFO
EOF
  for i in $(seq "$nodes"); do
    pid_of "$i" >/dev/null && continue
    mkdir -p "$bed/node-$i"
    write_settings "$i" "${settings[@]}"
    if [ ! -f "$bed/node-$i/data/meta.properties" ]; then
      # One cluster id for all nodes, kept with the bed: 16 bytes in base64. A leading "-" would be read as an option.
      [ -f "$bed/cluster-id" ] || head -c 16 /dev/urandom | base64 | tr '+/' '-_' | sed 's/^-/A/' | cut -c 1-22 >"$bed/cluster-id"
      id=$(cat "$bed/cluster-id")
      run kafka.tools.StorageTool format -t "$id" -c "$bed/node-$i/server.properties" >"$bed/node-$i/format.log" 2>&1 ||
        { cat "$bed/node-$i/format.log" >&2; fail "cannot format node $i"; }
    fi
    launch "$i"
  done
  for i in $(seq "$nodes"); do await "$i"; done
  address 1
}

stop() { # stop SIGNAL
  local i pid left=()
  [ -f "$bed/shape" ] || return 0
  shape
  for i in $(seq "$nodes"); do
    pid=$(pid_of "$i") || continue
    kill "-$1" "$pid"
    left+=("$pid")
  done
  for pid in "${left[@]}"; do
    # A broker without its quorum does not end in good order: after 20 s it is ended as it is.
    timeout 20 tail --pid="$pid" -s 0.1 -f /dev/null || { kill -9 "$pid" 2>/dev/null && tail --pid="$pid" -s 0.1 -f /dev/null; }
  done
  for i in $(seq "$nodes"); do rm -f "$bed/node-$i/pid"; done
}

node_arg() {
  shape
  [[ ${1:-} =~ ^[1-9]$ ]] && [ "$1" -le "$nodes" ] || fail "which node? 1 to $nodes"
}

kill_node() {
  local pid
  node_arg "$@"
  pid=$(pid_of "$1") || fail "node $1 is not running"
  kill -9 "$pid"
  tail --pid="$pid" -s 0.1 -f /dev/null
  rm -f "$bed/node-$1/pid"
}

restart_node() {
  local pid
  node_arg "$@"
  if pid=$(pid_of "$1"); then
    kill "$pid"
    tail --pid="$pid" -s 0.1 -f /dev/null
  fi
  launch "$1"
  await "$1"
  address "$1"
}

status() {
  local i pid
  shape
  for i in $(seq "$nodes"); do
    if pid=$(pid_of "$i"); then echo "node $i up $(address "$i") pid $pid"; else echo "node $i down $(address "$i")"; fi
  done
}

wipe() {
  stop KILL
  # Only what this script made, whatever KAFKA_BED points to.
  rm -rf "$bed"/node-[1-9] "$bed/shape" "$bed/cluster-id" "$bed/log4j2.properties" "$bed/reader.properties"
  if [ -d "$bed" ]; then rmdir --ignore-fail-on-non-empty "$bed"; fi
}

# ---- Kafka's tools ----

java_tool() { # java_tool HEAP CLASS ARGS...
  local heap=$1
  shift
  java "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel="${tier:-1}" -Dlog4j2.configurationFile="$bed/log4j2.properties" \
    -cp "${classes:+$classes:}$libs/*" "$@"
}

run() { need_jars; java_tool 256m "$@"; }

topic() {
  local name=${1:?topic NAME PARTITIONS} partitions=${2:?topic NAME PARTITIONS} config=() setting
  shape
  shift 2
  for setting in "$@"; do config+=(--config "$setting"); done
  # The tool's remark about "." and "_" in names goes with its other talk; errors stay, since they are on stderr.
  run org.apache.kafka.tools.TopicCommand --bootstrap-server "$(bootstrap)" --create --topic "$name" \
    --partitions "$partitions" --replication-factor "$nodes" "${config[@]}" >/dev/null
}

topics() { shape; run org.apache.kafka.tools.TopicCommand --bootstrap-server "$(bootstrap)" --list; }

# Large fetches: with Kafka's defaults (500 records a poll) reading millions takes several times as long.
reader_settings() {
  cat >"$bed/reader.properties" <<EOF
isolation.level=read_committed
auto.offset.reset=earliest
max.poll.records=20000
fetch.min.bytes=1
fetch.max.bytes=33554432
max.partition.fetch.bytes=8388608
receive.buffer.bytes=1048576
enable.metrics.push=false
EOF
}

# Did the group come to the end of every partition? It committed its place when it closed. The end is that of the log, so an
# open transaction shows as a rest. The long timeout: while a node is dead, asking first goes to it for some seconds.
at_the_end() { # at_the_end GROUP TOPIC
  local table
  table=$(run org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$(bootstrap)" --describe --group "$1" --timeout 60000 2>/dev/null)
  # columns: GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG ...; a partition that is empty from the start has "-" and end 0
  awk -v topic="$2" '$2 == topic { n++; if ($6 != 0 && !($6 == "-" && $5 == 0)) bad = 1 } END { exit !(n && !bad) }' <<<"$table" ||
    { echo "kafka.sh: the reader stopped before the end of $2:" >&2; echo "$table" >&2; exit 3; }
}

reader_args() { # sets name, idle, group
  name=${1:?read TOPIC} idle=3000 group=bed-reader-$$-$RANDOM
  shift
  shape
  # Until the quorum has noticed a dead node (broker.session.timeout.ms), partitions and groups that it led answer nobody.
  for node in $(seq "$nodes"); do pid_of "$node" >/dev/null || idle=15000; done
  if [ "${1:-}" = --timeout-ms ]; then idle=$2; fi
  need_jars
  reader_settings
}

# Our own classes beside Kafka's, for the java_tool calls after it. They are compiled once for each version of their source, by
# the compiler that every JDK has as a module.
our_classes() {
  classes=$cache/kafka-$version-read-$(cat "$here"/*.java | cksum | tr -d ' ')
  [ -f "$classes/Read.class" ] && return
  local new
  new=$(mktemp -d "$classes.XXXXXX")
  java -m jdk.compiler/com.sun.tools.javac.Main -cp "$(printf '%s:' "$libs"/*.jar)" -d "$new" "$here"/*.java >&2
  # Tests start in parallel: the first that is ready wins.
  mv -T "$new" "$classes" 2>/dev/null || rm -rf "$new"
}

read_topic() {
  reader_args "$@"
  our_classes
  tier=4 java_tool 512m Read "$(bootstrap)" "$name" "$idle"
}

await_records() {
  shape
  need_jars
  our_classes
  java_tool 64m Watch await "$(bootstrap)" "${1:?await TOPIC}" "${2:?RECORDS}" "${3:?SECONDS}"
}

span() {
  shape
  need_jars
  our_classes
  tier=4 java_tool 512m Watch span "$(bootstrap)" "${1:?span TOPIC}"
}

console() {
  reader_args "$@"
  # It ends with a timeout, and tells so on stderr as an error each time. What counts is whether it came to the end.
  tier=4 java_tool 512m org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$(bootstrap)" --topic "$name" \
    --from-beginning --isolation-level read_committed --group "$group" --consumer.config "$bed/reader.properties" \
    --timeout-ms "$idle" --property print.partition=true --property print.offset=true 2>"$bed/reader-$$.log" ||
    { cat "$bed/reader-$$.log" >&2; fail "the console consumer failed"; }
  rm -f "$bed/reader-$$.log"
  at_the_end "$group" "$name"
}

count() {
  reader_args "$@"
  # Columns: start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, ... It never gets that many: it ends by idleness.
  tier=4 java_tool 512m org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$(bootstrap)" --topic "$name" --group "$group" \
    --consumer.config "$bed/reader.properties" --messages 9000000000000 --timeout "$idle" --hide-header |
    awk -F', ' 'NF > 5 { n = $5 } END { if (n == "") exit 1; print n }'
  at_the_end "$group" "$name"
}

command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
  fetch) fetch ;;
  start) start "$@" ;;
  stop) stop TERM ;;
  wipe) wipe ;;
  kill) kill_node "$@" ;;
  restart) restart_node "$@" ;;
  status) status ;;
  bootstrap) shape; bootstrap ;;
  topic) topic "$@" ;;
  topics) topics ;;
  read) read_topic "$@" ;;
  console) console "$@" ;;
  count) count "$@" ;;
  await) await_records "$@" ;;
  span) span "$@" ;;
  run) run "$@" ;;
  *) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
