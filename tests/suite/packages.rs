//! What `make dist`, `make deb` and `make image` pack the static executable into: the same bytes each time, as
//! tar, Debian's and OCI's own tools read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::json::Json;
use crate::support::process::{have, tool, tool_text};
use crate::support::{TempDir, host_offers, up_to_date};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A target that `make static` has built for this processor, and the executable.
fn built() -> Option<(String, PathBuf)> {
    let targets = ["musl", "gnu"].map(|c| format!("{}-unknown-linux-{c}", std::env::consts::ARCH));
    let mut found = targets.into_iter().filter_map(|target| {
        let program = up_to_date(&Path::new("static").join(&target).join("etcd-gateway"))?;
        Some((target, program))
    });
    let found = found.next();
    let wanted = "an up-to-date static executable (make static)";
    host_offers(found.is_some(), wanted).then_some(found)?
}

/// Runs a script that packs, as two hosts would; both get the same bytes, which are here then. `SHA256SUMS` is right,
/// and what others have in the same directory stays.
fn packed(script: &str, target: &str, dir: &TempDir) -> PathBuf {
    let pack = |place: &str, umask: &str, locale: &str, zone: &str| {
        let place = dir.path().join(place);
        let temporary = place.join("for a while");
        std::fs::create_dir_all(&temporary).expect("create a directory");
        let others = ["letter.txt", "other.tar", "other.deb"].map(|name| place.join(name));
        for other in &others {
            std::fs::write(other, "").expect("write a file");
        }
        let mut command = Command::new("sh");
        let line = format!("umask {umask} && exec tests/tools/{script} {target}");
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["-c", &line]).env("DIST_DIR", &place);
        command.env("LC_ALL", locale).env("TZ", zone);
        let output = command.env("TMPDIR", &temporary).output();
        let output = output.expect("run a script");
        assert!(output.status.success(), "{script}: {output:?}");
        for other in &others {
            std::fs::remove_file(other).expect("what is of others stays");
        }
        std::fs::remove_dir(temporary).expect("no temporary file is left");
        let files = std::fs::read_dir(&place).expect("list what was packed");
        let files = files.map(|file| file.expect("an entry").path());
        let files: BTreeMap<_, _> = files
            .map(|file| {
                let content = std::fs::read(&file).expect("read what was packed");
                (file.file_name().map(ToOwned::to_owned), content)
            })
            .collect();
        (place, files)
    };
    let (place, files) = pack("first", "022", "C", "UTC");
    let (_, again) = pack("second", "077", "C.UTF-8", "Asia/Kathmandu");
    let differ = files
        .iter()
        .filter(|(name, content)| again.get(*name) != Some(content));
    let differ: Vec<_> = differ.map(|(name, _)| name).collect();
    assert!(
        differ.is_empty() && files.len() == 2 && again.len() == 2,
        "{differ:?}"
    );
    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&place);
    let sums = sums.output().expect("run sha256sum");
    assert!(sums.status.success(), "{sums:?}");
    place
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[track_caller]
fn same_file(one: &Path, other: &Path) {
    let read =
        |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert!(read(one) == read(other), "{one:?} is not {other:?}");
}

/// Each part that the bill names has the text of its licence beside it.
#[track_caller]
fn licences_are_complete(doc: &Path) {
    let bom = std::fs::read_to_string(doc.join("etcd-gateway.cdx.json")).expect("read the bill");
    let bom = Json::parse(&bom).expect("JSON");
    let components = bom.list("components");
    assert!(components.len() > 10, "{}", components.len());
    for component in components {
        let name = format!("{}-{}", component.text("name"), component.text("version"));
        let texts = doc.join("licenses").join(&name);
        let texts = std::fs::read_dir(&texts).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut sizes =
            texts.map(|text| text.expect("an entry").metadata().expect("its size").len());
        assert!(sizes.any(|size| size > 500), "{name} has no text");
    }
}

#[test]
fn tarball_has_all_that_make_install_installs() {
    let Some((target, program)) = built() else {
        return;
    };
    let dir = TempDir::new();
    let place = packed("dist.sh", &target, &dir);
    let name = format!("etcd-gateway-{VERSION}-{target}");
    let archive = place.join(format!("{name}.tar.gz"));
    tool_text("tar", &["-xzf", text(&archive), "-C", text(&place)]);
    let root = place.join(name);
    same_file(&root.join("bin/etcd-gateway"), &program);
    let unit = root.join("lib/systemd/system/etcd-gateway.service");
    let unit = std::fs::read_to_string(unit).expect("read the unit");
    let start = "\nExecStart=\"/usr/local/bin/etcd-gateway\" start --config-file=-";
    assert!(unit.contains(start), "{unit}");
    for (file, generated) in [
        ("lib/systemd/system/etcd-gateway.socket", "socket"),
        ("share/man/man1/etcd-gateway.1", "man"),
        ("share/bash-completion/completions/etcd-gateway", "bash"),
        ("share/zsh/site-functions/_etcd-gateway", "zsh"),
        ("share/fish/vendor_completions.d/etcd-gateway.fish", "fish"),
    ] {
        let content = std::fs::read_to_string(root.join(file)).expect(file);
        assert_eq!(
            content,
            tool_text(text(&program), &["generate", generated]),
            "{file}"
        );
    }
    let doc = root.join("share/doc/etcd-gateway");
    for name in ["README.md", "LICENSE"] {
        same_file(
            &doc.join(name),
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(name),
        );
    }
    licences_are_complete(&doc);
    // Of nobody on this host.
    let listed = tool_text("tar", &["-tvzf", text(&archive)]);
    assert!(
        listed.lines().all(|line| line.contains(" 0/0 ")),
        "{listed}"
    );
}

/// Neither what a script was at when it was stopped nor a wrong time leaves or takes anything.
#[test]
fn what_is_stopped_or_refused_leaves_all_as_it_was() {
    let Some((target, _)) = built() else {
        return;
    };
    let dir = TempDir::new();
    let package = dir.file("etcd-gateway-0.0.1-old.tar.gz", "");
    let tools = dir.path().join("tools");
    let temporary = dir.path().join("temporary");
    for new in [&tools, &temporary] {
        std::fs::create_dir(new).expect("create a directory");
    }
    let pack = |script: &str, time: &str| {
        let mut command = Command::new(format!("tests/tools/{script}"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).arg(&target);
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", tools.display()));
        command.env("SOURCE_DATE_EPOCH", time);
        command
            .env("DIST_DIR", dir.path())
            .env("TMPDIR", &temporary);
        let output = command.output().expect("run a script");
        let mut left = std::fs::read_dir(&temporary).expect("list a directory");
        assert!(left.next().is_none(), "{script}: {output:?}");
        output
    };
    for script in ["dist.sh", "deb.sh", "image.sh"] {
        let output = pack(script, "yesterday");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("set SOURCE_DATE_EPOCH"));
        assert!(Path::new(&package).exists(), "{script}");
    }
    // The first program that each calls when it is at work.
    for (script, tool) in [("parts.sh", "awk"), ("dist.sh", "make")] {
        let path = dir.file(&format!("tools/{tool}"), "#!/bin/sh\nkill -TERM $PPID\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("make it a program");
        let output = pack(script, "");
        assert_eq!(output.status.code(), Some(130), "{script}: {output:?}");
        std::fs::remove_file(path).expect("remove a file");
    }
}

/// dpkg itself, on a directory: no part of this host is touched.
fn dpkg(root: &Path, args: &[&str]) -> String {
    let at = format!("--root={}", root.display());
    let forced = "--force-not-root,bad-path,script-chrootless";
    let output = tool("dpkg", &[&[at.as_str(), forced], args].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn package_of_debian_installs_runs_and_leaves_nothing() {
    let Some((target, program)) = built() else {
        return;
    };
    if !host_offers(have("dpkg-deb") && have("lintian"), "dpkg-deb and lintian") {
        return;
    }
    let dir = TempDir::new();
    let place = packed("deb.sh", &target, &dir);
    let found = tool_text("find", &[text(&place), "-name", "*.deb"]);
    let package = found.trim();
    let lint = tool(
        "lintian",
        &["--allow-root", "--fail-on", "error,warning", package],
    );
    assert!(lint.status.success() && lint.stdout.is_empty(), "{lint:?}");

    // As on every file system: each file rounded up, and a directory as one.
    let listed = tool_text("dpkg-deb", &["--contents", package]);
    let sizes = listed.lines().map(|line| {
        let size = line.split_ascii_whitespace().nth(2).expect("a size");
        let size: u64 = size.parse().expect("a number");
        if line.starts_with('d') {
            1
        } else {
            size.div_ceil(1024)
        }
    });
    let size = tool_text("dpkg-deb", &["--field", package, "Installed-Size"]);
    assert_eq!(size.trim(), sizes.sum::<u64>().to_string());

    let root = dir.path().join("root");
    for part in ["info", "updates"] {
        let part = root.join("var/lib/dpkg").join(part);
        std::fs::create_dir_all(part).expect("create a directory");
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").expect("write a status file");
    dpkg(&root, &["--force-architecture", "--install", package]);
    let installed = root.join("usr/bin/etcd-gateway");
    same_file(&installed, &program);
    let said = tool_text(text(&installed), &["version"]);
    assert!(
        said.starts_with(&format!("etcd-gateway {VERSION} ")),
        "{said}"
    );
    licences_are_complete(&root.join("usr/share/doc/etcd-gateway"));
    let unit = root.join("usr/lib/systemd/system/etcd-gateway.service");
    let unit = std::fs::read_to_string(unit).expect("read the unit");
    // Nothing is enabled, and what the operator wrote outlives an upgrade and a removal.
    assert!(!root.join("etc/systemd").exists());
    let settings = root.join("etc/default/etcd-gateway");
    assert!(
        unit.contains(
            "\nExecStart=\"/usr/bin/etcd-gateway\" start --config-file=-/etc/default/etcd-gateway\n"
        ),
        "{unit}"
    );
    std::fs::write(&settings, "ETCD_GATEWAY_ENDPOINTS=10.0.0.1:2379\n")
        .expect("write the settings");
    dpkg(&root, &["--force-architecture", "--install", package]);
    dpkg(&root, &["--remove", "etcd-gateway"]);
    assert!(!installed.exists());
    let kept = std::fs::read_to_string(&settings).expect("read the settings");
    assert_eq!(kept, "ETCD_GATEWAY_ENDPOINTS=10.0.0.1:2379\n");
    dpkg(&root, &["--purge", "etcd-gateway"]);
    let left = tool_text("find", &[text(&root), "-name", "*etcd-gateway*"]);
    assert_eq!(left, "");
}

#[test]
fn image_is_what_skopeo_reads() {
    let Some((target, program)) = built() else {
        return;
    };
    if !host_offers(have("skopeo"), "skopeo") {
        return;
    }
    let dir = TempDir::new();
    let place = packed("image.sh", &target, &dir);
    let archive = format!("{}/etcd-gateway-{VERSION}.oci.tar", place.display());
    let source = format!("oci-archive:{archive}:{VERSION}");
    let inspected = tool_text("skopeo", &["inspect", &source]);
    let inspected = Json::parse(&inspected).expect("JSON");
    assert_eq!(inspected.text("Os"), "linux");
    let labels = inspected.get("Labels").expect("labels");
    for (name, value) in [
        ("title", "etcd-gateway"),
        ("version", VERSION),
        ("licenses", "Apache-2.0"),
    ] {
        assert_eq!(
            labels.text(&format!("org.opencontainers.image.{name}")),
            value
        );
    }
    let config = tool_text("skopeo", &["inspect", "--config", &source]);
    let config = Json::parse(&config).expect("JSON");
    let config = config.get("config").expect("the settings of a container");
    assert_eq!(config.text("User"), "65532:65532");
    assert_eq!(config.texts("Entrypoint"), ["/etcd-gateway", "start"]);

    // As a registry would get it: each digest is looked at.
    let copy = format!("dir:{}", dir.path().join("copy").display());
    tool_text("skopeo", &["--insecure-policy", "copy", &source, &copy]);
    let layers = inspected.list("Layers");
    assert_eq!(layers.len(), 1);
    let layers = inspected.texts("Layers");
    let layer = dir
        .path()
        .join("copy")
        .join(layers[0].trim_start_matches("sha256:"));
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("create a directory");
    tool_text("tar", &["-xzf", text(&layer), "-C", text(&root)]);
    same_file(&root.join("etcd-gateway"), &program);
    licences_are_complete(&root.join("usr/share/doc/etcd-gateway"));
}
