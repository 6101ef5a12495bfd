//! Files of tests: a directory for them, and certificates to write to them.

use std::fs;
use std::path::PathBuf;

use crate::stamp::Stamp;

/// A directory that lives as long as the value.
pub(in crate::discovery) struct Site(pub(in crate::discovery) PathBuf);

impl Site {
    pub(in crate::discovery) fn new(name: &str) -> Self {
        let dir = format!("etcd-gateway-follow-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub(in crate::discovery) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file so that its stamp changes.
    pub(in crate::discovery) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let before = Stamp::of(&path).unwrap();
        fs::write(&path, text).unwrap();
        while Stamp::of(&path).unwrap() == before {
            fs::write(&path, text).unwrap();
        }
        path
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first certificates of the test data, in PEM.
pub(in crate::discovery) fn certificates<const COUNT: usize>() -> [String; COUNT] {
    let all = include_str!("../../../tests/data/x509.pem");
    let end = "-----END CERTIFICATE-----\n";
    let mut blocks = all.split_inclusive(end).map(|block| {
        let (_, block) = block.split_once("-----BEGIN").unwrap();
        format!("-----BEGIN{block}")
    });
    std::array::from_fn(|_| blocks.next().unwrap())
}
