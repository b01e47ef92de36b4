# Collect the output of a script that detach.sh left running: wait for its end and print its output unchanged. Or remove
# it once the controller has received it.
#
# USAGE: set before it: the directory (as collect() in detach.py does), and $patience (the most seconds to wait, or `none` to remove it). The
#        end of standard input stops the script at once. Exit status 3: the directory does not exist (any more).
# COST: a check five times a second while it waits.

LC_ALL=C
export LC_ALL
exec 4>&2 2>/dev/null
[ -d "$folder" ] && [ ! -L "$folder" ] && [ -O "$folder" ] || exit 3

# Another process may have the keeper's pid by now: the keeper is the one with this command line.
read -r keeper <"$folder/pid"
case "$(tr '\0' ' ' <"/proc/$keeper/cmdline")" in "sh $folder/keeper "*) ;; *) keeper= ;; esac
tell() { [ -z "$keeper" ] || kill -s "$1" "$keeper"; }

if [ "$patience" = none ]; then
    # In any state, the keeper receives one of these signals or finds its directory removed.
    [ -e "$folder/done" ] || tell TERM
    rm -rf "$folder"
    tell USR1
    rm -rf "$folder"
    exit
fi
exec 3<&0 </dev/null
{ while read -r _ <&3; do :; done; tell TERM; } >/dev/null 4>&- &
watchdog=$!
exec 3<&-
turns=$((patience * 5))
until [ -e "$folder/done" ] || [ "$turns" -le 0 ] || [ -z "$keeper" ]; do
    sleep 0.2 || sleep 1
    turns=$((turns - 1))
done
[ -e "$folder/done" ] || tell TERM
cat "$folder/err" >&4
cat "$folder/out"
kill "$watchdog"
wait "$watchdog"
exit 0
