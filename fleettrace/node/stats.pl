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
my ($inet, $inet6, $stream, $nonblock, $in_progress, $would_block) = (2, 10, 1, 04000, 115, 11);
# How long an answer may take, and the longest pause for a memcached that gave none, in hundredths of a second.
my ($late, $longest) = (100, 1600);
# How long a sample waits to be written, in hundredths of a second, and the most bytes that are written in one piece.
my ($patience, $most) = (300, 4000);
# When each process started, and what its memcached calls its process id (another one in a namespace of its own), by place.
my (%starts, %servers);
my %connections;
# The requests that are not answered yet, by place; and when a place that gave no answer in time is asked again.
my (%asked, %again, %alone);
# What this process itself added to memcached's counters, by place: connections, bytes sent, bytes received.
my %own;
# The places that were asked for their classes, and the evictions in their last answer to `stats`.
my (%classed, %evicted);
# As in stats.sh.
my $series = $looks > 8;
# Before and after a trace, but not in the short series before it.
my $asks_classes = $series || $looks == 1;
my @names = qw(get_hits get_misses evictions expired_unfetched get_expired reclaimed total_connections rejected_connections
    listen_disabled_num conn_yields bytes_read bytes_written curr_connections max_connections bytes limit_maxbytes threads curr_items);
my %wanted = map { $_ => 1 } @names;
# The classes of memcached 1.4 to 1.6 have numbers below 256 (MAX_NUMBER_OF_SLAB_CLASSES in memcached.h is 64).
my $most_classes = 64;
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

# A number of an answer without the part $_[1] that this process added; `-` if it is no number, or too large for perl.
sub without {
    my ($value, $own) = @_;
    return '-' if ($value // '') !~ /^(?:0|[1-9]\d{0,19})$/;
    return $value if !$own;
    return length $value > 18 || $value < $own ? '-' : $value - $own;
}

# The counters @names of an answer, without what this process added: its own connection, and the bytes until this answer.
sub counters {
    my ($place, $found) = @_;
    my ($opened, $sent, $received) = @{ $own{$place} };
    my %part = (total_connections => $opened, curr_connections => 1, bytes_read => $sent, bytes_written => $received);
    return join ',', map { without($found->{$_}, $part{$_}) } @names;
}

# The sum of the counters in an answer to `stats` from the place $_[1], with a blank and @names: stats.sh lists both. Dies
# for any other answer.
sub added_up {
    my ($sum, $known, %found) = (0, 0);
    for my $line (split /\r?\n/, $_[0]) {
        last if $line eq 'END';
        my ($name, $value) = $line =~ /^STAT (\S+) (.*)/ or die;
        die if $name eq 'pid' && ($servers{$_[1]} //= $value) ne $value;
        $found{$name} = $value if $wanted{$name};
        next if $name !~ /^(?:cmd_get|cmd_set|cmd_touch|(?:delete|incr|decr)_(?:hits|misses))$/;
        die if $value !~ /^(?:0|[1-9]\d{0,16})$/;
        $sum += $value;
        $known++;
    }
    die if $known < 2;
    $evicted{$_[1]} = without($found{evictions});
    return ($sum, $series ? counters($_[1], \%found) : '');
}

# The classes in the answers to `stats items` and `stats slabs`, as they are written.
sub classes {
    my (%evictions, %chunks);
    for my $line (split /\r?\n/, $_[0]) {
        $evictions{$1} = $2 if $line =~ /^STAT items:(\d{1,3}):evicted (\d{1,20})$/;
        $chunks{$1} = $2 if $line =~ /^STAT (\d{1,3}):chunk_size (\d{1,10})$/;
    }
    die if keys %evictions > $most_classes;
    return join ',', map { "$_:$evictions{$_}:" . ($chunks{$_} // '-') } sort { $a <=> $b } keys %evictions;
}

# Send a request to the memcached at a place without waiting: one without an answer delays no other. False if it cannot be sent.
sub ask {
    my ($place, $look, $classes) = @_;
    my (undef, $address, $port) = split m{/}, $place;
    my $socket = $connections{$place};
    if (!$socket) {
        socket $socket, ($address =~ /:/ ? $inet6 : $inet), $stream | $nonblock, 0 or return;
        connect $socket, packed($address, $port) or $! == $in_progress or return;
        $connections{$place} = $socket;
        $own{$place}[0]++;
    }
    # An answer without classes is only `END`.
    my %request = $classes
        ? (text => "stats items\r\nstats slabs\r\n", answer => "\n", left => 2, classes => 1)
        : (text => "stats\r\n", answer => '', left => 1);
    $asked{$place} = { %$look, %request, socket => $socket, sent => 0, from => 0 };
    return 1;
}

# Go on with a request; true when it is over. Then its sample has what memcached has counted, if that is known: not when
# another process may have answered, for a port is free for a successor as soon as its process has ended, and not before.
sub go_on {
    my ($place) = @_;
    my $one = $asked{$place};
    my @found = eval {
        if (!$one->{sent}) {
            # Shorter than any socket's buffer: it is written completely or not at all.
            if (!syswrite $one->{socket}, $one->{text}) {
                die if $! != $would_block;
                return;
            }
            $one->{sent} = 1;
            $own{$place}[1] += length $one->{text};
        }
        while (1) {
            my $known = length $one->{answer};
            my $read = sysread $one->{socket}, $one->{answer}, 16384, $known;
            if (!defined $read) {
                die if $! != $would_block;
                return;
            }
            die if !$read or length $one->{answer} > ($one->{classes} ? 262144 : 65536);
            # Only what is new is searched: an answer may come a byte at a time.
            pos($one->{answer}) = $one->{from};
            $one->{left}-- while $one->{answer} =~ /\n(?:END|ERROR)\r(?=\n)/gc;
            last if $one->{left} <= 0;
            my ($matched, $recent) = (pos($one->{answer}) // 0, length($one->{answer}) - 8);
            $one->{from} = $matched > $recent ? $matched : $recent;
        }
        my $start = start_of($one->{pid});
        die if !defined $start || $start ne ($starts{$place} // '');
        return $one->{classes} ? classes($one->{answer}) : added_up($one->{answer}, $place);
    };
    return 0 if !@found && !$@;
    over($place, @found);
    return 1;
}

# End a request, with what was found in the answer or with nothing.
sub over {
    my ($place, @found) = @_;
    my $one = delete $asked{$place};
    $own{$place}[2] += length($one->{answer}) - ($one->{classes} ? 1 : 0);
    if (@found) {
        delete $alone{$place};
        $one->{after} = uptime();
    } else {
        # The rest of this answer would be taken for the next one.
        delete $connections{$place};
    }
    if ($one->{classes}) {
        store("\0$one->{pid} $one->{after} classes $evicted{$place} $found[0]\0", $one->{before}) if @found;
        return;
    }
    taken($one, @found);
    my $now = $one->{after};
    ask($place, { pid => $one->{pid}, before => $now, after => $now }, 1) if @found && $asks_classes && !$classed{$place}++;
}

# Give up requests without an answer in time. Each connection stays in the queue of a stopped memcached, so the pauses grow.
sub give_up {
    my ($now) = @_;
    for my $place (grep { $now - $asked{$_}{before} >= $late } keys %asked) {
        if (!$asked{$place}{classes}) {
            $alone{$place} = !$alone{$place} ? $late : 2 * $alone{$place} > $longest ? $longest : 2 * $alone{$place};
            $again{$place} = $now + $alone{$place};
        }
        over($place);
    }
}

# Store a sample of a process. CPU time and bytes were read at its beginning.
sub taken {
    my ($one, $sum, $counters) = @_;
    my @values = ($one->{before}, $one->{after}, $one->{cpu}, $sum // '-', $one->{read}, $counters // '');
    store(join(' ', "\0$one->{pid}", @values) . "\0", $one->{before});
}

# Store a text that was taken at a time.
sub store {
    my ($text, $time) = @_;
    write_out() or exit 0 if length($kept . $text) > $most;
    $since = $time if !length $kept;
    $kept .= $text;
}

# Write the pending samples; false if no process reads them any more.
sub write_out {
    # If the process ends in between, the samples are written twice rather than not at all.
    my $written = !length $kept || syswrite $output, $kept;
    $kept = '';
    return $written;
}

END { write_out() }

# Read answers for some seconds, or with $_[1] until none is missing; exit at the end of the input.
sub pause {
    my ($seconds, $answers_only) = @_;
    my $until = uptime() + 100 * $seconds;
    while (1) {
        my $now = uptime();
        give_up($now);
        return if $answers_only && !%asked;
        my $left = $until - $now;
        for my $one (values %asked) {
            my $own = $one->{before} + $late - $now;
            $left = $own if $own < $left;
        }
        my ($reads, $writes) = ('', '');
        vec($reads, 3, 1) = 1;
        for my $one (values %asked) {
            vec($one->{sent} ? $reads : $writes, fileno $one->{socket}, 1) = 1;
        }
        my $ready = select $reads, $writes, undef, $left > 0 ? $left / 100 : 0;
        exit 0 if $ready > 0 && vec($reads, 3, 1) && !sysread $input, my $ignored, 4096;
        if ($ready > 0) {
            for my $place (keys %asked) {
                my $number = fileno $asked{$place}{socket};
                go_on($place) if vec($reads, $number, 1) || vec($writes, $number, 1);
            }
        }
        return if $now >= $until;
    }
}

$starts{$_} = start_of((split m{/})[0]) for @places;
my $began = uptime();
while (1) {
    for my $place (@places) {
        my ($pid, undef, $port) = split m{/}, $place;
        my $before = uptime();
        my $cpu = cpu_of($pid);
        my %look = (pid => $pid, before => $before, after => $before, cpu => $cpu, read => read_by($pid) // '-');
        my $left_alone = $port eq '-' || $asked{$place} || $before < ($again{$place} // 0);
        taken(\%look) if $left_alone || !ask($place, \%look);
        # Answers that are there by now are read before the next question, or they would look late.
        pause(0) if %asked;
    }
    pause($late / 100, 1) if $looks <= 1;
    my $now = uptime();
    my $age = $now - $began;
    write_out() or exit 0 if $now - $since >= $patience;
    # Exit when the parent has ended: getppid then returns another process.
    exit 0 if --$looks <= 0 or $age >= $limit or getppid() != $session;
    pause($age < $begins || $age + $sparse_cs > $window - $early ? $dense : $sparse);
}
