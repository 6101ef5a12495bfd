#!/bin/sh
# Packs the static executable as a package of Debian, target/dist/etcd-gateway_VERSION-1_ARCHITECTURE.deb, with dpkg-deb
# alone: deb(5), deb-control(5) and Debian's policy say how. It depends on nothing. Installed, it starts nothing: who
# wants the service writes /etc/default/etcd-gateway, a configuration file that upgrades leave alone, and enables it.
# Where systemd runs, an upgrade restarts a gateway that was running, and a removal stops and disables it.
#
#   deb.sh [TARGET…]    those, or one for each processor that this host can build for; MAINTAINER="Name <address>"
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh
. tests/tools/stage.sh

maintainer=${MAINTAINER:-The maintainers of etcd-gateway <etcd-gateway@packages.invalid>}
doc=usr/share/doc/etcd-gateway

architecture() {
    case $1 in
    x86_64-*) echo amd64 ;;
    i686-*) echo i386 ;;
    aarch64-*) echo arm64 ;;
    armv7-*hf) echo armhf ;;
    riscv64gc-*) echo riscv64 ;;
    powerpc64le-*) echo ppc64el ;;
    s390x-*) echo s390x ;;
    *) echo "deb: Debian has no architecture for $1" >&2 && exit 1 ;;
    esac
}

# Writes a script of dpkg's, $1. What it does is for a host that runs systemd, not for a directory that dpkg fills.
script() {
    {
        printf '#!/bin/sh\nset -e\n[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || exit 0\n'
        cat
    } >"$root/DEBIAN/$1"
    chmod 755 "$root/DEBIAN/$1"
}

# In KiB: each file rounded up, a directory as one, as dpkg-gencontrol does, for directories differ by file system.
installed_size() {
    find "$root" -path "$root/DEBIAN" -prune -o -printf '%y %s\n' |
        awk '{ size += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print size }'
}

rm -f "$dist_dir"/etcd-gateway_*.deb
for target in $(targets_to_pack "$@"); do
    built "$target" || continue
    architecture=$(architecture "$target")
    root=$work/$architecture
    stage "$target" "$root" /usr ZSHDIR=/usr/share/zsh/vendor-completions
    documents "$target" "$root/$doc"
    # Debian has the text of the licence, and wants manual and changelog compressed.
    rm "$root/$doc/LICENSE"
    find "$root/usr/share/man" -type f -exec gzip -9n {} +
    gzip -9n "$root/$doc/README.md"
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
        printf 'Copyright: %s The maintainers of etcd-gateway\nLicense: Apache-2.0\n' "$(date -u -d "@$time" +%Y)"
        printf 'Comment: The executable is linked statically. Its parts, and their licences, whose texts\n'
        printf ' are in /%s/licenses:\n' "$doc"
        awk -F '|' 'NR > 1 { print "  " $2 " " $3 ": " $4 }' "$PARTS"
        printf '\nLicense: Apache-2.0\n The text is in /usr/share/common-licenses/Apache-2.0.\n'
    } >"$root/$doc/copyright"
    printf 'etcd-gateway (%s-1) stable; urgency=medium\n\n  * Version %s.\n\n -- %s  %s\n' "$version" "$version" "$maintainer" \
        "$(LC_ALL=C date -u -R -d "@$time")" | gzip -9n >"$root/$doc/changelog.Debian.gz"
    install -d "$root/etc/default"
    cat >"$root/etc/default/etcd-gateway" <<'END'
# Settings of etcd-gateway.service, each as ETCD_GATEWAY_<FLAG_NAME>; see etcd-gateway(1). Without endpoints it does not start.
#ETCD_GATEWAY_ENDPOINTS=10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
#ETCD_GATEWAY_LISTEN_ADDR=127.0.0.1:23790
END
    # The check takes a static program that is position-independent for a library.
    linked=statically-linked-binary
    ! readelf -hW "$root/usr/bin/etcd-gateway" | grep -q 'Type: *DYN' || linked=shared-library-lacks-prerequisites
    install -d "$root/usr/share/lintian/overrides"
    cat >"$root/usr/share/lintian/overrides/etcd-gateway" <<END
# It is meant to need nothing of the host; the bill of materials beside it says what is in it.
etcd-gateway: $linked [usr/bin/etcd-gateway]
# systemctl is all that there is where no helper of Debian's was installed by a dependency, of which there is none.
etcd-gateway: maintainer-script-calls-systemctl *
# Not from Debian's archive: no bug asked for it.
etcd-gateway: initial-upload-closes-no-bugs *
END

    install -d "$root/DEBIAN"
    echo /etc/default/etcd-gateway >"$root/DEBIAN/conffiles"
    script postinst <<'END'
systemctl daemon-reload
if [ "$1" = configure ] && [ -n "$2" ]; then
    # No client notices. What the new unit says of the process itself holds from its next start on.
    systemctl try-reload-or-restart etcd-gateway.service ||
        echo "etcd-gateway: the version before continues; see systemctl status etcd-gateway" >&2
fi
END
    script prerm <<'END'
if [ "$1" = remove ]; then
    systemctl disable --quiet --now etcd-gateway.socket etcd-gateway.service
fi
END
    script postrm <<'END'
systemctl daemon-reload
END
    cat >"$root/DEBIAN/control" <<END
Package: etcd-gateway
Version: $version-1
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(installed_size)
Section: net
Priority: optional
Description: TCP gateway in front of an etcd cluster
 Applications use one local address; the gateway knows the members of the
 cluster, spreads connections over them in turn, avoids those that fail or do
 not answer, and uses them again when they return. TLS runs between the
 application and etcd, end to end.
END
    (cd "$root" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -print | sed 's,^\./,,' | LC_ALL=C sort |
        xargs md5sum >DEBIAN/md5sums)
    uniform "$root"
    dpkg-deb --root-owner-group -Zgzip -z9 --build "$root" "$dist_dir" >"$work/log" || { cat "$work/log" >&2 && exit 1; }
done
sums deb
