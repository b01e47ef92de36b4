#!/bin/sh
# Run each memcached in a container, with an image made from the root on /dev/vdb, if /machine/options sets DOCKER.
. /machine/options
[ -n "${DOCKER-}" ] || exit 0
exec >/dev/console 2>&1
set -ex
systemctl stop memcached
mkdir -p /mnt/image
mount -t ext4 -o ro,noload /dev/vdb /mnt/image
tar -C /mnt/image -c . | docker import - memcached:test
docker run -d --user 1000 --name cache-one --network=host memcached:test /usr/bin/memcached -l 0.0.0.0 -p 11211 -m 64
docker run -d --user 1000 --name cache-two --network=host memcached:test /usr/bin/memcached -l 0.0.0.0 -p 11212 -m 64
docker ps
