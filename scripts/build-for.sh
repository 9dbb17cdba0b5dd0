#!/usr/bin/env bash
# The spoolway command for an architecture, cross-compiled where it is not this machine's; prints where it is.
#   build-for.sh amd64|arm64
# Nothing is emulated: Debian's cross compiler builds librdkafka and OpenSSL, rustup brings Rust's standard library.
# Environment: CARGO_TARGET_DIR  default $SPOOLWAY_CACHE/target
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${SPOOLWAY_CACHE:-$HOME/.cache/spoolway}/target}
case ${1:-} in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) echo "build-for.sh: amd64 or arm64?" >&2; exit 2 ;;
esac
target=$machine-unknown-linux-gnu
"$here/need.sh" cargo cc c++ make perl >&2
if [ "$(uname -m)" = "$machine" ]; then
  cargo build --release --locked --manifest-path "$here/../Cargo.toml" >&2
  echo "$CARGO_TARGET_DIR/release/spoolway"
  exit
fi
"$here/need.sh" "$machine-linux-gnu-gcc" "$machine-linux-gnu-g++" >&2
rustup target add "$target" >&2
linker=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_LINKER
tools=$machine-linux-gnu-
export "$linker=${tools}gcc"
# librdkafka's configure knows these only; what runs on this machine while building keeps this machine's.
export CC=${tools}gcc CXX=${tools}g++ AR=${tools}ar RANLIB=${tools}ranlib NM=${tools}nm OBJDUMP=${tools}objdump STRIP=${tools}strip
export HOST_CC=cc HOST_CXX=c++ HOST_AR=ar
cargo build --release --locked --manifest-path "$here/../Cargo.toml" --target "$target" >&2
echo "$CARGO_TARGET_DIR/$target/release/spoolway"
