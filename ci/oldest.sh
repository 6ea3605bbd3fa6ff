#!/usr/bin/env bash
# Quick tests and one chapter with the oldest versions that pyproject.toml allows, in an environment
# of their own. Argument: the Python to use, such as python3.11.
set -euo pipefail
python=$(command -v "${1:?which Python? bash ci/oldest.sh python3.11}")
source "$(dirname "$0")/env.sh"
"$python" ci/oldest.py >"$build/oldest.txt"
"$python" -m venv --clear _build/oldest
export PATH="$PWD/_build/oldest/bin:$PATH"
python -m pip --disable-pip-version-check -q install -c "$build/oldest.txt" '.[book,test]'
python -m pip --disable-pip-version-check list
python -m pytest -o cache_dir=_build/cache/pytest -m "not slow"
medbook run unlearnable_examples --profile smoke
