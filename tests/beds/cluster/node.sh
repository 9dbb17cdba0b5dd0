#!/usr/bin/env bash
# PID 1 of a node, in namespaces of its own: containerd, kubelet, kube-proxy. Started by cluster.sh only:
#   node.sh BED N CGROUP BIN SYNC
# A node has its own /var, /etc, /opt, /srv and /run, laid over the machine's: hostPaths beneath them differ from node to node, stay when
# the node's plug is pulled, and are gone after `down`. Other folders (/tmp, /home ...) are the machine's own: keep hostPaths out of them.
set -euo pipefail
bed=$1 n=$2 cgroup=$3 bin=$4 sync=$5
name=n$n address=10.200.0.1$n node=$bed/nodes/n$n log=$bed/log
exec </dev/null

hostname "$name"
echo 1 >/proc/sys/net/ipv4/ip_forward
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/containerd /run/netns /run/xtables
for dir in var etc opt srv; do
  mkdir -p "$node/$dir" "$node/.work/$dir"
  mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$node/$dir,workdir=$node/.work/$dir" "/$dir"
done
[ -L /var/run ] || { mkdir -p /var/run; mount --bind /run /var/run; }
# Plain folders: containers' root file systems are overlays, which cannot lie on one; and spool directories are to behave as on a real disk.
for dir in lib/kubelet lib/containerd spool; do
  mkdir -p "$node/plain/$dir" "/var/$dir"
  mount --bind "$node/plain/$dir" "/var/$dir"
done
# For volumes with mountPropagation: HostToContainer, Bidirectional.
mount --make-rshared /
rm -rf /var/lib/cni /var/log/pods /var/log/containers /etc/cni
mkdir -p /etc/cni/net.d /var/lib/cni /var/log/pods /var/log/containers
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >/etc/hosts
echo 'nameserver 10.96.0.10' >/etc/resolv.conf

# The kubelet wants to set these for the whole machine: let it find them set, in files of its own.
mkdir /run/sysctl
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/sysctl/$(tr / _ <<<"${setting%=*}")
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

# The node's root in every cgroup hierarchy. What a former life of the node left is removed first: the kubelet spends seconds on each.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  sed 's/[a-z]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
  roots=(/sys/fs/cgroup)
else
  roots=()
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
    [ ! -d "/sys/fs/cgroup/$controller" ] || roots+=("/sys/fs/cgroup/$controller")
  done
fi
for root in "${roots[@]}"; do
  [ ! -d "$root/$cgroup" ] || find "$root/$cgroup" -mindepth 1 -depth -type d -exec rmdir {} +
  mkdir -p "$root/$cgroup"
done
if [ -d /sys/fs/cgroup/cpuset ]; then
  for file in cpus mems; do cat "/sys/fs/cgroup/cpuset/cpuset.$file" >"/sys/fs/cgroup/cpuset/$cgroup/cpuset.$file"; done
fi

cat >/etc/cni/net.d/10-bridge.conflist <<EOF
{"cniVersion": "0.4.0", "name": "bed", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.$n.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
cni=/usr/lib/cni
[ -x $cni/bridge ] || cni=/opt/cni/bin
cat >/run/containerd.toml <<EOF
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$cni"
    conf_dir = "/etc/cni/net.d"
EOF
cat >/run/kubelet.yaml <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $bed/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $bed/pki/$name-serving.crt
tlsPrivateKeyFile: $bed/pki/$name-serving.key
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
resolvConf: /etc/resolv.conf
volumePluginDir: /var/lib/kubelet/volumeplugins
syncFrequency: $sync
# faster than by default, so that tests wait less
nodeStatusUpdateFrequency: 5s
containerLogMonitorInterval: 3s
featureGates: {KubeletCrashLoopBackOffMax: true}
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
eventRecordQPS: 0
serializeImagePulls: false
kubeAPIQPS: 100
kubeAPIBurst: 200
maxPods: 250
# a nearly full disk of the machine must not evict our pods, nor remove images that cannot be pulled again
evictionHard: {memory.available: 200Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%, imagefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
EOF
cat >/run/kube-proxy.yaml <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: $bed/pki/proxy.kubeconfig}
clusterCIDR: 10.244.0.0/16
hostnameOverride: $name
# zero: leave the machine's own settings alone
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF

containerd -c /run/containerd.toml >"$log/$name-containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
# The images of this cluster's own pods; they stay in the node's folder for its next lives.
for image in pause coredns busybox; do
  [ -n "$(ctr -n k8s.io images ls -q "name==localhost/$image:1")" ] || ctr -n k8s.io images import "$bin/$image.tar" >/dev/null
done
kubelet --config /run/kubelet.yaml --kubeconfig "$bed/pki/$name.kubeconfig" --hostname-override "$name" --node-ip "$address" \
  >"$log/$name-kubelet.log" 2>&1 &
kube-proxy --config /run/kube-proxy.yaml >"$log/$name-kube-proxy.log" 2>&1 &

# Orphans of the node are reaped meanwhile. This never ends by itself.
sleep infinity &
while :; do wait; done
