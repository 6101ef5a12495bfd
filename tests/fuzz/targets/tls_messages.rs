//! The protected part of TLS 1.3: the input is the handshake messages behind ServerHello,
//! which the server of the tests seals with the right keys. The first octet chooses the cipher
//! suite and how the messages are cut into records.

use std::cell::RefCell;

use super::Target;
use super::tls_records::check;
use super::tls_server::{Plan, run as run_server};

pub(super) const TARGET: Target = Target {
    name: "tls-messages",
    seeds,
    run,
    max_input: 4096,
};

fn run(input: &[u8]) {
    let Some((first, messages)) = input.split_first() else {
        return;
    };
    let edit = |name: &str, message: &mut Vec<u8>| match name {
        "ServerHello" => {}
        "EncryptedExtensions" => *message = messages.to_vec(),
        _ => message.clear(),
    };
    check(run_server(Plan {
        suite: usize::from(first % 3),
        fragment: match first / 3 {
            0 => usize::MAX,
            cut => usize::from(cut),
        },
        edit: &edit,
        ..Plan::default()
    }));
}

fn seeds() -> Vec<Vec<u8>> {
    let request = [13, 0, 0, 11, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let mut seeds = Vec::new();
    for suite in 0..3 {
        for requested in [false, true] {
            let messages = RefCell::new(vec![suite as u8]);
            let edit = |name: &str, message: &mut Vec<u8>| {
                if requested && name == "Certificate" {
                    message.splice(..0, request);
                }
                if name != "ServerHello" {
                    messages.borrow_mut().extend(&*message);
                }
            };
            run_server(Plan {
                suite,
                edit: &edit,
                ..Plan::default()
            })
            .unwrap();
            seeds.push(messages.into_inner());
        }
    }
    seeds
}
