# Ask memcached processes about their items, one after the other.
#
# USAGE: POSIX sh. Set before it: $asker (talk.sh and items_ask.sh) and $asker_pl (items_ask.pl); $how (`me`, or `get`, which
#        needs perl); $asked (lines `PID WHERE ADDRESS PORT REQUEST HEX`: WHERE is a process with the network namespace to
#        enter, or `-`; ADDRESS is `-` for one that answers on no port; the request stands there as a format of printf(1),
#        and in hexadecimal digits). Prints records (see records.py): `items` with `PID` and a line for each line of the
#        answer; before it, for one without a port, `arguments` with `PID` and the words of its command line.
# COST: one short process for each memcached; three seconds in all.

asking='sh -c'
# Under sshd bash would read the user's start-up files, also for a script.
if command -v bash >/dev/null 2>&1; then asking='bash --norc --noprofile -c'; fi
uptime() {
    read -r now _ </proc/uptime
    now=${now%.*}
}
# Print the answer of process $1 at $3, port $4, in the namespace of $2, to the request $5, which is $6 in hexadecimal digits.
answer() {
    enter=
    [ "$2" = - ] || enter="nsenter -t $2 -n"
    # bash's connect has no time limit of its own.
    if command -v timeout >/dev/null 2>&1; then enter="timeout -s KILL 2 $enter"; fi
    if [ "$3" = - ] || [ "$how" = get ]; then
        command -v perl >/dev/null 2>&1 || return 0
        PERL5OPT= PERL5LIB= $enter perl -e "$asker_pl" "$1" "$3" "$4" "$how" 2>/dev/null <<EOF
$6
EOF
        return 0
    fi
    BASH_ENV= $enter $asking "$asker" fleettrace-items "$3" "$4" 2>/dev/null <<EOF
$5
EOF
}
uptime
until=$((now + 3))
while read -r pid where address port request hex; do
    [ -n "$hex" ] || continue
    uptime
    [ "$now" -lt "$until" ] || break
    if [ "$address" = - ]; then
        printf 'arguments\0%s\n' "$pid"
        { head -c 4096 "/proc/$pid/cmdline" | tr '\0' '\n'; } 2>/dev/null
        printf '\0'
    fi
    printf 'items\0%s\n' "$pid"
    answer "$pid" "$where" "$address" "$port" "$request" "$hex"
    printf '\0'
done <<EOF
$asked
EOF
printf 'end\0\0'
