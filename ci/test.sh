#!/usr/bin/env bash
# All checks: scripts, style, types, unit tests with coverage, the book's own rules, every chapter at smoke.
set -euo pipefail
source "$(dirname "$0")/env.sh"
step() {
    local start=$SECONDS
    echo "== $*"
    "$@"
    echo "== $((SECONDS - start)) s"
}
step shellcheck --external-sources --source-path=SCRIPTDIR .ci/run ci/*.sh
step ruff check .
step mypy
# Two workers of one thread each; one that has nothing left takes tests from the end of the other's list.
step env OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal -o cache_dir=_build/cache/pytest \
    --cov --cov-report=term:skip-covered --cov-fail-under=90
step medbook lint
step medbook run --profile smoke
step medbook verify
