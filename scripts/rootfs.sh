#!/usr/bin/env bash
# What is in the image, as two folders, one for each layer: DIR/base (this Debian's libc and certificate authorities) and DIR/program.
# scripts/image.sh packs them, and deploy/Containerfile copies them: so both make the same image.
#
#   rootfs.sh DIR --binary FILE [--arch amd64|arm64]     --arch: what the binary is for (default: this machine's)
#
# Environment: SPOOLWAY_CACHE    default ~/.cache/spoolway
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}
fail() { echo "rootfs.sh: $*" >&2; exit 1; }

dir=${1:?rootfs.sh DIR --binary FILE [--arch ARCH]} binary='' arch=$(dpkg --print-architecture)
shift
own=$arch
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=$2; shift 2 ;;
    --arch) arch=$2; shift 2 ;;
    *) fail "it does not know '$1'" ;;
  esac
done
[ -x "$binary" ] || fail "there is no ${binary:-binary}: run make build first"
[ "$arch" = amd64 ] || [ "$arch" = arm64 ] || fail "--arch is amd64 or arm64"
tools=''
[ "$arch" = "$own" ] || tools=$(sed 's/amd64/x86_64/;s/arm64/aarch64/' <<<"$arch")-linux-gnu-
"$here/need.sh" "${tools}strip" readelf

debs=$cache/image-base
[ "$arch" = "$own" ] || debs+=-$arch
mkdir -p "$cache"
ARCH=$arch "$here/debs.sh" "$debs" libc6 libgcc-s1 ca-certificates

base=$dir/base program=$dir/program
mkdir -p "$base"/{usr/lib,usr/lib64,usr/share,etc/ssl/certs,tmp,var/lib} "$program/usr/bin"

# One layout for every release: files beneath /usr, links where programs look for the loader.
for lib in lib lib64; do
  [ ! -d "$debs/usr/$lib" ] || cp -a "$debs/usr/$lib/." "$base/usr/$lib/"
  [ ! -d "$debs/$lib" ] || cp -a "$debs/$lib/." "$base/usr/$lib/"
  ln -s "usr/$lib" "$base/$lib"
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
chmod 1777 "$base/tmp"

# Line tables are five sixths of the binary; names in a panic come from the symbols, which stay.
"${tools}strip" --strip-debug -o "$program/usr/bin/spoolway" "$binary"
while read -r library; do
  [ -n "$(find "$base/usr" -name "$library" -print -quit)" ] || fail "the binary needs $library, which the image lacks"
done < <(readelf -d "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
