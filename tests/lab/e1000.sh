#!/bin/sh
# title: a guest with two e1000 (stock driver) and a virtio guest: ping, iperf3, files both ways, MTU 1500 and 9000, self-test
# timeout: 900
# kernel: generic
. "$LAB/lib.sh"
file_mib=${file_mib:-6} iperf_s=${iperf_s:-2}

cat >/run/netbackend.toml <<TOML
[networks.lan]
mode = "bridge"

[networks.jumbo]
mode = "bridge"
mtu = 9000
TOML

step "start netbackend"
start_daemon --config /run/netbackend.toml

step "boot a virtio guest and an e1000 guest"
common="mtu1=9000 file_mib=$file_mib"
start_guest agent "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 $common" \
    --memory 384M --net network=lan --net network=jumbo
agent=$pid
start_guest driver "job=checks addr0=10.1.0.2/24 addr1=10.2.0.2/24 $common want_driver=e1000 \
iperf_s=$iperf_s selftest=eth1 peers=10.1.0.1/1500,10.2.0.1/9000 self=10.1.0.2,10.2.0.2" \
    --memory 384M --net model=e1000,network=lan --net model=e1000,network=jumbo
driver=$pid
await_result agent "$agent" 240 "agent ready"

step "guest checks: ping, iperf3, files, self-test"
await_result driver "$driver" 500 "checks passed"
netbackend status >"$LAB_LOGS/status.log" 2>&1
report driver 14
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "the agent's vmm ended with $?" "$LAB_LOGS/agent.log"
