#!/bin/sh
# title: stock guest boot under vmm with variants (throwaway)
# timeout: 200
. "$LAB/lib.sh"
step "boot one guest"
start_guest agent "job=agent" --memory 384M
await_result agent "$pid" 150 "agent ready"
result ok booted after "$(cat /proc/uptime)"
