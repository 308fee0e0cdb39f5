#!/bin/sh
# title: a guest with three e1000 (stock driver) and a virtio guest: DHCP, ping, iperf3, files, MTU 1500 and 9000, VLANs, multicast, self-test, reloads
# timeout: 900
# kernel: generic
. "$LAB/lib.sh"
# The full sizes of a long run: --set file_mib=100 --set cycles=50 --set iperf_s=10 --patience 6
file_mib=${file_mib:-6} iperf_s=${iperf_s:-2} cycles=${cycles:-1}

cat >/run/netbackend.toml <<TOML
[networks.lan]
mode = "bridge"

[networks.jumbo]
mode = "bridge"
mtu = 9000

[networks.world]
mode = "nat"
TOML

step "start netbackend"
start_daemon --config /run/netbackend.toml

step "boot a virtio guest and a guest with e1000"
common="mtu1=9000 file_mib=$file_mib"
start_guest agent "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 $common" \
    --memory 384M --net network=lan --net network=jumbo
agent=$pid
start_guest driver "job=checks addr0=10.1.0.2/24 addr1=10.2.0.2/24 $common want_driver=e1000 \
iperf_s=$iperf_s cycles=$cycles selftest=eth1 dhcp=eth2 sizes=0,1,17,18,19,56,1000,1471,1472,1473,4000,8971 \
peers=10.1.0.1/1500,10.2.0.1/9000 self=10.1.0.2,10.2.0.2" \
    --memory 384M --net model=e1000,network=lan --net model=e1000,network=jumbo \
    --net model=e1000,network=world
driver=$pid
await_result agent "$agent" 240 "agent ready"

step "guest checks: ping, iperf3, files, VLANs, multicast, DHCP, self-test, reloads"
await_result driver "$driver" 500 "checks passed"
netbackend status >"$LAB_LOGS/status.log" 2>&1
[ "$cycles" -gt 0 ] && expected=43 || expected=33
report driver $expected
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "the agent's vmm ended with $?" "$LAB_LOGS/agent.log"
