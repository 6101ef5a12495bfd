//! The record layer: RFC 8446 section 5 and appendix D.4, RFC 5246 section 6.2.
//!
//! Reads records from a stream, decrypts the protected ones of TLS 1.3 and joins them to handshake
//! messages, however these are fragmented or coalesced. TLS 1.2 records are never protected here,
//! because that handshake ends earlier (see `tls12`). Application data is always refused.
//!
//! Bounds: a record is read only after its length was checked; a handshake message grows only to
//! its type's limit (`msgs`); the number of records, their bytes and the number of those without
//! effect are limited. So a server can neither fill the memory nor use more than some tens of
//! milliseconds of CPU, however it pads and fragments; the time is limited by the deadline of the
//! stream.

use std::io::{self, Read, Write};

use super::Version;
use super::codes::{ContentType, Description, HandshakeType};
use super::error::Error;
use super::msgs::Message;
use crate::crypto::aead::Aead;

/// Length of a record header, in bytes.
const HEADER_LEN: usize = 5;

/// Most bytes of content in a record (RFC 8446 section 5.1).
pub(crate) const MAX_PLAINTEXT: usize = 16_384;

/// Most bytes of a protected record's payload (RFC 8446 section 5.2).
const MAX_CIPHERTEXT: usize = 16_640;

/// Length of an AEAD tag, in bytes; the same for all three suites.
const TAG_LEN: usize = 16;

/// Most records of a handshake, of all types. No record_size_limit (RFC 8449) and no
/// max_fragment_length is sent, so small records are the server's own choice: OpenSSL and GnuTLS
/// can be configured for records of 512 bytes, no smaller; Go sends short ones only with
/// application data. A Certificate of the full 64 KiB takes 129 of 512 bytes.
const MAX_RECORDS: u32 = 256;

/// Most bytes in the records of a handshake, headers not counted. The longest Certificate and
/// the longest CertificateRequest take 128 KiB, all else some hundreds of bytes; real servers
/// send 2 to 20 KiB in all without padding (only OpenSSL has an option for it). Decrypting this many
/// bytes takes some tens of milliseconds.
const MAX_BYTES: usize = 262_144;

/// Most records and messages without effect: warnings, the HelloRequests of TLS 1.2, and the
/// change_cipher_spec records of TLS 1.3's compatibility mode, of which a server sends one or,
/// after a HelloRetryRequest, two.
const MAX_IGNORED: u32 = 16;

/// legacy_record_version of the first ClientHello (RFC 8446 section 5.1): the value that
/// old servers and middleboxes accept.
const FIRST_RECORD_VERSION: [u8; 2] = [3, 1];

/// legacy_record_version of everything else.
const RECORD_VERSION: [u8; 2] = [3, 3];

/// AlertLevel (RFC 8446 section 6): close_notify and user_canceled are sent as warnings, everything
/// else is fatal. Of what is received TLS 1.3 ignores the level.
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// A record is longer than it may be (RFC 8446 sections 5.1 and 5.2).
const TOO_LONG: Error = Error::misbehaved(Description::RECORD_OVERFLOW, "record is too long");

const MISPLACED: Error = Error::unexpected("record of a type that has no place here");
const TOO_MANY_RECORDS: Error = Error::unexpected("too many records");
const TOO_MANY_BYTES: Error = Error::unexpected("too many bytes in records");
const TOO_MANY_IGNORED: Error = Error::unexpected("too many records or messages without effect");

/// A record header. The length always fits: callers limit it.
fn header(content: ContentType, version: [u8; 2], length: usize) -> Result<[u8; 5], Error> {
    let [high, low] = u16::try_from(length).map_err(|_| TOO_LONG)?.to_be_bytes();
    let [major, minor] = version;
    Ok([content.0, major, minor, high, low])
}

/// The keys of one direction in TLS 1.3 and the number of the next record.
pub(crate) struct Protection {
    aead: Aead,
    iv: [u8; 12],
    sequence: u64,
}

impl Protection {
    /// Fresh keys; the sequence starts at 0 (RFC 8446 section 5.3).
    pub(crate) fn new(aead: Aead, iv: [u8; 12]) -> Self {
        Self {
            aead,
            iv,
            sequence: 0,
        }
    }

    /// The nonce of the next record: its number, padded on the left, XORed into the IV.
    fn nonce(&mut self) -> Result<[u8; 12], Error> {
        let mut nonce = self.iv;
        let (_, low) = nonce.split_at_mut(4);
        for (byte, number) in low.iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        // cannot wrap: MAX_RECORDS is far below; the check costs nothing
        self.sequence = self.sequence.checked_add(1).ok_or(TOO_MANY_RECORDS)?;
        Ok(nonce)
    }

    /// A whole protected record of this TLSInnerPlaintext: content, type and padding (RFC 8446
    /// section 5.2).
    pub(crate) fn seal(&mut self, mut inner: Vec<u8>) -> Result<Vec<u8>, Error> {
        let length = inner.len().saturating_add(TAG_LEN);
        let header = header(ContentType::APPLICATION_DATA, RECORD_VERSION, length)?;
        let nonce = self.nonce()?;
        self.aead.seal(&nonce, &header, &mut inner);
        Ok([&header[..], &inner].concat())
    }

    /// Opens the payload of a record with that header: its content type and its content.
    pub(crate) fn open(
        &mut self,
        header: [u8; HEADER_LEN],
        mut payload: Vec<u8>,
    ) -> Result<(ContentType, Vec<u8>), Error> {
        let nonce = self.nonce()?;
        self.aead.open(&nonce, &header, &mut payload).map_err(|_| {
            let what = "record does not decrypt: it was changed on the way";
            Error::misbehaved(Description::BAD_RECORD_MAC, what)
        })?;
        // RFC 8446 section 5.4: one byte of type, both within the limit of the plaintext
        if payload.len() > MAX_PLAINTEXT.saturating_add(1) {
            return Err(TOO_LONG);
        }
        let padding = payload.iter().rev().take_while(|byte| **byte == 0).count();
        payload.truncate(payload.len().saturating_sub(padding));
        match payload.pop() {
            Some(code) => Ok((ContentType(code), payload)),
            None => Err(Error::unexpected("record has no content type")),
        }
    }
}

/// The records of a connection, in both directions. Records to send are queued until
/// [`Self::flush`], so that a flight is one write.
pub(crate) struct RecordLayer<'s, S> {
    stream: &'s mut S,
    version: Option<Version>,
    open: Option<Protection>,
    seal: Option<Protection>,
    /// Received handshake bytes that are not a whole message yet.
    handshake: Vec<u8>,
    outgoing: Vec<u8>,
    /// legacy_record_version of sent records; the first flight, the first ClientHello, has its own.
    send_version: [u8; 2],
    /// What is left of [`MAX_RECORDS`], [`MAX_BYTES`] and [`MAX_IGNORED`].
    records: u32,
    bytes: usize,
    ignored: u32,
    change_cipher_spec_sent: bool,
}

impl<'s, S: Read + Write> RecordLayer<'s, S> {
    /// A connection without keys and without a version.
    pub(crate) fn new(stream: &'s mut S) -> Self {
        Self {
            stream,
            version: None,
            open: None,
            seal: None,
            handshake: Vec::new(),
            outgoing: Vec::new(),
            send_version: FIRST_RECORD_VERSION,
            records: MAX_RECORDS,
            bytes: MAX_BYTES,
            ignored: MAX_IGNORED,
            change_cipher_spec_sent: false,
        }
    }

    /// Sets the version, which decides what is ignored.
    pub(crate) fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// From the next record on, opens with `keys`. Nothing may follow the last message under
    /// the old ones in its record (RFC 8446 section 5.1).
    pub(crate) fn open_with(&mut self, keys: Protection) -> Result<(), Error> {
        self.expect_boundary()?;
        self.open = Some(keys);
        Ok(())
    }

    /// Refuses handshake bytes left over after the last message.
    pub(crate) fn expect_boundary(&self) -> Result<(), Error> {
        match *self.handshake {
            [] => Ok(()),
            _ => Err(Error::unexpected("data after the last handshake message")),
        }
    }

    /// From the next record on, seals with `keys`.
    pub(crate) fn seal_with(&mut self, keys: Protection) {
        self.seal = Some(keys);
    }

    /// The next handshake message; `awaiting` is what the states expect, for errors.
    pub(crate) fn message(&mut self, awaiting: HandshakeType) -> Result<Message, Error> {
        // ends: each turn reads a record or ignores a message, and both are counted
        loop {
            match Message::split_off(&mut self.handshake)? {
                Some(message) if self.is_hello_request(&message) => self.count_ignored()?,
                Some(message) => return Ok(message),
                None => self.read_record(awaiting)?,
            }
        }
    }

    /// A TLS 1.2 client that is in a handshake ignores the request to begin one, which is not part of
    /// a transcript (RFC 5246 section 7.4.1.1). TLS 1.3 does not have it.
    fn is_hello_request(&self, message: &Message) -> bool {
        self.version == Some(Version::TLS12)
            && message.bytes() == [HandshakeType::HELLO_REQUEST.0, 0, 0, 0]
    }

    /// Reads one record and handles it by its type.
    fn read_record(&mut self, awaiting: HandshakeType) -> Result<(), Error> {
        let mut header = [0; HEADER_LEN];
        self.fill(&mut header, awaiting)?;
        let [code, major, _, high, low] = header;
        // Only to recognize what is not TLS: legacy_record_version has no other use (RFC 8446
        // section 5.1).
        let known = (20..=23).contains(&code);
        if self.records == MAX_RECORDS && (major != 3 || !known) {
            return Err(Error::NotTls {
                http: header == *b"HTTP/",
            });
        }
        self.records = self.records.checked_sub(1).ok_or(TOO_MANY_RECORDS)?;
        if !known {
            return Err(MISPLACED);
        }
        let outer = ContentType(code);
        let limit = match (&self.open, outer) {
            (Some(_), ContentType::APPLICATION_DATA) => MAX_CIPHERTEXT,
            _ => MAX_PLAINTEXT,
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > limit {
            return Err(TOO_LONG);
        }
        self.bytes = self.bytes.checked_sub(length).ok_or(TOO_MANY_BYTES)?;
        let mut payload = vec![0; length];
        self.fill(&mut payload, awaiting)?;
        if outer == ContentType::CHANGE_CIPHER_SPEC {
            return self.change_cipher_spec(&payload);
        }
        let (content, payload) = match &mut self.open {
            None => (outer, payload),
            Some(keys) if outer == ContentType::APPLICATION_DATA => keys.open(header, payload)?,
            Some(_) => {
                return Err(Error::unexpected("record is not protected"));
            }
        };
        match content {
            // RFC 8446 section 5.1: no empty handshake records, not even padded ones
            ContentType::HANDSHAKE if payload.is_empty() => {
                Err(Error::unexpected("empty handshake record"))
            }
            ContentType::HANDSHAKE => {
                self.handshake.extend(payload);
                Ok(())
            }
            ContentType::ALERT => self.alert(&payload, awaiting),
            // this includes a protected change_cipher_spec (RFC 8446 section 5)
            _ => Err(MISPLACED),
        }
    }

    /// RFC 8446 section 5 and appendix D.4: a single byte 1, unprotected, between our
    /// ClientHello and the server's Finished, is dropped; any other is an error. In TLS 1.2
    /// the server's follows our own, which is never sent.
    fn change_cipher_spec(&mut self, payload: &[u8]) -> Result<(), Error> {
        if self.version == Some(Version::TLS12) || payload != [1] {
            return Err(Error::unexpected("change_cipher_spec out of place"));
        }
        self.ignore()
    }

    /// A warning is ignored, every other alert ends the handshake. TLS 1.3 has one warning,
    /// user_canceled, and every other alert is fatal whatever its level (RFC 8446 section 6). In
    /// TLS 1.2, and before the version is known, the level decides: servers send unrecognized_name
    /// as a warning (RFC 6066 section 3).
    fn alert(&mut self, payload: &[u8], awaiting: HandshakeType) -> Result<(), Error> {
        // one alert, neither split nor joined (RFC 8446 section 5.1)
        let &[level @ (WARNING | FATAL), description] = payload else {
            let what = "alert record does not hold one alert";
            return Err(Error::misbehaved(Description::DECODE_ERROR, what));
        };
        let alert = Description(description);
        let warning = match self.version {
            Some(Version::TLS13) => alert == Description::USER_CANCELED,
            _ => level == WARNING && alert != Description::CLOSE_NOTIFY,
        };
        if warning {
            self.ignore()
        } else {
            Err(Error::Alert { alert, awaiting })
        }
    }

    /// Counts a record without effect, which must not be between the fragments of a
    /// handshake message either (RFC 8446 section 5.1).
    fn ignore(&mut self) -> Result<(), Error> {
        if !self.handshake.is_empty() {
            return Err(Error::unexpected("record within a handshake message"));
        }
        self.count_ignored()
    }

    fn count_ignored(&mut self) -> Result<(), Error> {
        self.ignored = self.ignored.checked_sub(1).ok_or(TOO_MANY_IGNORED)?;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8], awaiting: HandshakeType) -> Result<(), Error> {
        self.stream
            .read_exact(buffer)
            .map_err(|error| self.failed(&error, awaiting))
    }

    /// What a failed read or write means while `awaiting` was due.
    fn failed(&self, error: &io::Error, awaiting: HandshakeType) -> Error {
        Error::from_io(error, self.records < MAX_RECORDS, awaiting)
    }

    /// Queues `payload`, under the keys of [`Self::seal_with`] if there are any.
    pub(crate) fn send(&mut self, content: ContentType, payload: &[u8]) -> Result<(), Error> {
        for fragment in payload.chunks(MAX_PLAINTEXT) {
            match &mut self.seal {
                Some(keys) => {
                    let inner = [fragment, &[content.0]].concat();
                    self.outgoing.append(&mut keys.seal(inner)?);
                }
                None => self.queue(content, fragment)?,
            }
        }
        Ok(())
    }

    /// Queues the change_cipher_spec record of the compatibility mode, which is never
    /// protected, before the second flight: once, whether that is a second ClientHello or
    /// the Finished (RFC 8446 appendix D.4).
    pub(crate) fn send_change_cipher_spec(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.change_cipher_spec_sent, true) {
            return Ok(());
        }
        self.queue(ContentType::CHANGE_CIPHER_SPEC, &[1])
    }

    /// Queues an unprotected record.
    fn queue(&mut self, content: ContentType, payload: &[u8]) -> Result<(), Error> {
        self.outgoing
            .extend(header(content, self.send_version, payload.len())?);
        self.outgoing.extend(payload);
        Ok(())
    }

    /// Sends a ClientHello, with what is queued before it.
    pub(crate) fn send_hello(&mut self, hello: &[u8]) -> Result<(), Error> {
        self.send(ContentType::HANDSHAKE, hello)?;
        self.flush()
            .map_err(|error| self.failed(&error, HandshakeType::SERVER_HELLO))
    }

    /// Sends what is queued and these alerts. Nothing follows them, so an error does not matter.
    pub(crate) fn send_alerts(&mut self, alerts: &[Description]) {
        let queued = alerts.iter().try_for_each(|alert| {
            let level = match *alert {
                Description::CLOSE_NOTIFY | Description::USER_CANCELED => WARNING,
                _ => FATAL,
            };
            self.send(ContentType::ALERT, &[level, alert.0])
        });
        if queued.is_ok() {
            let _ = self.flush();
        }
    }

    /// Writes all that is queued.
    fn flush(&mut self) -> io::Result<()> {
        self.send_version = RECORD_VERSION;
        let bytes = std::mem::take(&mut self.outgoing);
        self.stream.write_all(&bytes)?;
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests;
