# Ask memcached processes about their items, one after the other.
#
# USAGE: POSIX sh. Set before it: $asker (talk.sh and items_ask.sh), $asked (lines `PID WHERE ADDRESS PORT REQUEST`, WHERE
#        being a process with the network namespace to enter, or `-`), and $mute (the pids of processes that gave no answer
#        before). Prints a record (see records.py) for each: `items` with `PID` and a line for each line of the answer, or
#        `arguments` with `PID` and the words of its command line.
# COST: one short process for each memcached; three seconds in all.

asking='sh -c'
# Under sshd bash would read the user's start-up files, also for a script.
if command -v bash >/dev/null 2>&1; then asking='bash --norc --noprofile -c'; fi
uptime() {
    read -r now _ </proc/uptime
    now=${now%.*}
}
uptime
until=$((now + 3))
while read -r pid where address port request; do
    [ -n "$request" ] || continue
    uptime
    [ "$now" -lt "$until" ] || break
    enter=
    [ "$where" = - ] || enter="nsenter -t $where -n"
    printf 'items\0%s\n' "$pid"
    BASH_ENV= $enter $asking "$asker" fleettrace-items "$address" "$port" 2>/dev/null <<EOF
$request
EOF
    printf '\0'
done <<EOF
$asked
EOF
for pid in $mute; do
    printf 'arguments\0%s\n' "$pid"
    { head -c 4096 "/proc/$pid/cmdline" | tr '\0' '\n'; } 2>/dev/null
    printf '\0'
done
printf 'end\0\0'
