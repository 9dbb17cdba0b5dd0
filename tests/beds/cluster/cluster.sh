#!/usr/bin/env bash
# A real Kubernetes on this machine, in namespaces of its own: etcd, the control plane, and nodes with containerd, runc and kubelet.
#
#   cluster.sh fetch                     get and build everything, once for each version (15 minutes of CPU; the rest needs no network)
#   cluster.sh up [--nodes N] [--sync TIME] [--audit] [--apiserver FLAG]...
#                                        N nodes n1, n2 ... (default 2) that are Ready, and DNS. --sync: how often kubelets look at what
#                                        pods mount (default 5s, so that tests wait less; a kubelet's own default is 1m). --audit:
#                                        every write is a line of $CLUSTER_BED/log/audit.log
#   cluster.sh down                      end it; fails if anything is left. Only the logs stay, until the next `up`
#   cluster.sh status                    one line for the bed and each node
#   cluster.sh kubectl ARGS...           also reads stdin: cluster.sh kubectl apply -f - <pod.yaml
#   cluster.sh exec CMD...               CMD inside, in this folder: KUBECONFIG set, the API server at 127.0.0.1:6443, kubectl and helm in
#                                        PATH. Compile tests first, then run them so: there is no way out to any network
#   cluster.sh image FILE.tar...         load images (scripts/image.sh makes one) into all nodes; pods need imagePullPolicy: Never
#   cluster.sh node N CMD...             CMD on node N, as one would with ssh: its files, its processes, its addresses
#   cluster.sh node-down N               pull the plug of node N
#   cluster.sh node-up N [--sync TIME]   start it again on its disk, and wait until it is Ready; --sync as in up, from now on
#   cluster.sh kafka ARGS...             tests/beds/kafka/kafka.sh inside, for pods at 10.200.0.1:19092: kafka start, kafka topic ...
#
# Inside: the bed is 10.200.0.1, node N 10.200.0.1N, its pods 10.244.N.0/24, Services 10.96.0.0/16, DNS 10.96.0.10. hostPaths beneath
# /var, /etc, /opt and /srv are the node's own; others are the machine's. Images on every node: localhost/busybox:1, localhost/pause:1.
#
# Needs root on Linux, and a disk beneath $CLUSTER_BED on which an overlay can lie (so not a container's own root). Tried with
# cgroup v1; the lines for v2 are written by the book and not tried yet.
#
# Environment: CLUSTER_BED      this bed's state (default $SPOOLWAY_CACHE/cluster). Beds with folders of their own run side by side.
#              SPOOLWAY_CACHE   default ~/.cache/spoolway
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SPOOLWAY_CACHE=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
bed=$(realpath -m "${CLUSTER_BED:-$SPOOLWAY_CACHE/cluster}")
bin=$SPOOLWAY_CACHE/kube-$(sed -n 's:.*k8s.io/kubernetes v\([0-9.]*\)$:\1:p' "$here/kube/go.mod")
# Cgroups lie beside those of the machine: their names tell whose they are.
tag=spoolway-$(cksum <<<"$bed" | cut -d' ' -f1)
export LC_ALL=C
export PATH=$bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH

fail() { echo "cluster.sh: $*" >&2; exit 1; }

await() { # await SECONDS WHAT LOG CMD...: until CMD succeeds
  local deadline=$((SECONDS + $1)) what=$2 log=$3
  shift 3
  until "$@" >/dev/null 2>&1; do
    kill -0 "$(cat "$bed/pid")" 2>/dev/null || { tail -20 "$bed/log/bed.log" >&2; fail "the bed ended; the logs are in $bed/log"; }
    [ $SECONDS -lt $deadline ] || { tail -20 "$bed/log/$log" >&2; fail "no $what in time; the logs are in $bed/log"; }
    sleep 0.1
  done
}

# ---- namespaces: PID files hold the pid of `unshare`, which lives as long as the PID 1 that it made ----

# That pid, if it still is the one that we started: numbers are used again.
alive() { # alive PIDFILE SCRIPT
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "unshare" &&
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$here/$2 $bed" && echo "$pid"
}

bed_pid() { alive "$bed/pid" bed.sh; }
need_bed() { pid=$(bed_pid) || fail "no cluster runs in $bed: cluster.sh up"; }

inside() { # a command in the bed, in this folder
  local pid
  need_bed
  KUBECONFIG=$bed/pki/admin.kubeconfig nsenter --net="/proc/$pid/ns/net" --mount="/proc/$pid/ns/mnt" \
    --pid="/proc/$pid/ns/pid_for_children" --wdns="$PWD" -- "$@"
}

# What follows runs inside the bed, where pids are the bed's own.
node_pid() { inside "$here/cluster.sh" .alive "$bed/nodes/$1/pid" node.sh; }

node_arg() {
  need_bed
  [[ -d $bed/nodes/n${1:-} ]] || fail "which node? $(cd "$bed/nodes" && echo n*), by number"
}

on_node() { # on_node N CMD...
  local n=$1 pid
  node_arg "$n"
  shift
  pid=$(node_pid "n$n") || fail "node $n is down"
  inside nsenter -t "$pid" --net --mount --uts --ipc --pid="/proc/$pid/ns/pid_for_children" --wdns=/ -- "$@"
}

# Kills the PID 1 below `unshare`; the kernel then ends all its descendants before unshare sees it go.
pull_plug() {
  local pid=$1
  kill -9 "$(cat "/proc/$pid/task/$pid/children")"
  timeout 30 tail --pid="$pid" -s 0.05 -f /dev/null || fail "process $pid does not end"
}

# Those of every process that can be seen from here.
namespaces() { readlink /proc/[0-9]*/ns/* 2>/dev/null | sort -u || true; }

# ---- up and down ----

start_node() { # start_node N [SYNC]: makes its network if it is new, and its PID 1; remembers SYNC
  mkdir -p "$bed/nodes/n$1"
  [ -z "${2:-}" ] || echo "$2" >"$bed/nodes/n$1/sync"
  # shellcheck disable=SC2016
  inside bash -euc '
    n=$1 here=$2 bed=$3 tag=$4 bin=$5 node=$bed/nodes/n$1
    if [ ! -e "/run/netns/n$n" ]; then
      ip netns add "n$n"
      ip link add "veth$n" type veth peer name eth0 netns "n$n"
      ip link set "veth$n" master bed0 up
      ip -n "n$n" link set lo up
      ip -n "n$n" addr add "10.200.0.1$n/24" dev eth0
      ip -n "n$n" link set eth0 up
      # Everything goes by the bed, which knows where the pods of each node are.
      ip -n "n$n" route add default via 10.200.0.1
      ip route add "10.244.$n.0/24" via "10.200.0.1$n"
    fi
    # Not with ip netns exec, which would hide the cgroups.
    nsenter --net="/run/netns/n$n" setsid unshare --mount --uts --ipc --pid --fork --mount-proc --kill-child \
      "$here/node.sh" "$bed" "$n" "$tag-n$n" "$bin" "$(cat "$node/sync")" >"$bed/log/n$n.log" 2>&1 </dev/null &
    echo $! >"$node/pid"
  ' - "$1" "$here" "$bed" "$tag" "$bin"
}

kube() { inside kubectl "$@"; }

# Ready, and said so by this life of it: for 20 s after a crash the API server still shows what the former one said.
node_ready() { # node_ready N SINCE
  local said
  said=$(kube get node "n$1" -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{end}') &&
    [ "${said% *}" = True ] && [ "$(date -d "${said#* }" +%s)" -ge "$2" ]
}

# Until the node is Ready, or has ended: then what it said is worth more than waiting.
settled() { node_ready "$1" "$2" || ! inside test -d "/proc/$(cat "$bed/nodes/n$1/pid")"; }
await_node() {
  await 120 "ready node n$1" "n$1.log" settled "$1" "$2"
  node_pid "n$1" >/dev/null || { tail -20 "$bed/log/n$1.log" >&2; fail "node $1 ended; the logs are in $bed/log"; }
}

up() {
  local nodes=2 sync=5s flags=() begin=${EPOCHREALTIME/./} i dir
  while [ $# -gt 0 ]; do
    case $1 in
      --nodes) nodes=$2; shift 2 ;;
      --sync) sync=$2; shift 2 ;;
      --audit) flags+=("--audit-policy-file=$here/manifests/audit-policy.yaml" "--audit-log-path=$bed/log/audit.log"); shift ;;
      --apiserver) flags+=("$2"); shift 2 ;;
      *) fail "up does not know '$1'" ;;
    esac
  done
  [[ $nodes =~ ^[1-9]$ ]] || fail "--nodes is 1 to 9"
  [ "$(id -u)" = 0 ] || fail "a cluster needs root: it makes namespaces, mounts and cgroups"
  for dir in var etc opt srv run; do
    [[ $bed/ != /$dir/* ]] || fail "CLUSTER_BED is $bed, but nodes lay their own /$dir over it: choose another folder"
  done
  ! bed_pid >/dev/null || fail "a cluster runs in $bed already: cluster.sh down first, or set CLUSTER_BED"
  fetch
  sweep
  rm -rf "$bed/log"
  mkdir -p "$bed/log" "$bed/nodes"
  "$here/pki.sh" "$bed/pki" "$nodes"
  # Whatever goes wrong from here on, nothing keeps running; the logs stay.
  trap 'down >/dev/null 2>&1 || true' EXIT
  setsid unshare --net --mount --pid --fork --mount-proc --kill-child \
    "$here/bed.sh" "$bed" "${flags[@]}" >"$bed/log/bed.log" 2>&1 </dev/null &
  echo $! >"$bed/pid"
  await 120 "API server" apiserver.log test -e "$bed/ready"
  told "API server ready"
  for i in $(seq "$nodes"); do start_node "$i" "$sync"; done
  for i in $(seq "$nodes"); do await_node "$i" 0; done
  told "$nodes nodes Ready"
  kube apply -f "$here/manifests/coredns.yaml" >/dev/null
  kube -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null || fail "DNS does not start"
  # Pods cannot be created before this is there.
  await 60 "service account" controller-manager.log kube get serviceaccount default
  told "DNS"
  trap - EXIT
}

told() { printf '%5d ms  %s\n' $(((${EPOCHREALTIME/./} - begin) / 1000)) "$1"; }

cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$tag-n[1-9]"; }

# What an earlier life of this bed left on the disk and in the cgroups.
sweep() {
  local dir deadline=$((SECONDS + 10))
  # The kernel needs a moment until a cgroup counts as empty.
  while [ -n "$(cgroups)" ] && [ $SECONDS -le $deadline ]; do
    for dir in $(cgroups); do find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  done
  rm -rf "$bed"/{etcd,pki,nodes,kafka,pid,ready}
}

down() {
  local pid ours left
  if pid=$(bed_pid); then
    # The namespaces that the bed's processes have and we have not.
    ours=$(comm -23 <(inside "$here/cluster.sh" .namespaces) <(readlink /proc/self/ns/* | sort))
    pull_plug "$pid"
    left=$(comm -12 <(echo "$ours") <(namespaces))
    [ -z "$left" ] || fail "namespaces are left: $left"
  fi
  sweep
  left=$(cgroups)
  [ -z "$left" ] || fail "cgroups are left: $left"
  ! grep -F "$bed/" /proc/self/mounts >&2 || fail "the above mounts are left"
  rmdir "$bed" 2>/dev/null || true
}

node_down() {
  local pid
  node_arg "$@"
  pid=$(node_pid "n$1") || fail "node $1 is down already"
  inside "$here/cluster.sh" .pull-plug "$pid"
}

node_up() {
  local since sync=''
  node_arg "$@"
  [ $# = 1 ] || { [ "$2" = --sync ] && sync=$3; } || fail "node-up N [--sync TIME]"
  ! node_pid "n$1" >/dev/null || fail "node $1 is up already"
  since=$(date +%s)
  start_node "$1" "$sync"
  await_node "$1" "$since"
}

status() {
  local node
  need_bed
  echo "bed up $bed pid $pid"
  for node in "$bed"/nodes/n*; do
    node=${node##*/}
    if node_pid "$node" >/dev/null; then echo "$node up 10.200.0.1${node#n}"; else echo "$node down"; fi
  done
}

image() {
  local file node
  need_bed
  [ $# -gt 0 ] || fail "image FILE.tar..."
  for file in "$@"; do
    for node in "$bed"/nodes/n*; do
      node_pid "${node##*/}" >/dev/null || fail "${node##*/} is down: images are loaded into all nodes"
      on_node "${node##*n}" ctr -n k8s.io images import - <"$file" | sed "s/^/${node##*/}: /"
    done
  done
}

kafka() {
  local script=$here/../kafka/kafka.sh
  export KAFKA_BED=$bed/kafka
  if [ "${1:-}" = start ]; then
    "$script" fetch # there is no network inside
    shift
    set -- start --host 10.200.0.1 "$@"
  fi
  inside "$script" "$@"
}

fetch() { "$here/fetch.sh" "$bin"; }

command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
  fetch) fetch ;;
  up) up "$@" ;;
  down) down ;;
  status) status ;;
  kubectl) kube "$@" ;;
  exec) inside "$@" ;;
  image) image "$@" ;;
  node) on_node "$@" ;;
  node-down) node_down "$@" ;;
  node-up) node_up "$@" ;;
  kafka) kafka "$@" ;;
  .alive) alive "$@" ;;      # ours: asked inside the bed
  .namespaces) namespaces ;;
  .pull-plug) pull_plug "$@" ;;
  *) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
