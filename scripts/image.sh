#!/usr/bin/env bash
# The image of the spoolway command, as an OCI archive: the binary, this Debian's (or Ubuntu's) libc and the certificate
# authorities. No shell, no package manager, no daemon and no registry needed. `make image` builds the binary first.
#
#   image.sh [--binary FILE] [--name NAME:TAG] [--out FILE]     writes the archive and prints the lines that load it
#
# It runs as user 65532, which is right for the operator and the console; an agent's pod says which user may read its files.
# Environment: SPOOLWAY_CACHE    default ~/.cache/spoolway
#              CARGO_TARGET_DIR  default $SPOOLWAY_CACHE/target; the binary is taken from its release folder
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
fail() { echo "image.sh: $*" >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' "$here/../Cargo.toml")
binary=${CARGO_TARGET_DIR:-$cache/target}/release/spoolway
name=localhost/spoolway:$version
out=$cache/spoolway-$version.tar
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=$2; shift 2 ;;
    --name) name=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
[ -x "$binary" ] || fail "there is no $binary: run make build first"
"$here/need.sh" python3 strip

debs=$cache/image-base
mkdir -p "$cache"
"$here/debs.sh" "$debs" libc6 libgcc-s1 ca-certificates

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
base=$work/base program=$work/program
mkdir -p "$base"/{usr/lib,usr/lib64,usr/share,etc/ssl/certs,tmp,var/lib} "$program/usr/bin"

# One layout for every release: files beneath /usr, links where programs look for the loader.
for dir in lib lib64; do
  [ ! -d "$debs/usr/$dir" ] || cp -a "$debs/usr/$dir/." "$base/usr/$dir/"
  [ ! -d "$debs/$dir" ] || cp -a "$debs/$dir/." "$base/usr/$dir/"
  ln -s "usr/$dir" "$base/$dir"
done
cp -a "$debs/var/lib/dpkg" "$base/var/lib/"
# Character sets, locales and debugging aids of libc: most of its size, and nothing that the agent asks for.
rm -rf "$base"/usr/lib/*/{gconv,audit} "$base"/usr/lib/{locale,ssl} "$base"/usr/lib/*/lib{memusage,pcprofile,c_malloc_debug,thread_db}.so*
for notice in "$debs"/usr/share/doc/*/copyright; do
  install -D -m 644 "$notice" "$base${notice#"$debs"}"
done
# What the package's installation script would have made of its files.
cat "$debs"/usr/share/ca-certificates/mozilla/*.crt >"$base/etc/ssl/certs/ca-certificates.crt"
echo 'hosts: files dns' >"$base/etc/nsswitch.conf"
printf '%s\n' root:x:0:0::/: spoolway:x:65532:65532::/: >"$base/etc/passwd"
printf '%s\n' root:x:0: spoolway:x:65532: >"$base/etc/group"

# Line tables are five sixths of the binary; names in a panic come from the symbols, which stay.
strip --strip-debug -o "$program/usr/bin/spoolway" "$binary"
while read -r library; do
  [ -n "$(find "$base/usr" -name "$library" -print -quit)" ] || fail "the binary needs $library, which the image lacks"
done < <(ldd "$binary" | sed -n 's/^[[:space:]]*\(lib[^ ]*\) => .*/\1/p')

commit=$(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git -C "$here" status --porcelain 2>/dev/null)" ] || commit+=-modified
created=$(TZ=UTC git -C "$here" log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo 1970-01-01T00:00:00Z)
"$here/image.py" "$out" "$name" --layer "$base" --layer "$program" --entrypoint /usr/bin/spoolway --user 65532:65532 --created "$created" \
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
