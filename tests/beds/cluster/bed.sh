#!/usr/bin/env bash
# PID 1 of the bed, in network, mount and PID namespaces of its own: etcd and the control plane. Started by `cluster.sh up` only:
#   bed.sh BED [API SERVER FLAGS...]
# The kernel ends everything in here when this process ends.
set -euo pipefail
bed=$1
shift
pki=$bed/pki log=$bed/log
exec </dev/null

# Sockets, locks and named network namespaces of the bed are not those of the machine, and vanish with it.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
# The nodes hang on this bridge. There is no other link: no packet leaves the bed.
ip link add bed0 type bridge
ip addr add 10.200.0.1/24 dev bed0
ip link set bed0 up

# Without fsync: the disk of a busy machine would decide how fast tests are, and no test needs the data after a crash.
etcd --data-dir "$bed/etcd" --name bed --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster bed=http://127.0.0.1:2380 >"$log/etcd.log" 2>&1 &
etcd=$!

# Aggregator routing: it calls webhooks at the pod's address, since kube-proxy runs on the nodes only, not beside it.
kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address 0.0.0.0 --secure-port 6443 --advertise-address 10.200.0.1 \
  --service-cluster-ip-range 10.96.0.0/16 --allow-privileged --profiling=false \
  --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
  --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
  --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key" \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
  --requestheader-client-ca-file "$pki/front-ca.crt" --requestheader-allowed-names front-proxy-client \
  --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
  --requestheader-extra-headers-prefix X-Remote-Extra- --enable-aggregator-routing \
  --proxy-client-cert-file "$pki/front-client.crt" --proxy-client-key-file "$pki/front-client.key" \
  "$@" >"$log/apiserver.log" 2>&1 &
apiserver=$!

# The controllers give up on an API server that is not ready yet; cluster.sh watches the time.
export KUBECONFIG=$pki/admin.kubeconfig
until [ "$(kubectl get --raw /readyz 2>/dev/null)" = ok ]; do
  kill -0 $etcd 2>/dev/null || { tail -3 "$log/etcd.log"; exit 1; }
  kill -0 $apiserver 2>/dev/null || { tail -3 "$log/apiserver.log"; exit 1; }
  sleep 0.1
done

as() { echo "--kubeconfig $pki/$1.kubeconfig --authentication-kubeconfig $pki/$1.kubeconfig --authorization-kubeconfig $pki/$1.kubeconfig"; }
# 20 s instead of 40 until a silent node counts as lost.
# shellcheck disable=SC2046
kube-controller-manager $(as controller-manager) --leader-elect=false --use-service-account-credentials \
  --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" \
  --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" \
  --service-cluster-ip-range 10.96.0.0/16 --node-monitor-grace-period 20s >"$log/controller-manager.log" 2>&1 &
# shellcheck disable=SC2046
kube-scheduler $(as scheduler) --leader-elect=false >"$log/scheduler.log" 2>&1 &

: >"$bed/ready"
# Orphans of the bed are reaped meanwhile. This never ends by itself.
sleep infinity &
while :; do wait; done
