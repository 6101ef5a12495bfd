//! What is handed to those who run it on a closed network: the static executable, alone in its root directory, and the
//! bill of materials; `packages` has what both are packed into.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::gateway::{Launch, Outcome};
use crate::support::isolated::isolated;
use crate::support::json::Json;
use crate::support::nameservers::{NameServer, have};
use crate::support::pki::Pki;
use crate::support::tls_cluster::{self, TlsCluster};
use crate::support::{host_offers, process, up_to_date};

/// What the members' certificates name: the discovery domain, the gateway's address for clients, and their own.
const NAMES: &str = "DNS:x.test,IP:127.0.0.1,IP:127.1.0.1,IP:127.1.0.2,IP:127.1.0.3";

/// The executable of `make static`.
fn static_executable() -> Option<PathBuf> {
    let path = up_to_date(Path::new("static/etcd-gateway"));
    let wanted = "an up-to-date static executable (make static)";
    host_offers(path.is_some(), wanted).then_some(path)?
}

/// A directory with nothing but these files in it.
fn root_directory(dir: &str, files: &[(&str, &Path)]) {
    for (to, from) in files {
        let to = Path::new(dir).join(to.trim_start_matches('/'));
        let parent = to.parent().expect("a file in a directory");
        std::fs::create_dir_all(parent).expect("create a directory");
        std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}

fn in_root(dir: &str, args: &[&str]) -> Launch {
    let launch = Launch::exactly(args).program("/etcd-gateway".into());
    launch.wrapped(&["chroot", dir])
}

/// Members by SRV records of a real name server, authenticated as a real etcd shows itself, served to a real client:
/// with the executable, resolv.conf and the authority as the only files there are. No /proc, no /dev, no library, no
/// nsswitch.conf.
#[test]
fn static_executable_alone_in_its_root_directory() {
    isolated(static_executable_alone_in_its_root_directory, |site| {
        if !have(&["dnsmasq"]) {
            return;
        }
        let (Some(program), Some(pki)) = (static_executable(), Pki::below(site.path(""))) else {
            return;
        };
        let root = pki.root("true CA");
        let Some(cluster) = TlsCluster::start(&pki, &root, NAMES) else {
            return;
        };
        let record = |number: u8| {
            format!(
                "srv-host=_etcd-client-ssl._tcp.x.test,m{number}.test,2379,0,0\n\
                 host-record=m{number}.test,127.1.0.{number}\n"
            )
        };
        let _dnsmasq = NameServer::dnsmasq(site, &[1, 2, 3].map(record).concat());
        let dir = site.path("root");
        let ca = Path::new(&root.certificate);
        let mut files = vec![
            ("/etcd-gateway", program.as_path()),
            ("/etc/resolv.conf", Path::new("/etc/resolv.conf")),
            ("/ca.pem", ca),
        ];
        root_directory(&dir, &files);
        let flags = ["--discovery-srv=x.test", "--trusted-ca-file=/ca.pem"];

        let check = in_root(&dir, &[&["check"], flags.as_slice()].concat()).run();
        assert_eq!(check.code, Some(0), "{check:?}");
        for index in 0..3 {
            let address = tls_cluster::address(index);
            let row = check.stdout.lines().find(|row| row.contains(&address));
            let row = row.unwrap_or_else(|| panic!("{address} is missing: {check:?}"));
            assert!(row.contains("authenticated"), "{row}");
        }

        let listen = "--listen-addr=127.0.0.1:0";
        let mut gateway = in_root(&dir, &[&["start", listen], flags.as_slice()].concat()).start();
        let through = gateway.address().to_string();
        // Often enough to meet every member.
        for round in ["1", "2", "3", "4"] {
            let output = cluster.etcdctl(&through, &["put", "key", round]);
            assert!(output.status.success(), "{output:?}\n{}", gateway.text());
        }
        let output = cluster.etcdctl(&through, &["get", "key", "--print-value-only"]);
        assert_eq!(output.stdout, b"4\n", "{output:?}");
        gateway.signal("TERM");
        let status = gateway.wait_exit(crate::support::SOON);
        assert!(status.success(), "{}", gateway.text());

        // Without --trusted-ca-file there is nobody to trust, which is said; the bundle is found where a system has it.
        let system = in_root(&dir, &["check", flags[0]]).run();
        assert_eq!(system.code, Some(1), "{system:?}");
        assert!(system.stderr.contains("--trusted-ca-file"), "{system:?}");
        files.push(("/etc/ssl/certs/ca-certificates.crt", ca));
        root_directory(&dir, &files);
        let Outcome { code, stdout, .. } = in_root(&dir, &["check", flags[0]]).run();
        let authenticated = stdout.matches("authenticated").count();
        assert_eq!((code, authenticated), (Some(0), 3), "{stdout}");
    });
}

/// Position-independent, and nothing of the host is asked for before `main`.
#[test]
fn static_executable_needs_no_library() {
    let Some(program) = static_executable() else {
        return;
    };
    let path = program.to_str().expect("a path in UTF-8");
    let mode = program.metadata().expect("it is there").permissions();
    assert_ne!(mode.mode() & 0o111, 0, "it can be run");
    let ldd = process::tool("ldd", &[path]);
    let said = String::from_utf8_lossy(&ldd.stdout);
    assert_eq!(said.trim(), "statically linked");
    let headers = process::tool_text("readelf", &["-hlWd", path]);
    for (wanted, there) in [
        ("DYN (", true),
        (" NOW PIE", true),
        ("INTERP", false),
        ("(NEEDED)", false),
    ] {
        assert_eq!(headers.contains(wanted), there, "{wanted}:\n{headers}");
    }
}

/// The bill of materials of the static executable.
fn bill_of_materials() -> Option<String> {
    static_executable()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("tests/tools/sbom.sh"))
        .args(["", "-"])
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .expect("run sbom.sh");
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).expect("output in UTF-8"))
}

/// The only field of the only item, `licenses[0].expression`.
fn only<'a>(json: &'a Json, key: &str, field: &str) -> &'a str {
    match json.list(key) {
        [item] => item.text(field),
        other => panic!("{key}: {other:?}"),
    }
}

/// The values of the properties of this name.
fn properties<'a>(json: &'a Json, name: &str) -> Vec<&'a str> {
    let all = json
        .get("properties")
        .map_or(&[][..], |_| json.list("properties"));
    let name = format!("etcd-gateway:{name}");
    let named = all.iter().filter(|one| one.text("name") == name);
    named.map(|one| one.text("value")).collect()
}

#[test]
fn bill_of_materials_is_of_the_executable_and_complete_in_itself() {
    let (Some(text), Some(executable)) = (bill_of_materials(), static_executable()) else {
        return;
    };
    let bom = Json::parse(&text).expect("JSON");
    assert_eq!(bom.text("bomFormat"), "CycloneDX");
    assert_eq!(bom.text("specVersion"), "1.5");
    let metadata = bom.get("metadata").expect("metadata");
    let program = metadata.get("component").expect("the program itself");
    assert_eq!(program.text("type"), "application");
    assert_eq!(program.text("name"), "etcd-gateway");
    assert_eq!(program.text("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(only(program, "licenses", "expression"), "Apache-2.0");
    let sum = process::tool_text(
        "sha256sum",
        &[executable.to_str().expect("a path in UTF-8")],
    );
    assert_eq!(
        Some(only(program, "hashes", "content")),
        sum.split(' ').next()
    );
    // Of the commit: a build of tomorrow bears it too.
    let time = ["log", "-1", "--date=format-local:%FT%TZ", "--format=%cd"];
    let git = Command::new("git").args(time).env("TZ", "UTC").output();
    let git = git.expect("run git").stdout;
    assert_eq!(
        String::from_utf8_lossy(&git).trim(),
        metadata.text("timestamp")
    );

    let mut references = BTreeSet::from([program.text("bom-ref")]);
    for component in bom.list("components") {
        let name = component.text("name");
        assert!(references.insert(component.text("bom-ref")), "{name} twice");
        for field in ["version", "purl"] {
            assert!(!component.text(field).is_empty(), "{field} of {name}");
        }
        assert!(
            !only(component, "licenses", "expression").is_empty(),
            "{name}"
        );
        let supplier = component.get("supplier").expect("a supplier");
        assert!(!supplier.text("name").is_empty(), "{name}");
    }
    // Every part says what it needs, that is here, and the program needs all of it in the end.
    let graph: BTreeMap<&str, Vec<&str>> = bom
        .list("dependencies")
        .iter()
        .map(|node| (node.text("ref"), node.texts("dependsOn")))
        .collect();
    let mut reached = BTreeSet::new();
    let mut next = vec![program.text("bom-ref")];
    while let Some(node) = next.pop() {
        if reached.insert(node) {
            next.extend(
                graph
                    .get(node)
                    .unwrap_or_else(|| panic!("{node} has no entry")),
            );
        }
    }
    assert_eq!(reached, references);

    // The packages of Cargo.lock that are linked on Linux; what it has for Windows is not in the program.
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("read Cargo.lock");
    let components = bom.list("components").iter();
    let locked: Vec<&str> = components
        .filter(|one| {
            let hash = one.get("hashes").map(|_| only(one, "hashes", "content"));
            let entry = format!(
                "name = \"{}\"\nversion = \"{}\"\n\
                 source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n",
                one.text("name"),
                one.text("version"),
                hash.unwrap_or_default()
            );
            lock.contains(&entry)
        })
        .map(|one| one.text("name"))
        .collect();
    assert_eq!(locked, ["socket2", "libc"]);
}

/// The linker's map of the executable, read with other eyes than the script's: each object and archive in it, but that
/// of the program itself, is named as a file of one component.
#[test]
fn bill_of_materials_has_each_object_that_was_linked() {
    let Some(text) = bill_of_materials() else {
        return;
    };
    let bom = Json::parse(&text).expect("JSON");
    let program = bom
        .get("metadata")
        .and_then(|metadata| metadata.get("component"));
    let target = properties(program.expect("the program"), "target");
    let map = format!("static/{}/etcd-gateway.map", target.concat());
    let map = up_to_date(Path::new(&map)).expect("the map of the executable");
    let map = std::fs::read_to_string(map).expect("read the map");
    let mut linked = BTreeSet::new();
    for word in map.split([' ', '\n']).filter(|word| word.starts_with('/')) {
        let path = word.split([':', '(']).next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        if [".o", ".a", ".rlib"].iter().any(|end| file.ends_with(end)) {
            linked.insert(file);
        }
    }
    linked.retain(|file| !file.starts_with("etcd_gateway-"));
    // The C library, its start-up objects and something to unwind with, at least.
    assert!(linked.len() > 3 && linked.contains("libc.a"), "{linked:?}");
    for file in linked {
        let components = bom.list("components").iter();
        let of: Vec<&str> = components
            .filter(|component| properties(component, "file").contains(&file))
            .map(|component| component.text("name"))
            .collect();
        assert_eq!(of.len(), 1, "{file} is of {of:?}");
    }
    for name in ["rust-std", "gimli", "hashbrown", "miniz_oxide"] {
        let mut names = bom.list("components").iter().map(|one| one.text("name"));
        assert!(names.any(|one| one == name), "{name} is missing");
    }
}

/// CycloneDX's own library has nothing to say against it.
#[test]
fn bill_of_materials_is_valid() {
    const VALIDATE: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = sys.stdin.read()
for version in SchemaVersion.V1_5, SchemaVersion.V1_6:
    error = JsonStrictValidator(version).validate_str(text)
    sys.exit(str(error)) if error else None
";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let library = root.join(target).join("cyclonedx");
    if !host_offers(library.exists(), "the validator of CycloneDX (make deps)") {
        return;
    }
    let Some(text) = bill_of_materials() else {
        return;
    };
    let validated = |text: &str| {
        let mut python = Command::new("python3");
        python.args(["-c", VALIDATE]).env("PYTHONPATH", &library);
        let pipes = python.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("run python3");
        let mut stdin = child.stdin.take().expect("its standard input");
        stdin.write_all(text.as_bytes()).expect("write to it");
        drop(stdin);
        child.wait_with_output().expect("its end")
    };
    let output = validated(&text);
    assert!(output.status.success(), "{output:?}");
    let output = validated(&text.replacen("\"application\"", "\"thing\"", 1));
    assert!(!output.status.success(), "it takes anything");
}
