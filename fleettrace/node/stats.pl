# Sample memcached processes as stats.sh does, in perl, with a twentieth of the CPU time of bash, which reads answers byte
# by byte. The samples of some seconds are one write, because each write is a packet for sshd to send. It loads no module,
# because few are on every node.
#
# USAGE: the arguments are those of stats.sh.
# COST: one process; for each sample a few short requests to memcached.

use strict;

my (undef, $dense, $sparse, $sparse_cs, $window, $looks, $limit, $session, @places) = @ARGV;
# As in stats.sh, in hundredths of a second.
my ($begins, $early) = (300, 40);
# From <asm-generic/socket.h> and its kin, which all architectures that memcached is traced on share.
my ($inet, $inet6, $stream) = (2, 10, 1);
# How long a sample waits to be written, in hundredths of a second, and the most bytes that are written in one piece.
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

# Bytes that a process has read, mostly from its clients.
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

# The address structure for connect(2).
sub packed {
    my ($address, $port) = @_;
    return pack 'S n C4 x8', $inet, $port, split /\./, $address if $address !~ /:/;
    my ($head, $tail) = map { [map { $_ =~ /\./ ? unpack 'n2', pack 'C4', split /\./ : hex } split /:/] } split /::/, "$address ", 2;
    $tail //= [];
    return pack 'S n N n8 N', $inet6, $port, 0, @$head, (0) x (8 - @$head - @$tail), @$tail, 0;
}

# The sum of the counters in an answer to `stats` from the place $_[1]: stats.sh lists them. Dies for any other answer.
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

# The requests that memcached has counted; undef without an answer within a second, or if another process may have
# answered: another process can take its port only after it has ended.
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
    # Close it after a failure: the rest of this answer would be taken for the next one.
    delete $connections{"$address/$port"} if !defined $sum;
    return $sum;
}

# Write the pending samples; false if no process reads them any more.
sub write_out {
    # If the process ends in between, the samples are written twice rather than not at all.
    my $written = !length $kept || syswrite $output, $kept;
    $kept = '';
    return $written;
}

END { write_out() }

# Wait for some seconds; exit at the end of the input.
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
    # Exit when the parent has ended: getppid then returns another process.
    exit 0 if --$looks <= 0 or $age >= $limit or getppid() != $session;
    pause($age < $begins || $age + $sparse_cs > $window - $early ? $dense : $sparse);
}
