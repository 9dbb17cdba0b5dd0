#!/usr/bin/env bash
# `cluster.sh fetch`: installs Debian's part, builds the rest from Go modules, and makes the bed's own images.
#   fetch.sh BIN      BIN: the folder for it, outside the clone and named after Kubernetes' version
# Each program is built once for each of its versions. GOFLAGS=-p=1 keeps the other cores free.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$here/../../../scripts
bin=$1

kubernetes=$(sed -n 's:.*k8s.io/kubernetes v\([0-9.]*\)$:\1:p' "$here/kube/go.mod")
helm=3.22.0

"$scripts/need.sh" flock unshare nsenter containerd runc iptables nft conntrack cni-plugins openssl ip
# Everything below is checked by its mark only, so a second fetch needs neither Go nor a network.
mkdir -p "$bin"
# Tests start in parallel: one builds, the others wait for it and find the marks.
exec 9>"$bin/.lock"
flock 9

once() { # once NAME VERSION COMMAND...: unless this version of NAME is there
  local name=$1 mark=$bin/.$1-$2
  [ ! -f "$mark" ] || return 0
  shift 2
  echo "cluster.sh: making $name" >&2
  "$@"
  rm -f "$bin/.$name"-*
  : >"$mark"
}
content() { cat "$@" | cksum | tr ' ' -; }

go_build() { # in the folder of a go.mod: go_build OUT PACKAGE [LDFLAGS]
  "$scripts/need.sh" go
  CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w ${3:-}" -o "$1" "$2" >&2
}

kubeall() {
  local flags='' package name
  # Without these it calls itself v0.0.0, and clients and feature gates look at the version.
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v$kubernetes -X $package.gitMajor=${kubernetes%%.*}"
    flags+=" -X $package.gitMinor=$(cut -d. -f2 <<<"$kubernetes") -X $package.gitTreeState=clean"
  done
  (cd "$here/kube" && go_build "$bin/kubeall" . "$flags")
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sf kubeall "$bin/$name"
  done
}

etcd() { (cd "$here/etcd" && go_build "$bin/etcd" go.etcd.io/etcd/server/v3); }
coredns() { (cd "$here/coredns" && go_build "$bin/coredns" .); }

# The only one that can be had by its version alone: Go takes the module's own list of dependencies.
helm() {
  "$scripts/need.sh" go
  CGO_ENABLED=0 GOBIN=$bin go install -trimpath \
    -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v$1" "helm.sh/helm/v3/cmd/helm@v$1" >&2
}

image() { # image NAME FILE=PATH...: one layer of these files
  local name=$1 root file
  shift
  root=$(mktemp -d)
  for file in "$@"; do install -D -m 755 "${file%%=*}" "$root${file#*=}"; done
  "$scripts/image.py" "$bin/$name.tar" "localhost/$name:1" --layer "$root" --entrypoint "${1#*=}" >/dev/null
  rm -rf "$root"
}

pause_image() {
  local out
  "$scripts/need.sh" cc
  out=$(mktemp)
  cc -Os -static -o "$out" "$here/images/pause.c"
  image pause "$out=/pause"
  rm -f "$out"
}

# A shell with its tools, for pods that stand for an application: it picks by the name it is called with.
busybox_image() {
  local root applet
  "$scripts/debs.sh" "$bin/busybox-deb" busybox-static
  root=$(mktemp -d)
  mkdir -p "$root"/{bin,tmp,etc}
  cp "$(find "$bin/busybox-deb" -path '*/bin/busybox' -type f)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"; done
  printf '%s\n' root:x:0:0::/:/bin/sh app:x:1000:1000::/:/bin/sh >"$root/etc/passwd"
  "$scripts/image.py" "$bin/busybox.tar" localhost/busybox:1 --layer "$root" >/dev/null
  rm -rf "$root" "$bin/busybox-deb"
}

once etcd "$(content "$here"/etcd/go.*)" etcd
once coredns "$(content "$here"/coredns/*)" coredns
once helm "$helm" helm "$helm"
once kubeall "$(content "$here"/kube/*)" kubeall
once pause.tar "$(content "$here/images/pause.c" "$scripts/image.py")" pause_image
once coredns.tar "$(content "$here"/coredns/*)" image coredns "$bin/coredns=/coredns"
once busybox.tar 1 busybox_image
