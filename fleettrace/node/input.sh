# Find out how the program of a trace reaches bpftrace. A part of trace.sh and load.sh, before binding.sh: it may start the
# command that runs bpftrace, which takes a while. Arguments: the words of that command. Leaves $given: `input`, or
# `descriptor`: a file that this shell has open, for a command that hands no input on. Leaves in $unstoppable (yes|no)
# whether the command had to be killed, and in $unstoppable_words the message about that.

# Every local user can read the arguments of a process, and whoever knows the program's nonce can have a client send keys
# that pass for the program's output. So the program goes through standard input, and the overlays through the environment.
# Whether the command $@ hands standard input to bpftrace: `docker exec` without -i does not. A bpftrace that is a program
# file of its own does (`-` exists from 0.10 on); any other command has to show it.
takes_input() {
    case "$*" in
        "$1" | "$1 --unsafe") case $(head -c 4 "$(command -v "$1")" 2>/dev/null) in ?ELF) return ;; esac ;;
    esac
    timed=
    if command -v timeout >/dev/null 2>&1; then timed=yes; set -- timeout -k 5 10 "$@"; fi
    read -r began _ </proc/uptime
    # The shell itself reports on standard error that the command was killed.
    { words=$(echo 'interval:s:1 { fleettrace_takes_input(); }' | "$@" - 2>&1); } 2>/dev/null
    code=$?
    case $words in *fleettrace_takes_input*) return ;; esac
    [ -n "$timed" ] || return 1
    # timeout(1) exits with 124 if TERM ended the command: it was slow, which says nothing of its input. 137 is KILL, also
    # from elsewhere.
    read -r now _ </proc/uptime
    if [ "$code" = 137 ] && [ $((${now%.*} - ${began%.*})) -ge 14 ]; then unstoppable=yes; fi
    [ "$code" = 124 ]
}

given=descriptor unstoppable=no
if takes_input "$@"; then given=input; fi
# Such a command traces nothing: KILL alone would end it, and bpftrace would print no map.
unstoppable_words="ERROR: bpftrace-unstoppable: the command \`$*\` ignored TERM for 5 s and had to be killed: have it \`exec\` \
bpftrace, or pass signals on"
