#!/usr/bin/env bash
# The image of the spoolway command, as an OCI archive: the binary, this Debian's (or Ubuntu's) libc and the certificate
# authorities. No shell, no package manager, no daemon and no registry needed. 
#
#   image.sh [--arch amd64|arm64] [--binary FILE] [--name NAME:TAG] [--out FILE]
#                               writes the archive and prints the lines that load it. Without --binary it builds one; --arch: for
#                               another architecture than this machine's
#
# deploy/Containerfile makes the same image with a builder and a registry; scripts/rootfs.sh says what both put in.
# It runs as user 65532, which is right for the operator and the console; an agent's pod says which user may read its files.
# Environment: SPOOLWAY_CACHE    default ~/.cache/spoolway
#              CARGO_TARGET_DIR  default $SPOOLWAY_CACHE/target; the binary is taken from its release folder
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
fail() { echo "image.sh: $*" >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' "$here/../Cargo.toml")
own=$(dpkg --print-architecture)
arch=$own binary='' out=''
name=localhost/spoolway:$version
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    --name) name=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
[ -n "$out" ] || { out=$cache/spoolway-$version; [ "$arch" = "$own" ] || out+=-$arch; out+=.tar; }
[ -n "$binary" ] || binary=$("$here/build-for.sh" "$arch")
"$here/need.sh" python3
mkdir -p "$cache"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/rootfs.sh" "$work" --binary "$binary" --arch "$arch"

commit=$(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git -C "$here" status --porcelain 2>/dev/null)" ] || commit+=-modified
created=$(TZ=UTC git -C "$here" log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo 1970-01-01T00:00:00Z)
"$here/image.py" "$out" "$name" --arch "$arch" --layer "$work/base" --layer "$work/program" --entrypoint /usr/bin/spoolway --user 65532:65532 --created "$created" \
  --label org.opencontainers.image.title=spoolway \
  --label "org.opencontainers.image.description=Ships files from spool directories into Kafka exactly once" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$commit" \
  --label org.opencontainers.image.licenses=Apache-2.0

cat <<EOF
$out ($(du -h "$out" | cut -f1)); load it with one of:
  kind:        kind load image-archive $out
  k3s:         k3s ctr images import $out
  containerd:  ctr -n k8s.io images import $out
EOF
