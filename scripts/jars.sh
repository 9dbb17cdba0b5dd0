#!/usr/bin/env bash
# Copies what a pom.xml asks for, with all it depends on, out of Maven Central into a folder, once: jars.sh POM DIR
# The versions are the pom's; a mirror is a matter of Maven's own settings.
set -euo pipefail

pom=${1:?jars.sh POM DIR} dir=${2:?jars.sh POM DIR}
[ ! -f "$dir/.done" ] || exit 0
"$(dirname "${BASH_SOURCE[0]}")/need.sh" java mvn flock
mkdir -p "$(dirname "$dir")"
# Tests start in parallel: one fetches, the others wait for it and find the marker.
exec 9>"$dir.lock"
flock 9
[ ! -f "$dir/.done" ] || exit 0
rm -rf "$dir.new"
mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$dir.new" >&2 </dev/null 9>&-
touch "$dir.new/.done"
rm -rf "$dir"
mv "$dir.new" "$dir"
