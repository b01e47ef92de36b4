# Look around on a node: what it is, what it can do, and every memcached that runs there. Changes nothing.
#
# POSIX sh with the usual tools (dash, bash and busybox run it); no python, no binutils, no compiler.
# Set before it: $scope (host|netns), and as arguments the words of the command that runs bpftrace on the node.
# Prints records `tag NUL value NUL`, so that any byte that can be in a path or a name survives. A record `process`
# opens a process, `binary` the binary (by device and inode) that the processes after it may share, and `end` says
# that nothing was cut off.

LC_ALL=C
export LC_ALL
nl='
'
# Both strings are in every memcached since 1.4.8, whatever its file is called.
mark1='expired_unfetched'
mark2='CLIENT_ERROR bad data chunk'
# A process whose name does not say memcached is looked into only up to this size (bytes): memcached is below 16 MiB
# even when it is linked statically, and reading every large binary of a node would cost it page cache.
look_into=16777216

record() { printf '%s\0%s\0' "$1" "$2"; }

# The target of a link, with every byte of it: the dot keeps trailing newlines from the shell.
link_of() {
    link=$(readlink "$1" 2>/dev/null; printf .)
    link=${link%.}
    link=${link%"$nl"}
}

bounded() {
    if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi
}

describe_node() {
    record kernel "$(uname -r)"
    record arch "$(uname -m)"
    record uid "$(id -u)"
    record cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c '^processor' /proc/cpuinfo)"
    record possible "$(cat /sys/devices/system/cpu/possible 2>/dev/null)"
    record netns "$(readlink /proc/self/ns/net)"
    record ticks "$(getconf CLK_TCK 2>/dev/null || echo 100)"
    record lockdown "$(cat /sys/kernel/security/lockdown 2>/dev/null)"
    if [ -e /sys/kernel/tracing/events ] || [ -e /sys/kernel/debug/tracing/events ]; then record tracefs yes; else record tracefs no; fi
    if command -v timeout >/dev/null 2>&1; then record timeout yes; else record timeout no; fi
    if unshare -m true >/dev/null 2>&1; then record unshare yes; else record unshare no; fi
    record uptime "$(cut -d ' ' -f 1 /proc/uptime)"
    record clock "$(date +%s.%N 2>/dev/null)"
    record bpftrace "$(bounded 20 "$@" --version 2>&1 </dev/null | head -c 400 | tr -d '\0')"
}

# Whether the binary of process $1, $2 bytes long, is memcached: by its content, so a renamed one is found and a
# wrapper that is only called memcached is not.
is_memcached() {
    if [ "$2" -gt "$look_into" ]; then
        link_of "/proc/$1/exe"
        case "${link##*/}" in *memcached*) ;; *) return 1 ;; esac
    fi
    # Not -F: busybox's ends a fixed string's search at the first NUL of a line.
    grep -q -e "$mark1" "/proc/$1/exe" 2>/dev/null && grep -q -e "$mark2" "/proc/$1/exe" 2>/dev/null
}

# The addresses and TCP ports that process $1 listens on, as /proc/net/tcp has them, by way of its sockets' inodes.
listens_of() {
    { cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null; ls -l "/proc/$1/fd" 2>/dev/null; } | awk '
        $4 == "0A" && NF > 9 { listens[$10] = $2; next }
        match($0, /socket:\[[0-9]+\]$/) {
            inode = substr($0, RSTART + 8, RLENGTH - 9)
            if (inode in listens && !(listens[inode] in seen)) { seen[listens[inode]] = 1; printf "%s ", listens[inode] }
        }'
}

describe_process() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return
    # The command's name stands in parentheses and may hold anything, parentheses too: go from the last one.
    stat=${stat##*") "}
    set -- "$1" "$2" $stat
    pid=$1 inode=$2
    shift 2
    [ $# -ge 20 ] || return
    shift 19
    record process "$pid"
    record start "$1"
    record inode "$inode"
    link_of "/proc/$pid/exe"
    record exe "$link"
    uid=$(awk '$1 == "Uid:" { print $3 }' "/proc/$pid/status" 2>/dev/null)
    record uid "$uid"
    record user "$(awk -F : -v uid="$uid" '$3 == uid { print $1; exit }' /etc/passwd 2>/dev/null)"
    record cgroup "$(cat "/proc/$pid/cgroup" 2>/dev/null)"
    record netns "$(readlink "/proc/$pid/ns/net" 2>/dev/null)"
    record listens "$(listens_of "$pid")"
}

describe_binary() {
    record binary "$2"
    record size "$3"
    # The first pages hold the program headers and, as linkers place it, the build id.
    record head "$(head -c 4096 "/proc/$1/exe" 2>/dev/null | od -An -v -tx1 | tr -d ' \n')"
}

# What the container runtimes call their containers; each is asked only if it is there, and for 5 s at most.
describe_containers() {
    for runtime in docker podman nerdctl; do
        command -v "$runtime" >/dev/null 2>&1 || continue
        record "containers-$runtime" "$(bounded 5 "$runtime" ps --no-trunc --format '{{.ID}} {{.Names}} {{.Image}}' 2>/dev/null </dev/null | tr -d '\0')"
    done
    if command -v crictl >/dev/null 2>&1; then
        record containers-crictl "$(bounded 5 crictl ps -o json 2>/dev/null </dev/null | tr -d '\0')"
    fi
}

# The binaries that run, a line each: `DEVICE:INODE/SIZE/PID,PID...`. One stat for all processes; "%d:%i" is the real
# inode behind /proc/PID/exe, also of a binary that was deleted.
binaries() {
    stat -L -c '%d:%i/%s/%n' /proc/[0-9]*/exe 2>/dev/null | awk -F / '
        !($1 in pids) { inodes[++count] = $1 }
        { size[$1] = $2; pids[$1] = pids[$1] "," $5 }
        END { for (i = 1; i <= count; i++) print inodes[i] "/" size[inodes[i]] "/" substr(pids[inodes[i]], 2) }'
}

describe_node "$@"
here=$(readlink /proc/self/ns/net)
contained=no found=0
for binary in $(binaries); do
    inode=${binary%%/*}
    rest=${binary#*/}
    size=${rest%%/*}
    ours=no described=no
    IFS=,
    for pid in ${rest#*/}; do
        unset IFS
        # A process that has ended meanwhile says nothing of its binary.
        [ "$ours" = yes ] || is_memcached "$pid" "$size" || { [ -e "/proc/$pid/exe" ] && break; continue; }
        ours=yes
        [ "$scope" != netns ] || [ "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" = "$here" ] || continue
        [ "$described" = yes ] || describe_binary "$pid" "$inode" "$size"
        described=yes
        describe_process "$pid" "$inode"
        found=$((found + 1))
        grep -q -E '[0-9a-f]{64}' "/proc/$pid/cgroup" 2>/dev/null && contained=yes
    done
done
[ "$contained" = no ] || describe_containers
record end "$found"
