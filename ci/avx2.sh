#!/usr/bin/env bash
# Quick tests and one chapter with the instructions of a processor that has AVX2 and no AVX-512, as
# those of public CI often are: oneDNN's and torch's own switches choose them on a larger one.
set -euo pipefail
source "$(dirname "$0")/env.sh"
export ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2
python -m pytest -o cache_dir=_build/cache/pytest -m "not slow"
medbook run unlearnable_examples --profile smoke
medbook verify unlearnable_examples --profile smoke
