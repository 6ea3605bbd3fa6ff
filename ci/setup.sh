#!/usr/bin/env bash
# Makes .venv from ci/lock.txt; does nothing if it is there and the lock has not changed.
set -euo pipefail
source "$(dirname "$0")/env.sh"

find_python() {
    local name
    for name in python3.11 python3; do
        # The base interpreter, not that of an active environment: .venv may be about to be remade.
        if "$name" -c 'import sys, venv; print(sys._base_executable); sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            return
        fi
    done
    echo "Python 3.11 or newer with its venv module is needed: neither python3.11 nor python3 is one" >&2
    return 1
}

python=$(find_python | tail -n 1)
project=$(sed -n '1,/^\[tool\.ruff\]/p' pyproject.toml)  # what an installation depends on
# The folder belongs to the key: an environment that was moved does not work.
key=$({ echo "$PWD $python"; cat ci/lock.txt ci/lock-no-deps.txt; echo "$project"; } | git hash-object --stdin)
stamp=.venv/medbook-setup
if [[ -f $stamp && $(<"$stamp") == "$key" ]]; then
    exit 0
fi

echo "Installing the locked packages into .venv (a few minutes, once)"
"$python" -m venv --clear .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check -q install)
"${pip[@]}" -r ci/lock.txt
"${pip[@]}" --no-deps -r ci/lock-no-deps.txt
"${pip[@]}" --no-deps --no-build-isolation -e .
echo "$key" >"$stamp"
