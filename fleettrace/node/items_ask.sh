# Ask one memcached about its items. Behind talk.sh.
#
# USAGE: bash, or POSIX sh and nc, socat or perl. $1 address, $2 port. Standard input is one line: the request, as a format
#        of printf(1), so that no byte of a key reaches the shell; it ends with `quit`, so that memcached ends the answer.
# COST: one connection; for each key a look-up that neither fetches the item nor moves it in its LRU.

IFS= read -r request || exit 0
if [ -n "${BASH_VERSION-}" ]; then
    exec 4<>"/dev/tcp/$1/$2" || exit 0
    printf "$request" >&4
    SECONDS=0
    while [ "$SECONDS" -lt 2 ] && IFS= read -r -t 1 line <&4; do printf '%s\n' "$line"; done
else
    printf "$request" | talk "$1" "$2" | tr -d '\0'
fi 2>/dev/null | head -c 65536
