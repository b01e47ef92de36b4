# End a trace before a traced binary is written to.
#
# A probe belongs to a file and an offset. If a process overwrites a binary in place after its last process has ended, and
# starts it again, the new code would run with the old code's probes. While a binary runs, the kernel refuses writes to it
# (ETXTBSY). After that a lease protects it (fcntl(2), F_SETLEASE): the kernel delays the writer's open(2) until the lease
# is returned, or for /proc/sys/fs/lease-break-time (45 s), and notifies the owner.
#
# USAGE: perl's core only. Arguments: the tracer's process, then for each binary `HOLDER:PID,PID...`: a process that has it
#        open as descriptor 5, and the processes that run it. On a file system without leases nothing is guarded.
# COST: one waiting process.

use strict;
my ($tracer, @binaries) = @ARGV;
my ($F_SETLEASE, $F_RDLCK) = (1024, 0);    # include/uapi/linux/fcntl.h
my $wanted = 0;
$SIG{IO} = sub { $wanted = 1 };

# Another process may have the tracer's pid by now. The tracer and this process have the same parent.
sub traces { open(my $stat, '<', "/proc/$tracer/stat") or return 0; (split ' ', (<$stat> =~ s/.*\)//sr))[1] == getppid }

my @open;
for (@binaries) {
    my ($holder, $pids) = split /:/;
    open(my $file, '<', "/proc/$holder/fd/5") or next;
    fcntl($file, $F_SETLEASE, $F_RDLCK) or next;
    push @open, $file;
    # Between the check of its content and the lease, only a running binary was protected.
    my ($device, $inode) = stat $file;
    $wanted = 1 unless grep { my @found = stat "/proc/$_/exe"; @found && "@found[0, 1]" eq "$device $inode" } split /,/, $pids;
}
exit unless @open;
sleep 1 until $wanted or not traces;
exit unless $wanted;
print STDERR "binary-overwritten: a traced binary is about to be overwritten: the trace was ended before\n";
kill 'INT', $tracer if traces;
# The probes end with bpftrace; timeout(1) kills it after 10 s.
for (1 .. 300) { select undef, undef, undef, 0.05 if traces }
