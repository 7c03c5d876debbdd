#!/bin/bash
# A machine of the rig: namespaces of its own over an overlay of this one, with a real sshd at 10.77.N.2. Root.
#   machine.sh up FOLDER N KEYS-FILE | down FOLDER N
folder=$2 n=$3 space=pfsky$3 at=$2/machines/$3 image=$2/image
repository=$(cd "$(dirname "$0")/../.." && pwd)

up() {
  local root=$at/root name=ip-10-77-$n-2
  exec 9> "$folder/run/machines.lock"; flock 9
  mkdir -p "$folder/machines"
  mountpoint -q "$folder/machines" || mount -t tmpfs -o size=12g tmpfs "$folder/machines"
  flock -u 9; exec 9>&-
  mkdir -p "$at"/{up,work,root,up-home,work-home}
  mount -t overlay overlay -o "lowerdir=/,upperdir=$at/up,workdir=$at/work" "$root" || exit 1
  # the image's /home is an overlay of its own: one overlay refuses a lower layer that lies under another
  mount -t overlay overlay -o "lowerdir=$image/home,upperdir=$at/up-home,workdir=$at/work-home" "$root/home" || exit 1
  mkdir -p "$root$repository"
  mount --bind "$repository" "$root$repository"
  echo "127.0.0.1 localhost $name" > "$root/etc/hosts"
  rm -f "$root/etc/resolv.conf"; echo 'nameserver 127.0.0.1' > "$root/etc/resolv.conf"  # or sudo waits for DNS
  cp -a "$image/etc/." "$root/etc/"
  cp "$(dirname "$0")/docker.sh" "$root/usr/local/bin/docker"
  mkdir -p "$root/home/ubuntu/.ssh"; chmod 700 "$root/home/ubuntu/.ssh"
  cp "$1" "$root/home/ubuntu/.ssh/authorized_keys"; chmod 600 "$root/home/ubuntu/.ssh/authorized_keys"
  grep -q ^ubuntu: "$root/etc/passwd" || echo 'ubuntu:x:0:0::/home/ubuntu:/bin/bash' >> "$root/etc/passwd"
  ip netns add "$space"
  ip link add "pfsky$n" type veth peer name eth0 netns "$space"
  ip addr add "10.77.$n.1/24" dev "pfsky$n"; ip link set "pfsky$n" up
  ip -n "$space" addr add "10.77.$n.2/24" dev eth0
  ip -n "$space" link set eth0 up; ip -n "$space" link set lo up
  ip -n "$space" route add default via "10.77.$n.1"
  setsid ip netns exec "$space" unshare -m -u -p -f --kill-child bash -c "
    mount --make-rprivate /
    mount -t proc proc $root/proc; mount --rbind /dev $root/dev; mount -t tmpfs tmpfs $root/dev/shm
    mount -t tmpfs tmpfs $root/run; mount -t tmpfs tmpfs $root/tmp; chmod 1777 $root/tmp; mkdir -p $root/run/sshd
    hostname $name
    exec chroot $root /usr/sbin/sshd -D -e -f /etc/ssh/sshd_vm_config -o SetEnv=UV_OFFLINE=1
  " > "$at/sshd.log" 2>&1 < /dev/null &
  echo $! > "$at/pid"
}

down() {
  [ -f "$at/pid" ] && kill -9 "$(cat "$at/pid")" 2> /dev/null
  sleep 0.2
  for pid in $(ip netns pids "$space" 2> /dev/null); do kill -9 "$pid" 2> /dev/null; done  # only inside our namespace
  ip link del "pfsky$n" 2> /dev/null; ip netns del "$space" 2> /dev/null
  sleep 0.2
  umount -l "$at/root$repository" 2> /dev/null; umount -l "$at/root/home" 2> /dev/null
  umount -l "$at/root" 2> /dev/null && rm -rf --one-file-system "$at"  # never while something of this machine is mounted in it
  [ -d "$at" ] && ! mountpoint -q "$at/root" && ! mountpoint -q "$at/root$repository" && rm -rf --one-file-system "$at"
  true
}

case $1 in
  up) up "$4" ;;
  down) down ;;
esac
