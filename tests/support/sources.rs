//! The sources of the program, for tests that compare documents with them.

use std::path::Path;

/// The text of all files below src, tests apart, with the strings that go on in the next line joined.
pub(crate) fn all_sources() -> String {
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
}

fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).expect("list a directory of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" {
                text += &sources(&path);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let file = std::fs::read_to_string(&path).expect("read a source");
            let code = file.split("#[cfg(test)]\nmod tests {").next();
            text += code.unwrap_or_default();
        }
    }
    let mut joined = String::new();
    let mut parts = text.split("\\\n");
    joined += parts.next().unwrap_or_default();
    for part in parts {
        joined += part.trim_start();
    }
    joined
}
