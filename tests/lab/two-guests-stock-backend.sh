#!/bin/sh
# title: two vmm guests over a back-end of stock crates (vhost-user-backend, virtio-queue)
# timeout: 600
. "$LAB/lib.sh"
file_mib=${file_mib:-20}

step "start the back-end"
start stock-backend stock-backend /run/one.sock /run/two.sock
backend=$pid
await 30 test -S /run/one.sock -a -S /run/two.sock || fail "no sockets" "$LAB_LOGS/stock-backend.log"

step "boot two guests"
start_guest agent "job=agent addr0=10.1.0.1/24 file_mib=$file_mib" --memory 384M --net socket=/run/one.sock
agent=$pid
start_guest driver "job=checks addr0=10.1.0.2/24 peers=10.1.0.1/1500 self=10.1.0.2 file_mib=$file_mib" \
    --memory 384M --net socket=/run/two.sock
driver=$pid
await_result agent "$agent" 200 "agent ready"

step "guest checks: ping, iperf3, files"
await_result driver "$driver" 400 "checks passed"
report driver 6
wait "$driver" || fail "the driver's vmm ended with $?" "$LAB_LOGS/driver.log"
wait "$agent" || fail "the agent's vmm ended with $?" "$LAB_LOGS/agent.log"
alive "$backend" || fail "the back-end died" "$LAB_LOGS/stock-backend.log"
