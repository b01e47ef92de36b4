# Leave a script running on a node after the session has ended: it starts at a given moment, and its output stays in a
# private directory that removes itself.
#
# USAGE: set before it: $script (the script's text; the end of its standard input is its signal to stop), $starts (when to
#        run it, in hundredths of a second since boot), $ttl (seconds that the output stays), $most and $most_words (bytes
#        to store of its output and of its standard error). Prints records (see records.py): the directory, or `failed`.
# COST: one waiting shell, and up to $most + $most_words bytes of memory.
#
# The directory has mode 0700 from the beginning, an unpredictable name, and lies in memory (/run, /dev/shm), so it does
# not survive a reboot. It contains no secret. It has `out` and `err`, and `done` once these are complete.

LC_ALL=C
export LC_ALL
record() { printf '%s\0%s\0' "$1" "$2"; }
give_up() { record failed "$1"; record end ''; exit; }

# The keeper runs in its own session, from a file; $1 is the directory. TERM stops the script, which then prints its
# results; USR1, after these are collected, ends the keeper.
keeper='
    folder=$1 starts=$2 ttl=$3 most=$4 most_words=$5 stopped=no nap=
    cd /
    # Check again once the pid is known: a signal may have come before.
    rest() {
        sleep "$1" 4>&- 6<&- & nap=$!
        [ "$stopped" = no ] || kill -s KILL "$nap"
        wait "$nap"
        [ $? -le 128 ] || kill -s KILL "$nap" 2>/dev/null
        nap=
    }
    wake="stopped=yes; [ -z \"\$nap\" ] || kill -s KILL \"\$nap\""
    # Only this shell has it open for writing: the input of the script ends with this shell, or with descriptor 4. It is
    # opened for reading here, because opening it later would wait for a writer.
    exec 4<>"$folder/input" 6<"$folder/input"
    trap "exec 4>&-; $wake" TERM
    trap : USR1
    echo $$ >"$folder/pid"
    read -r now _ </proc/uptime
    left=$((starts - ${now%.*}${now#*.}))
    if [ "$left" -gt 0 ]; then
        rest "$((left / 100)).$(printf %02d "$((left % 100))")"
    fi
    if [ "$stopped" = no ]; then
        { { folder="$folder" sh "$folder/script" <&6 6<&- 2>&5 5>&- | head -c "$most" 6<&- >"$folder/out" 5>&-; } 5>&1 |
            head -c "$most_words" 6<&- >"$folder/err"; } 4>&- &
        running=$!
        while :; do
            wait "$running"
            [ $? -gt 128 ] && kill -0 "$running" 2>/dev/null || break
        done
    fi
    trap "" TERM
    stopped=no
    trap "$wake" USR1
    [ -d "$folder" ] || exit
    : >"$folder/done"
    rest "$ttl"
    rm -rf "$folder"'

command -v setsid >/dev/null 2>&1 || give_up 'setsid(1) is not there: without it a trace ends with its session'
umask 077
folder=
for place in /run /dev/shm; do
    folder=$(mktemp -d "$place/fleettrace-XXXXXXXXXXXX" 2>/dev/null) && break
    folder=
done
[ -n "$folder" ] || give_up 'no private folder can be made below /run or /dev/shm'
if ! { mkfifo "$folder/input" && printf '%s' "$script" >"$folder/script" && printf '%s' "$keeper" >"$folder/keeper"; } 2>/dev/null
then
    rm -rf "$folder"
    give_up 'there is no room below /run or /dev/shm'
fi
setsid sh "$folder/keeper" "$folder" "$starts" "$ttl" "$most" "$most_words" </dev/null >/dev/null 2>&1 &
# A collection finds the keeper by its pid, even if it starts at once.
turns=50
until [ -s "$folder/pid" ] || [ "$turns" -le 0 ]; do
    sleep 0.1 2>/dev/null || sleep 1
    turns=$((turns - 1))
done
record folder "$folder"
record end ''
