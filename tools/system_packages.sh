#!/usr/bin/env bash
# The tests use real programs. Installs the missing ones where that is allowed, else says what to install.
set -euo pipefail
declare -A needed=(
  [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients [chromium]=chromium [socat]=socat
  [victoria-metrics]=victoria-metrics [hledger]=hledger [gcc]=gcc [nft]=nftables [git]=git
  [systemd-analyze]=systemd [pdftoppm]=poppler-utils [genimage]=genimage [mcopy]=mtools
  [mkdosfs]=dosfstools [mke2fs]=e2fsprogs [sfdisk]=fdisk [openssl]=openssl
)
# Installed where nothing can start it: on a machine of one's own it would take over at the next boot.
[ -d /run/systemd/system ] || needed[cloud-init]=cloud-init
missing=()
for program in "${!needed[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing+=("${needed[$program]}")
done
[ -e /usr/include/modbus/modbus.h ] || missing+=(libmodbus-dev)
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql)
ls /usr/lib/*/libpangoft2-1.0.so.0 >/dev/null 2>&1 || missing+=(libpangoft2-1.0-0)
[ ${#missing[@]} -eq 0 ] && exit 0
echo "The tests need these programs, which are missing: ${missing[*]}"
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" -eq 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo="no"; fi
  if [ "$sudo" != "no" ]; then
    echo "Installing them with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    exit 0
  fi
fi
echo "Please install them and run again:  sudo apt-get install --no-install-recommends ${missing[*]}"
exit 2
