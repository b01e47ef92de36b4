#!/bin/sh
# Prepare the node for its tests, under either init: users, keys, and the settings of /machine/options.
. /machine/options
if [ -n "${BUSYBOX-}" ]; then
    echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
    echo 'memcache:x:200:200::/nonexistent:/bin/false' >>/etc/passwd
    echo 'nobody:x:65534:65534::/nonexistent:/bin/false' >>/etc/passwd
    echo 'root:*:19000:0:99999:7:::' >/etc/shadow
    echo /bin/sh >/etc/shells
    mkdir -p /etc/dropbear /root/.ssh
    cp /machine/authorized_keys /root/.ssh/authorized_keys
    chown -R 0:0 /root
    chmod 700 /root /root/.ssh
    chmod 600 /root/.ssh/authorized_keys
    dropbearconvert openssh dropbear /machine/host_key /etc/dropbear/dropbear_ed25519_host_key
    exit 0
fi
rm -f /etc/ssh/ssh_host_*
install -m 600 /machine/host_key /etc/ssh/ssh_host_ed25519_key
number=2000
# /machine/users: NAME SHELL
while read -r name shell; do
    number=$((number + 1))
    echo "$name:x:$number:100::/home/$name:$shell" >>/etc/passwd
    echo "$name:*:19000:0:99999:7:::" >>/etc/shadow
    install -d -m 700 -o "$number" -g 100 "/home/$name" "/home/$name/.ssh"
    install -m 600 -o "$number" -g 100 /machine/authorized_keys "/home/$name/.ssh/authorized_keys"
    echo "$name ALL=(ALL) NOPASSWD: ALL" >>/etc/sudoers.d/machine
done </machine/users
chmod 440 /etc/sudoers.d/machine
# Debian's memcached listens on 127.0.0.1 alone, where QEMU's forwarding does not reach it.
sed -i "s/^-l .*/-l 0.0.0.0/; \$a -t ${THREADS:-4}" /etc/memcached.conf
# Containers have the host's network, so Docker needs no bridge and no packet filter, but modprobe for overlay.
if [ -n "${DOCKER-}" ]; then
    depmod -a
    modprobe overlay
    mkdir -p /etc/docker
    echo '{"iptables": false, "bridge": "none"}' >/etc/docker/daemon.json
fi
