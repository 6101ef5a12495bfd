//! A settings file in which every setting is explained and commented out.

use std::fmt::Write;

use crate::cli::flags::FLAGS;
use crate::cli::help::push_wrapped;

const HEAD: &str = "\
# Settings of etcd-gateway(1), read with --config-file; etcd-gateway.service reads /etc/default/etcd-gateway. Lines that
# are commented out have the default value. `etcd-gateway config` prints the settings in effect.
";

/// The file.
pub(super) fn file() -> String {
    let mut text = HEAD.to_owned();
    for flag in FLAGS.iter().filter(|flag| flag.in_file()) {
        text.push('\n');
        push_wrapped(&mut text, "# ", flag.doc_short);
        push_wrapped(&mut text, "# ", flag.doc_long);
        let variable = flag.variable().unwrap_or_default();
        let default = flag.default_value();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "#{variable}={default}");
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::cli::env_file::parse;

    /// As it is, it sets nothing; without the comment signs it sets every flag that a file can.
    #[test]
    fn the_file_is_one() {
        let text = super::file();
        assert!(parse(text.as_bytes()).expect("a file").is_empty());
        let set = text.replace("\n#ETCD_GATEWAY_", "\nETCD_GATEWAY_");
        let set = parse(set.as_bytes()).expect("a file");
        let count = super::FLAGS.iter().filter(|flag| flag.in_file()).count();
        assert_eq!(set.len(), count);
    }
}
