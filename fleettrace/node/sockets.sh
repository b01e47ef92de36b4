# List the sockets of processes, and the peers of those in their network namespaces.
#
# USAGE: set before it: $pids. Prints a record (see records.py) `sockets` for each process: a line `f DESCRIPTOR INODE` for
#        each socket, `t ADDRESS INODE` for each connected TCP socket with a peer as /proc/net/tcp has it, and `u INODE`
#        for each Unix socket.
# COST: ls and sed over /proc/PID/fd and /proc/PID/net, some milliseconds for a thousand connections.

# A file can be called ` 5 -> socket:[N]`, or have that in its second line: a socket is what stands behind the first arrow as
# a whole, and -q shows a newline as a question mark, as busybox does without it.
listing=-ln
QUOTING_STYLE=literal ls -lnq /proc/self/fd >/dev/null 2>&1 && listing=-lnq

for pid in $pids; do
    printf 'sockets\0%s\n' "$pid"
    QUOTING_STYLE=literal ls "$listing" "/proc/$pid/fd" 2>/dev/null | sed -n 's/^[^>]* \([0-9]*\) -> socket:\[\([0-9]*\)\]$/f \1 \2/p'
    for table in tcp tcp6; do
        sed -n 's/^ *[0-9]*: [0-9A-F:]* \([0-9A-F]*\):[0-9A-F]* [0-9A-F]* [0-9A-F:]* [0-9A-F:]* [0-9A-F]*  *[0-9]*  *[0-9]*  *\([0-9]*\) .*/t \1 \2/p' \
            "/proc/$pid/net/$table" 2>/dev/null
    done
    sed -n 's/^[0-9a-f]*: [0-9A-F]* [0-9A-F]* [0-9A-F]* [0-9A-F]* [0-9A-F]*  *\([0-9]*\).*/u \1/p' "/proc/$pid/net/unix" 2>/dev/null
    printf '\0'
done
printf 'end\0\0'
