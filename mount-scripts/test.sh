#!/usr/bin/env bash
# Runs all tests: installs what is missing (a C compiler, fuse3, and the programs that the tests read mounts
# with), then runs the test suite. Everything happens on this machine; no account is needed.
#
# Usage: mount-scripts/test.sh [arguments of cargo test]
set -euo pipefail
cd "$(dirname "$0")/.."
. mount-scripts/packages.sh

case "${1-}" in
-h | --help)
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

need_rust
need cc build-essential fusermount3 fuse3 getfattr attr rsync rsync ffmpeg ffmpeg file file ps procps python3 python3
need_fuse

say "testing"
exec cargo test --locked --all-features "$@" </dev/null
