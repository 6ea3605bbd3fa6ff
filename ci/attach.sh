#!/usr/bin/env bash
# Attaches _build/release/ to the GitHub release of the tag that is being built, and makes that
# release if there is none. Needs GH_TOKEN.
set -euo pipefail
source "$(dirname "$0")/env.sh"
tag=${GITHUB_REF_NAME:?is the name of the tag}
gh release view "$tag" >/dev/null 2>&1 || gh release create "$tag" --verify-tag --generate-notes
gh release upload "$tag" --clobber _build/release/*
