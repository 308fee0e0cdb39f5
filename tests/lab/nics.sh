#!/bin/sh
# title: a legacy NIC of ours beside QEMU's, each in a guest of its own: TCP both ways, small datagrams, exits of the vCPU
# timeout: 1500
# kernel: generic
# programs: qemu-system-x86_64
#
# Figures for `cargo xtask bench nics`:
#
#   RESULT figure WORKLOAD SYSTEM RATE EXITS MB     kbit/s (of `udp`: datagrams/s), exits of the vCPU, and MB that travelled
. "$LAB/lib.sh"
model=${model:-e1000} rounds=${rounds:-2} seconds=${seconds:-2}
# Seconds until a test counts as standing still.
limit=$((seconds * 3 + 30))
debug=/sys/kernel/debug
mountpoint -q $debug || mount -t debugfs debugfs $debug || fail "no debugfs: KVM's counters are there"

cat >/run/netbackend.toml <<TOML
[networks.lan]
mode = "bridge"
[networks.lan.ports.peer]
kind = "tap"
interface = "netbackend"
netns = "peer"
TOML

step "two taps in a namespace, netbackend behind the one"
ip netns add peer || fail "no namespace"
# QEMU's as its own scripts make it: with virtio-net headers, so that checksums and segments may be left to the kernel.
ip netns exec peer ip tuntap add qemu mode tap vnet_hdr || fail "no tap"
start_daemon --config /run/netbackend.toml
for side in netbackend:10.1.0.1 qemu:10.2.0.1; do
    ip -n peer addr add "${side#*:}/24" dev "${side%:*}"
    ip -n peer link set "${side%:*}" up
done

step "boot a guest with a $model of ours, and one with QEMU's"
start_guest ours "job=agent addr0=10.1.0.2/24" --memory 384M --net model="$model",network=lan
ours=$pid
start_qemu qemu "job=agent addr0=10.2.0.2/24" ip netns exec peer -- -machine pc,accel=kvm -m 384M \
    -netdev tap,id=n,ifname=qemu,script=no,downscript=no -device "$model,netdev=n,romfile="
qemu=$pid
await_result ours "$ours" 240 "agent ready"
await_result qemu "$qemu" 240 "agent ready"
for guest in 1 2; do
    await 60 ip netns exec peer ping -c 1 -W 2 "10.$guest.0.2" >/dev/null || fail "no answer from 10.$guest.0.2"
done

counters() { for f in $debug/kvm/"$1"-*/*; do [ -d "$f" ] || echo "${f##*/} $(head -n 1 "$f")"; done; }
# trace PID: what its vCPUs do just now, in the logs.
trace() {
    mountpoint -q $debug/tracing || mount -t tracefs tracefs $debug/tracing
    echo 1 >$debug/tracing/events/kvm/enable
    sleep 0.2
    echo 0 >$debug/tracing/events/kvm/enable
    for thread in /proc/"$1"/task/*; do echo "-${thread##*/} "; done | grep -F -f - $debug/tracing/trace | head -n 400 >"$LAB_LOGS/trace.log"
    echo >$debug/tracing/trace
}
exits() { cat $debug/kvm/"$1"-*/exits; }
bytes() { ip netns exec peer cat "/sys/class/net/$1/statistics/rx_bytes" "/sys/class/net/$1/statistics/tx_bytes" | awk '{ n += $1 } END { printf "%d", n }'; }

# measure SYSTEM PID INTERFACE ADDRESS WORKLOAD OPTIONS
measure() {
    system=$1 vm=$2 interface=$3 address=$4 workload=$5
    shift 5
    counters "$vm" >"$LAB_LOGS/counters.log"
    e=$(exits "$vm") b=$(bytes "$interface")
    left=20 stalled="" began=$(date +%s)
    # Between two tests iperf3's server may not be done with the last.
    until ip netns exec peer timeout $limit iperf3 -c "$address" -t "$seconds" -f k "$@" >"$LAB_LOGS/iperf3.log" 2>&1; do
        # It was ended, as it came to no end.
        [ $(($(date +%s) - began)) -lt $limit ] || { stalled=yes; break; }
        left=$((left - 1))
        alive "$vm" || fail "the guest of $system has ended" "$LAB_LOGS/ours.log" "$LAB_LOGS/qemu.log"
        netbackend status >"$LAB_LOGS/status.log" 2>&1
        [ $left -gt 0 ] || fail "$system $workload: iperf3 fails" "$LAB_LOGS/iperf3.log" "$LAB_LOGS/status.log" "$LAB_LOGS/ours.log"
        step "$system $workload: once more, as iperf3 fails: $(tail -n 1 "$LAB_LOGS/iperf3.log")"
        sleep 1
        e=$(exits "$vm") b=$(bytes "$interface") began=$(date +%s)
    done
    alive "$vm" || fail "the guest of $system has ended" "$LAB_LOGS/ours.log" "$LAB_LOGS/qemu.log"
    e=$(($(exits "$vm") - e)) b=$(($(bytes "$interface") - b))
    if [ "$stalled" ]; then
        # What travelled at all, in either direction.
        rate=$(awk -v b=$b -v s=$limit -v w="$workload" 'BEGIN { printf "%d", (w == "udp" ? b / 60 : b * 8 / 1000) / s }')
        trace "$vm"
        result "note $workload $system stood still: $b bytes in $limit s; KVM since: $(counters "$vm" | awk 'NR == FNR { was[$1] = $2; next } $2 - was[$1] > 100 { printf " %s %d", $1, $2 - was[$1] }' "$LAB_LOGS/counters.log" -)"
    elif [ "$workload" = udp ]; then
        # LOST/TOTAL of what the peer got, in so many seconds
        rate=$(awk -v s="$seconds" '/receiver/ { split($0, parts, /[ \/(]+/); for (i in parts) if (parts[i] == "ms") { lost = parts[i + 1]; total = parts[i + 2] } } END { printf "%d", (total - lost) / s }' "$LAB_LOGS/iperf3.log")
    else
        rate=$(awk '/receiver/ { for (i = 1; i <= NF; i++) if ($i == "Kbits/sec") r = $(i - 1) } END { printf "%d", r }' "$LAB_LOGS/iperf3.log")
    fi
    [ "$workload" = udp ] || [ "$stalled" ] || result "note $workload $system segments-sent-again=$(awk '/sender$/ { print $(NF - 1) }' "$LAB_LOGS/iperf3.log")"
    result figure "$workload" "$system" "$rate" "$e" "$(awk -v b=$b 'BEGIN { printf "%.3f", b / 1e6 }')"
}

round=1
while [ $round -le "$rounds" ]; do
    step "round $round of $rounds"
    for workload in "tx -R" "rx" "udp -R -u -b 0 -l 18"; do
        set -- $workload
        name=$1
        shift
        measure netbackend "$ours" netbackend 10.1.0.2 "$name" "$@"
        measure qemu "$qemu" qemu 10.2.0.2 "$name" "$@"
    done
    round=$((round + 1))
done
netbackend status >"$LAB_LOGS/status.log" 2>&1
