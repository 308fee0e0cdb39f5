#!/bin/sh
# title: the checks of nat for a guest of QEMU
# timeout: 300
# programs: qemu-system-x86_64
front_end=QEMU
. "$LAB/nat.sh"
