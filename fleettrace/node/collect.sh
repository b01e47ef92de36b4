# Collect what detach.sh has left running: wait for its end and print its output as it would have printed it. Or, once it
# has arrived, remove it.
#
# POSIX sh. Set before it: $folder, and $patience (seconds to wait at the most, or `none` to remove it). A standard input
# that ends is the sign to stop the script at once. Exit status 3: there is no such folder (any more).

LC_ALL=C
export LC_ALL
[ -d "$folder" ] && [ ! -L "$folder" ] && [ -O "$folder" ] || exit 3

# The keeper may have started a session of its own by a fork: it is known by what it runs.
keeper=
for place in /proc/[0-9]*; do
    case "$(tr '\0' ' ' <"$place/cmdline" 2>/dev/null)" in
    "sh $folder/keeper "*) keeper=${place#/proc/} ;;
    esac
done
tell() { [ -z "$keeper" ] || kill -s "$1" "$keeper" 2>/dev/null; }

if [ "$patience" = none ]; then
    if [ -e "$folder/done" ]; then tell USR1; else tell TERM; fi
    rm -rf "$folder"
    exit
fi
exec 3<&0 </dev/null
{ while read -r _ <&3; do :; done; tell TERM; } >/dev/null 2>&1 &
watchdog=$!
exec 3<&-
turns=$((patience * 5))
until [ -e "$folder/done" ] || [ "$turns" -le 0 ] || [ -z "$keeper" ]; do
    sleep 0.2 2>/dev/null || sleep 1
    turns=$((turns - 1))
done
[ -e "$folder/done" ] || tell TERM
cat "$folder/err" >&2 2>/dev/null
cat "$folder/out" 2>/dev/null
kill "$watchdog" 2>/dev/null
wait "$watchdog" 2>/dev/null
