# Load each program of /cells with its bpftrace, and print bpftrace's output. Sourced by /init.
#
# /roots: NAME DEVICE; /headers: DEVICE, or nothing; /cells: NUMBER ROOT STRLEN SECONDS, the program being /programs/NUMBER.
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tmpfs tmp /tmp
/target &
target=$!

# attach DEVICE DIRECTORY: mount it once it is there.
attach() {
    tries=0
    until [ -b "/dev/$1" ] || [ "$tries" -gt 200 ]; do sleep 0.1; tries=$((tries + 1)); done
    mkdir -p "$2"
    mount -t ext4 -o ro,noload "/dev/$1" "$2" || echo "VM-ERROR cannot mount $1 as $2"
}

read -r headers </headers && attach "$headers" /kernel-headers
while read -r name device; do
    attach "$device" "/r/$name"
    if [ -n "$headers" ]; then
        for dir in usr/src lib/modules; do mount --bind "/kernel-headers/$dir" "/r/$name/$dir"; done
    fi
    for dir in proc sys dev; do mount --rbind "/$dir" "/r/$name/$dir"; done
    mount -t tmpfs tmp "/r/$name/tmp"
    echo "VM-ROOT $name $(chroot "/r/$name" /usr/bin/bpftrace --version 2>&1 | tail -n 1)"
done </roots
echo "VM-READY $(cut -d' ' -f1 /proc/uptime) $(uname -r)"

while read -r number root strlen seconds; do
    sed -e "s#/proc/[0-9]*/exe#/proc/$target/exe#g" "/programs/$number" >"/r/$root/tmp/program.bt"
    began=$(cut -d. -f1 /proc/uptime)
    # The environment is the product's own (fleettrace/node/trace.sh).
    BPFTRACE_STRLEN=$strlen BPFTRACE_MAX_STRLEN=$strlen BPFTRACE_STR_TRUNC_TRAILER='' \
        BPFTRACE_MAP_KEYS_MAX=16384 BPFTRACE_MAX_MAP_KEYS=16384 \
        timeout -s INT -k 5 "$seconds" chroot "/r/$root" /usr/bin/bpftrace -v /tmp/program.bt >/tmp/output 2>&1 </dev/null
    code=$?
    echo "VM-BEGIN $number"
    # The verifier's log has thousands of lines: its end and the lines that name an error are enough.
    { grep -aE 'ERROR|HINT|Error|WARNING|start [0-9]' /tmp/output | head -n 20; tail -n 30 /tmp/output; } |
        tr -cd '\11\12\40-\176' | cut -c1-300 | sed 's/^/VM-LINE /'
    echo "VM-END $number $code $(($(cut -d. -f1 /proc/uptime) - began))"
done </cells
echo "VM-DONE"
poweroff -f
sleep 60
