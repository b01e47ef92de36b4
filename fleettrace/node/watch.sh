# Read memcached's own watchers for a while, and count look-ups by key. Needs neither root nor bpftrace.
#
# USAGE: POSIX sh with bash or perl, awk, sort and head; behind sampler.sh. Set before it: $seconds (how long), $watched
#        (lines `WHERE ADDRESS PORT`, WHERE being a process with the network namespace to enter, or `-`), $entries (the
#        most keys counted of each) and $printed (the most keys printed, the largest ones). The end of standard input
#        stops it at once.
# COST: up to 0.9 us of memcached's CPU for each look-up that it logs.
#
# Prints lines of words, the first being the number of the memcached process, from 1 on:
#   N ok UPTIME       it has begun to log               N refused TEXT    it refuses, or cannot be reached
#   N total REQUESTS  look-ups that it logged           N skipped LINES   lines that it reports as dropped
#   N end UPTIME      its window is over; late lines of the window are still read
#   N lost REQUESTS   of keys that came after $entries keys were counted
#   N key REQUESTS KEY, with KEY as memcached writes it (like the path of a URL)
# and `end`.

LC_ALL=C
export LC_ALL

# memcached writes a small log once a second (logger.c). So the time in its lines decides the end of the window, and the
# listener stays that much longer.
#
# This runs as its own program in the namespace of memcached: log lines go to standard output, results to descriptor 5.
# $1 address, $2 port, $3 seconds, $4 number. Its input, descriptor 3, ends with the session.
in_bash='
    give_up() { printf "%s refused %s\n" "$number" "$1" >&5; exit 1; }
    number=$4
    { exec 4<>"/dev/tcp/$1/$2"; } 2>/dev/null || give_up "no connection to $1 port $2"
    printf "watch fetchers\r\n" >&4
    IFS= read -r -t 5 -n 200 first <&4 || give_up "no answer"
    [ "$first" = "OK$(printf "\r")" ] || give_up "$first"
    read -r now _ </proc/uptime
    printf "%s ok %s\n" "$number" "$now" >&5
    clock=${EPOCHREALTIME-}
    [ -z "$clock" ] || printf "until %s\n" "$((${clock/./} + 10#${3/./} * 10000))"
    cat <&4 3<&- &
    listener=$!
    IFS= read -r -t "$3" -u 3 _
    early=$?
    read -r now _ </proc/uptime
    printf "%s end %s\n" "$number" "$now" >&5
    [ "$early" -le 128 ] || [ -z "$clock" ] || IFS= read -r -t 1.1 -u 3 _
    kill "$listener"
    wait "$listener" 2>/dev/null'
in_perl='
    ($address, $port, $seconds, $number) = @ARGV;
    open(SAY, ">&=5"); open(SESSION, "<&=3"); select((select(SAY), $| = 1)[0]);
    sub give_up { print SAY "$number refused $_[0]\n"; exit 1 }
    $peer = IO::Socket::IP->new(PeerHost => $address, PeerPort => $port, Timeout => 5)
        or give_up("no connection to $address port $port");
    syswrite($peer, "watch fetchers\r\n");
    sub wait_for { my $r = ""; vec($r, fileno($peer), 1) = 1; vec($r, fileno(SESSION), 1) = 1;
        my $ready = select($r, undef, undef, $_[0]); $over = 1 if $ready > 0 && vec($r, fileno(SESSION), 1);
        return $ready > 0 && !$over }
    sub uptime { open(UP, "</proc/uptime"); return (split(/ /, <UP>))[0] }
    sub listen_until { while (!$over && (my $left = $_[0] - time) > 0) {
        wait_for($left) or next; sysread($peer, $part, 65536) or last; syswrite(STDOUT, $part) } }
    while (length($first) < 200 && $first !~ /\n/) {
        wait_for(5) && sysread($peer, $byte, 1) or give_up("no answer"); $first .= $byte }
    $first eq "OK\r\n" or give_up($first =~ s/\s+$//r);
    print SAY "$number ok ", uptime(), "\n";
    $end = time + $seconds;
    syswrite(STDOUT, sprintf("until %.0f\n", $end * 1e6));
    listen_until($end);
    print SAY "$number end ", uptime(), "\n";
    listen_until($end + 1.1)'

counting='
    /^until [0-9]+$/ { until = $2 }
    /type=item_get / {
        time = substr($1, 4)
        sub(/[.]/, "", time)
        if (until && time + 0 > until) next
        if (match($0, / key=[^ ]+/) == 0) next
        total++
        key = substr($0, RSTART + 5, RLENGTH - 5)
        if (key in count) count[key]++
        else if (known < entries) { count[key] = 1; known++ }
        else lost++
        next
    }
    /^\[?skipped[=:]/ { number = $0; gsub(/[^0-9]/, "", number); skipped += number }
    END {
        printf "total %d\nskipped %d\nlost %d\n", total, skipped, lost
        fflush()
        largest = "sort -rn -k 2,2 | head -n " printed
        for (key in count) printf "key %d %s\n", count[key], key | largest
        close(largest)
    }'

listen() {
    enter=
    [ "$2" = - ] || enter="nsenter -t $2 -n"
    if command -v bash >/dev/null 2>&1; then
        $enter bash -c "$in_bash" fleettrace-watch "$3" "$4" "$seconds" "$1"
    elif command -v perl >/dev/null 2>&1; then
        $enter perl -MIO::Socket::IP -MTime::HiRes=time -e "$in_perl" "$3" "$4" "$seconds" "$1"
    else
        echo "$1 refused bash or perl is needed there to talk to memcached" >&5
    fi 2>/dev/null | awk -v entries="$entries" -v printed="$printed" "$counting" |
        # One write for each line, because several listeners print at the same time.
        while IFS= read -r line; do printf '%s %s\n' "$1" "$line" >&5; done
}

exec 3<&0 5>&1 </dev/null
look 100000 "$((${seconds%.*} * 100 + 200))"
# Dense samples begin before the window.
sleep 0.3 2>/dev/null || sleep 1
number=0 listeners=
while read -r where address port; do
    [ -n "$port" ] || continue
    number=$((number + 1))
    listen "$number" "$where" "$address" "$port" &
    listeners="$listeners $!"
done <<EOF
$watched
EOF
wait $listeners
echo end
kill $lookers 2>/dev/null
ended=$lookers
look 1 100
lookers="$ended $lookers"
gather 2
