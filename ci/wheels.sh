#!/usr/bin/env bash
# Collects what a GPU node without network needs to run chapters, but torch, torchvision and numpy,
# which are its own. Needs the network and .venv (ci/setup.sh). Arguments: the folder, the node's
# Python version such as 3.12.3, and, to carry less, what `pip freeze` prints on the node:
#   bash ci/wheels.sh wheels 3.12.3 node.txt
# The wheels have the versions of the lock and are for Linux on x86-64.
set -euo pipefail
folder=$(realpath -m "${1:?names the folder for the wheels}")
version=${2:?is the version of Python on the node, such as 3.12.3}
present=${3:+$(realpath -e "$3")}
source "$(dirname "$0")/env.sh"

options=(--only-binary=:all: --python-version "$version" --implementation cp)
for glibc in 2_28 2_27 2_24 2_17 2_12 2_5; do
    options+=(--platform "manylinux_${glibc}_x86_64")
done
options+=(--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)

rm -rf "$folder"
mkdir -p "$folder"
download() {
    python -m pip --disable-pip-version-check -q download "${options[@]}" -d "$folder" "$@"
}

python ci/needed.py "$version" ${present:+"$present"} >"$folder/needed.txt"
download --no-deps -r <(grep -F '==' "$folder/needed.txt")
# What is not locked, as Python 3.11 does not need it, comes with what it needs in turn.
mapfile -t unlocked < <(grep -vF '==' "$folder/needed.txt")
((!${#unlocked[@]})) || download "${unlocked[@]}"
du -sh "$folder"
