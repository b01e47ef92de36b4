# Ask one memcached about its items where items_ask.sh cannot: through its Unix socket, or with `get`. Loads no module.
#
# USAGE: perl, with $ARGV[0] the pid of a memcached that listens on a Unix socket (`-s PATH`), or $ARGV[1] and $ARGV[2] its
#        address (IPv4) and port. $ARGV[3] is `get` to print `GOT KEY BYTES` for each value in the answer, which is read and
#        thrown away. Standard input is one line: the request in hexadecimal digits.
# COST: one connection; a second; with `get` each value is sent once.

use strict;

my ($pid, $address, $port, $how) = @ARGV;
my $request = pack 'H*', (<STDIN> // '') =~ s/\s//gr;
my ($unix, $inet, $stream, $sol_socket, $peer_credentials) = (1, 2, 1, 1, 17);
$SIG{PIPE} = 'IGNORE';
alarm 2;

# The path is the process's own choice, and may lead through a link to any socket of the machine: nothing is sent unless the
# process that listens there is the memcached itself.
sub through_unix_socket {
    open my $file, '<', "/proc/$pid/cmdline" or exit;
    read $file, my $line, 4096;
    my (undef, @words) = split /\0/, $line;
    my $path;
    while (defined(my $word = shift @words)) {
        $path = $1 || shift @words if $word =~ /^-s(.*)/s;
        $path = $1 if $word =~ /^--unix-socket=(.*)/s;
    }
    exit if !defined $path || $path eq '';
    $path = "/proc/$pid/" . ($path =~ m{^/} ? "root$path" : "cwd/$path");
    exit if length $path > 107;
    socket my $socket, $unix, $stream, 0 or exit;
    connect $socket, pack 'S a108', $unix, $path or exit;
    my ($peer) = unpack 'i', getsockopt $socket, $sol_socket, $peer_credentials;
    exit if $peer != $pid;
    return $socket;
}

sub through_port {
    socket my $socket, $inet, $stream, 0 or exit;
    connect $socket, pack 'S n C4 x8', $inet, $port, split /\./, $address or exit;
    return $socket;
}

my $socket = $address eq '-' ? through_unix_socket() : through_port();
syswrite $socket, $request;
$| = 1;
if ($how ne 'get') {
    my $left = 65536;
    while ($left > 0 && sysread $socket, my $part, $left) {
        print $part =~ tr/\0//dr;
        $left -= length $part;
    }
    exit;
}
# Values of 256 MB at most, so that the question ends.
my ($rest, $skip, $left, $answers) = ('', 0, 1 << 28, 0);
while ($left > 0 && sysread $socket, my $part, 65536) {
    $left -= length $part;
    if ($skip >= length $part) { $skip -= length $part; next }
    $rest .= substr $part, $skip;
    $skip = 0;
    while ($rest =~ s/^([^\n]{0,400})\n//) {
        my $line = $1;
        if ($line =~ /^VALUE ([^\s\0]{1,250}) \d{1,10} (\d{1,10})\r$/) {
            # More than the keys that a run asks about.
            exit if ++$answers > 128;
            print "GOT $1 $2\n";
            $skip = $2 + 2;
            if ($skip >= length $rest) { $skip -= length $rest; $rest = ''; last }
            substr $rest, 0, $skip, '';
            $skip = 0;
        } elsif ($line =~ /^VERSION /) { print "VERSION \n"; exit }
    }
    last if length $rest > 65536;
}
