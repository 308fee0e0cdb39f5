#!/bin/sh
# title: two guests on the network that netbackend has by default, and the world behind its gateway
# timeout: 500
. "$LAB/lib.sh"
. "$LAB/beyond.sh"
show_results() { :; } # they are worded for people below

start_beyond 4
step "start netbackend, without any configuration"
start_daemon
netbackend forward add tcp:8080=web:80 || fail "no forward" "$LAB_LOGS/netbackend.log"

step "boot two guests with Debian's stock kernel: vmm run --net network=default …"
begin=$(cut -d. -f1 /proc/uptime)
start_guest agent "job=agent addr0=10.0.0.1/24 file_mib=16" --memory 384M --net network=default
agent=$pid
start_guest driver "job=demo addr0=10.0.0.2/24 peers=10.0.0.1/1500 self=10.0.0.2 file_mib=16 name=web $beyond" \
    --memory 384M --net network=default
driver=$pid
await_result agent "$agent" 200 "agent ready"
result "boot    a guest is up and answers after $(($(cut -d. -f1 /proc/uptime) - begin)) s"

step "ping, and throughput in both directions"
await_result driver "$driver" 200 "ok iperf3.*from-agent"
netbackend status >"$LAB_LOGS/status.log"
step "a file in both directions"
await_result driver "$driver" 200 "checks passed=6"
tr -d '\r' <"$LAB_LOGS/driver.log" | sed -n \
    -e 's/^RESULT ok ping mtu=[0-9]* size=\([0-9]*\) rtt \(.*\)/RESULT ping    20 of 20 answered, \1 bytes, min\/avg\/max \2/p' \
    -e 's/^RESULT ok iperf3 mtu=[0-9]* to-agent \(.*\)/RESULT iperf3  one way        \1/p' \
    -e 's/^RESULT ok iperf3 mtu=[0-9]* from-agent \(.*\)/RESULT iperf3  the other way  \1/p' \
    -e 's/^RESULT ok file mtu=[0-9]* [a-z-]* sha256=\([0-9a-f]*\) \(.*\)/RESULT file    16 MiB arrived unchanged (SHA-256 \1…), \2/p' \
    -e 's/^RESULT fail/RESULT FAILED/p'
tr -d '\r' <"$LAB_LOGS/driver.log" | grep -q "^RESULT checks passed=6 failed=0$" ||
    fail "not every check passed" "$LAB_LOGS/driver.log"

step "one of them asks for a lease, and goes out through the gateway"
await_result driver "$driver" 200 "agent ready"
tr -d '\r' <"$LAB_LOGS/driver.log" | sed -n \
    -e 's/^RESULT ok lease \(.*\)/RESULT lease   \1/p' \
    -e 's/^RESULT ok autoconf \(.*\)/RESULT IPv6    \1/p' \
    -e 's/^RESULT ok ping server \(.*\)/RESULT ping    a server beyond the host answers, min\/avg\/max \1/p' \
    -e 's/^RESULT ok dns \(www[^ ]*\) \(A*\) [^:]*: *\(.*\)/RESULT dns     \1 has \2 \3/p' \
    -e 's/^RESULT ok download \(.*\) sha256=\([0-9a-f]*\) in \(.*\)/RESULT file    4 MiB \1 arrived unchanged (SHA-256 \2…), \3/p' \
    -e 's/^RESULT ok traceroute \(.*\)/RESULT route   2 hops: \1/p'
tr -d '\r' <"$LAB_LOGS/driver.log" | grep -q "^RESULT checks passed=16 failed=0$" ||
    fail "not every check behind the gateway passed" "$LAB_LOGS/driver.log"
step "netbackend forward add tcp:8080=web:80: and in, from the host to the guest"
sent=$(sed -n 's/^RESULT serves sha256=\([0-9a-f]*\).*/\1/p' "$LAB_LOGS/driver.log")
came=$(timeout 60 wget -q -O - http://127.0.0.1:8080/file | hash_of)
[ "$came" = "$sent" ] || fail "the forward brought $came, not $sent" "$LAB_LOGS/netbackend.log"
result "forward http://127.0.0.1:8080/ is the guest's web server: its file arrived unchanged (SHA-256 $came)"
timeout 30 wget -q -O - --post-data 'touch /tmp/stop' http://127.0.0.1:8080/cgi-bin/run
result ""
result '$ netbackend status'
while IFS= read -r line; do result "$line"; done <"$LAB_LOGS/status.log"

step "switch both guests off, stop netbackend"
wait "$driver" || fail "a guest's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "a guest's vmm ended with $?" "$LAB_LOGS/agent.log"
kill "$daemon"
wait "$daemon" || fail "netbackend ended with $? on SIGTERM" "$LAB_LOGS/netbackend.log"
