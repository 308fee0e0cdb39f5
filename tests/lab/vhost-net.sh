#!/bin/sh
# title: one vmm guest on macvtaps that the kernel's vhost-net serves: who serves, ping, iperf3, files, carrier, queue pairs, receive filter, reload
# timeout: 900
. "$LAB/lib.sh"
# About 100 MB over each NIC.
file_mib=${file_mib:-48}

step "a NIC with two queue pairs and one to itself, plugged into a namespace outside"
ip netns add outside || fail "no namespace"
ln -s "$LAB/jobs" /jobs
for n in 1 2; do
    ip link add "nic$n" type veth peer name "out$n" netns outside
    ip link set "nic$n" up
    ip -n outside addr add "10.1.$n.1/24" dev "out$n"
    ip -n outside link set "out$n" up
done
nets="--net macvtap=nic1,mode=bridge,vhost=on,trust=on,queues=2 --net macvtap=nic2,mode=passthru,vhost=on"
left() { ip -o link show type macvtap; }

step "without the module: an error that says what to do"
rmmod vhost_net || fail "vhost_net cannot be unloaded"
start_guest early "job=agent" --memory 512M $nets
wait "$pid" && fail "vmm started without /dev/vhost-net" "$LAB_LOGS/early.log"
grep -q 'modprobe vhost_net' "$LAB_LOGS/early.log" || fail "no remedy" "$LAB_LOGS/early.log"
[ -z "$(left)" ] || fail "left behind: $(left)"
insmod /lib/modules/vhost_net.ko || fail "vhost_net cannot be loaded"

step "boot a guest"
start_guest guest "job=agent file_mib=$file_mib addr0=10.1.1.2/24 addr1=10.1.2.2/24" --memory 512M --cpus 2 $nets
guest=$pid
await_result guest "$guest" 120 "agent ready"

# tell IP COMMAND: runs it in the guest.
tell() { ip netns exec outside timeout 8 wget -q -O - --post-data "$2" "http://$1/cgi-bin/run"; }
here() { tell "$1" 'echo here' 2>/dev/null | grep -q here; }
says() { [ "$(tell "$1" "$2" 2>/dev/null | tr -d '\r')" = "$3" ]; }
await 20 here 10.1.1.2 || fail "the guest does not answer" "$LAB_LOGS/guest.log"
await 20 here 10.1.2.2 || fail "the guest does not answer on its second NIC" "$LAB_LOGS/guest.log"

step "the kernel serves: a thread of its own for each queue pair, and none of the relay"
# Tasks of this name; since Linux 6.4 they are threads of vmm itself.
kernel_threads() { cat /proc/[0-9]*/comm "/proc/$guest/task"/*/comm 2>/dev/null | grep -c "^vhost-$guest\$"; }
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

step "the first macvtap has the guest's groups, address and promiscuous mode"
macvtap=$(ip -o link show type macvtap | sed -n 's/^[0-9]*: \([^@]*\)@nic1:.*/\1/p')
shows() { ip link show "$macvtap" | grep -q "$1"; }
lacks() { ! shows "$1"; }
own=$(cat "/sys/class/net/$macvtap/address")
# The guest's stack joins a group for its link-local address (RFC 4291, 2.7.1), besides others.
joined() {
    groups=$(tell 10.1.2.2 "awk '\$2 == \"eth0\" { print \$5 }' /proc/net/dev_mcast" | tr -d '\r')
    echo "$groups" | grep -q ^3333ff || return 1
    for group in $groups; do
        awk -v i="$macvtap" '$2 == i { print $5 }' /proc/net/dev_mcast | grep -q "$group" || return 1
    done
}
await 20 joined || fail "the macvtap has not all groups of the guest: $groups" "$LAB_LOGS/guest.log"
await 5 lacks ALLMULTI || fail "the macvtap takes all groups"
tell 10.1.2.2 'ip link set eth0 promisc on'
await 10 shows PROMISC || fail "the macvtap is not promiscuous"
tell 10.1.2.2 'ip link set eth0 promisc off'
await 10 lacks PROMISC || fail "the macvtap is still promiscuous"
tell 10.1.2.2 'ip link set eth0 address 52:54:00:00:77:01'
await 10 shows 52:54:00:00:77:01 || fail "the macvtap has not the guest's address"
ip -n outside neigh flush dev out1
await 20 here 10.1.1.2 || fail "no traffic with the new address"
result "ok filter groups=$(echo "$groups" | tr '\n' ' ')"

step "the driver is unloaded and loaded"
tell 10.1.1.2 'cat >/tmp/reload <<\EOF
sleep 1
rmmod virtio_net
sleep 10
insmod /lib/modules/virtio_net.ko
sleep 2
ip addr add 10.1.1.2/24 dev eth0 && ip link set eth0 up
ip addr add 10.1.2.2/24 dev eth1 && ip link set eth1 up
touch /tmp/reloaded
EOF
sh /tmp/reload >/dev/null 2>&1 </dev/null & echo started'
restored() { shows ALLMULTI && shows "$own"; }
await 10 restored || fail "the macvtap is not as before without a driver"
ip -n outside neigh flush dev out1
await 40 says 10.1.1.2 'ls /tmp/reloaded' /tmp/reloaded || fail "no traffic after the driver was reloaded" "$LAB_LOGS/guest.log"
result "ok reload"

step "ping, iperf3 and a file both ways over each NIC"
start driver ip netns exec outside env peers=10.1.1.2/1500,10.1.2.2/1500 self=10.1.1.1,10.1.2.1 \
    file_mib="$file_mib" iperf_s=1 "$LAB/jobs/checks"
await_result driver "$pid" 700 "checks passed"
report driver 12
wait "$guest" || fail "vmm ended with $?" "$LAB_LOGS/guest.log"
grep -q 'stands still\|reconnecting' "$LAB_LOGS/guest.log" && fail "a ring was latched" "$LAB_LOGS/guest.log"

step "nothing is left"
[ -z "$(left)" ] || fail "left behind: $(left)"
[ "$(kernel_threads)" -eq 0 ] || fail "vhost threads are left"
