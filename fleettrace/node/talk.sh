# Part of other scripts: send a request to a TCP port with whatever program the node has for it.

bounded() {
    if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi
}

# Send standard input to address $1, port $2, and print the answer.
talk() {
    if command -v nc >/dev/null 2>&1; then bounded 1 nc "$1" "$2"
    elif busybox nc --help >/dev/null 2>&1; then bounded 1 busybox nc "$1" "$2"
    elif command -v socat >/dev/null 2>&1; then
        case $1 in *:*) set -- "[$1]" "$2" ;; esac
        bounded 1 socat -t 1 - "TCP:$1:$2"
    else
        bounded 1 perl -MIO::Socket::IP -e 'alarm 1; $s = IO::Socket::IP->new(PeerHost => $ARGV[0],
            PeerPort => $ARGV[1]) or exit 1; print $s <STDIN>; $s->flush; print while <$s>' "$1" "$2"
    fi
}
