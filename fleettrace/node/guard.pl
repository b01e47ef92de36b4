# End a trace before a traced binary is written to.
#
# A probe belongs to a file and an offset. Who writes to a binary in place, once its last process has ended, and starts it
# again, would run the new code with the old code's probes. While a binary runs, the kernel lets nobody write to it
# (ETXTBSY). After that a lease does (fcntl(2), F_SETLEASE): the kernel holds up the writer's open(2) until the lease is
# given back, or /proc/sys/fs/lease-break-time (45 s) is over, and tells its owner.
#
# perl's core alone. Arguments: the tracer's process, then for each binary `HOLDER:PID,PID...`, a process that has it open
# as descriptor 5 and those that run it. Where a file system has no leases, nothing is guarded.

use strict;
my ($tracer, @binaries) = @ARGV;
my ($F_SETLEASE, $F_RDLCK) = (1024, 0);    # include/uapi/linux/fcntl.h
my $wanted = 0;
$SIG{IO} = sub { $wanted = 1 };

# Another process may have got the tracer's number by now. The tracer's parent is this one's.
sub traces { open(my $stat, '<', "/proc/$tracer/stat") or return 0; (split ' ', (<$stat> =~ s/.*\)//sr))[1] == getppid }

my @open;
for (@binaries) {
    my ($holder, $pids) = split /:/;
    open(my $file, '<', "/proc/$holder/fd/5") or next;
    fcntl($file, $F_SETLEASE, $F_RDLCK) or next;
    push @open, $file;
    # Between the check of its content and the lease only a running binary was safe.
    my ($device, $inode) = stat $file;
    $wanted = 1 unless grep { my @found = stat "/proc/$_/exe"; @found && "@found[0, 1]" eq "$device $inode" } split /,/, $pids;
}
exit unless @open;
sleep 1 until $wanted or not traces;
exit unless $wanted;
print STDERR "binary-overwritten: a traced binary is about to be overwritten: the trace was ended before\n";
kill 'INT', $tracer if traces;
# bpftrace takes its probes back with it; timeout(1) kills it after 10 s.
for (1 .. 300) { select undef, undef, undef, 0.05 if traces }
