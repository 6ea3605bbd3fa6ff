#!/usr/bin/env bash
# Runs the committed notebooks at profile smoke in the image that Colab runs for a session without
# a GPU: see ci/colab.py. Needs docker, the network and 20 GB of disk.
set -euo pipefail
source "$(dirname "$0")/env.sh"
image=us-docker.pkg.dev/colab-images/public/cpu-runtime:latest

if [[ ${GITHUB_ACTIONS:-} == true ]]; then  # the tool chains of a hosted runner leave too little
    sudo rm -rf /usr/local/lib/android /usr/share/dotnet /opt/ghc
fi
# The image's own entry point serves notebooks and would never return.
docker run --rm --entrypoint python3 --workdir /tmp \
    --mount "type=bind,source=$PWD,target=/checkout,readonly" "$image" \
    /checkout/ci/colab.py /checkout /tmp/medbook
