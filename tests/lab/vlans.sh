#!/bin/sh
# title: VLANs of the wire without a guest: by NIC, macvtaps, packet sockets and a bridge: tags outside only, other VLANs kept away, TCP, what is left
# timeout: 400
. "$LAB/lib.sh"
file_mib=${file_mib:-8}

step "four NICs, plugged into a namespace outside; VLANs 7 and 8 of each wire end in different ones"
for netns in outside elsewhere guest; do
    ip netns add $netns || fail "no namespace"
    # What is counted is what is asked for.
    ip netns exec $netns sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
done
ln -s "$LAB/jobs" /jobs
# tcpdump gives its privileges up for a user that must be known.
[ -e /etc/passwd ] || echo root:x:0:0::/:/bin/sh >/etc/passwd
kinds="nic macvtap packet bridge"
config=/run/netbackend.toml empty=/run/empty.toml peers="" self="" cards="" n=0
: >$config
: >$empty

# tap NETWORK N: a port of the network is a tap of the guest's namespace.
tap() {
    cat >>$config <<TOML
[networks.$1.ports.guest]
kind = "tap"
interface = "tap$2"
netns = "guest"
mac = "52:54:00:07:00:0$2"
TOML
}
for kind in $kinds; do
    n=$((n + 1))
    ip link add "nic$n" type veth peer name "out$n" netns outside
    ip link set "nic$n" up
    ip -n outside link add link "out$n" name "out$n.7" type vlan id 7
    ip -n outside link add link "out$n" name "out$n.8" netns elsewhere type vlan id 8
    ip -n outside addr add "10.3.$n.1/24" dev "out$n"
    ip -n outside addr add "10.7.$n.1/24" dev "out$n.7"
    ip -n elsewhere addr add "10.8.$n.1/24" dev "out$n.8"
    for link in "outside out$n" "outside out$n.7" "elsewhere out$n.8"; do
        ip -n ${link% *} link set ${link#* } up || fail "no VLAN interface ${link#* }"
    done
    case $kind in
    nic) uplink="nic = \"nic$n\"" ;;
    macvtap) uplink="nic = \"nic$n\"
attach = \"macvtap\"" ;;
    packet) uplink="packet = \"nic$n\"" ;;
    bridge)
        ip link add br0 up type bridge
        ip link set "nic$n" master br0
        uplink="tap = \"up$n\"
bridge = \"br0\""
        ;;
    esac
    cat >>$config <<TOML
[networks.$kind]
mode = "bridge"
[networks.$kind.uplink]
$uplink
vlan = 7
TOML
    tap "$kind" "$n"
    peers="$peers,10.7.$n.1/1500" self="$self,10.7.$n.2" cards="$cards,tap$n"
done
# Two networks share a NIC, each in its VLAN.
cat >>$config <<TOML
[networks.eight]
mode = "bridge"
[networks.eight.uplink]
nic = "nic1"
vlan = 8
TOML
tap eight 8

# The taps of a daemon have no addresses yet.
plug_in() {
    for card in $(seq $n); do
        ip -n guest addr add "10.7.$card.2/24" dev "tap$card" && ip -n guest link set "tap$card" up || fail "no tap$card"
    done
    ip -n guest addr add 10.8.1.2/24 dev tap8 && ip -n guest link set tap8 up || fail "no tap8"
}
reaches() { ip netns exec guest ping -q -c 1 -W 1 "$1" >/dev/null; }
all_reach() {
    for card in $(seq $n); do
        await 20 reaches "10.7.$card.1" || fail "tap$card does not reach VLAN 7" "$LAB_LOGS/netbackend.log"
    done
    await 20 reaches 10.8.1.1 || fail "tap8 does not reach VLAN 8" "$LAB_LOGS/netbackend.log"
}
start_daemon --config $config
plug_in
all_reach
ip -d -o link show type vlan >"$LAB_LOGS/vlans.log"

# capture NAME NETNS CARD [ARGS…]: in the background, to NAME.pcap; its pid in $pid.
listens() { grep -q 'listening on' "$LAB_LOGS/$1.log"; }
capture() {
    name=$1 netns=$2 at=$3
    shift 3
    start "$name" ip netns exec "$netns" tcpdump -Z root --immediate-mode -U -i "$at" -w "$LAB_LOGS/$name.pcap" "$@"
    await 20 listens "$name" || fail "no tcpdump" "$LAB_LOGS/$name.log"
}
# count NAME FILTER…: frames in a capture.
count() {
    file=$LAB_LOGS/$1.pcap
    shift
    tcpdump -Z root -nn -r "$file" "$*" 2>>"$LAB_LOGS/count.log" | wc -l
}
# expect NUMBER NAME FILTER…
expect() {
    wanted=$1
    shift
    seen=$(count "$@")
    [ "$seen" -eq "$wanted" ] || fail "$kind: $seen frames of ($*), not $wanted"
}
arrived() { [ "$(count "$@")" -ge 1 ]; }
# Asks for an address that nobody has.
asks() { ip netns exec "$1" ping -q -c 1 -W 1 "$2" >/dev/null; }

card=0
for kind in $kinds; do
    card=$((card + 1))
    step "$kind: tagged on the wire, untagged at the guest, and nothing of other VLANs"
    capture "$kind-wire" outside "out$card"
    wire=$pid
    capture "$kind-guest" guest "tap$card"
    guest=$pid
    ip netns exec guest ping -q -c 5 -A -W 5 "10.7.$card.1" | grep -q ' 5 packets received' || fail "$kind: pings are lost"
    asks outside "10.3.$card.99"
    asks elsewhere "10.8.$card.99"
    # The last: whoever has seen this has seen what came before, or never will.
    asks outside "10.7.$card.99"
    await 20 arrived "$kind-wire" "vlan 7 and arp host 10.7.$card.99" || fail "$kind: no broadcast of VLAN 7 on the wire"
    await 20 arrived "$kind-guest" "arp host 10.7.$card.99" || fail "$kind: no broadcast of VLAN 7 at the guest"
    kill "$wire" "$guest"
    wait "$wire" "$guest"
    for pair in "10.7.$card.2 10.7.$card.1" "10.7.$card.1 10.7.$card.2"; do
        set -- $pair
        expect 5 "$kind-wire" "vlan 7 and icmp and src $1 and dst $2"
        expect 5 "$kind-guest" "icmp and src $1 and dst $2"
    done
    # A filter without `vlan` sees into frames without tag only.
    expect 0 "$kind-wire" "host 10.7.$card.2"
    expect 0 "$kind-guest" vlan
    # They were there to be kept away.
    arrived "$kind-wire" "arp host 10.3.$card.99" || fail "$kind: no untagged broadcast on the wire"
    arrived "$kind-wire" "vlan 8 and arp host 10.8.$card.99" || fail "$kind: no broadcast of VLAN 8 on the wire"
    expect 0 "$kind-guest" "arp host 10.3.$card.99 or arp host 10.8.$card.99"
    result "ok $kind tags=$(count "$kind-wire" vlan 7) untagged=$(count "$kind-guest" not vlan)"
done

step "TCP in frames of up to 64 KiB, with their tag: ping, iperf3, files both ways"
start agent ip netns exec outside env file_mib="$file_mib" "$LAB/jobs/agent"
await_result agent "$pid" 60 "agent ready"
# One is enough.
for card in $(seq $n); do
    capture "large-out-$card" outside "out$card" -s 96 -c 1 "greater 3000 and vlan 7 and src host 10.7.$card.2"
    capture "large-in-$card" guest "tap$card" -s 96 -c 1 "greater 3000 and src host 10.7.$card.1"
done
start driver ip netns exec guest env peers="${peers#,}" self="${self#,}" cards="${cards#,}" \
    file_mib="$file_mib" iperf_s=1 "$LAB/jobs/checks"
await_result driver "$pid" 300 "checks passed"
report driver $((n * 6))
card=0
for kind in $kinds; do
    card=$((card + 1))
    for way in out in; do
        arrived "large-$way-$card" "" || fail "$kind: no large frame goes $way"
    done
    result "ok $kind large frames"
done

# What we made, and nobody else's.
left() {
    ip -o link show type vlan
    ip -o link show type macvtap
    ip -o link show | grep ': up4[:@]'
}
gone() { [ -z "$(left)" ]; }
made() { [ "$(ip -o link show type vlan | grep -c '@nic')" -eq "$1" ]; }

step "killed: what it made goes with the next start, what others made stays"
ip link add link nic2 name foreign type vlan id 9
# VLANs 7 and 8 of nic1, 7 of nic2, and that one.
made 4 || fail "not what was expected: $(left)"
kill_daemon --config $empty
[ "$(left | cut -d: -f2)" = " foreign@nic2" ] || fail "left behind: $(left)"
kill "$daemon" && wait "$daemon" || fail "netbackend ended with $?"

step "somebody else's VLAN interface is not taken"
cat >/run/taken.toml <<TOML
[networks.taken.uplink]
nic = "nic2"
vlan = 9
TOML
netbackend --config /run/taken.toml >"$LAB_LOGS/taken.log" 2>&1 && fail "a VLAN interface of others was taken" "$LAB_LOGS/taken.log"
grep -q 'VLAN 9' "$LAB_LOGS/taken.log" || fail "no reason" "$LAB_LOGS/taken.log"
result "ok $(grep 'VLAN 9' "$LAB_LOGS/taken.log" | head -n 1)"
made 1 || fail "left behind: $(left)"
ip link del foreign

step "started again, killed, and started again: all are back"
start_daemon --config $config
plug_in
all_reach
kill_daemon --config $config
plug_in
all_reach
made 3 || fail "not what was expected: $(left)"

step "stop netbackend: nothing of it is left"
kill "$daemon"
wait "$daemon" || fail "netbackend ended with $? on SIGTERM" "$LAB_LOGS/netbackend.log"
gone || fail "left behind: $(left)"
