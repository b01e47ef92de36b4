# Hand over to the root on /dev/vda, which gets the files of this boot (/overlay) first. Sourced by /init.
tries=0
until [ -b /dev/vda ] || [ "$tries" -gt 200 ]; do sleep 0.1; tries=$((tries + 1)); done
mkdir -p /root
mount -t ext4 -o rw,noatime /dev/vda /root || { echo 'VM-ERROR cannot mount /dev/vda'; poweroff -f; }
cp -a /overlay/. /root/
mkdir -p /root/lib/modules
cp -a "/lib/modules/$(uname -r)" /root/lib/modules/
for unit in machine-setup:sysinit machine-ready:multi-user; do
    file=/etc/systemd/system/${unit%:*}.service
    [ -e "/root$file" ] || continue
    mkdir -p "/root/etc/systemd/system/${unit#*:}.target.wants"
    ln -s "$file" "/root/etc/systemd/system/${unit#*:}.target.wants/"
    ln -sf /lib/systemd/system/systemd-networkd.service /root/etc/systemd/system/multi-user.target.wants/
done
# A root without an installed userland: busybox is all of it.
[ -e /root/bin/ls ] || chroot /root /bin/busybox --install -s /bin
init=$(sed -n 's/.*ft\.init=\([^ ]*\).*/\1/p' /proc/cmdline)
mount --move /dev /root/dev
umount /sys /proc
exec switch_root /root "${init:-/machine/init}"
