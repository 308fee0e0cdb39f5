# Functions for scenarios. A scenario is a POSIX shell script (dash, busybox) that runs as root in a lab host of its
# own (nested), or in fresh namespaces on a machine with real virtualization. It finds:
#
#   $LAB        this directory, with guest/vmlinuz, guest/initrd.img, jobs/
#   $LAB_LOGS   where its logs go
#   $PATH       our programs and the usual tools
#
# It prints `LAB-STEP …` to say what it does and `RESULT …` for what it found; its exit code is the verdict.
set -u
started=""
# How many times as long as usual everything may take: `lab run --patience`.
patience=${patience:-1}

step() { echo "LAB-STEP $*"; }
result() { echo "RESULT $*"; }

# fail TEXT [LOG…]: ends the scenario; shows the ends of the logs.
fail() {
    echo "RESULT fail $1"
    shift
    for log in "$@"; do
        [ -s "$log" ] && echo "--- ${log##*/}" && tail -n 15 "$log"
    done
    exit 1
}

# await SECONDS COMMAND…: polls until COMMAND succeeds.
await() {
    left=$(($1 * patience))
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 1
    done
}

# Ends what the scenario started, and nothing else.
cleanup() {
    for pid in $started; do kill "$pid" 2>/dev/null; done
    for pid in $started; do wait "$pid" 2>/dev/null; done
}
trap cleanup EXIT

# start NAME COMMAND…: in the background, output to $LAB_LOGS/NAME.log, its pid in $pid.
start() {
    log=$LAB_LOGS/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    started="$started $pid"
}

daemon_answers() { netbackend status >/dev/null 2>&1; }

# start_daemon [ARGS…]: netbackend, ready to answer.
start_daemon() {
    start netbackend netbackend "$@"
    daemon=$pid
    await 60 daemon_answers || fail "netbackend does not answer" "$LAB_LOGS/netbackend.log"
}

# kill_daemon [ARGS…]: SIGKILL, and another one in its place; the log of the first is put aside.
kill_daemon() {
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null
    mv "$LAB_LOGS/netbackend.log" "$LAB_LOGS/netbackend-killed.log"
    start_daemon "$@"
}

# kill_worker NETWORK: SIGKILL, and until another one is there.
worker() { netbackend status --json | tr '{,' '\n\n' | sed -n "/\"name\": *\"$1\"/,/worker_pid/s/.*\"worker_pid\": *\([0-9]*\).*/\1/p"; }
worker_changed() { now=$(worker "$1") && [ -n "$now" ] && [ "$now" != "$2" ]; }
kill_worker() {
    victim=$(worker "$1")
    [ -n "$victim" ] || fail "no worker of $1 in the status"
    kill -9 "$victim"
    await 30 worker_changed "$1" "$victim" || fail "no other worker for $1" "$LAB_LOGS/netbackend.log"
}

# start_guest NAME "CMDLINE" VMM-ARGS…: a vmm guest with the stock kernel and the lab's initramfs.
start_guest() {
    name=$1 cmdline=$2
    shift 2
    start "$name" vmm run --name "$name" --kernel "$LAB/guest/vmlinuz" --initrd "$LAB/guest/initrd.img" \
        --cmdline "console=ttyS0 quiet panic=-1 mitigations=off patience=$patience $cmdline" "$@"
}

# start_qemu NAME "CMDLINE" COMMAND… -- ARGS…: the same in QEMU, started by COMMAND… (none, or one that enters a namespace).
start_qemu() {
    name=$1 cmdline=$2
    shift 2
    enter=""
    while [ "$1" != -- ]; do
        enter="$enter $1"
        shift
    done
    shift
    start "$name" $enter qemu-system-x86_64 -L /usr/share/qemu -cpu host -display none -vga none -no-reboot -serial stdio \
        -kernel "$LAB/guest/vmlinuz" -initrd "$LAB/guest/initrd.img" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off patience=$patience $cmdline" "$@"
}

alive() { kill -0 "$1" 2>/dev/null; }

# results NAME: the guest's result lines so far, without one that it is still writing.
results() { head -n "$(wc -l <"$LAB_LOGS/$1.log")" "$LAB_LOGS/$1.log" | tr -d '\r' | grep '^RESULT' | grep -v '^RESULT job'; }

# await_result NAME PID SECONDS PATTERN: until the guest says PATTERN, showing what it says; fails at once when it
# dies first.
await_result() {
    left=$(($3 * patience))
    [ "${shown_of:-}" = "$1" ] || shown=0
    shown_of=$1
    until show_results "$1" && grep -q "RESULT $4" "$LAB_LOGS/$1.log"; do
        left=$((left - 1))
        alive "$2" || grep -q "RESULT $4" "$LAB_LOGS/$1.log" || fail "$1 ended before '$4'" "$LAB_LOGS/$1.log"
        [ $left -gt 0 ] || fail "$1: no '$4' within $(($3 * patience)) s" "$LAB_LOGS/$1.log" "$LAB_LOGS/netbackend.log"
        sleep 1
    done
}

# show_results NAME: those that are new since $shown.
show_results() {
    # Looked at once: a line that comes meanwhile is shown the next time.
    new=$(results "$1" | tail -n +$((shown + 1)))
    [ -n "$new" ] || return 0
    printf '%s\n' "$new" | sed "s/^RESULT/RESULT $1/"
    shown=$((shown + $(printf '%s\n' "$new" | wc -l)))
}

# report NAME EXPECTED: shows the rest of the guest's results; its checks must be EXPECTED many, none failed.
report() {
    show_results "$1"
    tr -d '\r' <"$LAB_LOGS/$1.log" | grep -q "^RESULT checks passed=$2 failed=0$" ||
        fail "$1: not all of $2 checks passed" "$LAB_LOGS/$1.log"
}
