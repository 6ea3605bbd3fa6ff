#!/usr/bin/env bash
# Writes ci/lock.txt and ci/lock-no-deps.txt from what is installed in .venv. Nothing gets newer by
# itself. To update a package, or to add one that pyproject.toml names now:
#     .venv/bin/python -m pip install --upgrade PACKAGE
#     bash ci/lock.sh
#     make test
# and commit the lock with what it made necessary. A newer torch needs the torchvision that fits it
# in environment.yml.
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
