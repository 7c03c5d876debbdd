#!/bin/bash
# Everything the proofs on SkyPilot need: SkyPilot itself, an EC2 on loopback, and the image of that EC2's machines.
# Root, Debian, x86-64, Python 3.11; idempotent.
#   setup.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "${1:?a folder}" && cd "$1" && pwd)
image=$folder/image user=$folder/image/home/ubuntu

install_packages() {
  local missing=()
  for pair in sshd:openssh-server rsync:rsync socat:socat nc:netcat-openbsd ip:iproute2 sudo:sudo curl:curl; do
    PATH=$PATH:/usr/sbin command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

install_sky() {  # what a user installs, from the pinned list; and the EC2 beside it
  [ "$folder/venv/.done" -nt "$here/../../requirements/sky.txt" ] && return
  "$uv" venv --quiet --seed --clear --python "$python" "$folder/venv"  # --seed: SkyPilot builds its own wheel with pip
  "$uv" pip install --quiet --python "$folder/venv/bin/python" --require-hashes -r "$here/../../requirements/sky.txt"
  "$uv" venv --quiet --clear --python "$python" "$folder/ec2"
  "$uv" pip install --quiet --python "$folder/ec2/bin/python" 'moto[ec2,iam,server,sts]==5.2.2' pyyaml
  touch "$folder/venv/.done"
}

make_image() {  # what SkyPilot's own images carry: uv, ray, SkyPilot's dependencies; so a machine needs no network
  [ -f "$image/.done" ] && return
  mkdir -p "$user/.local/bin" "$image/etc/ssh" "$image/usr/local/bin"
  cp "$(readlink -f "$uv")" "$user/.local/bin/uv"
  "$uv" venv --quiet --seed --clear --relocatable --python "$python" "$user/skypilot-runtime"
  "$uv" pip install --quiet --python "$user/skypilot-runtime/bin/python" 'ray[default]==2.9.3' 'setuptools<70' 'click<8.2' \
    'pydantic-core==2.41.1' "skypilot[aws,remote]==$("$folder/venv/bin/python" -c 'import importlib.metadata as m; print(m.version("skypilot"))')"
  ssh-keygen -q -t ed25519 -N '' -f "$image/etc/ssh/ssh_host_vm_key"
  printf '%s\n' 'HostKey /etc/ssh/ssh_host_vm_key' 'PermitRootLogin yes' 'PasswordAuthentication no' 'UsePAM no' \
    'StrictModes no' 'MaxSessions 200' 'MaxStartups 150:30:200' 'Subsystem sftp internal-sftp' > "$image/etc/ssh/sshd_vm_config"
  touch "$image/.done"
}

install_packages
python=$(python3 -c 'import sys; print(sys._base_executable)')
[ -x "$folder/uv/bin/uv" ] || { python3 -m venv "$folder/uv"; "$folder/uv/bin/pip" install --quiet --disable-pip-version-check uv; }
uv=$folder/uv/bin/uv
install_sky
make_image
