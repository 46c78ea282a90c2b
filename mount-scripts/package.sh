#!/usr/bin/env bash
# Builds a Debian package: the program, the helper for mount(8), units, manual pages, completions and a configuration file
# that explains itself. Prints the package's path.
#
# Usage: mount-scripts/package.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. mount-scripts/packages.sh

case "${1-}" in
-h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

need_rust
need cc build-essential dpkg-shlibdeps dpkg-dev
if ! command -v cargo-deb >/dev/null; then
    say "installing cargo-deb (some minutes, once)"
    cargo install --locked cargo-deb >&2
fi

say "building (some minutes the first time)"
cargo build --release --locked >&2
target="$(cargo metadata --format-version 1 --no-deps --offline |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')"
program="$target/release/interactionfs"

# What the program writes itself, from the same texts as --help, where Cargo.toml's package.metadata.deb looks for it.
made=target/package
rm -rf "$made"
mkdir -p "$made/man" "$made/completions"
"$program" man --dir "$made/man"
for shell in bash zsh fish; do
    "$program" completions "$shell" >"$made/completions/$shell"
done

say "packing"
cargo deb --no-build --locked
