#!/usr/bin/env bash
# The one place that knows what has to be installed: need.sh TOOL...  (cargo, go, cc, java, containerd, ...)
# As root on Debian or Ubuntu it installs what is missing; anywhere else it says in one line what to install, and fails.
set -euo pipefail

package_of() {
  case $1 in
    cmake | perl | make | time) echo "$1" ;;
    cc) echo gcc ;;
    c++) echo g++ ;;
    java) echo default-jre-headless ;;
    mvn) echo maven ;;
    flock | setsid | unshare | nsenter) echo util-linux ;;
    strip | readelf) echo binutils ;;
    *-linux-gnu-strip) echo "binutils-$(sed 's/-strip$//;s/_/-/g' <<<"$1")" ;;
    *-linux-gnu-gcc) echo "gcc-$(sed 's/-gcc$//;s/_/-/g' <<<"$1")" ;;
    *-linux-gnu-g++) echo "g++-$(sed 's/-g++$//;s/_/-/g' <<<"$1")" ;;
    ip) echo iproute2 ;;
    nft) echo nftables ;;
    cni-plugins) echo containernetworking-plugins ;;
    python3 | containerd | runc | iptables | conntrack | openssl | kcat) echo "$1" ;;
    rsyslogd) echo rsyslog ;;
    omkafka) echo rsyslog-kafka ;;
    *) echo "need.sh: it does not know the tool '$1'" >&2; exit 2 ;;
  esac
}

# Is the tool there, in a version that will do? GNU time is asked for by path, since bash has a keyword of that name.
have() {
  case $1 in
    time) [ -x /usr/bin/time ] ;;
    cni-plugins) [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] ;;
    omkafka) compgen -G "/usr/lib/*/rsyslog/omkafka.so" >/dev/null || compgen -G "/usr/lib*/rsyslog/omkafka.so" >/dev/null ;;
    go) command -v go >/dev/null && [ "$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')" -ge 26 ] ;;
    java) command -v java >/dev/null && [ "$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')" -ge 17 ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=() packages=()
for tool in "$@"; do
  have "$tool" && continue
  # Rust and Go come by their own installers: a distribution's are too old.
  [ "$tool" = cargo ] && { echo "missing: Rust 1.95 or newer; install it with rustup, then run this again" >&2; exit 1; }
  [ "$tool" = go ] && { echo "missing: Go 1.26 or newer; install it as its project says, then run this again" >&2; exit 1; }
  package=$(package_of "$tool")
  missing+=("$tool") packages+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing: ${packages[*]}" >&2
  apt=(apt-get -q -y -o DPkg::Lock::Timeout=300)
  export DEBIAN_FRONTEND=noninteractive
  { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${packages[@]}"; } >&2 </dev/null
  for tool in "${missing[@]}"; do
    have "$tool" || { echo "still missing after the installation: $tool (java must be 17 or newer)" >&2; exit 1; }
  done
else
  echo "missing: ${missing[*]}; install them (Debian, Ubuntu: apt-get install ${packages[*]}; java must be 17 or newer), then run this again" >&2
  exit 1
fi
