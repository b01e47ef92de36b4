# Collect what detach.sh has left running: wait for its end and print its output as it would have printed it. Or, once it
# has arrived, remove it.
#
# POSIX sh. Set before it: $folder, and $patience (seconds to wait at the most, or `none` to remove it). A standard input
# that ends is the sign to stop the script at once. Exit status 3: there is no such folder (any more).

LC_ALL=C
export LC_ALL
exec 4>&2 2>/dev/null
[ -d "$folder" ] && [ ! -L "$folder" ] && [ -O "$folder" ] || exit 3

# Whatever has the keeper's number by now: it is the keeper only if it runs that.
read -r keeper <"$folder/pid"
case "$(tr '\0' ' ' <"/proc/$keeper/cmdline")" in "sh $folder/keeper "*) ;; *) keeper= ;; esac
tell() { [ -z "$keeper" ] || kill -s "$1" "$keeper"; }

if [ "$patience" = none ]; then
    # Wherever the keeper is by now, it hears one of these, or finds no folder.
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
