//! What is handed to those who run it on a closed network: the static executable, alone in its root directory, and the
//! bill of materials.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        let (Some(program), Some(pki)) = (static_executable(), Pki::below(&site.path(""))) else {
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

fn bill_of_materials() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = "x86_64-unknown-linux-gnu";
    let output = Command::new(root.join("tests/tools/sbom.sh"))
        .args([target, "-"])
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .expect("run sbom.sh");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("output in UTF-8")
}

fn list<'a>(json: &'a Json, key: &str) -> &'a [Json] {
    match json.get(key) {
        Some(Json::List(items)) => items,
        other => panic!("{key}: {other:?}"),
    }
}

/// The only field of the only item, `licenses[0].expression`.
fn only<'a>(json: &'a Json, key: &str, field: &str) -> &'a str {
    match list(json, key) {
        [item] => item.text(field),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn bill_of_materials_is_what_cargo_links() {
    let text = bill_of_materials();
    assert_eq!(text, bill_of_materials(), "two runs differ");
    let bom = Json::parse(&text).expect("JSON");
    assert_eq!(bom.text("bomFormat"), "CycloneDX");
    assert_eq!(bom.text("specVersion"), "1.5");
    assert_eq!(bom.get("version"), Some(&Json::Number(1.0)));
    let metadata = bom.get("metadata").expect("metadata");
    assert_eq!(
        metadata.get("timestamp"),
        None,
        "no two runs would be alike"
    );
    let program = metadata.get("component").expect("the program itself");
    assert_eq!(program.text("type"), "application");
    assert_eq!(program.text("name"), "etcd-gateway");
    assert_eq!(program.text("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(only(program, "licenses", "expression"), "Apache-2.0");

    // On Linux exactly these; what Cargo.lock has for Windows is not in the program.
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("read Cargo.lock");
    let components = list(&bom, "components");
    let names: Vec<&str> = components.iter().map(|one| one.text("name")).collect();
    assert_eq!(names, ["socket2", "libc"]);
    let mut references = BTreeSet::from([program.text("bom-ref")]);
    for component in components {
        let (name, version) = (component.text("name"), component.text("version"));
        assert_eq!(component.text("type"), "library");
        assert_eq!(
            component.text("purl"),
            format!("pkg:cargo/{name}@{version}")
        );
        assert!(references.insert(component.text("bom-ref")), "{name} twice");
        assert_eq!(
            only(component, "licenses", "expression"),
            "MIT OR Apache-2.0"
        );
        assert_eq!(only(component, "hashes", "alg"), "SHA-256");
        let locked = format!(
            "name = \"{name}\"\nversion = \"{version}\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n",
            only(component, "hashes", "content")
        );
        assert!(lock.contains(&locked), "Cargo.lock has other than {locked}");
    }
    // Every package says what it depends on, and that is here.
    let graph: Vec<(&str, Vec<&str>)> = list(&bom, "dependencies")
        .iter()
        .map(|node| (node.text("ref"), node.texts("dependsOn")))
        .collect();
    let nodes: BTreeSet<&str> = graph.iter().map(|(node, _)| *node).collect();
    assert_eq!((nodes, graph.len()), (references, 3));
    let [program, socket2, libc] = [0, 1, 2].map(|index| graph[index].0);
    assert_eq!(
        graph,
        [
            (program, vec![socket2]),
            (socket2, vec![libc]),
            (libc, vec![])
        ]
    );
}
