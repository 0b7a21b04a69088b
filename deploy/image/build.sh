#!/usr/bin/env bash
# Builds the static binary and the image of it, shows that both need nothing of the machine they run
# on, and fails when either is larger than 25 MiB. Everything stays in target/image. The binary is
# that of the release profile, as everybody gets it: this is the only optimised build of the checks,
# and takes most of their time.
#
# usage: deploy/image/build.sh [binary]     only the binary, without buildah
#   TAG=meshprobe:0.1.0     what the image is called
#
# As root: chroot is how it is run from its own root file system.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/target/image
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
tag=${TAG:-meshprobe:$version}
limit=$((25 * 1024 * 1024))

say() { printf 'image: %s\n' "$*"; }
fail() {
    printf 'image: error: %s\n' "$*" >&2
    exit 1
}

# within NAME BYTES: says how large it is, and fails beyond the limit.
within() {
    say "$1: $(awk -v bytes="$2" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }') ($2 bytes), limit 25 MiB"
    [ "$2" -le "$limit" ] || fail "$1 is too large"
}

# inside FOLDER ARGUMENTS…: the binary with FOLDER, read-only, as its whole file system and nobody's
# rights.
inside() {
    # The words of the inner shell.
    # shellcheck disable=SC2016
    unshare --mount sh -euc '
        mount --bind "$1" "$1"
        mount -o remount,bind,ro "$1"
        folder=$1
        shift
        exec chroot --userspec=65532:65532 "$folder" /meshprobe "$@"
    ' sh "$@"
}

# works FOLDER: it starts, reads its configuration, resolves by itself and connects. What it gets is
# what every pod has: the kubelet's resolv.conf, a ConfigMap, and of the container runtime's /dev the
# two devices that random numbers come from where the C library cannot be asked at run time whether
# it knows getrandom, as in a static one.
works() {
    mkdir "$1/etc" "$1/dev" "$1/etc/meshprobe"
    install -m 444 "$root/config/example.yaml" "$1/etc/meshprobe/agent.yaml"
    mknod -m 444 "$1/dev/random" c 1 8
    mknod -m 444 "$1/dev/urandom" c 1 9
    printf 'nameserver 127.0.0.1\noptions ndots:1\n' >"$1/etc/resolv.conf"
    [ "$(inside "$1" --version)" = "meshprobe $version" ] || fail "does not say its version"
    MESHPROBE_NODE=node-1 inside "$1" config check /etc/meshprobe/agent.yaml >"$out/config-check" ||
        fail "finds mistakes in config/example.yaml: $(cat "$out/config-check")"
    # No one answers here: what counts is that it asked. By glibc it would need files of the machine.
    attempt "$1" connect refused tcp 127.0.0.1:1
    attempt "$1" resolve refused tcp nowhere.example:1
}

# attempt FOLDER PHASE REASON ARGUMENTS…: an attempt that fails in just this way.
attempt() {
    local folder=$1 phase=$2 reason=$3 code=0
    shift 3
    inside "$folder" probe "$@" --timeout 5s -o json >"$out/attempt.json" || code=$?
    [ "$code" = 2 ] && grep -q "\"phase\": *\"$phase\"" "$out/attempt.json" &&
        grep -q "\"reason\": *\"$reason\"" "$out/attempt.json" ||
        fail "$*: not $reason in $phase (exit code $code): $(cat "$out/attempt.json")"
}

build_binary() {
    local target
    target=$(uname -m)-unknown-linux-gnu
    mkdir -p "$out/context"
    # With --target the flags are for the program alone, not for build scripts and macros.
    RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" CARGO_TARGET_DIR="$out/cargo" \
        cargo build --manifest-path "$root/Cargo.toml" --locked --release --no-default-features \
        --target "$target" --bin meshprobe
    install -m 555 "$out/cargo/$target/release/meshprobe" "$out/context/meshprobe"
    ! readelf --program-headers --wide "$out/context/meshprobe" | grep -q INTERP ||
        fail "asks for a dynamic loader: it is not static"
    ! readelf --dynamic --wide "$out/context/meshprobe" | grep -q NEEDED ||
        fail "needs shared libraries: it is not static"
    within binary "$(stat -c %s "$out/context/meshprobe")"

    local empty=$out/empty
    rm -rf "$empty"
    mkdir "$empty"
    install -m 555 "$out/context/meshprobe" "$empty/meshprobe"
    works "$empty"
    say "runs read-only, as nobody, with nothing else but resolv.conf, a ConfigMap and /dev/[u]random"
}

# Storage of our own, and no network: nothing of the machine's images is seen or changed.
store() {
    buildah --root "$out/storage" --runroot "$out/run" --storage-driver vfs "$@"
}

build_image() {
    command -v buildah >/dev/null || fail "no buildah: install the package buildah"
    printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$out/policy.json"
    local policy=(--signature-policy "$out/policy.json")
    store bud "${policy[@]}" --isolation chroot --format oci --layers=false --timestamp 0 \
        --label org.opencontainers.image.title=meshprobe \
        --label "org.opencontainers.image.version=$version" \
        --label org.opencontainers.image.licenses=Apache-2.0 \
        --tag "$tag" --file "$here/Containerfile" "$out/context" >/dev/null

    local container mounted code=0
    container=$(store from "${policy[@]}" --pull-never "$tag")
    mounted=$(store mount "$container")
    (
        [ "$(find "$mounted" -type f | wc -l)" = 1 ] || fail "the image holds more than the binary"
        works "$mounted"
    ) || code=$?
    store rm "$container" >/dev/null
    [ "$code" = 0 ] || exit "$code"
    say "runs from the image's own root file system, read-only and as nobody"

    rm -f "$out/meshprobe.tar"
    store push "${policy[@]}" "$tag" "oci-archive:$out/meshprobe.tar:$tag" >/dev/null 2>&1
    within "image ${out#"$root/"}/meshprobe.tar" "$(stat -c %s "$out/meshprobe.tar")"
}

[ "$(id -u)" = 0 ] || fail "must be root: chroot shows that the image needs nothing"
began=$SECONDS
build_binary
[ "${1:-}" = binary ] || build_image
say "took $((SECONDS - began)) s"
