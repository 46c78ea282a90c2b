#!/usr/bin/env bash
# Shows interactionfs without an account: installs what is missing (a C compiler, fuse3), builds the program,
# and mounts the sample interactions of the bundled server until Ctrl-C, which leaves nothing behind.
#
# Usage: mount-scripts/demo.sh [MOUNTPOINT]
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
need cc build-essential fusermount3 fuse3
need_fuse

say "building (some minutes the first time)"
cargo build --release --locked

program="$(cargo metadata --format-version 1 --no-deps --offline |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/interactionfs"
say "mounting the sample interactions"
# exec, so that Ctrl-C and kill reach the program itself.
exec "$program" demo "$@"
