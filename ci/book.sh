#!/usr/bin/env bash
# Runs chapters, checks their numbers, renders the site. Arguments: profile, chapters (none: all).
set -euo pipefail
source "$(dirname "$0")/env.sh"
python ci/book.py "$@"
