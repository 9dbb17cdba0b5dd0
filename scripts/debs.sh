#!/usr/bin/env bash
# Unpacks packages of this machine's Debian or Ubuntu into a folder, without installing them: debs.sh DIR PACKAGE...
# ARCH=arm64: those for another architecture (Debian; Ubuntu keeps them on other servers).
# Nothing is done when the folder already holds exactly the versions that apt would take now. apt checks the signatures.
set -euo pipefail

dir=$(realpath -m "${1:?debs.sh DIR PACKAGE...}")
shift
fail() { echo "debs.sh: $*" >&2; exit 1; }

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  fail "missing: apt-get and dpkg-deb; run this on Debian or Ubuntu"

# apt drops its rights for a download, to a user who may not look into a home directory. What it loads is checked by hash anyway.
apt=(apt-get -q -q -o DPkg::Lock::Timeout=300)
arch=${ARCH:-$(dpkg --print-architecture)}
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
  # Lists of its own: this machine's settings stay as they are.
  foreign=$dir.apt
  mkdir -p "$foreign"/{lists,archives}/partial
  : >"$foreign/status"
  apt+=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State::Lists=$foreign/lists"
    -o "Dir::State::status=$foreign/status" -o "Dir::Cache=$foreign" -o "Dir::Cache::archives=archives")
fi
[ "$(id -u)" != 0 ] || apt+=(-o APT::Sandbox::User=root)

want() { "${apt[@]}" download --print-uris "$@" 2>/dev/null | sed "s/^'[^']*' //" | LC_ALL=C sort; }

# A machine on which nobody has asked apt for its lists yet knows no package.
wanted=$(want "$@") || true
if [ "$(wc -l <<<"$wanted")" != $# ]; then
  [ "$(id -u)" = 0 ] || fail "apt does not know all of: $*; run apt-get update as root, then this again"
  "${apt[@]}" update >&2
  wanted=$(want "$@") || fail "apt has not all of: $*"
fi
[ "$(cat "$dir/.debs" 2>/dev/null)" != "$wanted" ] || exit 0

mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/root"
(cd "$work/debs" && "${apt[@]}" download "$@" >&2)
mkdir -p "$work/root/var/lib/dpkg/status.d"
for deb in "$work"/debs/*.deb; do
  dpkg-deb -x "$deb" "$work/root"
  # Where images without dpkg say what they hold, so that scanners see the versions.
  dpkg-deb -f "$deb" >"$work/root/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"
done
echo "$wanted" >"$work/root/.debs"
rm -rf "$dir"
mv "$work/root" "$dir"
