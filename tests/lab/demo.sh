#!/bin/sh
# title: two guests on the network that netbackend has by default
# timeout: 400
. "$LAB/lib.sh"
show_results() { :; } # they are worded for people below

step "start netbackend, without any configuration"
start_daemon

step "boot two guests with Debian's stock kernel: vmm run --net network=default …"
begin=$(cut -d. -f1 /proc/uptime)
start_guest agent "job=agent addr0=10.0.0.1/24 file_mib=16" --memory 384M --net network=default
agent=$pid
start_guest driver "job=checks addr0=10.0.0.2/24 peers=10.0.0.1/1500 self=10.0.0.2 file_mib=16" \
    --memory 384M --net network=default
driver=$pid
await_result agent "$agent" 200 "agent ready"
result "boot    a guest is up and answers after $(($(cut -d. -f1 /proc/uptime) - begin)) s"

step "ping, and throughput in both directions"
await_result driver "$driver" 200 "ok iperf3.*from-agent"
netbackend status >"$LAB_LOGS/status.log"
step "a file in both directions"
await_result driver "$driver" 200 "checks passed"
tr -d '\r' <"$LAB_LOGS/driver.log" | sed -n \
    -e 's/^RESULT ok ping mtu=[0-9]* size=\([0-9]*\) rtt \(.*\)/RESULT ping    20 of 20 answered, \1 bytes, min\/avg\/max \2/p' \
    -e 's/^RESULT ok iperf3 mtu=[0-9]* to-agent \(.*\)/RESULT iperf3  one way        \1/p' \
    -e 's/^RESULT ok iperf3 mtu=[0-9]* from-agent \(.*\)/RESULT iperf3  the other way  \1/p' \
    -e 's/^RESULT ok file mtu=[0-9]* [a-z-]* sha256=\([0-9a-f]*\) \(.*\)/RESULT file    16 MiB arrived unchanged (SHA-256 \1…), \2/p' \
    -e 's/^RESULT fail/RESULT FAILED/p'
tr -d '\r' <"$LAB_LOGS/driver.log" | grep -q "^RESULT checks passed=6 failed=0$" ||
    fail "not every check passed" "$LAB_LOGS/driver.log"
result ""
result '$ netbackend status'
while IFS= read -r line; do result "$line"; done <"$LAB_LOGS/status.log"

step "switch both guests off, stop netbackend"
wait "$driver" || fail "a guest's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "a guest's vmm ended with $?" "$LAB_LOGS/agent.log"
kill "$daemon"
wait "$daemon" || fail "netbackend ended with $? on SIGTERM" "$LAB_LOGS/netbackend.log"
