#!/bin/sh
# Writes down what the static executable of a target consists of, as CycloneDX 1.5 (JSON): the file with its SHA-256, and
# each part that parts.sh finds in it, the C library and what Rust's standard library brings included, with version,
# licence, supplier, origin, checksum, and what needs what. The time is that of the sources (the last commit, or
# SOURCE_DATE_EPOCH), the serial number comes from the SHA-256: the same executable and time give the same bytes.
#
#   sbom.sh [TARGET [FILE]]    what static.sh has built; FILE is target/static/TARGET/etcd-gateway.cdx.json by default,
#                              - the standard output; PARTS is a file with the parts where they are known already
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/targets.sh
. tests/tools/host.sh

target=$(static_target "${1:-}")
file=${2:-$(static_program "$target").cdx.json}
parts=$(if [ -n "${PARTS:-}" ]; then cat "$PARTS"; else tests/tools/parts.sh "$target"; fi)
time=$(source_time)
time=$(date -u -d "@$time" +%Y-%m-%dT%H:%M:%SZ)

bom=$(echo "$parts" | TARGET=$target TIME=$time awk -F '|' '
# Names, versions, licences and addresses need no escape in JSON; what would is not let through.
function text(value) {
    if (value !~ /^[ -!#-\[\]-~]+$/) { print "sbom: not a plain word: " value >"/dev/stderr"; exit bad = 1 }
    return "\"" value "\""
}
function field(name, value) { return text(name) ": " text(value) }
function property(name, value) { return "{ " field("name", "etcd-gateway:" name) ", " field("value", value) " }" }
# The fields of part n that are there, each on a line.
function component(n, indent,    out, list, files, i) {
    split(row[n], part, "|")
    out = indent field("type", part[1] == "program" ? "application" : "library")
    out = out ",\n" indent field("bom-ref", part[6])
    out = out ",\n" indent "\"supplier\": { " field("name", part[5]) " }"
    out = out ",\n" indent field("name", part[2]) ",\n" indent field("version", part[3])
    if (part[1] != "program") out = out ",\n" indent field("scope", "required")
    if (part[8] != "") out = out ",\n" indent "\"hashes\": [{ " field("alg", "SHA-256") ", " field("content", part[8]) " }]"
    out = out ",\n" indent "\"licenses\": [{ " field("expression", part[4]) " }]"
    if (part[7] != "") out = out ",\n" indent field("cpe", "cpe:2.3:" part[7] ":*:*:*:*:*:*:*")
    out = out ",\n" indent field("purl", part[6])
    list = ""
    if (part[1] == "package")
        list = "{ " field("type", "distribution") ", " \
            field("url", "https://static.crates.io/crates/" part[2] "/" part[2] "-" part[3] ".crate") " }, "
    if (part[10] != "")
        out = out ",\n" indent "\"externalReferences\": [" list "{ " field("type", part[1] == "c" ? "website" : "vcs") ", " \
            field("url", part[10]) " }]"
    list = part[12] == "" ? "" : property("named", part[12])
    files = split(part[9], word, " ")
    for (i = 1; i <= files; i++) list = list (list == "" ? "" : ", ") property("file", word[i])
    if (part[1] == "program") list = property("target", ENVIRON["TARGET"])
    if (list != "") out = out ",\n" indent "\"properties\": [" list "]"
    return out
}

{
    row[NR] = $0
    purl[$2 "@" $3] = $6
    if ($1 == "program") sum = $8
}

END {
    maker = "{ " field("name", "The maintainers of etcd-gateway") " }"
    print "{\n  " field("bomFormat", "CycloneDX") ",\n  " field("specVersion", "1.5") ","
    print "  " field("serialNumber", "urn:uuid:" substr(sum, 1, 8) "-" substr(sum, 9, 4) "-" substr(sum, 13, 4) "-" \
        substr(sum, 17, 4) "-" substr(sum, 21, 12)) ",\n  \"version\": 1,"
    print "  \"metadata\": {\n    " field("timestamp", ENVIRON["TIME"]) ","
    print "    \"lifecycles\": [{ " field("phase", "build") " }],\n    \"authors\": [" maker "],"
    print "    \"component\": {\n" component(1, "      ") "\n    },\n    \"supplier\": " maker "\n  },\n  \"components\": ["
    for (n = 2; n <= NR; n++) print "    {\n" component(n, "      ") "\n    }" (n < NR ? "," : "")
    print "  ],\n  \"dependencies\": ["
    for (n = 1; n <= NR; n++) {
        split(row[n], part, "|")
        on = split(part[11], need, ",")
        list = ""
        for (i = 1; i <= on; i++) list = list (i > 1 ? ", " : "") text(purl[need[i]])
        print "    { " field("ref", part[6]) ", \"dependsOn\": [" list "] }" (n < NR ? "," : "")
    }
    print "  ]\n}"
    exit bad
}')

if [ "$file" = - ]; then
    echo "$bom"
else
    echo "$bom" >"$file"
    echo "sbom: $file"
fi
