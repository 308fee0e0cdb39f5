#!/bin/sh
# title: the checks of two-guests with 2 vCPUs and 2 queue pairs each; a worker and the daemon are killed under iperf3
# timeout: 900
cpus=2 pairs=2 kills=1 iperf_s=6
. "$LAB/two-guests.sh"
