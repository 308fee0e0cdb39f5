# A server beyond the host: web pages, names, an echo. Parameters for a guest's job `nat` are in $beyond afterwards.
hash_of() { openssl dgst -sha256 | sed 's/.*= *//'; }
beyond_listens() {
    sockets=$(ip netns exec beyond netstat -ltn)
    for port in 7 53 80; do
        echo "$sockets" | grep -q ":$port " || return 1
    done
}

# start_beyond MIB: with a file of so many MiB.
start_beyond() {
    ip netns add beyond || fail "no namespace"
    ip link add up0 type veth peer name down0 netns beyond
    for side in "up0 1" "down0 2"; do
        set -- "$1" $side
        [ "$2" = up0 ] && at="" || at="-n beyond"
        ip $at addr add "192.0.2.$3/24" dev "$2"
        ip $at addr add "fd99::$3/64" dev "$2" nodad
        ip $at link set "$2" up
    done
    ip -n beyond link set lo up
    mkdir -p /tmp/beyond/cgi-bin
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nhead -c "$CONTENT_LENGTH" | openssl dgst -sha256 | sed "s/.*= *//"\n' \
        >/tmp/beyond/cgi-bin/sum
    chmod +x /tmp/beyond/cgi-bin/sum
    "$LAB/jobs/make-file" /tmp/beyond/file "$1" beyond
    start httpd ip netns exec beyond httpd -f -p "[::]:80" -h /tmp/beyond
    start echo ip netns exec beyond nc -ll -p 7 -e cat
    start dns ip netns exec beyond dnsmasq -d --no-resolv --no-hosts --user= --conf-file=/dev/null \
        --host-record=www.example.org,192.0.2.2,fd99::2
    # The host's own DNS server, for this scenario only.
    echo "nameserver 192.0.2.2" >/run/resolv.conf
    mkdir -p /etc && [ -e /etc/resolv.conf ] || : >/etc/resolv.conf
    mount --bind /run/resolv.conf /etc/resolv.conf || fail "no resolv.conf"
    await 20 beyond_listens || fail "the server does not listen" "$LAB_LOGS/httpd.log" "$LAB_LOGS/dns.log" "$LAB_LOGS/echo.log"
    beyond="server4=192.0.2.2 server6=fd99::2 www=www.example.org sha256=$(hash_of </tmp/beyond/file)"
}
