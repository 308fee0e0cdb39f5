#!/bin/sh
# title: all five models in one guest with a 32-bit kernel: files both ways by all at once, with equal SHA-256
# timeout: 900
# kernel: generic-32bit
tools="" . "$LAB/five.sh"
