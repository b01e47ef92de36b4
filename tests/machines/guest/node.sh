# Hand over to the root on /dev/vda, which gets the files of this boot (/overlay) first. Sourced by /init.
tries=0
until [ -b /dev/vda ] || [ "$tries" -gt 200 ]; do sleep 0.1; tries=$((tries + 1)); done
mkdir -p /root
mount -t ext4 -o rw,noatime /dev/vda /root || { echo 'VM-ERROR cannot mount /dev/vda'; poweroff -f; }
cp -a /overlay/. /root/
mkdir -p "/root/lib/modules"
cp -a "/lib/modules/$(uname -r)" /root/lib/modules/
init=$(sed -n 's/.*ft\.init=\([^ ]*\).*/\1/p' /proc/cmdline)
mount --move /dev /root/dev
umount /sys /proc
exec switch_root /root "${init:-/machine/init}"
