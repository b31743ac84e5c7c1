#!/bin/sh
# One command that installs what is missing (Debian, Ubuntu), builds cnnc and then
#   ./setup.sh run    compiles examples/lenet5.cnn to a .so, trains it on digits that the program draws, prints the test error
#   ./setup.sh test   builds and passes the tests
#   ./setup.sh build  nothing more
# As root or as a user with sudo; a second call installs nothing.
set -eu
cd "$(dirname "$0")"
what=${1:-run}
case $what in run|test|build) ;; *) echo "usage: ./setup.sh run|test|build" >&2; exit 2 ;; esac
[ "$(id -u)" = 0 ] && as_root="" || as_root=sudo

missing() { # packages of the arguments that are not installed
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || printf '%s ' "$p"
    done
}

install() {
    need=$(missing gcc libc6-dev cmake ninja-build libcmocka-dev zlib1g-dev libpng-dev libjansson-dev libedit-dev)
    llvm=""
    for v in 19 20 21 22; do
        [ -n "$(missing llvm-$v-dev)" ] || llvm=llvm-$v-dev
    done
    [ -z "$need" ] && [ -n "$llvm" ] && return
    echo "setup: installing packages (apt-get)"
    $as_root apt-get update -qq
    for v in 22 21 20 19; do # the lowest that the archive has is primary: 19
        apt-cache show llvm-$v-dev >/dev/null 2>&1 && [ -z "${found:-}${llvm}" ] && pick=llvm-$v-dev
    done
    [ -n "$llvm" ] || need="$need ${pick:?no LLVM 19 to 22 in the package archive}"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
}

install
preset=release
[ "${CI:-}" = true ] && preset=ci
cmake --preset "$preset" >/dev/null
target=all
[ "$what" = test ] || target=cnnc
cmake --build --preset "$preset" --target "$target"
cnnc=$PWD/build/$preset/cnnc

case $what in
run)
    dir=build/$preset/run
    mkdir -p "$dir"
    "$cnnc" examples/lenet5.cnn -o "$dir/lenet5.so"
    gcc -O2 -I"$dir" -Iexamples examples/train.c examples/digits.c "$dir/lenet5.so" -lm -Wl,-rpath,'$ORIGIN' -o "$dir/train"
    "$dir/train"
    ;;
test)
    ctest --preset "$preset" -j"$(nproc)"
    ;;
esac
