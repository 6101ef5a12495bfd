#!/bin/sh
# Checks what this program promises an auditor, and counts what there is to read:
#   1. on Linux it consists of std, socket2, libc and itself;
#   2. `unsafe` stands only below src/sys/syscall, and each block says why it is sound; all are listed with that;
#   3. each module imports only what the table allows, and no files import each other in a circle;
#   4. no file is longer than can be read in one go, and all code is not longer than README.md says; lines per module are
#      listed.
# Every violation is printed as file:line: what; the status is 1 if there was one. Run from the top of the repository.
set -eu

# The law of the layers: a module, the layer it is in, what it may import besides std, socket2 and its own parts.
# `basic` stands for all of layer 0. A module that is not here does not pass.
layers='
6 main
6 lib        cli gateway
5 cli        config addr sys
5 gateway    discovery proxy admin endpoint health dial tls dns x509 config basic
4 discovery  endpoint dial tls dns x509 config basic
4 proxy      endpoint dial config basic
4 admin      endpoint dial config basic
3 endpoint   dial config basic
3 health     endpoint dial basic
3 dial       dns basic
2 tls        x509 basic
2 dns        basic
1 x509       basic
1 config     basic
0 access     log stamp sys
0 addr
0 columns
0 crypto     wire
0 date
0 deadline
0 log        date stats sync sys
0 loop_guard stats sync sys
0 stamp
0 stats
0 sync
0 sys
0 times
0 url
0 wire
'
failed=0

most=$(sed -n 's/.*at most \([0-9,]*\) lines of code.*/\1/p' README.md | tr -d ,)
if [ -z "$most" ]; then
    echo 'README.md: "at most N lines of code" is missing'
    failed=1
fi

echo "dependencies on x86_64 Linux:"
found=$("${CARGO:-cargo}" tree --locked --edges normal,build,dev --target x86_64-unknown-linux-gnu --prefix none --format '{p}' |
    cut -d' ' -f1,2 | sort -u)
echo "$found" | sed 's/^/  /'
if [ "$(echo "$found" | cut -d' ' -f1 | xargs)" != "etcd-gateway libc socket2" ]; then
    echo "Cargo.toml: the dependencies must be exactly socket2 and the libc it pulls in"
    failed=1
fi

# Reads all sources in order; comments and string contents are blanked before anything is looked for.
# shellcheck disable=SC2016 # the dollars are those of awk
find src -name '*.rs' | LC_ALL=C sort | LAYERS=$layers CODE_MAX=${most:-0} xargs awk '
function complain(what) { print FILENAME ":" FNR ": " what; bad = 1 }

# A path crate::NAME was met.
function import(name) {
    if (name == module || in_tests) return
    if (!(name in layer)) complain("crate::" name " is not in the table of layers")
    else if (!((module, name) in may)) complain(module " (layer " layer[module] ") must not import " name " (layer " layer[name] ")")
}

# The items at the first level of "{a, b::{c, d}, e}".
function import_group(text,    i, c, depth, name) {
    for (i = 2; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (c == "{") depth++
        if (depth == 0 && (c == "," || c == "}")) {
            sub(/(::| as ).*/, "", name)
            if (name != "") import(name)
            name = ""
        } else if (c !~ /[ \t]/ || name != "") name = name c
        if (c == "}") depth--
    }
}

BEGIN {
    rows = split(ENVIRON["LAYERS"], row, "\n")
    for (r = 1; r <= rows; r++) if (split(row[r], word, " ") >= 2) {
        layer[word[2]] = word[1]
        order[++modules] = word[2]
        if (word[1] == 0) basic = basic " " word[2]
    }
    for (r = 1; r <= rows; r++) {
        sub(/ basic$/, basic, row[r])
        words = split(row[r], word, " ")
        for (w = 3; w <= words; w++) may[word[2], word[w]] = 1
    }
}

FNR == 1 {
    split(FILENAME, part, "/")
    module = part[2]
    sub(/\.rs$/, "", module)
    if (!(module in layer)) complain("module " module " is not in the table of layers")
    files[module]++
    in_tests = FILENAME ~ /\/tests(\.rs$|\/)/
    test_attribute = permit = group = safety = ""
}

{
    blank = /^[ \t]*$/
    comment = /^[ \t]*\/\//
    line = $0
    gsub(/\047"\047/, "", line)
    gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
    sub(/(^|[ \t])\/\/.*/, "", line)

    # Unit tests stand at the foot of a file and may use what they like. Other attributes may follow the first, over several lines.
    if (test_attribute && line ~ /^mod tests/) in_tests = 1
    if (line ~ /^#\[cfg\(test\)\]/) test_attribute = 1
    else if (line ~ /^[a-z]/) test_attribute = 0
    if (in_tests) tests[module]++
    else if (comment) comments[module]++
    else if (!blank) code[module]++

    # The comment above a statement that has an unsafe block in it, which may begin some lines further down.
    if (comment && match($0, /SAFETY: /)) safety = substr($0, RSTART + RLENGTH)
    else if (comment && safety != "") { sub(/^[ \t]*\/\/ */, ""); safety = safety " " $0 }
    else if (FILENAME ~ /^src\/sys\/syscall\// && !in_tests && line ~ /(^|[^A-Za-z0-9_])unsafe([^A-Za-z0-9_]|$)/) {
        if (line ~ /^unsafe extern/) safety = "declares foreign functions; calling one is unsafe"
        if (safety == "") complain("unsafe without a SAFETY comment above it")
        sub(/^[ \t]+/, "")
        unsafe_code = unsafe_code "  " FILENAME ":" FNR ": " $0 "\n      " safety "\n"
        safety = ""
    } else if (line ~ /[;}][ \t]*$/) safety = ""

    if (FILENAME !~ /^src\/sys\/syscall\//) {
        if (line ~ /(^|[^A-Za-z0-9_])unsafe([^A-Za-z0-9_]|$)/) complain("unsafe outside src/sys/syscall")
        # The compiler denies unsafe code; only the declaration of that module may lift that.
        if (permit && line ~ /[^ \t]/) {
            if (FILENAME != "src/sys/mod.rs" || line !~ /^pub\(crate\) mod syscall;/) complain("unsafe code is allowed outside src/sys/syscall")
            permit = ""
        }
        if (line ~ /(allow|warn|expect)\(.*unsafe_code/) {
            if (line ~ /^#\[/) permit = 1
            else complain("unsafe code is allowed outside src/sys/syscall")
        }
    }

    if (line ~ /^(pub(\([a-z]+\))? )?use super::/ && (FILENAME ~ /^src\/[^\/]*\.rs$/ || FILENAME ~ /^src\/[^\/]*\/mod\.rs$/))
        complain("super:: leaves the module unseen here; write crate::")
    if (group != "") {
        group = group " " line
    } else {
        rest = line
        while (match(rest, /crate::/)) {
            rest = substr(rest, RSTART + RLENGTH)
            if (rest ~ /^\{/) { group = rest; break }
            match(rest, /^[A-Za-z0-9_]*/)
            import(substr(rest, 1, RLENGTH))
        }
    }
    if (group ~ /;[ \t]*$/) { sub(/;[ \t]*$/, "", group); import_group(group); group = "" }
}

END {
    printf "\nunsafe code, and why it is sound:\n%s", unsafe_code
    printf "\n%-7s%-12s%7s%8s%10s%8s\n", "layer", "module", "files", "code", "comments", "tests"
    form = "%-7s%-12s%7d%8d%10d%8d\n"
    for (m = 1; m <= modules; m++) if ((name = order[m]) in files) {
        printf form, layer[name], name, files[name], code[name], comments[name], tests[name]
        all_files += files[name]; all_code += code[name]; all_comments += comments[name]; all_tests += tests[name]
    }
    printf form, "", "all", all_files, all_code, all_comments, all_tests
    if (ENVIRON["CODE_MAX"] && all_code > ENVIRON["CODE_MAX"] + 0) {
        print "README.md: " all_code " lines of code are more than the " ENVIRON["CODE_MAX"] " that it states"
        bad = 1
    }
    exit bad
}' || failed=1

find src tests -name target -prune -o -name '*.rs' -print -o -name '*.sh' -print -o -name '*.c' -print |
    xargs awk 'FNR == 601 { print FILENAME ": longer than 600 lines"; bad = 1 } END { exit bad }' || failed=1

circles=$(tests/tools/circles.sh)
if [ -n "$circles" ]; then
    echo "$circles" | sed 's/^/imports in a circle: /'
    failed=1
fi

[ "$failed" = 0 ] && echo && echo "audit: dependencies, unsafe code, imports and lengths are as promised"
exit "$failed"
