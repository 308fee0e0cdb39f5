#!/bin/sh
# title: a guest with an Am79C970A and an Am79C973 (pcnet32), and a virtio guest: DHCP, ping, iperf3, files, VLANs, multicast, self-test, reloads
# timeout: 900
# kernel: generic
#
# The full sizes of a long run: --set file_mib=100 --set cycles=50 --set iperf_s=10 --patience 6
. "$LAB/lib.sh"
file_mib=${file_mib:-2} iperf_s=${iperf_s:-1} cycles=${cycles:-3}

cat >/run/netbackend.toml <<TOML
[networks.pci]
mode = "bridge"

[networks.fast]
mode = "bridge"

[networks.world]
mode = "nat"
TOML

step "start netbackend"
start_daemon --config /run/netbackend.toml

step "boot a virtio guest and a guest with both chips"
start_guest agent "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 file_mib=$file_mib" \
    --memory 384M --net network=pci --net network=fast
agent=$pid
start_guest driver "job=checks addr0=10.1.0.2/24 addr1=10.2.0.2/24 file_mib=$file_mib want_driver=pcnet32,pcnet32 dhcp=eth2 \
iperf_s=$iperf_s cycles=$cycles selftest=eth0,eth1 sizes=0,1,17,18,19,1000,1471 \
peers=10.1.0.1/1500,10.2.0.1/1500 self=10.1.0.2,10.2.0.2" \
    --memory 384M --net model=pcnet,network=pci --net model=pcnet-79c973,network=fast \
    --net model=pcnet,network=world
driver=$pid
await_result agent "$agent" 240 "agent ready"

step "guest checks: ping, iperf3, files, VLANs, multicast, DHCP, self-test, reloads"
await_result driver "$driver" 500 "checks passed"
netbackend status >"$LAB_LOGS/status.log" 2>&1
report driver 39
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "the agent's vmm ended with $?" "$LAB_LOGS/agent.log"
