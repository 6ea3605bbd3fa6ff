#!/usr/bin/env bash
# Runs chapters at profile gpu on a node that has a GPU and no network. Arguments: chapters, in the
# order in which they run (none: all). Environment:
#   OUT           folder for what is made, flat: <chapter>.gpu.json and <chapter>.gpu.ipynb, for a
#                 chapter that failed <chapter>.gpu.failed.ipynb, environment.txt, log.txt; and
#                 trials/, from which a later call with the same OUT goes on
#   LIMIT         seconds until the chapter that runs is stopped and no other begins (0: none)
#   MEDBOOK_DATA  folder of data sets; what is not in it is replaced by its twin
#   WHEELS        folder made by ci/wheels.sh; only what the node lacks is installed from it, under
#                 _build/, and never torch or numpy
#   PYTHON        the node's Python, with a torch for its GPU (python3)
# The exit code is 0 if all chapters ran, and 2 if one failed or was not done before the limit, or
# if they cannot run on this node.
#
# To publish, on any machine with the same commit checked out:
#   mkdir -p _build/run/gpu
#   cp OUT/<chapter>.gpu.json _build/run/gpu/
#   cp OUT/<chapter>.gpu.ipynb _build/run/gpu/<chapter>.ipynb
#   medbook publish <chapter> --profile gpu
set -euo pipefail

refuse() {
    echo "$1" >&2
    exit 2
}

[[ ${OUT:-} ]] || refuse "OUT is not set: name the folder for the results, as in OUT=results bash ci/gpu.sh"
limit=${LIMIT:-0}
[[ $limit =~ ^[0-9]+$ ]] || refuse "LIMIT is $limit: give whole seconds, as in LIMIT=800 bash ci/gpu.sh"
out=$(realpath -m "$OUT")
wheels=${WHEELS:+$(realpath -m "$WHEELS")}
[[ -z ${MEDBOOK_DATA:-} ]] || MEDBOOK_DATA=$(realpath -m "$MEDBOOK_DATA")
export MEDBOOK_DATA=${MEDBOOK_DATA:-}
python=$(command -v "${PYTHON:-python3}") || refuse "${PYTHON:-python3} is not on the PATH: set PYTHON"
source "$(dirname "$0")/env.sh"
export MEDBOOK_OFFLINE=1
export MEDBOOK_TRIALS=${MEDBOOK_TRIALS:-$out/trials}

why=$("$python" -c '
import torch
if not torch.cuda.is_available():
    raise SystemExit(f"torch {torch.__version__} sees no GPU: install a CUDA build and check nvidia-smi")
' 2>&1) || refuse "$python: $(tail -n 1 <<<"$why")"

mkdir -p "$out"
site=$build/gpu/site
rm -rf "$site"
if [[ $wheels ]]; then
    mapfile -t missing < <("$python" ci/missing.py "$wheels")
    if ((${#missing[@]})); then
        "$python" -m pip --disable-pip-version-check -q install --no-index --no-deps --target "$site" "${missing[@]}"
    fi
fi
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH}

{
    git rev-parse HEAD || true
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader || true
    "$python" --version
    "$python" -m pip --disable-pip-version-check list --format=freeze
} >"$out/environment.txt" 2>&1

chapters=("$@")
if ((!$#)); then
    for source in chapters/*/*.py; do chapters+=("$(basename "$source" .py)"); done
fi
run=$build/run/gpu
worst=0
: >"$out/log.txt"
for chapter in "${chapters[@]}"; do
    if ((limit && SECONDS >= limit)); then
        echo "$chapter: not begun, the limit of $limit s is over" | tee -a "$out/log.txt"
        worst=2
        continue
    fi
    code=0
    left=$((limit ? limit - SECONDS : 0))  # to `timeout` 0 is none
    timeout --signal=INT --kill-after=10 "$left" \
        "$python" -c 'from medbook._book.cli import main; main()' run "$chapter" --profile gpu 2>&1 |
        tee -a "$out/log.txt" || code=$?
    if ((limit && SECONDS >= limit && code)); then
        echo "$chapter: stopped at the limit of $limit s; its finished trials are kept" | tee -a "$out/log.txt"
        code=2
    fi
    ((code <= worst)) || worst=$code
    # At once, as the node may be taken away before the next chapter has ended.
    for made in "$chapter.gpu.json:$chapter.gpu.json" "$chapter.ipynb:$chapter.gpu.ipynb" \
        "$chapter.failed.ipynb:$chapter.gpu.failed.ipynb"; do
        [[ ! -f $run/${made%%:*} ]] || cp "$run/${made%%:*}" "$out/${made##*:}"
    done
done
exit "$worst"
