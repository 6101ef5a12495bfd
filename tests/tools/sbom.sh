#!/bin/sh
# Writes down what the program consists of, as CycloneDX 1.5 (JSON): itself, and each package that cargo links into it
# for the target, with version, licence, origin, the SHA-256 of Cargo.lock, and who depends on whom. What cargo does not
# know of, the standard library, is named by its compiler. No time stamp and no random number: the same sources and the
# same compiler give the same bytes.
#
#   sbom.sh [TARGET [FILE]]    FILE is target/static/etcd-gateway.cdx.json by default; - is the standard output
set -eu
cd "$(dirname "$0")/../.."

target=${1:-$(uname -m)-unknown-linux-gnu}
file=${2:-${CARGO_TARGET_DIR:-target}/static/etcd-gateway.cdx.json}

# Depth, package, licence and repository of each package, each below the one that depends on it.
tree=$("${CARGO:-cargo}" tree --locked --edges normal --target "$target" --prefix depth --no-dedupe \
    --format '|{p}|{l}|{r}')
compiler=$("${RUSTC:-rustc}" --version)

bom=$(echo "$tree" | COMPILER=$compiler TARGET=$target awk '
# Names, versions, licences and addresses need no escape in JSON; what would is not let through.
function text(value) {
    if (value !~ /^[ -!#-\[\]-~]+$/) { print "sbom: not a plain word: " value >"/dev/stderr"; exit bad = 1 }
    return "\"" value "\""
}
function field(name, value) { return text(name) ": " text(value) }
# Everything but the program itself comes from crates.io.
function purl(id) { return (id == root ? "pkg:generic/" : "pkg:cargo/") id }
function component(id, indent,    part, out, crate) {
    split(id, part, "@")
    out = indent field("type", id == root ? "application" : "library") ",\n"
    out = out indent field("bom-ref", purl(id)) ",\n" indent field("name", part[1]) ",\n"
    out = out indent field("version", part[2]) ",\n"
    if (id != root) {
        if (!(id in checksum)) { print "sbom: no checksum in Cargo.lock: " id >"/dev/stderr"; exit bad = 1 }
        out = out indent "\"scope\": \"required\",\n"
        out = out indent "\"hashes\": [{ " field("alg", "SHA-256") ", " field("content", checksum[id]) " }],\n"
    }
    out = out indent "\"licenses\": [{ " field("expression", licence[id]) " }],\n"
    out = out indent field("purl", purl(id))
    if (id != root) {
        crate = "https://static.crates.io/crates/" part[1] "/" part[1] "-" part[2] ".crate"
        out = out ",\n" indent "\"externalReferences\": [\n"
        out = out indent "  { " field("type", "distribution") ", " field("url", crate) " },\n"
        out = out indent "  { " field("type", "vcs") ", " field("url", repository[id]) " }\n" indent "]"
    }
    return out
}

# Cargo.lock: a package begins with its name.
FILENAME == "Cargo.lock" {
    gsub(/"/, "")
    if ($1 == "name") name = $3
    if ($1 == "version") version = $3
    if ($1 == "checksum") checksum[name "@" version] = $3
    next
}

# cargo tree: depth|name vVERSION (where)|licence|repository
{
    split($0, column, "|")
    split(column[2], word, " ")
    id = word[1] "@" substr(word[2], 2)
    depth = column[1]
    if (depth == 0) root = id
    # What stands in parentheses is a directory or another registry, of which only the first may be.
    else if (word[3] ~ /^\(/ && word[3] != "(proc-macro)") { print "sbom: not from crates.io: " id >"/dev/stderr"; exit bad = 1 }
    if (!(id in licence)) order[++count] = id
    licence[id] = column[3]
    repository[id] = column[4]
    above[depth] = id
    if (depth > 0 && !((above[depth - 1], id) in edge)) {
        edge[above[depth - 1], id] = 1
        needs[above[depth - 1]] = needs[above[depth - 1]] " " id
    }
}

END {
    if (bad) exit 1
    print "{\n  " field("bomFormat", "CycloneDX") ",\n  " field("specVersion", "1.5") ",\n  \"version\": 1,"
    print "  \"metadata\": {\n    \"component\": {\n" component(root, "      ") "\n    },"
    print "    \"properties\": ["
    print "      { " field("name", "etcd-gateway:target") ", " field("value", ENVIRON["TARGET"]) " },"
    print "      { " field("name", "etcd-gateway:compiler-and-standard-library") ", " field("value", ENVIRON["COMPILER"]) " }"
    print "    ]\n  },\n  \"components\": ["
    for (n = 2; n <= count; n++) print "    {\n" component(order[n], "      ") "\n    }" (n < count ? "," : "")
    print "  ],\n  \"dependencies\": ["
    for (n = 1; n <= count; n++) {
        on = split(needs[order[n]], need, " ")
        list = ""
        for (i = 1; i <= on; i++) list = list (i > 1 ? ", " : "") text(purl(need[i]))
        print "    { " field("ref", purl(order[n])) ", \"dependsOn\": [" list "] }" (n < count ? "," : "")
    }
    print "  ]\n}"
}' Cargo.lock -)

if [ "$file" = - ]; then
    echo "$bom"
else
    mkdir -p "$(dirname "$file")"
    echo "$bom" >"$file"
    echo "sbom: $file"
fi
