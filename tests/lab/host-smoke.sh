#!/bin/sh
# title: the lab host itself: KVM, tun, namespaces, our programs start
# timeout: 120
. "$LAB/lib.sh"

step "look at KVM"
[ -c /dev/kvm ] || fail "no /dev/kvm" "$LAB_LOGS/insmod.log"
grep -q 'svm\|vmx' /proc/cpuinfo || fail "the CPU has neither svm nor vmx"
result ok kvm "$(dmesg | grep -i 'nested paging' | tail -n 1)"

step "cross a namespace"
ip netns add smoke && ip link add smoke0 type veth peer name eth0 netns smoke || fail "no veth or netns"
ip addr add 10.99.0.1/24 dev smoke0 && ip link set smoke0 up
ip netns exec smoke ip addr add 10.99.0.2/24 dev eth0 && ip netns exec smoke ip link set eth0 up
ping -c 3 -A -q 10.99.0.2 | grep -q ' 0% packet loss' || fail "no ping across a veth pair"
ip netns del smoke
result ok netns

step "start our programs"
for program in netbackend vmm; do
    "$program" --version >"$LAB_LOGS/$program-version.log" 2>&1 ||
        fail "$program does not start" "$LAB_LOGS/$program-version.log"
    result ok "$(cat "$LAB_LOGS/$program-version.log")"
done
