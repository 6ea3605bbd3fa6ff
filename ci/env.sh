# shellcheck shell=bash
# Sourced by the other scripts: everything that tools leave behind goes under _build/.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
build="$PWD/_build"
mkdir -p "$build/cache/coverage"
export PYTHONDONTWRITEBYTECODE=1
export PIP_CACHE_DIR="$build/cache/pip"
export MPLCONFIGDIR="$build/cache/matplotlib"
export IPYTHONDIR="$build/cache/ipython"
export JUPYTER_CONFIG_DIR="$build/cache/jupyter/config"
export JUPYTER_DATA_DIR="$build/cache/jupyter/data"
export JUPYTER_RUNTIME_DIR="$build/cache/jupyter/runtime"
export RUFF_CACHE_DIR="$build/cache/ruff"
export MYPY_CACHE_DIR="$build/cache/mypy"
export HYPOTHESIS_STORAGE_DIRECTORY="$build/cache/hypothesis"
export COVERAGE_FILE="$build/cache/coverage/data"
export PATH="$PWD/.venv/bin:$PATH"
