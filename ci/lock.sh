#!/usr/bin/env bash
# Writes ci/lock.txt and ci/lock-no-deps.txt from what is installed in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
frozen=$(.venv/bin/python -m pip --disable-pip-version-check freeze --exclude-editable | sed 's/+cpu$//')
{
    echo "# Everything in .venv but torchvision and medmnist (see lock-no-deps.txt). Made by ci/lock.sh."
    grep -v -E '^(torchvision|medmnist|medbook)\b' <<<"$frozen"
} >ci/lock.txt
{
    echo "# Installed with --no-deps: medmnist asks for torchvision, which cannot be imported beside the"
    echo "# CPU build of torch and would then break torchmetrics. The book does not use it."
    grep -E '^medmnist\b' <<<"$frozen"
} >ci/lock-no-deps.txt
