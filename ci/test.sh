#!/usr/bin/env bash
# All checks: scripts, style, types, unit tests with coverage, the book's own rules, every chapter at smoke.
set -euo pipefail
source "$(dirname "$0")/env.sh"
step() {
    echo "== $*"
    "$@"
}
step shellcheck --external-sources --source-path=SCRIPTDIR .ci/run ci/*.sh
step ruff check .
step mypy
step python -m pytest -o cache_dir=_build/cache/pytest --cov --cov-report=term:skip-covered --cov-fail-under=90
step medbook lint
step medbook run --profile smoke
step medbook verify
