#!/bin/sh
# title: the checks of two-guests with 2 vCPUs and 2 queue pairs each
# timeout: 900
cpus=2 pairs=2
. "$LAB/two-guests.sh"
