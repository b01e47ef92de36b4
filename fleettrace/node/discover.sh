# Discover a node: what it is, what it can do, and every memcached process that runs there. Changes nothing.
#
# USAGE: POSIX sh with the usual tools (dash, bash and busybox run it); no python, no binutils, no compiler. Behind
#        identity.sh and abandoned.sh. Set before it: $scope (host|netns), and as arguments the words of the command that
#        runs bpftrace on the node.
# COST: a fraction of a second. Most of it is starting processes, so the shell reads itself what it can.
#
# Prints records `tag NUL value NUL`, so that a value may hold any other byte. A record `process` begins a process, `binary`
# the binary (by device and inode) of the processes after it, and `end` shows that the report is complete.

LC_ALL=C
export LC_ALL
nl='
'
# Both strings are in every memcached since 1.4.8, under any file name.
mark1='expired_unfetched'
mark2='CLIENT_ERROR bad data chunk'
# A binary with another name than memcached is read only up to this size (bytes): memcached is below 16 MiB even when it is
# linked statically, and reading every large binary of a node would displace its page cache.
look_into=16777216

# The 64 digits of a container's id.
hash='[0-9a-f]'
hash=$hash$hash$hash$hash$hash$hash$hash$hash
hash=$hash$hash$hash$hash$hash$hash$hash$hash

# Print tags and values in turn. One call is one write, and one packet.
records() { printf '%s\0' "$@"; }

# Set $link to the target of a link. The dot keeps the shell from removing trailing newlines.
link_of() {
    link=$(readlink "$1" 2>/dev/null; printf .)
    link=${link%.}
    link=${link%"$nl"}
}

# Set $contents to a small file, each line with its newline; empty if it cannot be read.
contents_of() {
    contents=
    while IFS= read -r line || [ -n "$line" ]; do contents="$contents$line$nl"; done 2>/dev/null <"$1"
}

# The effective user of a process, and the features that it uses of an x86 processor, such as `shstk` (kernel 6.6).
uid_of() {
    uid= features=
    while read -r name real effective rest; do
        case $name in
            Uid:) uid=$effective ;;
            x86_Thread_features:) features="$real $effective $rest" ;;
        esac
    done 2>/dev/null <"/proc/$1/status"
}

# The effective capabilities of this shell, in hexadecimal as the kernel prints them.
capabilities() {
    caps=
    while read -r name value _; do
        case $name in CapEff:) caps=$value ;; esac
    done 2>/dev/null </proc/self/status
}

# Set $direct to yes if the bpftrace command ($@) is bpftrace itself: a wrapper may run it in a container with other files.
direct_bpftrace() {
    direct=no magic=
    [ $# -eq 1 ] || return 0
    { read -r magic <"$(command -v "$1")"; } 2>/dev/null
    case $magic in *ELF*) direct=yes ;; esac
}

# Set $headers to yes if bpftrace and clang find linux/types.h, from the kernel's headers or the C library's. $1 is the
# kernel's release.
kernel_headers() {
    headers=no
    for file in "/lib/modules/$1/build/include" "/lib/modules/$1/source/include" /usr/include/linux/types.h \
        /sys/kernel/kheaders.tar.xz "/lib/modules/$1/kernel/kernel/kheaders.ko"*; do
        [ ! -e "$file" ] || headers=yes
    done
}

# Read the preemption model of a kernel that can change it (PREEMPT_DYNAMIC; $1 is the output of `uname -v`): from debugfs,
# else from its command line, else from its configuration.
preemption() {
    preempt= preempt_boot= preempt_built=
    case $1 in *PREEMPT_DYNAMIC*) ;; *) return 0 ;; esac
    contents_of /sys/kernel/debug/sched/preempt
    preempt=$contents
    [ -z "$preempt" ] || return 0
    contents_of /proc/cmdline
    case " $contents" in *" preempt="*) preempt_boot=${contents##*preempt=} preempt_boot=${preempt_boot%%[ "$nl"]*}; return 0 ;; esac
    for file in "/boot/config-$2" "/lib/modules/$2/config" /proc/config.gz; do
        [ -r "$file" ] || continue
        case $file in *.gz) preempt_built=$( { gzip -dc "$file" || zcat "$file"; } 2>/dev/null | grep '^CONFIG_PREEMPT') ;;
            *) preempt_built=$(grep '^CONFIG_PREEMPT' "$file") ;; esac
        return 0
    done
}

# Run a command for at most $1 seconds. Only SIGKILL ends a process that waits for a stuck mount.
bounded() {
    if command -v timeout >/dev/null 2>&1; then timeout -s KILL "$@"; else shift; "$@"; fi
}

# Read files ($3 and so on) in the way $1, for at most $2 seconds.
try_on() {
    way=$1 seconds=$2
    shift 2
    case $way in
        stat) bounded "$seconds" stat -L -c '%h/%d:%i/%s/%n' "$@" ;;
        task) bounded "$seconds" stat -c '%h/%d:%i/%s/%n' "$@" ;;
        # Not -F: busybox's ends a fixed string's search at the first NUL of a line. Without a file grep would read the
        # standard input.
        *) bounded "$seconds" grep -l -e "$way" /dev/null "$@" ;;
    esac 2>/dev/null
}

# Run function $1 on groups of $3 of the files ($5 and so on), $2 groups at once. The function gets $4 and the group.
in_groups() {
    step=$1 at_once=$2 most=$3 way=$4
    shift 4
    group= size=0 running=0
    for file in "$@" ''; do
        if [ -n "$file" ]; then
            group="$group $file" size=$((size + 1))
            [ "$size" -ge "$most" ] || continue
        fi
        [ "$size" -gt 0 ] || continue
        "$step" "$way" $group &
        group= size=0 running=$((running + 1))
        [ "$running" -lt "$at_once" ] || { wait; running=0; }
    done
    wait
}

# Open the files ($2 and so on) one after the other, without a process for each. Print each, and `!FILE` for one without
# an answer; after 12 seconds, for all the others.
answering() {
    shift
    read -r began _ </proc/uptime
    while [ $# -gt 0 ]; do
        read -r now _ </proc/uptime
        if [ "$((${now%.*} - ${began%.*}))" -ge 12 ]; then printf '!%s\n' "$@"; return; fi
        opened=$(bounded 4 sh -c 'for file; do { true <"$file"; } 2>/dev/null; echo "$file"; done' sh "$@" 2>/dev/null)
        [ -z "$opened" ] || printf '%s\n' "$opened"
        for file in $opened; do shift; done
        [ $# -eq 0 ] || { printf '!%s\n' "$1"; shift; }
    done
} 2>/dev/null

alone() {
    try_on "$1" 8 "$2"
    [ $? -lt 124 ] || printf '!%s\n' "$2"
}

# Read all files ($2 and so on) in the way $1. A file on a stuck mount (a dead NFS server, a stopped sshfs) blocks its reader:
# then the files without an answer are found first, and `!FILE` stands for each. There are never more than about 150
# processes at once, however many files there are.
look_on() {
    way=$1
    shift
    answer=$(try_on "$way" 8 "$@")
    case $? in
        # The list is longer than execve(2) takes (E2BIG): 80,000 processes, or a small limit of the stack.
        126) if [ $# -gt 500 ]; then in_groups look_on 1 500 "$way" "$@"; else in_groups look_on 1 1 "$way" "$@"; fi; return ;;
        12[45] | 12[7-9] | 1[3-9]? | 2??) ;;
        *) [ -z "$answer" ] || printf '%s\n' "$answer"; return ;;
    esac
    most=$(($# / 40 + 1))
    # A group's answer is one write(2) that no other one divides (PIPE_BUF).
    [ "$most" -le 100 ] || most=100
    answered=$(in_groups answering 40 "$most" "$way" "$@")
    printf '%s\n' "$answered" | grep '^!'
    set -- $(printf '%s\n' "$answered" | grep '^/')
    [ $# -gt 0 ] || return 0
    answer=$(try_on "$way" 8 "$@")
    if [ $? -lt 124 ]; then
        [ -z "$answer" ] || printf '%s\n' "$answer"
        return
    fi
    # What can be opened and does not answer all the same.
    in_groups alone 50 1 "$way" "$@"
}

describe_node() {
    names=$(uname -rvm)
    release=${names%% *} arch=${names##* } version=${names#* }
    version=${version% *}
    contents_of /sys/devices/system/cpu/possible
    possible=${contents:-0-$(($(getconf _NPROCESSORS_CONF 2>/dev/null || echo 1) - 1))}
    contents_of /proc/filesystems
    tracefs=no timeout=no unshare=no btf=no devfd=no paranoid= hidepid= boot=
    { read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
    randomized=
    { read -r randomized </proc/sys/kernel/randomize_va_space; } 2>/dev/null
    case $contents in *tracefs*) tracefs=mountable ;; esac
    if [ -e /sys/kernel/tracing/events ] || [ -e /sys/kernel/debug/tracing/events ]; then tracefs=yes; fi
    if [ -e /sys/kernel/btf/vmlinux ]; then btf=yes; fi
    if [ -e /dev/fd ]; then devfd=yes; fi
    { read -r paranoid </proc/sys/kernel/perf_event_paranoid; } 2>/dev/null
    capabilities
    # With CAP_SYS_PTRACE hidepid has no effect.
    if [ "$((0x${caps:-0} >> 19 & 1))" = 0 ]; then
        contents_of /proc/mounts
        case $contents in *hidepid=*) hidepid=${contents##*hidepid=} hidepid=${hidepid%%[ ,$nl]*} ;; esac
    fi
    kernel_headers "$release"
    preemption "$version" "$release"
    direct_bpftrace "$@"
    contents_of /sys/kernel/security/lockdown
    if command -v timeout >/dev/null 2>&1; then timeout=yes; fi
    if unshare -m true >/dev/null 2>&1; then unshare=yes; fi
    uid_of self
    # The shell removes a NUL in the output, and may print a warning about it.
    { said=$(bounded 20 "$@" --version 2>&1 </dev/null | head -c 400); } 2>/dev/null
    records kernel "$release" arch "$arch" uid "$uid" possible "$possible" netns "$here" \
        lockdown "$contents" tracefs "$tracefs" timeout "$timeout" unshare "$unshare" bpftrace "$said"
    records version "$version" caps "$caps" paranoid "$paranoid" btf "$btf" headers "$headers" devfd "$devfd" \
        hidepid "$hidepid" preempt "$preempt" preempt-boot "$preempt_boot" \
        preempt-built "$preempt_built" direct "$direct" pidns "$pidns" boot "$boot" randomized "$randomized"
}

# The binaries that run with more than one thread, as every memcached does (its main thread waits for connections that
# others serve), a line each: `DEVICE:INODE/SIZE/PID,PID...`. One stat for all processes; "%d:%i" is the real inode behind
# /proc/PID/exe, also of a binary that was deleted, and /proc/PID/task has a link for each thread besides a directory's two.
binaries() {
    {
        look_on task /proc/[0-9]*/task
        look_on stat /proc/[0-9]*/exe
    } 2>/dev/null | awk -F / '
        $1 == "!" { if (!($3 in single)) print; next }
        $7 == "task" { if ($1 == 3) single[$6] = 1; next }
        $6 in single { next }
        !($2 in pids) { inodes[++count] = $2 }
        { size[$2] = $3; pids[$2] = pids[$2] "," $6 }
        END { for (i = 1; i <= count; i++) print inodes[i] "/" size[inodes[i]] "/" substr(pids[inodes[i]], 2) }'
}

# Set $pid to the first process of $1, `PID,PID...`, that has not ended; $2 is the size of their binary. Fail without one,
# and if the binary is not to be read.
look_at() {
    IFS=,
    for pid in $1; do
        unset IFS
        # Test the link, not its target.
        [ -L "/proc/$pid/exe" ] || continue
        [ "$2" -gt "$look_into" ] || return 0
        link_of "/proc/$pid/exe"
        case "${link##*/}" in *memcached*) return 0 ;; *) return 1 ;; esac
    done
    unset IFS
    return 1
}

# Print the files of $@ that are memcached, by their content: a renamed memcached is recognized, and a wrapper that is only
# named memcached is not.
memcacheds() {
    [ $# -gt 0 ] || return
    marked=$(look_on "$mark1" "$@")
    look_on "$mark2" $(printf '%s\n' "$marked" | grep '^/')
    printf '%s\n' "$marked" | grep '^!'
}

# The addresses and TCP ports that process $1 listens on, as /proc/net/tcp has them, by way of its sockets' inodes.
#
# A file can be called `socket:[N]`, or ` -> socket:[N]`, or have that in its second line: a socket is what stands behind
# the first arrow as a whole, and -q shows a newline as a question mark, as busybox does without it.
listens_of() {
    {
        cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null
        QUOTING_STYLE=literal TIME_STYLE=long-iso ls "$listing" "/proc/$1/fd" 2>/dev/null
    } | awk '
        $4 == "0A" && NF > 9 { listens[$10] = $2; next }
        {
            target = substr($0, index($0, " -> ") + 4)
            if (target !~ /^socket:\[[0-9]+\]$/) next
            inode = substr(target, 9, length(target) - 9)
            if (inode in listens && !(listens[inode] in seen)) { seen[listens[inode]] = 1; printf "%s ", listens[inode] }
        }'
}

describe_process() {
    contents_of "/proc/$1/stat"
    # The command's name stands in parentheses and may hold anything, parentheses too: go from the last one.
    stat=${contents##*") "}
    set -- "$1" "$2" $stat
    pid=$1 inode=$2
    shift 2
    [ $# -ge 20 ] || return
    shift 19
    # Where its code, stack, data, heap, arguments and environment begin: only who may trace it reads these (proc(5)).
    start=$1 layout="${5:-} ${7:-} ${24:-} ${26:-} ${27:-} ${29:-}"
    link_of "/proc/$pid/exe"
    uid_of "$pid"
    user=
    while IFS=: read -r name _ number _; do
        case $number in "$uid") user=$name; break ;; esac
    done 2>/dev/null </etc/passwd
    # A proxy's option; `read` leaves out the NULs between the arguments.
    proxy=no
    contents_of "/proc/$pid/cmdline"
    case $contents in *proxy_config=*) proxy=yes ;; esac
    contents_of "/proc/$pid/cgroup"
    case $contents in *$hash*) contained=yes ;; esac
    # In the initial namespace bpftrace uses the same pids.
    space=
    case $pidns in *4026531836*) ;; *) space=$(readlink "/proc/$pid/ns/pid" 2>/dev/null) ;; esac
    records process "$pid" start "$start" layout "$layout" features "$features" inode "$inode" exe "$link" uid "$uid" user "$user" cgroup "$contents" pidns "$space" \
        proxy "$proxy" \
        netns "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" listens "$(listens_of "$pid")"
}

describe_binary() {
    sum_of "/proc/$1/exe" "$3"
    records binary "$2" size "$3" sha256 "$sum" owner "$(bounded 8 stat -L -c %u "/proc/$1/exe" 2>/dev/null)"
}

# Find processes named memcached with a binary that the session may not read: without CAP_SYS_PTRACE, or on a file system
# that denies root (FUSE without allow_other, NFS with root_squash), where the link can still be read. An ended process has
# no command line.
unreadable() {
    unseen=
    set --
    for file in $(look_on memcached /proc/[0-9]*/comm); do
        case $file in /proc/[0-9]*) ;; *) continue ;; esac
        pid=${file#/proc/}
        pid=${pid%/comm}
        case " $seen$stuck " in *" $pid "* | *"!/proc/$pid/exe "*) ;; *) set -- "$@" "$pid" ;; esac
    done
    [ $# -gt 0 ] || return 0
    for pid in $(bounded 8 sh -c 'for pid; do true <"/proc/$pid/exe" || echo "$pid"; done' sh "$@" 2>/dev/null); do
        words=
        { read -r words <"/proc/$pid/cmdline"; } 2>/dev/null
        [ -n "$words" ] || continue
        if [ "$scope" = netns ]; then
            space=$(readlink "/proc/$pid/ns/net" 2>/dev/null)
            [ "${space:-$here}" = "$here" ] || continue
        fi
        unseen="$unseen $pid"
    done
}

# Find processes of the dynamic loader (`ld-linux-x86-64.so.2 /usr/bin/memcached`) that have memcached in their memory: their
# binary is the loader. At most sixteen are examined.
by_loader() {
    loaded=
    set --
    for file in $(look_on '^ld[-.6]' /proc/[0-9]*/comm); do
        [ $# -lt 16 ] || break
        case $file in /proc/[0-9]*) set -- "$@" "${file%/comm}/maps" ;; esac
    done
    [ $# -gt 0 ] || return 0
    for file in $(bounded 8 grep -l '/[^/]*memcached[^/]*$' /dev/null "$@" 2>/dev/null); do
        file=${file#/proc/}
        loaded="$loaded ${file%/maps}"
    done
}

# Print the TCP ports with a listening socket in the session's network namespace, as /proc/net/tcp has them.
listening() {
    cat /proc/self/net/tcp /proc/self/net/tcp6 2>/dev/null | awk '
        $4 == "0A" && NF > 9 { sub(/.*:/, "", $2); if (!($2 in seen)) { seen[$2] = 1; printf "%s ", $2 } }'
}

# Print the containers of each installed container runtime, within 5 s each.
describe_containers() {
    for runtime in docker podman nerdctl; do
        command -v "$runtime" >/dev/null 2>&1 || continue
        records "containers-$runtime" "$(bounded 5 "$runtime" ps --no-trunc --format '{{.ID}} {{.Names}} {{.Image}}' 2>/dev/null </dev/null | tr -d '\0')"
    done
    if command -v crictl >/dev/null 2>&1; then
        records containers-crictl "$(bounded 5 crictl ps -o json 2>/dev/null </dev/null | tr -d '\0')"
    fi
}

watch_input
here=$(readlink /proc/self/ns/net)
# The PID namespace that this /proc shows: the one of its process 1. The initial one has this number on every kernel.
pidns=$(readlink /proc/1/ns/pid 2>/dev/null || readlink /proc/self/ns/pid)
describe_node "$@"
contained=no found=0 stuck= seen=
listing=-lnq
ls "$listing" / >/dev/null 2>&1 || listing=-ln
running=$(binaries)
looked=$nl
set --
for binary in $running; do
    case $binary in !*) stuck="$stuck $binary"; continue ;; esac
    rest=${binary#*/}
    look_at "${rest#*/}" "${rest%%/*}" || continue
    set -- "$@" "/proc/$pid/exe"
    looked=$looked/proc/$pid/exe$nl
done
ours=$nl$(memcacheds "$@")$nl
for found_at in $ours; do
    case $found_at in !*) stuck="$stuck $found_at" ;; esac
done
for binary in $running; do
    case $binary in !*) continue ;; esac
    inode=${binary%%/*}
    rest=${binary#*/}
    size=${rest%%/*}
    known=no described=no looked_at=none
    IFS=,
    for pid in ${rest#*/}; do
        unset IFS
        case $ours in *"$nl/proc/$pid/exe$nl"*) known=yes ;; esac
        case $looked in *"$nl/proc/$pid/exe$nl"*) looked_at=$pid ;; esac
    done
    if [ "$known" = no ]; then
        # If the process that was read has ended, another one of that binary can still be read.
        case $looked in *"$nl/proc/$looked_at/exe$nl"*) ;; *) continue ;; esac
        [ ! -L "/proc/$looked_at/exe" ] && look_at "${rest#*/}" "$size" && [ -n "$(memcacheds "/proc/$pid/exe")" ] || continue
    fi
    IFS=,
    for pid in ${rest#*/}; do
        unset IFS
        [ "$scope" != netns ] || [ "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" = "$here" ] || continue
        [ "$described" = yes ] || describe_binary "$pid" "$inode" "$size"
        described=yes
        describe_process "$pid" "$inode"
        found=$((found + 1)) seen="$seen$pid "
    done
done
[ "$contained" = no ] || describe_containers
unreadable
by_loader
[ -z "$unseen" ] || records unseen "$unseen"
[ -z "$loaded" ] || records loaded "$loaded"
records listening "$(listening)"
[ -z "$stuck" ] || records stuck "$stuck"
unwatch
records end "$found"
