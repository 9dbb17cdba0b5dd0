#!/usr/bin/env bash
# `make check`: what needs no running part. Every step is told by name, the first that fails ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { echo "check: $*" >&2; }

step "formatting"
cargo fmt --check

# In the release profile like everything here, or each dependency would be compiled twice.
step "lints"
cargo clippy --release --all-targets --locked -- -D warnings

# The walls: a feature may not bring in what belongs to another. Asked of cargo, not of Cargo.toml: dependencies bring others.
wall() { # wall CRATE FEATURES...
  local crate=$1 tree
  shift
  step "no $crate in: ${*:-no features}"
  tree=$(cargo tree --locked -e normal --prefix none --no-default-features "${@/#/--features=}")
  # The tree must be a real one before its silence about the crate means anything.
  grep -q '^spoolway ' <<<"$tree" || { echo "check: cargo tree does not list the crate itself" >&2; exit 1; }
  if grep -E "^$crate(-[a-z]+)? v" <<<"$tree" >&2; then
    echo "check: the above must not be there" >&2
    exit 1
  fi
}
wall rdkafka
wall kube
wall kube agent
wall k8s-openapi agent
wall rdkafka operator

# The tests hold that the binary has none (`what_is_shipped_has_no_failpoints`); this holds that nothing switches them on unasked.
step "no failpoints unless asked for"
features() { cargo tree --locked -e normal,features --prefix none -i spoolway "$@"; }
grep -q '^spoolway feature "failpoints"' <<<"$(features --features failpoints)" || { echo "check: cargo tree does not list the features" >&2; exit 1; }
if grep '^spoolway feature "failpoints"' <<<"$(features)" >&2; then
  echo "check: the above must not be there" >&2
  exit 1
fi

# Generated files: made anew they must be what is committed.
step "generated files"
before=$(git status --porcelain --untracked-files=all && git diff)
make --no-print-directory generate
after=$(git status --porcelain --untracked-files=all && git diff)
[ "$before" = "$after" ] || { git status --short >&2; echo "check: 'make generate' changed files: commit them" >&2; exit 1; }
