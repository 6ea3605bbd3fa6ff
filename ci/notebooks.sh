#!/usr/bin/env bash
# Every committed notebook executed again, also those that nothing has changed for: weekly, and before
# a release.
set -euo pipefail
source "$(dirname "$0")/env.sh"
medbook run --profile smoke
medbook verify --notebooks all
