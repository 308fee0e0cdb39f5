#!/bin/sh
# title: all five models in one guest, all busy at once: iperf3 both ways, files with equal SHA-256
# timeout: 900
# kernel: generic
. "$LAB/lib.sh"
file_mib=${file_mib:-4} seconds=${seconds:-5}
# In the order in which the guest loads their drivers: eth0, eth1, …
models="virtio:virtio_net e1000:e1000 pcnet:pcnet32 rtl8139:8139cp ne2k_pci:ne2k-pci"

step "a network for each model, and a namespace with a tap on each"
ip netns add peer || fail "no namespace"
config=/run/netbackend.toml nets="" addrs="" n=0
: >$config
for model in $models; do
    n=$((n + 1))
    cat >>$config <<TOML
[networks.lan$n]
mode = "bridge"
[networks.lan$n.ports.peer]
kind = "tap"
interface = "tap$n"
netns = "peer"
TOML
    nets="$nets --net model=${model%:*},network=lan$n"
    addrs="$addrs addr$((n - 1))=10.$n.0.2/24"
done
start_daemon --config $config
for i in $(seq $n); do
    ip -n peer addr add "10.$i.0.1/24" dev "tap$i"
    ip -n peer link set "tap$i" up
done

step "boot a guest with $n NICs"
start_guest guest "job=agent$addrs file_mib=$file_mib" --memory 512M $nets
guest=$pid
await_result guest "$guest" 240 "agent ready"

tell() { ip netns exec peer timeout 240 wget -q -O - --post-data "$2" "http://10.$1.0.2/cgi-bin/run"; }
i=0
for model in $models; do
    i=$((i + 1))
    await 60 ip netns exec peer ping -c 1 -W 2 "10.$i.0.2" >/dev/null || {
        ip -n peer neigh >"$LAB_LOGS/neighbours.log"
        netbackend status >"$LAB_LOGS/status.log" 2>&1
        fail "no answer by ${model%:*}" "$LAB_LOGS/neighbours.log" "$LAB_LOGS/status.log" "$LAB_LOGS/guest.log"
    }
    driver=$(tell $i "readlink /sys/class/net/eth$((i - 1))/device/driver | sed 's/.*\///'") || fail "no web server by ${model%:*}" "$LAB_LOGS/guest.log"
    [ "$driver" = "${model#*:}" ] || fail "eth$((i - 1)) has driver $driver, not ${model#*:}"
    result ok "${model%:*} answers by driver $driver"
done

# Runs a function for each NIC at once; each must succeed.
all_at_once() { # FUNCTION
    running=""
    for i in $(seq $n); do
        "$1" "$i" >"$LAB_LOGS/$1-$i.log" 2>&1 &
        running="$running $!"
    done
    i=0
    for one in $running; do
        i=$((i + 1))
        wait "$one" || fail "$1 by NIC $i" "$LAB_LOGS/$1-$i.log"
    done
}
busy() { ip netns exec peer timeout $((seconds + 120)) iperf3 -c "10.$1.0.2" -p $((5300 + $1)) -t "$seconds" -f m --bidir; }
download() { [ "$(ip netns exec peer timeout 240 wget -q -O - "http://10.$1.0.2/file" | sha256sum | cut -c1-64)" = "$theirs" ]; }
upload() { [ "$(tell "$1" "wget -q -O - http://10.$1.0.1/file | sha256sum | cut -c1-64")" = "$ours" ]; }

if [ "${tools-iperf3}" ]; then
    step "iperf3 both ways by all at once"
    for i in $(seq $n); do tell "$i" "iperf3 -s -D -p $((5300 + i))" >/dev/null; done
    all_at_once busy
    i=0
    for model in $models; do
        i=$((i + 1))
        result ok "${model%:*} at once with the others: $(awk '/receiver/ { printf "%s%s %s", sep, $(NF - 2), $(NF - 1); sep = " to the guest, " } END { print " from it" }' "$LAB_LOGS/busy-$i.log")"
    done
fi

step "files by all at once"
"$LAB/jobs/make-file" /run/srv/file "$file_mib" peer
ip netns exec peer httpd -p 80 -h /run/srv
theirs=$(tell 1 "sha256sum /tmp/srv/file | cut -c1-64") ours=$(sha256sum /run/srv/file | cut -c1-64)
[ ${#theirs} = 64 ] && [ "$theirs" != "$ours" ] || fail "no file in the guest"
all_at_once download
result ok "$n files of $file_mib MiB from the guest at once, SHA-256 equal"
all_at_once upload
result ok "$n files of $file_mib MiB to the guest at once, SHA-256 equal"

netbackend status >"$LAB_LOGS/status.log" 2>&1
tell 1 "uname -srm" | sed 's/^/RESULT guest /'
tell 1 "touch /tmp/stop" >/dev/null
wait "$guest" || fail "vmm ended with $?" "$LAB_LOGS/guest.log"
