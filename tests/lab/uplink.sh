#!/bin/sh
# title: one vmm guest on NICs of the host, in each mode, with macvtaps, by packet sockets, and without a daemon: ping, iperf3, files to and from an outside namespace
# timeout: 600
. "$LAB/lib.sh"
# In each direction: about 100 MB for each mode.
file_mib=${file_mib:-48}

step "a NIC for each network, plugged into a namespace outside"
ip netns add outside || fail "no namespace"
ln -s "$LAB/jobs" /jobs
config=/run/netbackend.toml nets="" peers="" self="" addrs="" n=0
: >$config
for network in bridge private vepa passthrough macvtap tagged packet direct; do
    n=$((n + 1))
    ip link add "nic$n" type veth peer name "out$n" netns outside
    ip link set "nic$n" up
    ip -n outside link set "out$n" up
    mode=$network kind=nic more="attach = \"switch\"" far="out$n" keys="" trust=""
    case $network in
    macvtap) mode=bridge more="attach = \"macvtap\"" keys="trust_filters = true" trust=",trust=on" ;;
    packet) mode=bridge kind=packet more="" ;;
    tagged)
        mode=bridge far="out$n.7"
        more="attach = \"macvtap\"
vlan = 7"
        ip -n outside link add link "out$n" name "$far" up type vlan id 7
        ;;
    esac
    ip -n outside addr add "10.1.$n.1/24" dev "$far"
    addrs="$addrs addr$((n - 1))=10.1.$n.2/24"
    peers="$peers,10.1.$n.1/1500" self="$self,10.1.$n.2"
    if [ $network = direct ]; then
        nets="$nets --net macvtap=nic$n,mode=bridge,trust=on"
        continue
    fi
    cat >>$config <<TOML
[networks.$network]
mode = "$mode"
$keys
[networks.$network.uplink]
$kind = "nic$n"
$more
TOML
    nets="$nets --net network=$network$trust,mac=52:54:00:01:00:0$n"
done
start agent ip netns exec outside env file_mib="$file_mib" "$LAB/jobs/agent"
agent=$pid

step "start netbackend"
start_daemon --config $config
await_result agent "$agent" 60 "agent ready"

step "boot a guest with $n NICs"
start_guest driver "job=checks $addrs file_mib=$file_mib iperf_s=1 peers=${peers#,} self=${self#,}" --memory 512M $nets
driver=$pid
await_result driver "$driver" 500 "checks passed"
netbackend status >"$LAB_LOGS/status.log" 2>&1
report driver $((n * 6))
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"

step "stop netbackend: nothing of it is left"
kill "$daemon"
wait "$daemon" || fail "netbackend ended with $? on SIGTERM" "$LAB_LOGS/netbackend.log"
left=$(ip -o link show type macvtap; ip -o link show type vlan)
[ -z "$left" ] || fail "left behind: $left"
