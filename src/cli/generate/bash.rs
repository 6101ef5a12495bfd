//! The completion for bash: one function over `COMP_WORDS`, without the bash-completion package.

use super::{FLAGS, SCOPES, Takes, command_names, flags_of, names, scopes_of, spellings};

const HEAD: &str = r#"# Completion of etcd-gateway for bash; printed by `etcd-gateway generate bash`.
_etcd_gateway() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local attached='' prefix='' words='' command='' flags word
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
"#;

const TAIL: &str = r#"    generate) words='@TEXTS@' ;;
    help) words=$commands ;;
    *) [[ -z $attached ]] || return 0 ;;
    esac
    [[ -n $words || $cur == -* || -n $command ]] || words=$commands
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "${words:-$flags}" -- "$cur")
}
complete -o nosort -F _etcd_gateway etcd-gateway
"#;

/// The script.
pub(super) fn script() -> String {
    let commands: Vec<&str> = command_names().collect();
    let mut locals = format!("    local commands='{}'\n", commands.join(" "));
    for (name, scope) in SCOPES {
        let flags: Vec<String> = flags_of(scope).flat_map(spellings).collect();
        locals += &format!("    local {name}='{}'\n", flags.join(" "));
    }
    let mut text = HEAD.replacen(
        "    local attached",
        &format!("{locals}    local attached"),
        1,
    );
    for command in &commands {
        let scopes: Vec<String> = scopes_of(command)
            .iter()
            .map(|scope| format!("${scope}"))
            .collect();
        text += &format!("    {command}) flags=\"{}\" ;;\n", scopes.join(" "));
    }
    let all: Vec<String> = SCOPES
        .iter()
        .map(|(scope, _)| format!("${scope}"))
        .collect();
    text += &format!(
        "    *) flags=\"{}\" ;;\n    esac\n    case $prev in\n",
        all.join(" ")
    );
    let mut switches = Vec::new();
    for flag in FLAGS {
        let spelled = spellings(flag).join(" | ");
        match flag.takes {
            Takes::Switch => switches.push(spelled),
            Takes::Path(_, words) => {
                text += &format!(
                    "    {spelled})\n        compopt -o filenames\n        \
                     mapfile -t COMPREPLY < <(compgen -P \"$prefix\" -f -W '{}' -- \"$cur\")\n        return 0\n        ;;\n",
                    words.join(" ")
                );
            }
            Takes::Choice(_, words) | Takes::Value(_, words) if !words.is_empty() => {
                text += &format!("    {spelled}) words='{}' ;;\n", words.join(" "));
            }
            _ => text += &format!("    {spelled}) return 0 ;;\n"),
        }
    }
    let switches = switches.join(" | ");
    text += &format!("    {switches}) [[ -z $attached ]] || words='true false' ;;\n");
    text + &TAIL.replace("@TEXTS@", &names().join(" "))
}
