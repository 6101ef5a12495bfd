#!/bin/sh
# Makes x509.pem: the certificates that the tests of src/x509 verify, each under a line with
# its name. Needs openssl(1), 3.0 or later. The keys are fresh at every run and thrown away.
set -eu
out=$PWD/x509.pem
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
: >index
cat >ca.cnf <<'END'
[ca]
default_ca = test
[test]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
C = optional
O = optional
CN = optional
emailAddress = optional
[req]
distinguished_name = dn
[dn]
END

# key NAME ALGORITHM [OPTION...]
key() {
    name=$1 algorithm=$2
    shift 2
    openssl genpkey -algorithm "$algorithm" "$@" -out "$name.key" 2>/dev/null
}
ec() { key "$1" EC -pkeyopt "ec_paramgen_curve:${2:-P-256}"; }

start=20260101000000Z
end=20360101000000Z

# cert NAME KEY SUBJECT ISSUER EXTENSIONS [OPTION...]; ISSUER "self" signs with KEY. Without
# EXTENSIONS the certificate is of version 1.
cert() {
    name=$1 key=$2 subject=$3 issuer=$4
    extensions=$5
    shift 5
    if [ -n "$extensions" ]; then
        printf '%b\n' "$extensions" >ext.cnf
        set -- -extfile ext.cnf "$@"
    fi
    openssl req -new -config ca.cnf -key "$key.key" -subj "$subject" -out req
    if [ "$issuer" = self ]; then
        set -- -selfsign -keyfile "$key.key" "$@"
    else
        set -- -cert "$issuer.crt" -keyfile "$(cat "$issuer.from").key" "$@"
    fi
    openssl ca -batch -config ca.cnf -in req -out "$name.crt" -notext -preserveDN \
        -startdate "$start" -enddate "$end" "$@" 2>log || { cat log; exit 1; }
    echo "$key" >"$name.from"
    { echo "$name"; cat "$name.crt"; } >>pem
}

ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign'
names='subjectAltName=DNS:etcd.example,DNS:*.nodes.etcd.example,IP:10.0.0.1,IP:::1'
server="$names\\nkeyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth,clientAuth"

ec root; ec other; ec inter; ec sub; ec leaf
cert root root '/O=Acme/CN=Test Root' self "$ca"
cert root-other other '/O=Acme/CN=Test Root' self "$ca"
cert root-v1 root '/O=Acme/CN=Test Root' self ''
cert root2 other '/O=Acme/CN=Second Root' self "$ca"
cert inter inter '/O=Acme/CN=Test Intermediate' root "$ca"
cert inter-cross inter '/O=Acme/CN=Test Intermediate' root2 "$ca"
cert leaf leaf '/CN=etcd 1' inter "$server"
cert leaf-root leaf '/CN=etcd 1' root "$server"
cert leaf-same-key inter '/O=Acme/CN=Test Intermediate' inter "$server"

# Bad end entities, under the root.
start=20240101000000Z end=20260531235959Z
cert leaf-expired leaf '/CN=etcd 1' root "$server"
cert inter-expired inter '/O=Acme/CN=Test Intermediate' root "$ca"
start=20260601000001Z end=20360101000000Z
cert leaf-not-yet leaf '/CN=etcd 1' root "$server"
start=20260101000000Z
cert leaf-cn-only leaf '/CN=etcd.example' root 'keyUsage=digitalSignature'
cert leaf-address-as-dns leaf '/CN=10.0.0.1' root 'subjectAltName=DNS:10.0.0.1'
many=$(for n in 1 2 3 4 5 6 7 8 9 10; do printf 'DNS:%s.example,' $n; done)
cert leaf-many leaf '/CN=etcd 1' root "subjectAltName=${many%,}"
cert leaf-client leaf '/CN=etcd 1' root "$names\\nextendedKeyUsage=clientAuth"
cert leaf-any-purpose leaf '/CN=etcd 1' root "$names\\nextendedKeyUsage=anyExtendedKeyUsage"
cert leaf-key-usage leaf '/CN=etcd 1' root "$names\\nkeyUsage=keyCertSign"
cert leaf-encipherment leaf '/CN=etcd 1' root "$names\\nkeyUsage=keyEncipherment,dataEncipherment"
cert leaf-critical leaf '/CN=etcd 1' root "$names\\n1.2.3.4=critical,DER:0500"
cert leaf-sha1 leaf '/CN=etcd 1' root "$server" -md sha1
cert self-signed leaf '/CN=etcd 1' self "$server"
cert self-signed-ca leaf '/CN=etcd 1' self "$names\\nbasicConstraints=critical,CA:TRUE"

# Bad intermediates, each with a leaf below.
cert inter-not-ca inter '/O=Acme/CN=Test Intermediate' root 'basicConstraints=critical,CA:FALSE'
cert inter-no-basic inter '/O=Acme/CN=Test Intermediate' root 'keyUsage=keyCertSign'
cert inter-key-usage inter '/O=Acme/CN=Test Intermediate' root \
    'basicConstraints=CA:TRUE\nkeyUsage=digitalSignature'
cert inter-client inter '/O=Acme/CN=Test Intermediate' root "$ca\\nextendedKeyUsage=clientAuth"
cert inter-server inter '/O=Acme/CN=Test Intermediate' root "$ca\\nextendedKeyUsage=serverAuth"
cert inter-critical inter '/O=Acme/CN=Test Intermediate' root "$ca\\n1.2.3.4=critical,DER:0500"
cert inter-sha1 inter '/O=Acme/CN=Test Intermediate' root "$ca" -md sha1
cert inter-v1 inter '/O=Acme/CN=Test Intermediate' root ''
cert inter-pathlen-0 inter '/O=Acme/CN=Test Intermediate' root \
    'basicConstraints=critical,CA:TRUE,pathlen:0'
cert sub sub '/O=Acme/CN=Test Sub' inter "$ca"
cert leaf-sub leaf '/CN=etcd 1' sub "$server"
cert inter-self-issued sub '/O=Acme/CN=Test Intermediate' inter "$ca"
cert leaf-self-issued leaf '/CN=etcd 1' inter-self-issued "$server"

# A path of nine intermediates.
above=root
for depth in 1 2 3 4 5 6 7 8 9; do
    ec "deep$depth"
    cert "deep-$depth" "deep$depth" "/CN=Level $depth" "$above" "$ca"
    above=deep-$depth
done
cert deep-leaf leaf '/CN=etcd 1' "$above" "$server"

# Name constraints.
nc() { cert "$1" inter '/O=Acme/CN=Test Intermediate' root "$ca\\nnameConstraints=$2\\n$3"; }
nc nc-permitted 'critical,permitted;DNS:etcd.example,permitted;IP:10.0.0.0/255.0.0.0,permitted;IP:0::0/0::0' ''
nc nc-example 'critical,permitted;DNS:example' ''
nc nc-not-permitted 'permitted;DNS:other.example' ''
nc nc-excluded 'critical,excluded;DNS:a.nodes.etcd.example' ''
nc nc-address 'critical,permitted;IP:192.168.0.0/255.255.0.0' ''
nc nc-directory 'critical,permitted;dirName:dir' '[dir]\nO=acme'
nc nc-directory-excluded 'critical,excluded;dirName:dir' '[dir]\nO=ACME '
nc nc-uri 'critical,permitted;URI:.example' ''
nc nc-email 'permitted;email:etcd.example' ''
cert leaf-acme leaf '/O=Acme/CN=etcd 1' inter "$server"
cert leaf-uri leaf '/CN=etcd 1' inter 'subjectAltName=DNS:etcd.example,URI:spiffe://a/b'
cert leaf-email leaf '/CN=etcd 1/emailAddress=a@etcd.example' inter "$server"
cert leaf-local leaf '/CN=etcd 1' inter 'subjectAltName=DNS:etcd.example,DNS:*.example'
cert sub-email sub '/CN=Test Sub/emailAddress=a@etcd.example' inter "$ca"
cert leaf-sub-email leaf '/CN=etcd 1' sub-email "$server"

# Every algorithm, root and leaf.
pair() {
    kind=$1
    shift
    cert "$kind-root" "$kind" "/CN=$kind root" self "$ca" "$@"
    cert "$kind-leaf" "$kind" '/CN=etcd 1' "$kind-root" "$server" "$@"
}
pss='-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -sigopt rsa_mgf1_md:'
ec p384 P-384; pair p384 -md sha384
ec p521 P-521; pair p521 -md sha512
key ed25519 ED25519; pair ed25519 -md null
key rsa RSA -pkeyopt rsa_keygen_bits:2048; pair rsa -md sha384
cert rsa-leaf-pss rsa '/CN=etcd 1' rsa-root "$server" ${pss}sha256
cert rsa-leaf-pss-salt rsa '/CN=etcd 1' rsa-root "$server" \
    -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
cert rsa-leaf-pss-mgf rsa '/CN=etcd 1' rsa-root "$server" ${pss}sha512
cert rsa-leaf-md5 rsa '/CN=etcd 1' rsa-root "$server" -md md5
key pss RSA-PSS -pkeyopt rsa_keygen_bits:2048; pair pss ${pss}sha256
key pss512 RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha512 \
    -pkeyopt rsa_pss_keygen_mgf1_md:sha512 -pkeyopt rsa_pss_keygen_saltlen:64
pair pss512 -md sha512 ${pss}sha512
# Here the key asks for a salt of 20 octets at least.
key pss-min RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 \
    -pkeyopt rsa_pss_keygen_mgf1_md:sha256
pair pss-min ${pss}sha256
key rsa1024 RSA -pkeyopt rsa_keygen_bits:1024; pair rsa1024
ec k1 secp256k1; pair k1
mv pem "$out"
