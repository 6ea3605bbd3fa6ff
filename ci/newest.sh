#!/usr/bin/env bash
# Quick tests with the newest versions of everything, in an environment of their own.
# Argument: the Python to use, such as python3.13.
set -euo pipefail
python=$(command -v "${1:?which Python? bash ci/newest.sh python3.13}")
source "$(dirname "$0")/env.sh"
"$python" -m venv --clear _build/newest
export PATH="$PWD/_build/newest/bin:$PATH"
python -m pip --disable-pip-version-check -q install '.[book,test]'
python -m pip --disable-pip-version-check list
python -m pytest -o cache_dir=_build/cache/pytest -m "not slow"
