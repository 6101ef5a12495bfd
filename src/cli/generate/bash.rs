//! The completion for bash: one function over `COMP_WORDS`, without the bash-completion package.

use crate::cli::flags::{FLAGS, Takes, flags_of};
use crate::cli::manual::{COMMANDS, command_names};

const SCRIPT: &str = r#"# Completion of etcd-gateway for bash; printed by `etcd-gateway generate bash`.
_etcd_gateway() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='@COMMANDS@' attached='' prefix='' words='' command='' flags files word
    # --flag=value is one word or, with a = in COMP_WORDBREAKS, three.
    if [[ $cur == --*=* ]]; then
        attached=yes prefix=${cur%%=*}= prev=${cur%%=*} cur=${cur#*=}
    elif [[ $cur == '=' ]]; then
        attached=yes cur=''
    elif [[ $prev == '=' ]]; then
        attached=yes prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ " $commands " != *" $word "* ]] || command=$word
    done
    case $command in
@FLAGS@    esac
    case $prev in
@VALUES@    generate) words='@TEXTS@' ;;
    help) words=$commands ;;
    *) [[ -z $attached ]] || return 0 ;;
    esac
    if [[ -v files ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -P "$prefix" -f -W "$files" -- "$cur")
        return 0
    fi
    [[ -n $words || $cur == -* || -n $command ]] || words=$commands
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "${words:-$flags}" -- "$cur")
}
complete -o nosort -F _etcd_gateway etcd-gateway
"#;

/// The script.
pub(super) fn script() -> String {
    let mut flags = String::new();
    for command in COMMANDS.iter().map(Some).chain([None]) {
        let name = command.map_or("*", |command| command.name);
        let spellings: Vec<String> = flags_of(command).flat_map(|f| f.spellings()).collect();
        flags += &format!("    {name}) flags='{}' ;;\n", spellings.join(" "));
    }
    let mut values = String::new();
    for flag in FLAGS {
        let words = flag.takes.words().join(" ");
        let action = match flag.takes {
            Takes::Switch => "[[ -z $attached ]] || words='true false'".to_owned(),
            Takes::Path(..) => format!("files='{words}'"),
            _ if words.is_empty() => "return 0".to_owned(),
            _ => format!("words='{words}'"),
        };
        values += &format!("    {}) {action} ;;\n", flag.spellings().join(" | "));
    }
    let commands: Vec<&str> = command_names().collect();
    SCRIPT
        .replace("@COMMANDS@", &commands.join(" "))
        .replace("@FLAGS@", &flags)
        .replace("@VALUES@", &values)
}
