#!/usr/bin/env bash
# Makes what is released in _build/release/: site, notebooks, student notebooks, results, the
# package, and their checksums. The same commit gives the same archives.
set -euo pipefail
source "$(dirname "$0")/env.sh"

version=$(hatchling version)
if [[ ${GITHUB_REF_TYPE:-} == tag && $GITHUB_REF_NAME != "v$version" ]]; then
    echo "The tag is $GITHUB_REF_NAME and pyproject.toml says $version: the tag must be v$version" >&2
    exit 2
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
release=$PWD/_build/release

# pack NAME FOLDER: the content of a folder as medbook-VERSION-NAME.tar.gz
pack() {
    local name=medbook-$version-$1
    tar -C "$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --exclude=./.medbook --transform="s,^\.,$name," -cf - . | gzip -n >"$release/$name.tar.gz"
}

rm -rf "$release" _build/release-student
mkdir -p "$release"
medbook site
medbook student --out _build/release-student
pack site _build/html
pack notebooks book/notebooks
pack student _build/release-student
pack results book/results
hatchling build -d "$release"
(cd "$release" && sha256sum -- * >SHA256SUMS)
