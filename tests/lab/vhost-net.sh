#!/bin/sh
# title: one vmm guest on macvtaps, two of which the kernel's vhost-net serves: who serves, ping, iperf3, files, carrier, queue pairs, receive filter (also of a port of netbackend), a NIC that goes and returns, reload
# timeout: 900
. "$LAB/lib.sh"
# About 100 MB over each NIC.
file_mib=${file_mib:-48}

step "a NIC with two queue pairs, one to itself and one of netbackend, plugged into a namespace outside"
ip netns add outside || fail "no namespace"
ln -s "$LAB/jobs" /jobs
plug() { # NUMBER
    ip link add "nic$1" type veth peer name "out$1" netns outside
    ip link set "nic$1" up
    ip -n outside addr add "10.1.$1.1/24" dev "out$1"
    ip -n outside link set "out$1" up
}
for n in 1 2 3 4; do plug $n; done
nets="--net macvtap=nic1,mode=bridge,vhost=on,trust=on,queues=2 --net macvtap=nic2,mode=passthru,vhost=on"
left() { ip -o link show type macvtap; }

step "without the module: an error that says what to do"
rmmod vhost_net || fail "vhost_net cannot be unloaded"
start_guest early "job=agent" --memory 512M $nets
wait "$pid" && fail "vmm started without /dev/vhost-net" "$LAB_LOGS/early.log"
grep -q 'modprobe vhost_net' "$LAB_LOGS/early.log" || fail "no remedy" "$LAB_LOGS/early.log"
[ -z "$(left)" ] || fail "left behind: $(left)"
insmod /lib/modules/vhost_net.ko || fail "vhost_net cannot be loaded"

step "start netbackend, which does not trust its guests: an error that says what to do"
config=/run/netbackend.toml
net3="--net network=lan,trust=on"
cat >$config <<TOML
[networks.lan.uplink]
nic = "nic3"
attach = "macvtap"
TOML
start_daemon --config $config
start_guest untrusted "job=agent" --memory 512M $net3
wait "$pid" && fail "vmm started without trust" "$LAB_LOGS/untrusted.log"
grep -q 'trust_filters = true' "$LAB_LOGS/untrusted.log" || fail "no remedy" "$LAB_LOGS/untrusted.log"
none_left() { [ -z "$(left)" ]; }
await 10 none_left || fail "left behind: $(left)"
cat >>$config <<TOML
[networks.lan]
trust_filters = true
TOML
netbackend reload || fail "netbackend does not reload" "$LAB_LOGS/netbackend.log"

step "boot a guest"
addrs="addr0=10.1.1.2/24 addr1=10.1.2.2/24 addr2=10.1.3.2/24"
start_guest guest "job=agent file_mib=$file_mib $addrs" --memory 512M --cpus 2 $nets $net3
guest=$pid
await_result guest "$guest" 120 "agent ready"

# tell IP COMMAND: runs it in the guest.
tell() { ip netns exec outside timeout 8 wget -q -O - --post-data "$2" "http://$1/cgi-bin/run"; }
here() { tell "$1" 'echo here' 2>/dev/null | grep -q here; }
says() { [ "$(tell "$1" "$2" 2>/dev/null | tr -d '\r')" = "$3" ]; }
await 20 here 10.1.1.2 || fail "the guest does not answer" "$LAB_LOGS/guest.log"
await 20 here 10.1.2.2 || fail "the guest does not answer on its second NIC" "$LAB_LOGS/guest.log"
await 20 here 10.1.3.2 || fail "the guest does not answer by netbackend" "$LAB_LOGS/guest.log" "$LAB_LOGS/netbackend.log"

step "the kernel serves: a thread of its own for each queue pair, and none of the relay"
# Named after the thread that has opened the device; since Linux 6.4 they are threads of vmm itself.
kernel_threads() { cat /proc/[0-9]*/comm "/proc/$guest/task"/*/comm 2>/dev/null | grep -c '^vhost-[0-9][0-9]*$'; }
threads=$(cat "/proc/$guest/task"/*/comm | tr '\n' ' ')
[ "$(kernel_threads)" -eq 3 ] || fail "vhost threads: $(kernel_threads), not 3 (of vmm: $threads)"
case " $threads" in
" dp"* | *" dp"* | *" vu-"*) fail "vmm relays: $threads" ;;
esac
result "ok served-by vhost threads=3 of-vmm: $threads"

step "the guest's link follows the NIC"
says 10.1.2.2 'cat /sys/class/net/eth0/carrier' 1 || fail "no carrier"
ip -n outside link set out1 down
await 20 says 10.1.2.2 'cat /sys/class/net/eth0/carrier' 0 || fail "the guest does not see that the carrier is lost"
ip -n outside link set out1 up
await 20 says 10.1.2.2 'cat /sys/class/net/eth0/carrier' 1 || fail "the guest does not see that the carrier is back"
await 20 here 10.1.1.2 || fail "no traffic after the carrier is back"
result "ok carrier"

# Flows differ in their hash, by which the macvtap picks a queue: each must find one that is served.
flows() {
    k=0
    while [ $k -lt 16 ] && here 10.1.1.2; do k=$((k + 1)); done
    [ $k -eq 16 ] || fail "flow $k of 16 got no answer with $1 queue pairs"
    result "ok flows=$k pairs=$1"
}
step "queue pairs are switched off and on"
says 10.1.2.2 'ls -d /sys/class/net/eth0/queues/tx-* | wc -l' 2 || fail "eth0 has not two queue pairs"
flows 2
for pairs in 1 2; do
    tell 10.1.2.2 "ethtool -L eth0 combined $pairs"
    flows $pairs
done

macvtap_on() { ip -o link show type macvtap | sed -n "s/^[0-9]*: \([^@]*\)@$1:.*/\1/p"; }
shows() { ip link show "$1" | grep -q "$2"; }
lacks() { ! shows "$@"; }
# The guest's stack joins a group for its link-local address (RFC 4291, 2.7.1), besides others.
joined() { # MACVTAP ETH
    groups=$(tell 10.1.2.2 "awk '\$2 == \"$2\" { print \$5 }' /proc/net/dev_mcast" | tr -d '\r')
    echo "$groups" | grep -q ^3333ff || return 1
    for group in $groups; do
        awk -v i="$1" '$2 == i { print $5 }' /proc/net/dev_mcast | grep -q "$group" || return 1
    done
}
follows() { # NUMBER: the macvtap on that NIC, and the guest's interface
    macvtap=$(macvtap_on "nic$1") eth=eth$(($1 - 1)) address=52:54:00:00:77:0$1
    await 20 joined "$macvtap" "$eth" || fail "$macvtap has not all groups of $eth: $groups" "$LAB_LOGS/guest.log"
    await 5 lacks "$macvtap" ALLMULTI || fail "$macvtap takes all groups"
    tell 10.1.2.2 "ip link set $eth promisc on"
    await 10 shows "$macvtap" PROMISC || fail "$macvtap is not promiscuous"
    tell 10.1.2.2 "ip link set $eth promisc off"
    await 10 lacks "$macvtap" PROMISC || fail "$macvtap is still promiscuous"
    tell 10.1.2.2 "ip link set $eth address $address"
    await 10 shows "$macvtap" "$address" || fail "$macvtap has not the address of $eth"
    ip -n outside neigh flush dev "out$1"
    await 20 here "10.1.$1.2" || fail "no traffic with the new address of $eth"
    result "ok filter of nic$1 groups=$(echo "$groups" | tr '\n' ' ')"
}
own1=$(cat "/sys/class/net/$(macvtap_on nic1)/address") own3=$(cat "/sys/class/net/$(macvtap_on nic3)/address")
step "the first macvtap has the guest's groups, address and promiscuous mode"
follows 1
step "so has that of netbackend, by its control socket"
follows 3
netbackend port show lan p0 | grep "receives: 52:54:00:00:77:03, groups .*33:33:ff" || fail "port show: $(netbackend port show lan p0)"
tell 10.1.2.2 'ip link set eth2 address 52:54:00:00:77:0f'
ip -n outside neigh flush dev out3
kill_worker lan
await 20 here 10.1.3.2 || fail "no traffic by another worker"
await 10 grep -q 52:54:00:00:77:0f /run/netbackend/state.json || fail "netbackend does not keep what the guest wants"
kill_daemon --config $config
renewed() { macvtap=$(macvtap_on nic3) && [ -n "$macvtap" ] && shows "$macvtap" 52:54:00:00:77:0f && joined "$macvtap" eth2; }
await 20 renewed || fail "the macvtap of another daemon is not as the guest wants it" "$LAB_LOGS/netbackend.log"
ip -n outside neigh flush dev out3
await 20 here 10.1.3.2 || fail "no traffic by another daemon" "$LAB_LOGS/netbackend.log"
result "ok filter of another daemon"

carrier_of() { says 10.1.2.2 "cat /sys/class/net/$1/carrier" "$2"; }
step "the first NIC goes and returns: so does the guest's macvtap with what it receives, and the kernel serves it"
ip link del nic1
await 20 carrier_of eth0 0 || fail "the guest does not see that its NIC is gone"
plug 1
await 20 carrier_of eth0 1 || fail "the guest does not see that its NIC is back" "$LAB_LOGS/guest.log"
await 20 here 10.1.1.2 || fail "no traffic by the NIC that is back" "$LAB_LOGS/guest.log"
macvtap=$(macvtap_on nic1)
shows "$macvtap" 52:54:00:00:77:01 || fail "$macvtap has not the address of eth0"
joined "$macvtap" eth0 || fail "$macvtap has not all groups of eth0: $groups"
flows 2
[ "$(kernel_threads)" -eq 3 ] || fail "vhost threads: $(kernel_threads), not 3"
result "ok return of nic1"

step "the driver is unloaded and loaded"
tell 10.1.1.2 'cat >/tmp/reload <<\EOF
sleep 1
rmmod virtio_net
sleep 10
insmod /lib/modules/virtio_net.ko
sleep 2
ip addr add 10.1.1.2/24 dev eth0 && ip link set eth0 up
ip addr add 10.1.2.2/24 dev eth1 && ip link set eth1 up
ip addr add 10.1.3.2/24 dev eth2 && ip link set eth2 up
touch /tmp/reloaded
EOF
sh /tmp/reload >/dev/null 2>&1 </dev/null & echo started'
restored() { shows "$1" ALLMULTI && shows "$1" "$2"; }
await 10 restored "$(macvtap_on nic1)" "$own1" || fail "the macvtap is not as before without a driver"
await 10 restored "$(macvtap_on nic3)" "$own3" || fail "that of netbackend is not as before without a driver" "$LAB_LOGS/netbackend.log"
for n in 1 3; do ip -n outside neigh flush dev "out$n"; done
await 40 says 10.1.1.2 'ls /tmp/reloaded' /tmp/reloaded || fail "no traffic after the driver was reloaded" "$LAB_LOGS/guest.log"
result "ok reload"

step "ping, iperf3 and a file both ways over each NIC"
start driver ip netns exec outside env peers=10.1.1.2/1500,10.1.2.2/1500 self=10.1.1.1,10.1.2.1 \
    file_mib="$file_mib" iperf_s=1 "$LAB/jobs/checks"
await_result driver "$pid" 700 "checks passed"
report driver 12
wait "$guest" || fail "vmm ended with $?" "$LAB_LOGS/guest.log"
grep 'stands still\|reconnecting' "$LAB_LOGS/guest.log" | grep -qv /run/netbackend/lan/ && fail "a ring was latched" "$LAB_LOGS/guest.log"

step "the macvtap of a guest that vmm serves itself returns with its NIC, too"
start_guest own "job=agent addr0=10.1.4.2/24" --memory 512M --net macvtap=nic4,mode=bridge,trust=on
own=$pid
await_result own "$own" 120 "agent ready"
await 20 here 10.1.4.2 || fail "the guest does not answer" "$LAB_LOGS/own.log"
ip link del nic4
await 10 none_left || fail "left behind: $(left)"
plug 4
await 20 here 10.1.4.2 || fail "no traffic by the NIC that is back" "$LAB_LOGS/own.log"
joined_eth0() {
    group=$(tell 10.1.4.2 "awk '\$2 == \"eth0\" && /3333ff/ { print \$5 }' /proc/net/dev_mcast" | tr -d '\r')
    [ -n "$group" ] && awk -v i="$(macvtap_on nic4)" '$2 == i { print $5 }' /proc/net/dev_mcast | grep -q "$group"
}
joined_eth0 || fail "the macvtap has not the groups of the guest: $group"
lacks "$(macvtap_on nic4)" ALLMULTI || fail "the macvtap takes all groups"
tell 10.1.4.2 'touch /tmp/stop'
wait "$own" || fail "vmm ended with $?" "$LAB_LOGS/own.log"
result "ok return of nic4"

step "nothing is left"
await 10 none_left || fail "left behind: $(left)"
[ "$(kernel_threads)" -eq 0 ] || fail "vhost threads are left"
