# Find out how the program of a trace reaches bpftrace. Part of trace.sh and load.sh, before binding.sh.
#
# USAGE: the arguments are the words of the bpftrace command. Sets $given: `input`, or `descriptor` (a file that this shell
#        has open) for a command that does not pass standard input on. Sets $unstoppable (yes|no), whether the command had
#        to be killed, and $unstoppable_words, the message about that.
# COST: may start the bpftrace command once, for up to 15 seconds.

# Every local user can read the arguments of a process, and with the program's nonce a client can send keys that pass for
# the program's output. So the program is passed through standard input, and the overlays through the environment.
# Succeed if the command $@ passes standard input to bpftrace; `docker exec` without -i does not. A bpftrace executable does
# (`-` exists from 0.10 on); any other command is tried.
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
    # timeout(1) exits with 124 if TERM ended the command: it was slow, which shows nothing about its input. 137 is KILL,
    # possibly by another process.
    read -r now _ </proc/uptime
    if [ "$code" = 137 ] && [ $((${now%.*} - ${began%.*})) -ge 14 ]; then unstoppable=yes; fi
    [ "$code" = 124 ]
}

given=descriptor unstoppable=no
if takes_input "$@"; then given=input; fi
# Such a command cannot trace: only KILL would end it, and bpftrace would print no map.
unstoppable_words="ERROR: bpftrace-unstoppable: the command \`$*\` ignored TERM for 5 s and had to be killed: have it \`exec\` \
bpftrace, or pass signals on"
