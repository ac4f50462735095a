# What the scripts share. Source it; it changes into the top of the tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
die() { note "$(basename "$0"): $*"; exit 1; }
usage_error() { note "$(basename "$0"): $*"; note "try: $0 --help"; exit 2; }
# The help of a script is the comment at its top.
show_help() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"; }

# Debian packages that building needs, and those that the tests need besides.
build_packages=(gcc pkg-config libasound2-dev libopus-dev)
test_packages=(ffmpeg lame)

# install PACKAGE...: what of these Debian packages is missing.
install() {
    local missing=() package
    command -v dpkg-query >/dev/null || { note "not a Debian system: please see to $* yourself"; return; }
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || die "these packages are missing; as root run: apt-get install ${missing[*]}"
    note "installing ${missing[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; } >&2 ||
        die "could not install ${missing[*]}"
}

need_rust() {
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || die "Rust is missing; see https://rustup.rs"
}

# build [PACKAGE...]: jam and jamd, and the binaries of these packages, into target/debug. Without what only tests need, and
# without the songs' store in S3: that is a third of the work.
build() {
    local packages=(-p jam-client -p jam-cluster) package
    for package in "$@"; do packages+=(-p "$package"); done
    need_rust
    install "${build_packages[@]}"
    note "building (the first time takes some minutes)"
    cargo build --locked "${packages[@]}" --no-default-features --bins >&2
    bin=${CARGO_TARGET_DIR:-$PWD/target}/debug
    PATH=$bin:$PATH
}
