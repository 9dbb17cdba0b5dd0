#!/usr/bin/env bash
# Prints deploy/install.yaml: the chart with its defaults, for clusters where nobody runs helm. The same chart gives the same bytes.
# Needs helm: the one in PATH, or the cluster bed's (make cluster-beds). Fails with 3 where there is none.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
chart=$here/../charts/spoolway

kubernetes=$(sed -n 's:.*k8s.io/kubernetes v\([0-9.]*\)$:\1:p' "$here/../tests/beds/cluster/kube/go.mod")
helm=$(command -v helm || echo "$cache/kube-$kubernetes/helm")
[ -x "$helm" ] || { echo "manifests.sh: there is no helm; install it, or run make cluster-beds" >&2; exit 3; }
oldest=$(sed -n 's/^kubeVersion: ">=\([0-9.]*\)-0"$/\1.0/p' "$chart/Chart.yaml")

version=$(sed -n 's/^appVersion: //p' "$chart/Chart.yaml")

cat <<END
# Made by make generate from charts/spoolway; changes here are lost. The operator, with no more rights than it uses.
# Its image is localhost/spoolway:$version, which make image makes and prints how to load. For one in a registry:
#
#   sed 's#localhost/spoolway:$version#registry.example.com/spoolway:$version#' deploy/install.yaml | kubectl apply --server-side -f -
apiVersion: v1
kind: Namespace
metadata:
  name: spoolway-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
END
"$helm" template spoolway "$chart" --namespace spoolway-system --kube-version "$oldest" --set image.repository=localhost/spoolway |
  sed '/^# Source: /d'
