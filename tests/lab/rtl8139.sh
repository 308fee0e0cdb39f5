#!/bin/sh
# title: a guest with two RTL8139C+ (8139cp) and two RTL8139C (8139too), and a virtio guest: DHCP, ping, iperf3, files, VLANs, multicast, reloads
# timeout: 900
# kernel: generic
#
# The full sizes of a long run: --set file_mib=100 --set cycles=50 --set iperf_s=10 --patience 6
. "$LAB/lib.sh"
file_mib=${file_mib:-1} iperf_s=${iperf_s:-2} cycles=${cycles:-2}

cat >/run/netbackend.toml <<TOML
[networks.plus]
mode = "bridge"

[networks.c]
mode = "bridge"

[networks.world]
mode = "nat"
TOML

step "start netbackend"
start_daemon --config /run/netbackend.toml

step "boot a virtio guest and a guest with both chips"
start_guest agent "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 file_mib=$file_mib" \
    --memory 384M --net network=plus --net network=c
agent=$pid
start_guest driver "job=checks addr0=10.1.0.2/24 addr2=10.2.0.2/24 file_mib=$file_mib want_driver=8139cp,8139cp,8139too,8139too \
iperf_s=$iperf_s offloads=eth0 cycles=$cycles sizes=0,1,17,18,19,56,1000,1471 \
cards=eth0,eth2 dhcp=eth1,eth3 peers=10.1.0.1/1500,10.2.0.1/1500 self=10.1.0.2,10.2.0.2" \
    --memory 384M \
    --net model=rtl8139,network=plus --net model=rtl8139,network=world \
    --net model=rtl8139c,network=c --net model=rtl8139c,network=world
driver=$pid
await_result agent "$agent" 240 "agent ready"

step "guest checks: ping, iperf3, files, VLANs, multicast, DHCP, reloads"
await_result driver "$driver" 500 "checks passed"
netbackend status >"$LAB_LOGS/status.log" 2>&1
report driver 43
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "the agent's vmm ended with $?" "$LAB_LOGS/agent.log"
