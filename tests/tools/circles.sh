#!/bin/sh
# Lists the circles of imports between files of one module of the product: a file should import only from files that do
# not import from it, directly or by way of others. An item that a `mod.rs` re-exports counts as its own file's.
# Run from the top of the repository. Prints one line per set of files that all lead to each other.
set -eu

# shellcheck disable=SC2016 # the dollars are those of awk
find src -name '*.rs' | grep -v '/tests\(/\|\.rs$\)' | LC_ALL=C sort | xargs awk '
# src/dns/mod.rs is the file of dns, src/dns/name.rs that of dns/name.
function node_of(file) { sub(/^src\//, "", file); sub(/(\/mod)?\.rs$/, "", file); return file }
function parent(node) { return node ~ /\// ? substr(node, 1, match(node, /\/[^\/]*$/) - 1) : "" }

# Calls import() for each path of a use tree: prefix::{a, b::{c, d}}.
function tree(prefix, text, public,    i, c, depth, item) {
    gsub(/[ \t]/, "", text)
    i = index(text, "{")
    if (!i) { import(prefix text, public); return }
    prefix = prefix substr(text, 1, i - 1)
    text = substr(text, i + 1, length(text) - i - 1)
    for (i = 1; i <= length(text) + 1; i++) {
        c = substr(text, i, 1)
        if (c == "{") depth++
        if (c == "}") depth--
        if ((c == "," && !depth) || c == "") { if (item != "") tree(prefix, item, public); item = "" }
        else item = item c
    }
}

# Turns a path into the file it leads to and the item in it.
function import(path, public,    at, part, parts, i, next_) {
    sub(/ as .*/, "", path)
    parts = split(path, part, "::")
    i = 1
    at = node
    if (part[1] == "crate") { at = part[2]; i = 3 }
    else if (part[1] == "super") for (at = parent(node); part[++i] == "super";) at = parent(at)
    else if (!((node "/" part[1]) in known)) return
    while (i < parts && (next_ = (at == "" ? "" : at "/") part[i]) in known) { at = next_; i++ }
    if (i == parts && (at "/" part[i]) in known) { at = at "/" part[i]; i++ }
    if (public && at != node) reexport[node, part[parts]] = at
    from[++edges] = node; to[edges] = at; item[edges] = part[i]
}

BEGIN { for (i = 1; i < ARGC; i++) known[node_of(ARGV[i])] = 1 }
FNR == 1 { node = node_of(FILENAME); in_tests = 0; use = "" }
/^#\[cfg\(test\)\]/ { test = 1; next }
test && /^(pub\(crate\) )?mod .*\{/ { in_tests = 1 }
{ if (/^[a-z]/) test = 0 }
in_tests { next }
{
    line = $0
    sub(/(^|[ \t])\/\/.*/, "", line)
    gsub(/"([^"\\]|\\.)*"/, "", line)
    if (use == "" && match(line, /^[ \t]*(pub(\([a-z]+\))? )?use /)) {
        public = line ~ /^[ \t]*pub/
        use = " "
        line = substr(line, RSTART + RLENGTH)
    }
    if (use != "") {
        use = use line
        if (use ~ /;/) { sub(/;.*/, "", use); sub(/^ /, "", use); tree("", use, public); use = "" }
        next
    }
    while (match(line, /[a-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)+/)) {
        import(substr(line, RSTART, RLENGTH), 0)
        line = substr(line, RSTART + RLENGTH)
    }
}
END {
    for (e = 1; e <= edges; e++) {
        while ((to[e], item[e]) in reexport) to[e] = reexport[to[e], item[e]]
        split(from[e], a, "/"); split(to[e], b, "/")
        if (a[1] == b[1] && to[e] in known) reaches[from[e], to[e]] = 1
    }
    # Warshall: whether one file leads to another in any number of steps.
    for (k in known) for (i in known) if ((i, k) in reaches)
        for (j in known) if ((k, j) in reaches) reaches[i, j] = 1
    for (i in known) if (!(i in listed)) {
        circle = i
        for (j in known) if (j != i && (i, j) in reaches && (j, i) in reaches) { circle = circle " " j; listed[j] = 1 }
        if (circle != i) print circle
    }
}' | while read -r circle; do echo "$circle" | tr ' ' '\n' | LC_ALL=C sort | xargs; done | LC_ALL=C sort
