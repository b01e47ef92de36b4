# Sample memcached processes repeatedly: their own counters, and the CPU time that they used.
#
# USAGE: behind talk.sh; with bash, or POSIX sh and nc, socat or perl. bash keeps one connection to each memcached and starts no process
#        between two samples. Arguments:
#   $1 $2 $3  the pause between two samples: where the traced window begins and ends, and in between, both in seconds; and
#             the latter in hundredths of a second
#   $4        the window's length in hundredths of a second
#   $5 $6     the most samples, and the most hundredths of a second
#   $7        the parent: the sampler ends when it ends
#   the rest  PID/ADDRESS/PORT, with a port of `-` for a process that cannot be asked
# COST: about 10 ms of CPU a sample with bash; more where each sample starts programs.
#
# Each sample is one write to descriptor 4 of `NUL PID UPTIME UPTIME CPU REQUESTS READ COUNTERS NUL`: hundredths of a second
# since boot before the question and at the answer; nanoseconds of CPU; memcached's count of requests for one key, `-`
# without an answer; the bytes that the process has read, `-` if unknown; and the counters in $names, with commas, each `-`
# if unknown, without what this script added to them; a short series has none of them, because it does not know what another
# one has added. A write is shorter than a pipe's 4,096 bytes, so that no other writer's text splits it. Only digits of
# memcached's answer are used.
#
# After its first answer, each memcached is also asked for `stats items` and `stats slabs`, for one write of `NUL PID UPTIME
# classes EVICTIONS CLASS:EVICTED:CHUNK,... NUL`: the hundredths of a second, the evictions of all classes, and for each class
# its own and the bytes of a chunk, `-` if unknown.

dense=$1 sparse=$2 sparse_cs=$3 window=$4 looks=$5 limit=$6 session=$7
shift 7
cr=$(printf '\r')
# Hundredths of a second after bpftrace's start within which the counting may begin: samples are dense for that long.
begins=300
# The window ends no more than this earlier than its length after bpftrace's start.
early=40
# The most memcached processes that are asked by a process of their own, so that one without an answer delays no other; and
# the longest pause for one that gave no answer, in hundredths of a second.
most_workers=64 longest=1600
names='get_hits get_misses evictions expired_unfetched get_expired reclaimed total_connections rejected_connections
    listen_disabled_num conn_yields bytes_read bytes_written curr_connections max_connections bytes limit_maxbytes threads curr_items'
series=no
[ "$looks" -le 8 ] || series=yes
# Before and after a trace, but not in the short series before it.
asks_classes=$series
[ "$looks" != 1 ] || asks_classes=yes
trap '' PIPE

# Succeed if $1 is a number that is safe in an arithmetic expression, which could otherwise run commands.
is_number() {
    case $1 in '' | *[!0-9]* | 0?* | ??????????????????*) return 1 ;; esac
}

uptime() {
    read -r now _ </proc/uptime
    now=${now%.*}${now#*.}
    is_number "$now" || exit 1
}

# CPU time of process $1, all its threads together (proc(5) has it in ticks of 10 ms only).
cpu_of() {
    cpu=0
    for task in "/proc/$1/task"/*/schedstat; do
        read -r ran _ <"$task" && is_number "$ran" && cpu=$((cpu + ran))
    done 2>/dev/null
}

# Bytes that process $1 has read, mostly from its clients.
read_by() {
    received=-
    { read -r _ count <"/proc/$1/io"; } 2>/dev/null || return 0
    if is_number "$count"; then received=$count; fi
}

# When process $1 started, in ticks since boot (proc(5)), into $start; empty if it has ended.
start_of() {
    start= stat=
    while read -r line; do stat="$stat $line"; done <"/proc/$1/stat"
    set -f
    set -- ${stat##*") "}
    set +f
    case ${1-} in '' | [ZXx]) return ;; esac
    if is_number "${20-}"; then start=${20}; fi
} 2>/dev/null

# Succeed if memcached number $1, process $2, gave the answer: another process can take its port only after it has ended.
# $served is the pid in the answer, which differs in another PID namespace.
is_same() {
    start_of "$2"
    eval "known=\$start_$1 server=\${server_$1:-$served}"
    eval "server_$1=$server"
    [ -n "$start" ] && [ "$start" = "$known" ] && [ "$served" = "$server" ]
}

# Succeed while the parent is alive. An ended process stays in /proc until its parent waits for it.
wanted() {
    stat=
    read -r stat <"/proc/$$/stat"
    stat=${stat##*") "}
    stat=${stat#* }
    [ "${stat%% *}" = "$session" ]
}

# Set $sum to the sum of the counters in an answer to `stats` on standard input. Fail without a usable answer.
#
# It reads line by line, each within a second: bash's other ways of reading leave data in a buffer, which the next `read`
# of any file would get. So foreign text never appears where a number is expected.
add_up() {
    total=0 known=0 lines=0 served= until=$((${SECONDS-0} + 1)) answered=0
    for name in $names; do eval "seen_$name=-"; done
    while IFS= read -r $within line; do
        lines=$((lines + 1)) answered=$((answered + ${#line} + 1))
        # The counters are no newer than now, however long the reading takes.
        [ "$lines" -gt 1 ] || uptime
        [ "$lines" -lt 500 ] && [ "${SECONDS-0}" -le "$until" ] || return 1
        case $line in
        # Each request naming one key is in exactly one of these, from 1.4.15 to 1.6.45 and in all three protocols: gat
        # and its kin in cmd_touch and not in cmd_get; cas and the other stores in cmd_set. In none of them: incr and
        # decr of a value that is no number, and meta commands that create an item on a miss, mark one as stale or do not
        # match its CAS.
        'STAT cmd_get '* | 'STAT cmd_set '* | 'STAT cmd_touch '* | 'STAT delete_hits '* | 'STAT delete_misses '* | \
            'STAT incr_hits '* | 'STAT incr_misses '* | 'STAT decr_hits '* | 'STAT decr_misses '*)
            value=${line##* }
            value=${value%"$cr"}
            is_number "$value" || return 1
            total=$((total + value)) known=$((known + 1))
            ;;
        'STAT pid '*)
            served=${line##* }
            served=${served%"$cr"}
            is_number "$served" || return 1
            ;;
        'STAT get_hits '* | 'STAT get_misses '* | 'STAT evictions '* | 'STAT expired_unfetched '* | 'STAT get_expired '* | \
            'STAT reclaimed '* | 'STAT total_connections '* | 'STAT rejected_connections '* | 'STAT listen_disabled_num '* | \
            'STAT conn_yields '* | 'STAT bytes_read '* | 'STAT bytes_written '* | 'STAT curr_connections '* | 'STAT max_connections '* | \
            'STAT bytes '* | 'STAT limit_maxbytes '* | 'STAT threads '* | 'STAT curr_items '*)
            name=${line#STAT }
            name=${name%% *}
            value=${line##* }
            value=${value%"$cr"}
            ! is_number "$value" || eval "seen_$name=$value"
            ;;
        'STAT '*) ;;
        *)
            [ "$line" = "END$cr" ] && [ "$known" -gt 1 ] || return 1
            sum=$total
            return
            ;;
        esac
    done
    return 1
}

# Set counter $1 to its value without $2, which this script added to it; unknown if it would be negative.
less() {
    eval "value=\$seen_$1"
    [ "$value" != - ] || return 0
    value=$((value - $2))
    [ "$value" -ge 0 ] || value=-
    eval "seen_$1=$value"
}

# Set $counters to those in the last answer, without what was added to them by memcached number $1, by $2 connections more
# and $3 bytes sent.
gather_counters() {
    eval "opened_$1=\$((\${opened_$1-0} + $2)) sent_$1=\$((\${sent_$1-0} + $3))"
    eval "less total_connections \"\$opened_$1\"; less bytes_read \"\$sent_$1\"; less bytes_written \"\${got_$1-0}\""
    less curr_connections 1
    eval "got_$1=\$((\${got_$1-0} + answered))"
    counters=
    [ "$series" = yes ] || return 0
    for name in $names; do eval "counters=\$counters,\$seen_$name"; done
    counters=${counters#,}
}

# Set $classes to those in the answers to `stats items` and `stats slabs` on standard input, read as `add_up` does. Fail
# without both answers.
add_classes() {
    classes= all= lines=0 ends=0 until=$((${SECONDS-0} + 1)) answered=0
    while IFS= read -r $within line; do
        lines=$((lines + 1)) answered=$((answered + ${#line} + 1))
        [ "$lines" -lt 5000 ] && [ "${SECONDS-0}" -le "$until" ] || return 1
        case $line in
        'STAT items:'*':evicted '* | 'STAT '*':chunk_size '*)
            class=${line#STAT }
            class=${class#items:}
            class=${class%%:*}
            value=${line##* }
            value=${value%"$cr"}
            is_number "$class" && is_number "$value" && [ "$class" -le 255 ] || return 1
            case $line in
            *':chunk_size '*) eval "chunk_$class=$value" ;;
            *) all="$all $class" && eval "evicted_$class=$value chunk_$class=-" ;;
            esac
            ;;
        "END$cr") ends=$((ends + 1)) ;;
        'STAT '*) ;;
        *) return 1 ;;
        esac
        [ "$ends" -lt 2 ] || break
    done
    [ "$ends" = 2 ] || return 1
    for class in $all; do eval "classes=\$classes,\$class:\$evicted_$class:\$chunk_$class"; done
    classes=${classes#,}
    [ "${#classes}" -lt 3000 ]
}

# Ask memcached number $1, process $2, at address $3, port $4, for its classes, once, after it has answered.
ask_classes() {
    eval "asked=\${classed_$1-}"
    [ "$asks_classes" = yes ] && [ "$sum" != - ] && [ -z "$asked" ] || return 0
    eval "classed_$1=yes"
    evictions=$seen_evictions
    fetch_classes "$1" "$3" "$4" && is_same "$1" "$2" || return 0
    uptime
    printf '\0%s %s classes %s %s\0' "$2" "$now" "$evictions" "$classes" >&4 || exit 0
}

# Ask the memcached at address $2, port $3; $1 is the name of its open connection.
if [ -n "${BASH_VERSION-}" ]; then
    within='-t 1'
    ask() {
        eval "socket=\${socket_$1-}"
        opened=0
        if [ -z "$socket" ]; then
            eval "exec {socket}<>/dev/tcp/$2/$3" || return
            eval "socket_$1=$socket"
            opened=1
        fi
        # Close it after a failure: the rest of this answer would be taken for the next one.
        { printf 'stats\r\n' 1>&"$socket" && add_up <&"$socket"; } || eval "exec $socket>&-; socket_$1="
        gather_counters "$1" "$opened" 7
    }
    fetch_classes() {
        eval "socket=\$socket_$1"
        { printf 'stats items\r\nstats slabs\r\n' 1>&"$socket" && add_classes <&"$socket"; } || eval "exec $socket>&-; socket_$1="
        eval "sent_$1=\$((sent_$1 + 26)) got_$1=\$((got_$1 + answered)) socket=\$socket_$1"
        [ -n "$socket" ]
    }
    pause() {
        IFS= read -r -t "$1" -u 3 _
        [ $? -ne 1 ] || exit 0
    }
else
    within=
    ask() {
        add_up <<EOF
$(printf 'stats\r\nquit\r\n' | talk "$2" "$3" 2>/dev/null | head -c 16384 | tr -d '\0')
EOF
        gather_counters "$1" 1 13
    }
    fetch_classes() {
        add_classes <<EOF
$(printf 'stats items\r\nstats slabs\r\nquit\r\n' | talk "$2" "$3" 2>/dev/null | head -c 262144 | tr -d '\0')
EOF
        complete=$?
        eval "opened_$1=\$((opened_$1 + 1)) sent_$1=\$((sent_$1 + 32)) got_$1=\$((got_$1 + answered))"
        return "$complete"
    }
    pause() {
        { sleep "$1" || sleep 1; } 3<&- 4>&- &
        sleeper=$!
        trap 'kill "$sleeper" 2>/dev/null; exit' TERM
        wait "$sleeper"
    }
fi

# Ask memcached number $1, process $2, at address $3, port $4, unless it is to be left alone by now. Leaves $sum and $now.
question() {
    sum=- counters=
    eval "again=\${again_$1-0} alone=\${alone_$1-0}"
    [ "$4" != - ] && [ "$before" -ge "$again" ] || return
    ask "$1" "$3" "$4"
    [ "$sum" = - ] || is_same "$1" "$2" || sum=-
    [ "$sum" != - ] || counters=
    if [ "$sum" != - ]; then
        eval "alone_$1=0"
        return
    fi
    uptime
    # Each question stays in the queue of a memcached that is stopped, so it is asked less and less often.
    if [ $((now - before)) -ge 90 ]; then
        alone=$((alone * 2))
        [ "$alone" -gt 0 ] || alone=100
        [ "$alone" -le "$longest" ] || alone=$longest
        eval "alone_$1=$alone again_$1=$((now + alone))"
    fi
    now=$before
}

# Sample each of the places from $3 on that belongs to worker $1 of $2.
work() {
    worker=$1 worker_count=$2
    shift 2
    while :; do
        number=0
        for place; do
            number=$((number + 1))
            [ $((number % worker_count)) = "$worker" ] || continue
            pid=${place%%/*}
            port=${place##*/}
            address=${place#*/}
            address=${address%/*}
            uptime
            before=$now
            cpu_of "$pid"
            read_by "$pid"
            question "$number" "$pid" "$address" "$port"
            printf '\0%s %s %s %s %s %s %s\0' "$pid" "$before" "$now" "$cpu" "$sum" "$received" "$counters" >&4 || exit 0
            ask_classes "$number" "$pid" "$address" "$port"
        done
        uptime
        looks=$((looks - 1))
        age=$((now - began))
        [ "$looks" -gt 0 ] && [ "$age" -lt "$limit" ] && wanted || exit 0
        if [ "$age" -ge "$begins" ] && [ $((age + sparse_cs)) -le $((window - early)) ]; then
            pause "$sparse"
            continue
        fi
        # All workers together take little of the CPU, however many they are.
        naps=0
        while [ "$naps" -lt "$slow" ]; do
            naps=$((naps + 1))
            pause "$dense"
        done
    done
}

number=0
for place; do
    number=$((number + 1))
    start_of "${place%%/*}"
    eval "start_$number=$start"
done
uptime
began=$now
slow=$((($# + 7) / 8))
[ "$slow" -le 8 ] || slow=8
[ $# -gt 1 ] || work 0 1 "$@"
most=$#
[ "$most" -le "$most_workers" ] || most=$most_workers
workers= next=0
trap 'kill $workers; exit' TERM
while [ "$next" -lt "$most" ]; do
    work "$next" "$most" "$@" &
    workers="$workers $!"
    next=$((next + 1))
done
wait
