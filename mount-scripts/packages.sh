# Sourced by the other scripts: installs what is missing on Debian and Ubuntu, and says what it does.

say() {
    printf '==> %s\n' "$*" >&2
}

# as_root COMMAND...: runs it as root, with sudo where that is needed.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "root is needed for: $* (there is no sudo; run this script as root, or run that yourself)"
        return 1
    fi
}

# need COMMAND PACKAGE [COMMAND PACKAGE]...: installs the packages whose commands are missing.
need() {
    local missing=()
    while [ $# -ge 2 ]; do
        if ! command -v "$1" >/dev/null; then
            missing+=("$2")
        fi
        shift 2
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        say "missing, and this is neither Debian nor Ubuntu: install what your system calls ${missing[*]}"
        return 1
    fi
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# need_rust: a Rust toolchain is for the user to choose, so it is only asked for.
need_rust() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null; then
        say "there is no Rust toolchain: install one from https://rustup.rs, then run this again"
        return 1
    fi
}

# need_fuse: the kernel's side of a mount.
need_fuse() {
    if [ ! -e /dev/fuse ]; then
        say "there is no /dev/fuse: loading the kernel module fuse"
        as_root modprobe fuse || true
    fi
    if [ ! -e /dev/fuse ]; then
        say "still no /dev/fuse: a container must be started with --device /dev/fuse --cap-add SYS_ADMIN"
        return 1
    fi
}
