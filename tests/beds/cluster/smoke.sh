#!/usr/bin/env bash
# Does the bed do what real clusters do, and does our image run in it? Step by step, each with its time; the first that fails ends it.
#
#   smoke.sh [BINARY]      BINARY: the spoolway command (default: the one that `make build` makes)
#
# Its cluster is one of its own ($SPOOLWAY_CACHE/cluster-smoke), and ends whatever happens; the logs of one that failed stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SPOOLWAY_CACHE=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
export CLUSTER_BED=$SPOOLWAY_CACHE/cluster-smoke
binary=${1:-${CARGO_TARGET_DIR:-$SPOOLWAY_CACHE/target}/release/spoolway}
work=$(mktemp -d)
lines=5000

c() { "$here/cluster.sh" "$@"; }
k() { c kubectl "$@"; }
fail() { echo "smoke.sh: $*" >&2; exit 1; }

step() { # step WHAT FUNCTION
  local begin=${EPOCHREALTIME/./}
  # Not `$2 || fail`, which would switch off set -e inside it.
  now=$1
  "$2" >"$work/out" 2>&1
  printf '%7.2f s  %s\n' "$(((${EPOCHREALTIME/./} - begin) / 10000))e-2" "$1"
}
now='the beginning'
ended() {
  local code=$?
  trap - EXIT
  if [ $code != 0 ]; then
    cat "$work/out" >&2
    k get nodes,pods -A -o wide >&2 || true
    echo "smoke.sh: failed: $now; the logs are in $CLUSTER_BED/log" >&2
  fi
  c down || code=1
  rm -rf "$work"
  exit $code
}

# What a bed that is not tight would change.
machine() { ip -o link; ip route; ip rule; nft list ruleset; cut -d' ' -f2 /proc/self/mounts; find /sys/fs/cgroup -maxdepth 2 -name '*-n[1-9]'; ls /run/netns 2>/dev/null || true; }

up() { c up; c exec helm list --all-namespaces; }
image() {
  "$here/../../../scripts/image.sh" --binary "$binary" --name localhost/spoolway:smoke --out "$work/image.tar"
  c image "$work/image.tar"
}
daemonset() {
  k apply -f "$here/manifests/smoke-daemonset.yaml"
  k rollout status daemonset/app --timeout=60s
  # The same hostPath is another folder on each node.
  for n in 1 2; do [ "$(c node $n cat /var/spool/spoolway/smoke/who.tmp)" = "n$n 1" ]; done
}
logs() { [ "$(k logs -l app=app | sort | tr '\n' ,)" = 'n1 1,n2 1,' ]; }
dns() {
  # From both nodes, a name of the cluster through a Service address.
  for pod in $(k get pods -l app=app -o name); do
    k exec "$pod" -- nslookup kubernetes.default.svc.cluster.local | grep -F 10.96.0.1
  done
  # And no way out: the bed, by which all nodes go, has no further route.
  [ -z "$(c exec ip route show default)" ]
}
roll() {
  k set env daemonset/app ROUND=2
  k rollout status daemonset/app --timeout=60s
  [ "$(k logs -l app=app --tail=1 | sort | tr '\n' ,)" = 'n1 2,n2 2,' ]
}
version() {
  k run version --image=localhost/spoolway:smoke --image-pull-policy=Never --restart=Never -- --version
  k wait --for=jsonpath='{.status.phase}'=Succeeded pod/version --timeout=60s
  [ "$(k logs version)" = "$("$binary" --version)" ]
}
kafka() {
  c kafka start
  c kafka topic smoke 4
}
ship() {
  local n
  for n in 1 2; do
    # Written aside and renamed, as the docs ask for.
    seq -f "n$n line %06g" $lines | c node $n sh -c 'cd /var/spool/spoolway/smoke && cat >a.log.tmp && mv a.log.tmp a.log'
    sed "s/NODE/n$n/" "$here/manifests/smoke-agent.yaml" | k apply -f -
  done
  k wait --for=jsonpath='{.status.phase}'=Succeeded pod -l app=agent --timeout=60s
  k logs -l app=agent
  for n in 1 2; do c node $n test -f /var/spool/spoolway/smoke/a.log.COMPLETED; done
}
arrived() {
  # Each line once: what a reader that is not ours sees is what was written.
  c kafka read smoke | cut -f3 | sort >"$work/read"
  for n in 1 2; do seq -f "n$n line %06g" $lines; done | sort | cmp - "$work/read"
}
down_2() {
  c node-down 2
  k wait --for=condition=Ready=Unknown node/n2 --timeout=60s
}
up_2() {
  c node-up 2
  k rollout status daemonset/app --timeout=60s
  # Its disk is what it was.
  c node 2 test -f /var/spool/spoolway/smoke/a.log.COMPLETED
}
down() { c down; }
tight() {
  machine >"$work/after"
  diff "$work/before" "$work/after"
}

[ -x "$binary" ] || fail "there is no $binary: run make build first"
"$here/cluster.sh" fetch
machine >"$work/before"
begin=$SECONDS
trap ended EXIT
step "up: two nodes Ready, DNS; helm" up
step "our image, made and loaded into both nodes" image
step "a DaemonSet with a hostPath on both nodes" daemonset
step "logs" logs
step "DNS from both nodes, and no way out" dns
step "a rolling update" roll
step "our image runs to its end" version
step "a Kafka that pods reach" kafka
step "two agents ship from hostPaths" ship
step "each line arrived once" arrived
step "a node's plug pulled: the cluster notices" down_2
step "the node again, its pods Ready" up_2
step "down" down
step "nothing is left" tight
echo "smoke.sh: all well in $((SECONDS - begin)) s"
