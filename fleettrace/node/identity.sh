# Compute the SHA-256 of a binary's content. Part of other scripts.
#
# USAGE: `sum_of FILE SIZE` sets $sum. $quick is the command that bounds a step, where the node has timeout(1).
# COST: reads the file once, up to 64 MiB.

# The largest binary that is hashed, and that the controller fetches (planning.py, _MAX_BINARY): 64 MiB.
most_hashed=67108864

# Bound a step where the node has timeout(1): a file may lie on a file system that does not answer.
quick=
if command -v timeout >/dev/null 2>&1; then quick='timeout -s KILL 10'; fi
hasher=
if command -v sha256sum >/dev/null 2>&1; then
    hasher=sha256sum
elif command -v openssl >/dev/null 2>&1; then
    hasher='openssl dgst -sha256 -r'
elif perl -MDigest::SHA -e 1 >/dev/null 2>&1; then
    # Without blanks, because the shell splits it into words.
    hasher='perl -MDigest::SHA=sha256_hex -e undef($/);print(sha256_hex(scalar(<STDIN>)))'
fi

# Set $sum to the SHA-256 of file $1, of $2 bytes, in hex; to nothing if it cannot be computed.
sum_of() {
    sum=
    [ -n "$hasher" ] && [ "$2" -le "$most_hashed" ] || return
    sum=$($quick $hasher 2>/dev/null <"$1") 2>/dev/null
    sum=${sum%% *}
}
