#!/usr/bin/env bash
# Check the page's scripts and style with Biome, of the version in package-lock.json, which npm installs into
# node_modules. Everything else here needs only Python: without npm or a network this says so and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "The page's scripts and style were not checked: $1" >&2
    exit 0
}

command -v npm >/dev/null || skip "there is no npm"
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --silent --no-audit --no-fund --fetch-retries=1 || skip "npm could not install Biome"
fi
biome=$PWD/node_modules/.bin/biome
"$biome" --version >/dev/null || skip "Biome does not run here"

"$biome" check --error-on-warnings
# The scripts use each other's names, as a page holds them one after another: so these two rules read them together.
together=$(mktemp -d)
trap 'rm -r "$together"' EXIT
find client/striate -name '*.js' -exec cat {} + >"$together/scripts.js"
cd "$together"
"$biome" lint --error-on-warnings --only=correctness/noUndeclaredVariables --only=correctness/noUnusedVariables
