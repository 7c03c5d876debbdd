#!/bin/bash
# Kubernetes' own servers for the proofs, built from Debian's source package (bookworm's 1.20.2: later Debian sources hold
# kubectl only), and Debian's etcd. Root, Debian bookworm, x86-64; some 7 minutes of 2 cores, once.
#   build.sh FOLDER    makes FOLDER/bin/kube-{apiserver,controller-manager,scheduler}; FOLDER/servers.tar.zst is kept, and
#                      unpacked where bin/ is absent
set -euo pipefail
folder=$(mkdir -p "${1:?a folder}" && cd "$1" && pwd)
bin=$folder/bin kept=$folder/servers.tar.zst version=1.20.2
servers="kube-apiserver kube-controller-manager kube-scheduler"
export DEBIAN_FRONTEND=noninteractive

install_packages() { apt-get update -q && apt-get install -y -q --no-install-recommends "$@"; }

fetch_source() {  # the package sources that this machine has, asked for source packages
  local list
  list=$(grep -ls '^Suites:.*bookworm' /etc/apt/sources.list.d/*.sources | head -1)
  mkdir -p apt/lists/partial apt/archives/partial
  sed -E 's/^Types:.*/Types: deb-src/' "$list" > apt/source.sources
  local options=(-o "Dir::Etc::SourceList=$PWD/apt/source.sources" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt")
  apt-get "${options[@]}" update -q
  apt-get "${options[@]}" source -q --download-only "kubernetes=$version*"
  dpkg-source --no-check -x kubernetes_"$version"*.dsc tree
}

compile() {
  local reflect=github.com/modern-go/reflect2
  rm -rf "tree/vendor/$reflect"  # the copy inside crashes under Go 1.19; Debian's own does not
  cp -a "/usr/share/gocode/src/$reflect" "tree/vendor/$reflect"
  printf '%s\n' "KUBE_GIT_COMMIT='debian'" "KUBE_GIT_TREE_STATE='clean'" "KUBE_GIT_VERSION='v$version'" \
    "KUBE_GIT_MAJOR='1'" "KUBE_GIT_MINOR='20'" > version
  mkdir -p tree/.go/src/k8s.io
  ln -sfn ../../.. tree/.go/src/k8s.io/kubernetes
  (
    export KUBE_GIT_VERSION_FILE=$PWD/version GOROOT=/usr/lib/go-1.19 PATH=/usr/lib/go-1.19/bin:/usr/bin:/bin:/usr/sbin:/sbin
    export GOPATH=$PWD/tree/.go GOCACHE=$PWD/cache CGO_ENABLED=0 GOFLAGS= GO111MODULE=off GOPROXY=off GOTOOLCHAIN=local
    cd tree && nice -n 10 make WHAT="$(printf 'cmd/%s ' $servers)"
  )
  mkdir -p "$bin"
  for server in $servers; do cp "tree/_output/local/bin/linux/amd64/$server" "$bin/"; done
}

# the package starts no etcd where no init runs
command -v etcd > /dev/null && command -v zstd > /dev/null && command -v openssl > /dev/null || install_packages etcd-server zstd openssl
if [ ! -x "$bin/kube-scheduler" ] && [ -f "$kept" ]; then mkdir -p "$bin" && tar -C "$bin" -xf "$kept"; fi
if [ ! -x "$bin/kube-scheduler" ]; then
  install_packages golang-1.19-go golang-github-modern-go-reflect2-dev dpkg-dev make rsync
  mkdir -p "$folder/source" && cd "$folder/source"
  [ -d tree ] || fetch_source
  compile
  tar -C "$bin" -c . | zstd -q -10 -T0 -f -o "$kept"
fi
ls "$bin"
