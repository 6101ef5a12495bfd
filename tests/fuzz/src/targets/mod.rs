//! What is fuzzed: one file a target, one line here.

mod dns_config;
mod dns_message;
mod dns_name;

use crate::engine::Target;

/// All targets.
pub const TARGETS: &[&Target] = &[&dns_message::TARGET, &dns_name::TARGET, &dns_config::TARGET];

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
