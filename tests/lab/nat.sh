#!/bin/sh
# title: a vmm guest behind the gateway of netbackend's default network: lease, names, files both ways over IPv4 and IPv6, forwards
# timeout: 300
. "$LAB/lib.sh"
. "$LAB/beyond.sh"
file_mib=${file_mib:-4}

step "a server beyond the host"
start_beyond "$file_mib"

step "start netbackend, without any configuration; forward ports to a guest that is not there yet"
start_daemon
netbackend forward add tcp:8080=web:80 || fail "no forward" "$LAB_LOGS/netbackend.log"

step "boot a guest"
job="job=nat name=web $beyond file_mib=$file_mib"
if [ "${front_end:-vmm}" = vmm ]; then
    start_guest web "$job" --memory 384M --net network=default
else
    socket=$(netbackend port add default --name web) || fail "no port" "$LAB_LOGS/netbackend.log"
    start_qemu web "$job" -- -machine q35,accel=kvm,memory-backend=m -object memory-backend-memfd,id=m,size=384M,share=on -m 384M \
        -chardev socket,id=c,path="${socket##* }" -netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n,romfile=
fi
web=$pid
await_result web "$web" 240 "agent ready"
netbackend status >"$LAB_LOGS/status.log" 2>&1
netbackend leases >"$LAB_LOGS/leases.log" 2>&1
netbackend flows >"$LAB_LOGS/flows.log" 2>&1
report web 16

step "come in by forwarded ports, over IPv4 and IPv6"
sent=$(sed -n 's/^RESULT serves sha256=\([0-9a-f]*\).*/\1/p' "$LAB_LOGS/web.log" | tr -d '\r')
for host in 127.0.0.1 "[::1]" 192.0.2.1; do
    came=$(timeout 60 wget -q -O - "http://$host:8080/file" | hash_of)
    [ "$came" = "$sent" ] || fail "forward by $host: sha256 is $came, not $sent" "$LAB_LOGS/netbackend.log"
    result "ok forward $host sha256=$came"
done
grep -q 'web' "$LAB_LOGS/leases.log" || fail "the lease is not listed" "$LAB_LOGS/leases.log"

step "switch the guest off, stop netbackend"
timeout 30 wget -q -O - --post-data 'touch /tmp/stop' http://127.0.0.1:8080/cgi-bin/run
wait "$web" || fail "the guest's ${front_end:-vmm} ended with $?" "$LAB_LOGS/web.log"
kill "$daemon"
wait "$daemon" || fail "netbackend ended with $? on SIGTERM" "$LAB_LOGS/netbackend.log"
