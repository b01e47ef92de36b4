# End a script and all processes that it started when its standard input ends, that is when the controller, its
# connection or the session has ended. Part of other scripts.
#
# USAGE: put it before a script, and call `watch_input` and `unwatch` around steps that may hang, such as on a mount
#        without a server, which only SIGKILL ends. The session's input becomes descriptor 3; while a script runs,
#        only the end of that input arrives there.
# COST: one waiting shell; a search through /proc only when the input ends.

exec 3<&0 </dev/null

# The pids in /proc must be those of this shell's PID namespace: this shell, or the shell of this subshell, is $$.
read -r main _ </proc/self/stat
own_proc=no parent=$main
for _ in 1 2 3 4 5 6 7 8; do
    [ "$parent" != "$$" ] || { own_proc=yes; break; }
    read -r _ _ _ parent _ 2>/dev/null <"/proc/$parent/stat" || break
done

# Set $tree to process $1 and all its descendants, except process $2. A process name may contain parentheses and
# newlines, so the fields are read behind the last parenthesis.
tree_of() {
    tree=" $1 " last=
    until [ "$tree" = "$last" ]; do
        last=$tree
        for each in /proc/[0-9]*/stat; do
            pid=${each#/proc/}
            pid=${pid%/stat}
            case "$tree $2 " in *" $pid "*) continue ;; esac
            words=
            while IFS= read -r line; do words="$words$line "; done 2>/dev/null <"$each"
            words=${words##*") "}
            words=${words#* }
            parent=${words%% *}
            case $tree in *" ${parent:-none} "*) tree="$tree$pid " ;; esac
        done
    done
}

# Watch the input until `unwatch`. With the /proc of another PID namespace, only the bounds of each step apply.
watch_input() {
    input_watch=
    [ "$own_proc" = yes ] || return 0
    {
        while read -r _ <&3; do :; done
        read -r own _ </proc/self/stat
        kill -s STOP "$main"
        tree_of "$main" "$own"
        kill -s KILL $tree
    } </dev/null >/dev/null 2>&1 &
    input_watch=$!
}

unwatch() {
    [ -n "$input_watch" ] || return 0
    kill "$input_watch"
    wait "$input_watch"
} 2>/dev/null
