#!/bin/busybox sh
# Process 1 of the test guest: mounts, modules, then a loop that runs what the host sends.
# ttyS0 is the kernel's console; ttyS1 carries commands and their output, so that kernel messages never mix into them.
# A request is a line "ID COMMAND"; the answer is the command's output, then a line "@ID STATUS".
export PATH=/usr/sbin:/usr/bin:/bin HOME=/ TERM=dumb
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
while read -r module; do
    insmod "$module" || echo "init: cannot load $module" >/dev/kmsg
done </etc/modules
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty 115200 -echo -onlcr
printf '\n@ready\n'
while read -r id line; do
    # An empty line only wakes a guest that sleeps.
    test -n "$id" || continue
    (eval "$line") </dev/null 2>&1
    printf '\n@%s %s\n' "$id" "$?"
done
# The host hung up.
poweroff -f
