# Leave a script running on a node when the session is gone: at a given moment, its output in a private folder that
# removes itself, bounded in size.
#
# POSIX sh. Set before it: $script (the script's text, which reads its standard input for the sign to stop), $starts (when
# to run it, in hundredths of a second since boot), $ttl (seconds that the output stays), $most and $most_words (bytes of
# its output and of its standard error that are kept). Prints records (see records.py): `folder`, or `failed`.
#
# The folder is 0700 from its first moment, its name cannot be guessed, and it is in memory (/run, /dev/shm): what is in
# it does not survive a restart. No secret goes into it. It holds `out` and `err`, and `done` once these are whole.

LC_ALL=C
export LC_ALL
record() { printf '%s\0%s\0' "$1" "$2"; }
give_up() { record failed "$1"; record end ''; exit; }

# Runs in a session of its own, from a file. $1: the folder. TERM ends the script, which then prints what it has; USR1,
# once that is collected, the rest.
keeper='
    folder=$1 starts=$2 ttl=$3 most=$4 most_words=$5 stopped=no nap=
    cd /
    # Asked again once the number is known: a signal may have come before.
    rest() {
        sleep "$1" 4>&- 6<&- & nap=$!
        [ "$stopped" = no ] || kill -s KILL "$nap"
        wait "$nap"
        [ $? -le 128 ] || kill -s KILL "$nap" 2>/dev/null
        nap=
    }
    wake="stopped=yes; [ -z \"\$nap\" ] || kill -s KILL \"\$nap\""
    # Open for writing here and nowhere else: the script sees the end of its input with the end of this shell, or of
    # descriptor 4. Open for reading from now on: to open it later would wait for a writer.
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
# Whoever collects it, if at once, finds it by its number.
turns=50
until [ -s "$folder/pid" ] || [ "$turns" -le 0 ]; do
    sleep 0.1 2>/dev/null || sleep 1
    turns=$((turns - 1))
done
record folder "$folder"
record end ''
