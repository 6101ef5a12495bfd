//! Bytes that say where they belong: each word of a stream is a number, from which its session, direction and place
//! can be told. A byte that is lost, doubled, out of order or another session's shows, and says whose it is.

/// One direction of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) session: u32,
    /// What the endpoint sends.
    down: bool,
}

/// Bytes of a word.
pub(crate) const WORD: u64 = 8;
/// Odd, so that the product can be undone; spreads small numbers over all bytes.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Stream {
    pub(crate) fn up(session: u32) -> Stream {
        Stream {
            session,
            down: false,
        }
    }

    pub(crate) fn down(session: u32) -> Stream {
        Stream {
            session,
            down: true,
        }
    }

    fn word(self, index: u64) -> [u8; 8] {
        let number = u64::from(self.session) << 33 | u64::from(self.down) << 32 | index;
        number.wrapping_mul(FACTOR).to_le_bytes()
    }

    /// `length` bytes from `offset` on.
    pub(crate) fn bytes(self, offset: u64, length: usize) -> Vec<u8> {
        let skipped = usize::try_from(offset % WORD).expect("less than a word");
        let mut bytes = Vec::with_capacity(length + 16);
        let mut index = offset / WORD;
        while bytes.len() < skipped + length {
            bytes.extend_from_slice(&self.word(index));
            index += 1;
        }
        bytes.drain(..skipped);
        bytes.truncate(length);
        bytes
    }

    /// # Errors
    /// The first byte that does not belong at `offset` and behind, and whose it is.
    pub(crate) fn check(self, offset: u64, got: &[u8]) -> Result<(), String> {
        let wanted = self.bytes(offset, got.len());
        if got == wanted {
            return Ok(());
        }
        let at = (0..got.len()).find(|&at| got[at] != wanted[at]);
        let at = at.expect("they differ");
        let word = got[at..].first_chunk().copied().map(owner);
        Err(format!(
            "wrong byte {} of {self:?}; there begins {word:?}",
            offset + at as u64
        ))
    }
}

/// Which stream a word belongs to, and where in it.
pub(crate) fn owner(word: [u8; 8]) -> (Stream, u64) {
    // Newton's way to the inverse modulo 2^64: each step doubles the bits that are right, of which the first has 3.
    let inverse = (0..5).fold(FACTOR, |x, _| {
        x.wrapping_mul(2_u64.wrapping_sub(FACTOR.wrapping_mul(x)))
    });
    let number = u64::from_le_bytes(word).wrapping_mul(inverse);
    let stream = Stream {
        session: u32::try_from(number >> 33).expect("31 bits"),
        down: number >> 32 & 1 == 1,
    };
    (stream, (number & 0xffff_ffff) * WORD)
}

#[test]
fn every_byte_says_where_it_belongs() {
    let streams = [Stream::up(1), Stream::down(1), Stream::up(2)];
    for stream in streams {
        let all = stream.bytes(0, 100);
        for offset in 0..90_u64 {
            let at = usize::try_from(offset).expect("small");
            let part = stream.bytes(offset, 10);
            assert_eq!(part, all[at..at + 10]);
            assert_eq!(stream.check(offset, &part), Ok(()));
            assert!(stream.check(offset + 1, &part).is_err());
            for other in streams.iter().filter(|other| **other != stream) {
                assert!(other.check(offset, &part).is_err());
            }
        }
        let word = stream.bytes(3 * WORD, 8);
        assert_eq!(owner(word.try_into().expect("a word")), (stream, 3 * WORD));
    }
}
