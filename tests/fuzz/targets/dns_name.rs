//! A domain name, as text and on the wire: what is read must survive being written.

use super::Target;
use crate::dns::name::Name;
use crate::wire::Reader;

pub(super) const TARGET: Target = Target {
    name: "dns-name",
    seeds,
    run,
    max_input: 320,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok((name, absolute)) = Name::from_text(&text) {
        assert!(!absolute || text.ends_with('.'));
        survives(&name);
    }
    // Every place of a message is one where a name may begin; in long ones some will do.
    for offset in (0..input.len()).step_by(1 + input.len() / 64) {
        let mut reader = Reader::new(input).at(offset).unwrap();
        if let Ok(name) = Name::parse(&mut reader) {
            assert!(reader.position() > offset && reader.position() <= input.len());
            survives(&name);
        }
    }
}

fn survives(name: &Name) {
    let wire = name.as_wire();
    assert!(wire.len() <= 255 && wire.last() == Some(&0));
    let mut reader = Reader::new(wire);
    assert_eq!(Name::parse(&mut reader).as_ref(), Ok(name));
    assert!(reader.is_empty());

    let text = name.to_string();
    assert_eq!(Name::from_text(&text), Ok((name.clone(), true)));
    let upper = Name::from_text(&text.to_ascii_uppercase());
    assert_eq!(upper, Ok((name.clone(), true)));

    assert!(name.is_within(name));
    if let Ok(doubled) = name.join(name) {
        assert!(doubled.is_within(name));
        assert_eq!(doubled.labels().count(), 2 * name.labels().count());
        assert_eq!(doubled.is_localhost(), name.is_localhost());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let long = [
        vec![b'x'; 63],
        vec![b'y'; 63],
        vec![b'z'; 63],
        vec![b'w'; 61],
    ]
    .join(&b'.');
    let mut seeds = vec![long];
    for text in [
        ".",
        "a.Example.",
        "_etcd-client._tcp.x",
        "a\\.b\\046\\255",
        "x.localhost",
    ] {
        seeds.push(text.into());
    }
    let mut message = vec![0; 12];
    message.extend(b"\x01F\x03ISI\x04ARPA\0\x03FOO\xc0\x0c\xc0\x0e\xc0\x1c");
    seeds.push(message);
    seeds
}
