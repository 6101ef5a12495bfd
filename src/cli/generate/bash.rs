//! The completion for bash: one function over `COMP_WORDS`, without the bash-completion package.

use super::{FLAGS, Proposal, commands, names, proposal, spellings};

const HEAD: &str = r#"# Completion of etcd-gateway for bash; printed by `etcd-gateway generate bash`.
_etcd_gateway() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local attached='' prefix='' words='' word
    # --flag=value is one word or, with a = in COMP_WORDBREAKS, three.
    if [[ $cur == --*=* ]]; then
        attached=yes prefix=${cur%%=*}= prev=${cur%%=*} cur=${cur#*=}
    elif [[ $cur == '=' ]]; then
        attached=yes cur=''
    elif [[ $prev == '=' ]]; then
        attached=yes prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
"#;

const TAIL: &str = r#"    generate) words='@TEXTS@' ;;
    *) [[ -z $attached ]] || return 0 ;;
    esac
    if [[ -z $words && $cur != -* ]]; then
        words=$commands
        for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
            [[ " $commands " != *" $word "* ]] || words=$flags
        done
    fi
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "${words:-$flags}" -- "$cur")
}
complete -o nosort -F _etcd_gateway etcd-gateway
"#;

/// The script.
pub(super) fn script() -> String {
    let mut text = HEAD.to_owned();
    let (mut switches, mut files, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let mut all = Vec::new();
    for flag in FLAGS {
        let spelled = spellings(flag);
        match proposal(flag) {
            Proposal::Words(words) => {
                let (flag, words) = (spelled.join(" | "), words.join(" "));
                text += &format!("    {flag}) words='{words}' ;;\n");
            }
            Proposal::Switch => switches.extend(spelled.clone()),
            Proposal::File => files.extend(spelled.clone()),
            Proposal::Unknown => unknown.extend(spelled.clone()),
        }
        all.extend(spelled);
    }
    let pattern = |flags: &[String]| flags.join(" | ");
    text += &format!(
        "    {}) [[ -z $attached ]] || words='true false' ;;\n",
        pattern(&switches)
    );
    text += &format!(
        "    {})\n        compopt -o filenames\n        \
         mapfile -t COMPREPLY < <(compgen -P \"$prefix\" -f -- \"$cur\")\n        return 0\n        ;;\n",
        pattern(&files)
    );
    text += &format!("    {}) return 0 ;;\n", pattern(&unknown));
    text += &TAIL.replace("@TEXTS@", &names().join(" "));
    let commands: Vec<&str> = commands().map(|(name, _)| name).collect();
    let (commands, all) = (commands.join(" "), all.join(" "));
    text.replacen(
        "    local attached",
        &format!("    local commands='{commands}'\n    local flags='{all}'\n    local attached"),
        1,
    )
}
