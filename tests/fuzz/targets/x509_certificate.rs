//! One certificate: parsed, described, its key used, its constraints met by its own names.

use super::{Target, harmless};
use crate::x509::SignatureScheme;
use crate::x509::sig::{verify_tls12, verify_tls13};
use crate::x509::{Anchors, Certificate, ServerName, UnixTime, pem, verify};

pub(super) const TARGET: Target = Target {
    name: "x509-certificate",
    seeds,
    run,
    max_input: 2048,
};

fn run(input: &[u8]) {
    let certificate = match Certificate::parse(input) {
        Ok(certificate) => certificate,
        Err(error) => return harmless(&error.to_string()),
    };
    assert_eq!(certificate.der(), input);
    harmless(&certificate.subject());
    harmless(&certificate.issuer());
    certificate.sans().iter().for_each(|name| harmless(name));
    harmless(&format!(
        "{} {}",
        certificate.not_before(),
        certificate.not_after()
    ));
    for scheme in SignatureScheme::ALL {
        for verify in [verify_tls12, verify_tls13] {
            harmless(
                &verify(scheme, &certificate, &[b"message"], b"")
                    .unwrap_err()
                    .to_string(),
            );
        }
    }
    // Under itself it needs no path; the first name it presents is one it proves, or none.
    let anchors = Anchors::from_der(vec![input.to_vec()]).unwrap();
    for name in certificate.sans() {
        let (_, name) = name.split_once(':').unwrap_or_default();
        if let Ok(name) = ServerName::parse(name) {
            let now = certificate.not_after();
            if let Err(error) = verify(&[input], &anchors, &name, now) {
                harmless(&error.to_string());
            }
            let after = UnixTime(now.0 + 1);
            assert!(verify(&[input], &anchors, &name, after).is_err());
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    pem::parse_certificates(include_bytes!("../../data/x509.pem")).unwrap()
}
