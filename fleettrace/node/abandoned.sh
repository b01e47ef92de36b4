# End a script, and everything that it has started, when its standard input ends: the controller, its connection or the
# session is gone. A part of other scripts. A step that waits for a mount without its server ends by SIGKILL only.
#
# The session's input goes to descriptor 3. Nothing but its end comes there while a script runs.

exec 3<&0 </dev/null

# The numbers in /proc must be those that this shell knows its processes by: it, or the shell that it is a subshell of, is $$.
read -r main _ </proc/self/stat
own_proc=no parent=$main
for _ in 1 2 3 4 5 6 7 8; do
    [ "$parent" != "$$" ] || { own_proc=yes; break; }
    read -r _ _ _ parent _ 2>/dev/null <"/proc/$parent/stat" || break
done

# Set $tree to process $1 and all below it, but process $2. A process may have any name, also one with parentheses and
# newlines; what the kernel prints stands behind the last one.
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

# Watch the input, until `unwatch`. Where /proc shows other processes than this shell's, its own bounds end each step.
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
