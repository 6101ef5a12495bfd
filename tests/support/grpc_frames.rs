//! Frames of HTTP/2 (RFC 9113) and messages of gRPC ("PROTOCOL-HTTP2"), as much as a unary call of etcd takes.
//!
//! Requests are written with literal header fields, so that no state is kept (RFC 7541).

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short frame");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The header block of a call: names by their index in the static table (RFC 7541, appendix A), values as they are.
pub(crate) fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    for (name, value) in [
        (&[0x04][..], path),                 // :path
        (&[0x01], "etcd"),                   // :authority
        (&[0x0f, 0x10], "application/grpc"), // content-type, 31 = 15 + 16
        (b"\x00\x02te", "trailers"),         // not in the table: its own name
    ] {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("a short value"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// A message of gRPC: not compressed, its length, itself.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short message");
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

/// A field of bytes in protobuf.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_number_type_and_length() {
        assert_eq!(field(1, b"ab"), b"\x0a\x02ab");
        let long = field(2, &[7; 300]);
        assert_eq!(long[..3], [0x12, 0xac, 0x02]);
        assert_eq!(long.len(), 303);
    }

    #[test]
    fn frames_and_messages_are_as_the_standards_say() {
        let mut out = Vec::new();
        put_frame(&mut out, DATA, END_STREAM, 5, &message(b"x"));
        assert_eq!(
            out,
            b"\x00\x00\x06\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x01x"
        );
        assert!(headers("/p").starts_with(b"\x83\x86\x04\x02/p\x01\x04etcd\x0f\x10"));
    }
}
