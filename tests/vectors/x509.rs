//! Path validation: x509-limbo, every case that applies to a TLS client with a host name.
//!
//! A case of the tier `core` must come out as expected. A difference in the tiers `strict`
//! (refusal expected, accepted by at least one of webpki, OpenSSL and pyca) and `lenient` is a
//! decision and stands in the table below with its reason. An entry that no longer differs
//! fails, and so does a difference without an entry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Json;
use super::{ran, say, vectors};
use crate::x509::{Anchors, Certificate, Error, ServerName, UnixTime, pem, verify};

/// Accepted although refusal is expected, or the other way round where the reason says so.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "rfc5280::aki::leaf-missing-aki",
        "a rule for CAs; key identifiers serve path building (RFC 5280, 4.2.1.1) and have no part \
         in validation (6.1); Go accepts",
    ),
    (
        "rfc5280::nc::permitted-dns-match-noncritical",
        "constraints are enforced whether critical or not; Go accepts",
    ),
    (
        "rfc5280::nc::not-allowed-in-ee-noncritical",
        "a rule for CAs (RFC 5280, 4.2.1.10); a certificate that is no CA has nobody below it to \
         constrain; Go, OpenSSL and webpki accept",
    ),
    (
        "rfc5280::nc::not-allowed-in-ee-critical",
        "as above: the extension is understood and without effect; Go, OpenSSL and webpki accept",
    ),
    (
        "rfc5280::san::underscore-dns",
        "private zones have underscores; Go accepts for that reason",
    ),
    (
        "rfc5280::serial::zero",
        "RFC 5280, 4.1.2.2: verifiers should handle it gracefully; Go accepts",
    ),
    (
        "rfc5280::ca-as-leaf",
        "refused: its keyUsage is keyCertSign alone, which no TLS server can use (RFC 8446, \
         4.4.2.2); webpki::ca-as-leaf, the same chain, expects that",
    ),
    (
        "webpki::aki::root-with-aki-authoritycertissuer",
        "a rule of CABF; RFC 5280, 4.2.1.1, has the field; Go accepts",
    ),
    (
        "webpki::aki::root-with-aki-authoritycertserialnumber",
        "a rule of CABF; RFC 5280, 4.2.1.1, has the field; Go accepts",
    ),
    (
        "webpki::aki::root-with-aki-ski-mismatch",
        "a rule of CABF; key identifiers have no part in validation (RFC 5280, 6.1); Go accepts",
    ),
    (
        "webpki::cn::punycode-not-in-san",
        "a rule of CABF; the common name is not looked at, as in Go",
    ),
    (
        "webpki::cn::utf8-vs-punycode-mismatch",
        "a rule of CABF; the common name is not looked at, as in Go",
    ),
    (
        "webpki::cn::case-mismatch",
        "a rule of CABF; the common name is not looked at, as in Go",
    ),
    (
        "webpki::eku::ee-anyeku",
        "a rule of CABF; RFC 5280, 4.2.1.12, lets anyExtendedKeyUsage stand for any; Go accepts",
    ),
    (
        "webpki::eku::root-has-eku",
        "a rule of CABF; it includes serverAuth and is enforced; Go accepts",
    ),
    (
        "webpki::san::public-suffix-multi-label-wildcard-san",
        "needs the Public Suffix List; Go has none either",
    ),
    (
        "webpki::san::public-suffix-private-namespace-wildcard-san",
        "needs the Public Suffix List; Go has none either",
    ),
    (
        "webpki::san::san-critical-with-nonempty-subject",
        "a rule of CABF, a SHOULD for CAs in RFC 5280, 4.2.1.6; Go accepts",
    ),
    (
        "webpki::malformed-aia",
        "not critical, and not used here: may be ignored (RFC 5280, 4.2)",
    ),
    (
        "webpki::forbidden-rsa-not-divisible-by-8-in-root",
        "a rule of CABF; 2052 bits are as good as 2048; Go accepts",
    ),
    (
        "webpki::ee-basicconstraints-ca",
        "a rule of CABF; RFC 5280, 6.1, asks nothing of the last certificate's cA; Go accepts, \
         and `openssl req -x509` makes such certificates",
    ),
];

/// Denial-of-service cases must be over in less than this, in a debug build.
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn x509_limbo() {
    let (Some(index), Some(text)) = (
        vectors("x509-limbo/index.tsv"),
        vectors("x509-limbo/limbo.json"),
    ) else {
        return;
    };
    let tiers: BTreeMap<&str, (&str, &str)> = index
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            (columns[0], (columns[2], columns[3]))
        })
        .collect();
    let mut counts = BTreeMap::new();
    let mut differing = Vec::new();
    for case in Json::parse(&text).unwrap().field("testcases").array() {
        let id = case.field("id").str();
        let (applies, tier) = tiers[id];
        if applies != "yes" {
            continue;
        }
        *counts.entry(tier).or_insert(0) += 1;
        let started = Instant::now();
        let result = run(case);
        let took = started.elapsed();
        assert!(took < PATIENCE, "{id}: {took:?}");
        let expected = match case.field("expected_result").str() {
            "SUCCESS" => true,
            "FAILURE" => false,
            other => panic!("{id}: {other}"),
        };
        if result.is_ok() != expected {
            let known = DIFFERENCES.iter().any(|(known, _)| *known == id);
            assert!(known && tier != "core", "{id} ({tier}): {result:?}");
            differing.push(id.to_owned());
        }
    }
    for (id, _) in DIFFERENCES {
        assert!(
            differing.iter().any(|d| d == id),
            "stale: {id} does not differ"
        );
    }
    say(format_args!(
        "x509-limbo: {} decided differences",
        differing.len()
    ));
    ran("x509-limbo core", counts["core"], 53);
    ran("x509-limbo strict", counts["strict"], 30);
    ran("x509-limbo lenient", counts["lenient"], 5);
}

/// Runs one case as a client would: the roots are its CA file, the rest is what a server sent.
fn run(case: &Json) -> Result<(), Error> {
    let der = |text: &Json| {
        pem::parse_certificates(text.str().as_bytes())
            .expect("PEM")
            .concat()
    };
    let roots = case
        .field("trusted_certs")
        .array()
        .iter()
        .map(der)
        .collect();
    let anchors = Anchors::from_der(roots).map_err(|(_, error)| error)?;
    let mut chain = vec![der(case.field("peer_certificate"))];
    chain.extend(
        case.field("untrusted_intermediates")
            .array()
            .iter()
            .map(der),
    );
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let name = ServerName::parse(case.field("expected_peer_name").field("value").str())?;
    let now = match case.field("validation_time") {
        Json::Null => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs(),
        time => unix_time(time.str()),
    };
    let result = verify(&chain, &anchors, &name, UnixTime(now as i64));
    // Nothing of a certificate gets out unescaped, whatever became of it.
    for der in chain {
        if let Ok(certificate) = Certificate::parse(der) {
            let mut texts = certificate.sans();
            texts.extend([certificate.subject(), certificate.issuer()]);
            texts.extend(result.clone().err().map(|error| error.to_string()));
            assert!(
                texts.iter().all(|text| !text.contains(char::is_control)),
                "{texts:?}"
            );
        }
    }
    result
}

/// Whole seconds of an RFC 3339 time in UTC, a fraction dropped.
fn unix_time(text: &str) -> u64 {
    let field = |at: std::ops::Range<usize>| text[at].parse::<u64>().expect("digits");
    assert!(text.ends_with("+00:00"), "{text}");
    let (year, month, day) = (field(0..4), field(5..7), field(8..10));
    // Days from the first of March of the year 0, so that a leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    (days - 719_468) * 86_400 + field(11..13) * 3600 + field(14..16) * 60 + field(17..19)
}

/// Chains that other verifiers accept, from servers in use: a directory each, with `leaf.pem`, what
/// the server sends with it in `rest.pem`, its authorities in `ca.pem`, and the `name` it proves.
#[test]
fn chains_in_use_that_others_accept() {
    let directory = match std::env::var_os("VECTORS_DIR") {
        Some(vectors) => Path::new(&vectors).with_file_name("cases"),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/cases")),
    };
    let directory = directory.join("x509");
    if !directory.is_dir() {
        say(format_args!(
            "SKIPPED chains in use: no {}",
            directory.display()
        ));
        return;
    }
    let mut count = 0;
    for case in directory.read_dir().expect("directory") {
        let case = case.expect("case").path();
        let certificates = |file: &str| {
            let text = std::fs::read(case.join(file)).expect("file");
            match text.is_empty() {
                true => vec![],
                false => pem::parse_certificates(&text).expect("PEM"),
            }
        };
        let chain = [certificates("leaf.pem"), certificates("rest.pem")].concat();
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let anchors = Anchors::from_der(certificates("ca.pem")).expect("anchors");
        let verified = |name: &str, anchors| {
            let name = ServerName::parse(name).expect("name");
            verify(&chain, anchors, &name, UnixTime(1_780_272_000))
        };
        let name = std::fs::read_to_string(case.join("name")).expect("name");
        assert_eq!(
            verified(name.trim(), &anchors),
            Ok(()),
            "{}",
            case.display()
        );
        // Neither under another name nor without these authorities.
        assert!(
            verified("other.example", &anchors).is_err(),
            "{}",
            case.display()
        );
        let none = Anchors::from_der(vec![]).expect("none");
        assert!(verified(name.trim(), &none).is_err(), "{}", case.display());
        count += 1;
    }
    assert!(count >= 6, "{count} chains in use");
    say(format_args!("chains in use: {count} verified"));
}
