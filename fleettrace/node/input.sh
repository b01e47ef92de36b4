# Find out how the program of a trace reaches bpftrace. A part of trace.sh, before binding.sh: it may start the command that
# runs bpftrace, which takes a while. Arguments: the words of that command. Leaves $given: `input`, or `descriptor`: a file that this shell
# has open, for a command that hands no input on.

# Every local user can read the arguments of a process, and whoever knows the program's nonce can have a client send keys
# that pass for the program's output. So the program goes through standard input, and the overlays through the environment.
# Whether the command $@ hands standard input to bpftrace: `docker exec` without -i does not. A bpftrace that is a program
# file of its own does (`-` exists from 0.10 on); any other command has to show it.
takes_input() {
    case "$*" in
        "$1" | "$1 --unsafe") case $(head -c 4 "$(command -v "$1")" 2>/dev/null) in ?ELF) return ;; esac ;;
    esac
    if command -v timeout >/dev/null 2>&1; then set -- timeout 10 "$@"; fi
    case $(echo 'interval:s:1 { fleettrace_takes_input(); }' | "$@" - 2>&1) in *fleettrace_takes_input*) ;; *) return 1 ;; esac
}

given=descriptor
if takes_input "$@"; then given=input; fi
