# As stats.sh, in perl, where a node has it: a look takes a twentieth of the CPU time that it takes bash, which reads what
# a memcached answers byte by byte. Looks of some seconds are one write, for each is a packet for sshd to send. No module is
# loaded, for few are on every node. The arguments are those of stats.sh.

use strict;

my (undef, $dense, $sparse, $sparse_cs, $window, $looks, $limit, $session, @places) = @ARGV;
# How long after bpftrace's start the counting may begin, and how much earlier than the window's length after it it cannot
# end: hundredths of a second.
my ($begins, $early) = (300, 40);
# From <asm-generic/socket.h> and its kin, which all architectures that memcached is traced on share.
my ($inet, $inet6, $stream) = (2, 10, 1);
# How long a look waits to be written, in hundredths of a second, and how many bytes: no more than stay in one piece.
my ($patience, $most) = (300, 4000);
# When each process started, and what its memcached calls its process id (another one in a namespace of its own), by place.
my (%starts, %servers);
my %connections;
my ($kept, $since) = ('', 0);
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = sub { exit 0 };
open my $input, '<&=', 3 or exit 1;
open my $output, '>&=', 4 or exit 1;

sub uptime {
    open my $file, '<', '/proc/uptime' or exit 1;
    my ($whole, $rest) = <$file> =~ /^(\d+)\.(\d\d) / or exit 1;
    return $whole * 100 + $rest;
}

# CPU time of a process, all its threads together (proc(5) has it in ticks of 10 ms only).
sub cpu_of {
    my $cpu = 0;
    for my $name (glob "/proc/$_[0]/task/*/schedstat") {
        open my $file, '<', $name or next;
        $cpu += $1 if (<$file> // '') =~ /^(\d{1,18}) /;
    }
    return $cpu;
}

# Bytes that a process has read: of what its clients sent, above all.
sub read_by {
    open my $file, '<', "/proc/$_[0]/io" or return undef;
    return (<$file> // '') =~ /^rchar: (\d{1,18})$/ ? $1 : undef;
}

# When a process started, in ticks since boot (proc(5)); undef when it has ended.
sub start_of {
    open my $file, '<', "/proc/$_[0]/stat" or return undef;
    local $/;
    my ($state, $rest) = (<$file> // '') =~ /.*\) (\S) (.*)/s or return undef;
    return $state =~ /[ZXx]/ ? undef : (split / /, $rest)[18];
}

# An address and a port as connect(2) wants them.
sub packed {
    my ($address, $port) = @_;
    return pack 'S n C4 x8', $inet, $port, split /\./, $address if $address !~ /:/;
    my ($head, $tail) = map { [map { $_ =~ /\./ ? unpack 'n2', pack 'C4', split /\./ : hex } split /:/] } split /::/, "$address ", 2;
    $tail //= [];
    return pack 'S n N n8 N', $inet6, $port, 0, @$head, (0) x (8 - @$head - @$tail), @$tail, 0;
}

# The sum of the counters in an answer to `stats` from the place $_[1]: stats.sh says which. Dies of any other answer.
sub added_up {
    my ($sum, $known) = (0, 0);
    for my $line (split /\r?\n/, $_[0]) {
        last if $line eq 'END';
        my ($name, $value) = $line =~ /^STAT (\S+) (.*)/ or die;
        die if $name eq 'pid' && ($servers{$_[1]} //= $value) ne $value;
        next if $name !~ /^(?:cmd_get|cmd_set|cmd_touch|(?:delete|incr|decr)_(?:hits|misses))$/;
        die if $value !~ /^(?:0|[1-9]\d{0,16})$/;
        $sum += $value;
        $known++;
    }
    die if $known < 2;
    return $sum;
}

# What a memcached has counted; undef when it does not say so within a second, or when another process may have answered:
# its port is free for a successor as soon as it has ended, and not before.
sub ask {
    my ($place, $pid, $address, $port) = @_;
    my ($answer, $sum) = ('', undef);
    eval {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm 1;
        my $socket = $connections{"$address/$port"};
        if (!$socket) {
            socket $socket, ($address =~ /:/ ? $inet6 : $inet), $stream, 0 or die;
            connect $socket, packed($address, $port) or die;
            $connections{"$address/$port"} = $socket;
        }
        syswrite $socket, "stats\r\n" or die;
        while ($answer !~ /^END\r\n/m) {
            sysread $socket, $answer, 16384, length $answer or die;
            die if length $answer > 65536;
        }
        my $start = start_of($pid);
        die if !defined $start || $start ne ($starts{$place} // '');
        $sum = added_up($answer, $place);
    };
    alarm 0;
    # What comes after an answer that was given up would be taken for the next one.
    delete $connections{"$address/$port"} if !defined $sum;
    return $sum;
}

# Write what is kept; false when nobody reads it any more.
sub write_out {
    # Rather twice than not at all, should the end come in between.
    my $written = !length $kept || syswrite $output, $kept;
    $kept = '';
    return $written;
}

END { write_out() }

# Wait so many seconds; the end of the input is the end.
sub pause {
    my $ready = '';
    vec($ready, 3, 1) = 1;
    return if !select $ready, undef, undef, $_[0];
    exit 0 if !sysread $input, my $ignored, 4096;
}

$starts{$_} = start_of((split m{/})[0]) for @places;
my $began = uptime();
while (1) {
    for my $place (@places) {
        my ($pid, $address, $port) = split m{/}, $place;
        my $before = uptime();
        my $cpu = cpu_of($pid);
        my $sum = $port eq '-' ? undef : ask($place, $pid, $address, $port);
        my $look = join(' ', "\0$pid", $before, uptime(), $cpu, $sum // '-', read_by($pid) // '-') . "\0";
        write_out() or exit 0 if length($kept . $look) > $most;
        $since = $before if !length $kept;
        $kept .= $look;
    }
    my $now = uptime();
    my $age = $now - $began;
    write_out() or exit 0 if $now - $since >= $patience;
    # Not longer than the parent lives: whose parent that is has another one now.
    exit 0 if --$looks <= 0 or $age >= $limit or getppid() != $session;
    pause($age < $begins || $age + $sparse_cs > $window - $early ? $dense : $sparse);
}
