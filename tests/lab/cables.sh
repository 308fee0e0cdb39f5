#!/bin/sh
# title: all five models in one guest, each on a wire of its own: carrier, what promiscuous mode lets in, counters
# timeout: 900
# kernel: generic
. "$LAB/lib.sh"
# In the order in which the guest loads their drivers: eth0, eth1, …
models="virtio:virtio_net e1000:e1000 pcnet:pcnet32 rtl8139:8139cp ne2k_pci:ne2k-pci"

step "a NIC for each model, plugged into a namespace outside"
ip netns add outside || fail "no namespace"
# What is counted is what is asked for.
ip netns exec outside sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
config=/run/netbackend.toml nets="" addrs="" n=0
: >$config
for model in $models; do
    n=$((n + 1))
    ip link add "nic$n" type veth peer name "out$n" netns outside
    ip link set "nic$n" up
    ip -n outside addr add "10.1.$n.1/24" dev "out$n"
    ip -n outside link set "out$n" up
    # In mode private, as in all but bridge, the links of guests follow the NIC.
    cat >>$config <<TOML
[networks.lan$n]
mode = "private"
[networks.lan$n.uplink]
nic = "nic$n"
TOML
    nets="$nets --net model=${model%:*},network=lan$n"
    addrs="$addrs addr$((n - 1))=10.1.$n.2/24"
done
start_daemon --config $config

step "boot a guest with $n NICs"
start_guest guest "job=agent$addrs" --memory 512M $nets
guest=$pid
await_result guest "$guest" 240 "agent ready"

# tell I COMMAND: runs it in the guest, by its NIC I.
tell() { ip netns exec outside timeout 60 wget -q -O - --post-data "$2" "http://10.1.$1.2/cgi-bin/run"; }
reaches() { ip netns exec outside ping -q -c 1 -W 2 "10.1.$1.2" >/dev/null; }
says() { [ "$(tell "$1" "$2" 2>/dev/null | tr -d '\r')" = "$3" ]; }
for i in $(seq $n); do
    await 60 reaches "$i" || fail "no answer by NIC $i" "$LAB_LOGS/guest.log" "$LAB_LOGS/netbackend.log"
done
# tcpdump gives its privileges up for a user that must be known.
tell 1 "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1; echo root:x:0:0::/:/bin/sh >/etc/passwd" >/dev/null

# number KEY: of the port of the guest at network lan$i.
number() { netbackend port show "lan$i" p0 --json | tr ',' '\n' | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1; }

i=0
for model in $models; do
    i=$((i + 1))
    name=${model%:*} card=eth$((i - 1)) other=$((i % n + 1))
    step "$name"

    says $other "cat /sys/class/net/$card/carrier" 1 || fail "$name: no carrier"
    ip -n outside link set "out$i" down
    if [ "$name" = ne2k_pci ]; then
        # The chip has no register for it that Linux's driver reads: the carrier is always there.
        result note "$name: its driver knows no carrier"
    else
        await 20 says $other "cat /sys/class/net/$card/carrier" 0 || fail "$name: the guest does not see that the carrier is lost"
    fi
    ip -n outside link set "out$i" up
    await 20 says $other "cat /sys/class/net/$card/carrier" 1 || fail "$name: the guest does not see that the carrier is back"
    await 20 reaches "$i" || fail "$name: no traffic after the carrier is back"
    result ok "$name: the wire gone and back"

    # A group that the guest has not joined, then an address that it has: the capture that gets the second has seen the first or not.
    for promiscuous in "" -p; do
        tell "$i" "tcpdump -Z root -n $promiscuous -i $card -c 8 'icmp[icmptype] == icmp-echo' >/tmp/capture 2>/tmp/capture.log </dev/null & echo \$! >/tmp/capture.pid" >/dev/null
        await 20 says $other "grep -c listening /tmp/capture.log" 1 || fail "$name: no tcpdump: $(tell $other 'cat /tmp/capture.log')"
        ip netns exec outside ping -q -c 2 -W 1 -I "out$i" 239.1.2.3 >/dev/null
        ip netns exec outside ping -q -c 8 -A -W 5 "10.1.$i.2" >/dev/null
        await 20 says $other "kill -0 \$(cat /tmp/capture.pid) 2>/dev/null && echo runs || echo ended" ended || fail "$name: tcpdump does not end"
        groups=$(tell $other "grep -c '> 239.1.2.3' /tmp/capture" | tr -d '\r')
        case "$promiscuous$name:$groups" in
        -p*:0 | -pvirtio:2) ;; # virtio has no filter here: its stack drops what it has not asked for
        -p*) fail "$name: takes $groups frames of a group that nobody has joined" ;;
        *:2) ;;
        *) fail "$name: promiscuous, and saw $groups frames of 2" ;;
        esac
    done
    result ok "$name: sees others' frames in promiscuous mode"

    # Drivers that count what their chip counts.
    case $name in e1000 | virtio | rtl8139) ;; *) continue ;; esac
    counts() { tell $other "ethtool -S $card" | tr -d '\r' | awk '/ (rx_packets|rx_ok|rx_queue_0_packets):/ { rx = $2 } / (tx_packets|tx_ok|tx_queue_0_packets):/ { tx = $2 } END { print rx + 0, tx + 0 }'; }
    agrees() {
        before=$(counts) ours="$(number rx_frames) $(number tx_frames)"
        ip netns exec outside ping -q -c 20 -A -W 5 "10.1.$i.2" >/dev/null
        after=$(counts) now="$(number rx_frames) $(number tx_frames)"
        driver=$(echo "$before $after" | awk '{ print $3 - $1, $4 - $2 }')
        daemon=$(echo "$ours $now" | awk '{ print $3 - $1, $4 - $2 }')
        [ "$driver" = "$daemon" ] && [ "${driver% *}" -ge 20 ]
    }
    # A frame of somebody's between two looks is counted by one of them only.
    await 5 agrees || fail "$name: ethtool -S counts $driver, netbackend $daemon frames to and from the guest"
    result ok "$name: ethtool -S and netbackend count $driver frames to and from the guest"
done

netbackend status >"$LAB_LOGS/status.log" 2>&1
tell 1 "touch /tmp/stop" >/dev/null
wait "$guest" || fail "vmm ended with $?" "$LAB_LOGS/guest.log"
