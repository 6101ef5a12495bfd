#!/usr/bin/env bash
# The demo: a real etcd cluster of three, the gateway in front, a member that dies and comes back.
#
#   demo.sh GATEWAY      (the program to show; `make demo` builds it and passes it)
#
# Every line printed is checked as it happens; the first that is not true ends the demo with status 1. All it starts
# listens on loopback and is gone when it ends, by itself, by an error or by Ctrl-C. Any number can run side by side.
set -euo pipefail
export LC_ALL=C

gateway=${1:?usage: demo.sh GATEWAY}
"$(dirname "$0")/../tools/deps.sh" demo
PATH=$PATH:/usr/sbin:/sbin # where a plain user's shell does not look for ss

# What the caller's shell says to etcd, etcdctl or the gateway is not meant for this cluster.
unset "${!ETCD@}"
export ETCDCTL_API=3 # etcd 3.3 speaks v2 unless told
[[ $(uname -m) != aarch64 ]] || export ETCD_UNSUPPORTED_ARCH=arm64 # etcd 3.4 would refuse to start

bold='' dim='' red='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/etcd-gateway-demo.XXXXXX")
declare -A member=() # name -> process, of the members that run
watches=()           # processes of the watching clients
gateway_pid=''
writer_pid=''

cleanup() {
    local status=$? pid pids=("${member[@]}" "${watches[@]}" ${gateway_pid:+"$gateway_pid"} ${writer_pid:+"$writer_pid"})
    trap '' HUP INT TERM # a second Ctrl-C does not leave the work half done
    exec 2>/dev/null     # bash would report each process killed here
    rm -f "$dir/writing"
    if ((${#pids[@]})); then
        kill -KILL "${pids[@]}" || true
        for pid in "${pids[@]}"; do
            while kill -0 "$pid"; do sleep 0.02; done
        done
    fi
    rm -rf "$dir"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

step() { printf '\n%s%-9s%s' "$bold" "$1" "$plain"; shift; printf '%s\n' "$*"; }
line() { printf '%-9s%s\n' '' "$*"; }
note() { printf '%-9s%s%s%s\n' '' "$dim" "$*" "$plain"; }

# Ends the demo: what it was about to say is not true.
fail() {
    printf '\n%sNOT TRUE: %s%s\n' "$red" "$*" "$plain"
    [[ ! -s $dir/gateway.log ]] || { echo "The gateway's last lines:" && tail -n 5 "$dir/gateway.log" | cut -c1-300; }
    for m in "${!member[@]}"; do echo "etcd member $m: $(tail -n 1 "$dir/$m.log" | cut -c1-300)"; done
    [[ ! -s $dir/errors ]] || { echo "The clients' last errors:" && tail -n 3 "$dir/errors" | cut -c1-300; }
    exit 1
} >&2

# within SECONDS CLAIM COMMAND...: waits until the command succeeds.
within() {
    local end=$((SECONDS + $1)) claim=$2
    shift 2
    until "$@" 2>/dev/null; do
        ((SECONDS <= end)) || fail "$claim"
        sleep 0.05
    done
}

# Put before a program: it dies with the shell that started it, however that ends, be it by `kill -9`.
bound=(setpriv --pdeathsig KILL)

# --- the cluster: member a, b and c, each on a loopback address of its own made from the number of this process, which
# no other demo has at the same time (Linux hands out at most 22 bits; 127.0.0.0/8 leaves 24).
names=(a b c)
declare -A ip
for i in 0 1 2; do
    n=$((($$ << 2) + i + 1))
    ip[${names[i]}]=127.$((n >> 16 & 255)).$((n >> 8 & 255)).$((n & 255))
done
# Only a server bound to every address can be in the way of these ports: then others are taken.
port=2379
taken() { [[ -n $(ss -Hltn "( sport = :$port or sport = :$((port + 1)) ) and ( src 0.0.0.0 or src [::] )") ]]; }
while taken; do port=$((port + 10000)); done
cluster=$(for m in "${names[@]}"; do printf '%s=http://%s:%d,' "$m" "${ip[$m]}" $((port + 1)); done)
endpoints=$(for m in "${names[@]}"; do printf '%s:%d,' "${ip[$m]}" "$port"; done)

# Elections wait longer than etcd's default so that a busy machine does not cause one in the middle of the show.
start_member() {
    local client=http://${ip[$1]}:$port peer=http://${ip[$1]}:$((port + 1))
    "${bound[@]}" etcd --name "$1" --data-dir "$dir/$1" --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "${cluster%,}" \
        --heartbeat-interval 300 --election-timeout 3000 >>"$dir/$1.log" 2>&1 &
    member[$1]=$!
    disown
}

# --- the clients
etcdctl_at() { "${bound[@]}" etcdctl --endpoints="$1" --dial-timeout=5s --command-timeout=5s "${@:2}" 2>>"$dir/errors"; }
through() { etcdctl_at "$address" "$@"; }
healthy() { etcdctl_at "$1:$port" endpoint health >/dev/null; }
leads() { # the member's own id is the leader's
    local status
    status=$(etcdctl_at "${ip[$1]}:$port" endpoint status -w json)
    [[ $status =~ \"member_id\":([0-9]+) ]]
    [[ $status == *"\"leader\":${BASH_REMATCH[1]},"* ]]
}

# Opens $1 more clients that watch the key "news" through the gateway.
open_watches() {
    local n
    for ((n = 0; n < $1; n++)); do
        "${bound[@]}" etcdctl --endpoints="$address" watch news >"$dir/watch.${#watches[@]}" 2>>"$dir/errors" &
        watches+=($!)
        disown
    done
}
all_saw() { # every watch has received this news
    local n
    for n in "${!watches[@]}"; do grep -qx "$1" "$dir/watch.$n" || return 1; done
}

# The gateway's connections to a member, as the kernel has them.
connections_to() { ss -Htnp state established dst "${ip[$1]}:$port" | grep -c "pid=$gateway_pid," || true; }
spread() { for m in "${names[@]}"; do connections_to "$m"; done | xargs; }
spread_is() { [[ $(spread) == "$1" ]]; }
says() { grep -F "\"msg\":\"$1\"" "$dir/gateway.log" | grep -qF "$2"; }
refuses_clients() { ! (exec 3<>"/dev/tcp/${address%:*}/${address##*:}"); }
ended() { ! kill -0 "$1"; }

# Puts key after key, each over a new connection; one line a write: its outcome and its milliseconds. A write that was
# under way on a member when that died is lost with it, gateway or not: it is repeated, as any client would, and counted.
write_steadily() {
    local n=0 began outcome
    while [[ -e $dir/writing && -d /proc/$$ ]]; do
        n=$((n + 1)) began=${EPOCHREALTIME/./} outcome=ok
        through put "steady/$n" "$n" >/dev/null || outcome=repeated
        [[ $outcome == ok ]] || through put "steady/$n" "$n" >/dev/null || outcome=FAILED
        echo "$outcome $(((${EPOCHREALTIME/./} - began) / 1000))" >>"$dir/writes"
        sleep 0.02
    done
}
writes() { grep -c . "$dir/writes" || true; }
writes_reach() { (($(writes) >= $1)); }
no_write_failed() { # and at most the one under way was repeated
    ! grep -q FAILED "$dir/writes" || fail "no write fails"
    (($(grep -c repeated "$dir/writes" || true) <= 1)) || fail "only the write under way at the kill is repeated"
}

# --- the show
for m in "${names[@]}"; do start_member "$m"; done
for m in "${names[@]}"; do within 30 "etcd member $m comes up" healthy "${ip[$m]}"; done
: >"$dir/errors" # of the tries before the members were up
victim=c
! leads c || victim=b # the death of the leader costs an election, which is etcd's affair and not ours to show

"${bound[@]}" "$gateway" start --endpoints="${endpoints%,}" --listen-addr=127.0.0.1:0 --retry-delay=1s --drain-timeout=10s \
    --log-format=json >"$dir/gateway.log" 2>&1 &
gateway_pid=$!
within 10 "the gateway gets ready" says "ready to proxy client requests" '"listen":["127.0.0.1:'
address=$(sed -n 's/.*"listen":\["\([^"]*\)".*/\1/p' "$dir/gateway.log")

step cluster "three real etcd members ($(etcd --version | sed -n 's/etcd Version: //p'))"
for m in "${names[@]}"; do line "  $m  ${ip[$m]}:$port"; done
step gateway "in front of them: $bold$address$plain, the only address its clients know"

through put greeting hello >/dev/null || fail "a put through the gateway works"
[[ $(through get greeting --print-value-only) == hello ]] || fail "a get through the gateway returns what was put"
line "etcdctl --endpoints=$address put greeting hello   -> OK"
line "etcdctl --endpoints=$address get greeting         -> hello"

open_watches 9
within 10 "nine connections are spread 3, 3, 3" spread_is "3 3 3"
step spread "9 clients watch a key; the kernel's count of their connections: a 3, b 3, c 3"

: >"$dir/writes"
: >"$dir/writing"
write_steadily &
writer_pid=$!
disown
within 20 "a steady writer writes" writes_reach 20
before=$(writes)
kill -KILL "${member[$victim]}"
unset "member[$victim]"
step death "a writer puts key after key, each over a new connection; now: ${bold}kill -9 $victim$plain"
within 10 "the gateway notices" says "deactivated endpoint" "${ip[$victim]}:$port"
note "gateway: deactivated endpoint ${ip[$victim]}:$port"
within 30 "the writer goes on" writes_reach $((before + 40))
no_write_failed
slowest=$(tail -n "+$((before + 1))" "$dir/writes" | cut -d' ' -f2 | sort -n | tail -n 1)
line "$(($(writes) - before)) writes since: 0 failed, the slowest took $slowest ms"
through put news "it died" >/dev/null || fail "a put works while a member is dead"
within 15 "all watches go on" all_saw "it died"
(($(connections_to "$victim") == 0)) || fail "nobody is connected to the dead member"
line "all 9 watches received a key put after the death, those of $victim through another member"

start_member "$victim"
step return "$victim is started again"
within 30 "the gateway finds the member again" says activated "${ip[$victim]}:$port"
note "gateway: activated ${ip[$victim]}:$port"
within 30 "etcd member $victim comes back" healthy "${ip[$victim]}"
within 20 "the writer goes on" writes_reach $(($(writes) + 10))
rm "$dir/writing"
within 20 "the writer stops" ended "$writer_pid"
no_write_failed
total=$(writes)
(($(through get steady/ --prefix --keys-only | grep -c .) == total)) || fail "every key written can be read back"
line "$total writes in all: 0 failed, every key reads back"
! grep -q repeated "$dir/writes" || line "(one was under way on $victim at its death, and was repeated)"
read -r a b c < <(spread)
open_watches 3
within 10 "three new connections are spread 1, 1, 1" spread_is "$((a + 1)) $((b + 1)) $((c + 1))"
line "3 new clients: one goes to each member, $victim included"

kill -TERM "$gateway_pid"
within 5 "a gateway that was told to stop takes no new client" refuses_clients
etcdctl_at "${ip[a]}:$port" put news "last words" >/dev/null || fail "a put at member a works"
within 5 "a gateway that was told to stop serves the clients it has" all_saw "last words"
step stop "SIGTERM: no new client is taken, the 12 there are still receive what is put"
kill -TERM "${watches[@]}"
within 5 "the gateway ends when its last client has left" ended "$gateway_pid"
wait "$gateway_pid" || fail "the gateway ends with status 0, not $?"
gateway_pid=''
line "they leave, and the gateway ends with status 0"
printf '\nEach line above was checked as it happened. Nothing is left running.\n'
