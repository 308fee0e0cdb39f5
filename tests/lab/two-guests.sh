#!/bin/sh
# title: two vmm guests over netbackend: ping, iperf3, 100 MB both ways, MTU 1500 and 9000
# timeout: 900
. "$LAB/lib.sh"
# What may be set from outside: vCPUs, queue pairs, size of the file (96 MiB are 100.7 MB), whether a worker and then the
# daemon are killed while iperf3 runs (0 or 1), how long iperf3 runs.
cpus=${cpus:-1} pairs=${pairs:-1} file_mib=${file_mib:-96} kills=${kills:-0} iperf_s=${iperf_s:-3}

cat >/run/netbackend.toml <<TOML
[networks.lan]
mode = "bridge"

[networks.jumbo]
mode = "bridge"
mtu = 9000
TOML

step "start netbackend"
start_daemon --config /run/netbackend.toml

step "boot two guests with $cpus vCPU and $pairs queue pairs"
nets="--net network=lan,queues=$pairs --net network=jumbo,queues=$pairs"
common="mtu1=9000 file_mib=$file_mib pairs0=$pairs pairs1=$pairs"
start_guest agent "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 $common" \
    --memory 512M --cpus "$cpus" $nets
agent=$pid
start_guest driver "job=checks addr0=10.1.0.2/24 addr1=10.2.0.2/24 $common \
iperf_s=$iperf_s streams=$pairs want_pairs=$pairs peers=10.1.0.1/1500,10.2.0.1/9000 self=10.1.0.2,10.2.0.2" \
    --memory 512M --cpus "$cpus" $nets
driver=$pid
await_result agent "$agent" 240 "agent ready"

step "guest checks: ping, iperf3, files"
if [ "$kills" -gt 0 ]; then
    await_result driver "$driver" 600 "ok ping mtu=1500 size=1472"
    step "kill the worker of lan under iperf3"
    kill_worker lan
    await_result driver "$driver" 600 "ok ping mtu=9000 size=8972"
    step "kill the daemon under iperf3: the guests' ports are on lease, and there again"
    kill_daemon --config /run/netbackend.toml
fi
await_result driver "$driver" 600 "checks passed"
netbackend status >"$LAB_LOGS/status.log" 2>&1
report driver 13
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "the agent's vmm ended with $?" "$LAB_LOGS/agent.log"

step "stop netbackend"
kill "$daemon"
wait "$daemon" || fail "netbackend ended with $? on SIGTERM" "$LAB_LOGS/netbackend.log"
