//! What is fuzzed: one file per target, one line here.
//!
//! With `--cfg fuzzing` these files are compiled into the product's library, as a module of it: so
//! they reach what is private to it, and nothing has to be made public for their sake.

mod address;
mod command_line;
mod dns_config;
mod dns_message;
mod dns_name;
mod endpoints_file;
mod env_file;
mod handover;
mod health_response;
mod health_url;
mod http_request;
mod proc_files;
mod tls12_messages;
mod tls13_messages;
mod tls_records;
mod tls_sealed;
mod x509_certificate;
mod x509_chain;
mod x509_der;
mod x509_names;
mod x509_pem;

#[expect(dead_code, unused_imports, reason = "unit tests use the rest")]
#[path = "../../peers/tls_server/mod.rs"]
mod tls_server;

/// Something that must not panic, nor take long, whatever it is given.
pub struct Target {
    /// How it is chosen.
    pub name: &'static str,
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Tries one input.
    pub run: fn(&[u8]),
    /// Inputs are cut to this length, in octets: longer ones find what shorter ones do, only later.
    pub max_input: usize,
}

/// All targets.
pub const TARGETS: &[&Target] = &[
    &address::TARGET,
    &command_line::TARGET,
    &dns_message::TARGET,
    &dns_name::TARGET,
    &dns_config::TARGET,
    &endpoints_file::TARGET,
    &env_file::TARGET,
    &handover::TARGET,
    &health_response::TARGET,
    &health_url::TARGET,
    &http_request::TARGET,
    &proc_files::TARGET,
    &tls12_messages::TARGET,
    &tls13_messages::TARGET,
    &tls_records::TARGET,
    &tls_sealed::TARGET,
    &x509_certificate::TARGET,
    &x509_chain::TARGET,
    &x509_der::TARGET,
    &x509_names::TARGET,
    &x509_pem::TARGET,
];

/// Octets of a seed from hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Nothing that a terminal would act on.
fn harmless(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
