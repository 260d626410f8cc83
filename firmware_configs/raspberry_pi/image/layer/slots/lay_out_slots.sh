#!/bin/bash
# Called by genimage on its copy of a partition's files: `lay_out_slots.sh boot|system SIGNATURE`.
#
# The firmware stays where the first boot stage looks for it. All that belongs to a system (kernel,
# initramfs, device trees, overlays, command line) goes into slot_a/ and slot_b/, and `os_prefix`
# says which of them is meant.
set -eu

what=$1
signature=${2#0x}
cd "$IMAGEMOUNTPATH"

name_root() {
  local line
  line=$(tr -s '\n' ' ' < "$1" | sed 's|root=[^ ]* *||')
  echo "root=PARTUUID=$signature-$2 ${line% }" > "$1"
}

lay_out_boot() {
  mkdir -p slot_a
  for each in kernel*.img initramfs* *.dtb overlays cmdline.txt; do
    if [ -e "$each" ]; then mv "$each" slot_a/; fi
  done
  sed -i '/^os_prefix=/d' config.txt
  cp -a slot_a slot_b
  cp config.txt tryboot.txt
  # At the end and under [all], so that no filter further up hides it.
  printf '\n[all]\nos_prefix=slot_a/\n' >> config.txt
  printf '\n[all]\nos_prefix=slot_b/\n' >> tryboot.txt
  name_root slot_a/cmdline.txt 02
  name_root slot_b/cmdline.txt 03
}

lay_out_system() {
  mkdir -p boot/firmware persistent etc/commonwatt var/lib/commonwatt
  # Which slot is / is known from the command line; what is the same in both is written here.
  # Settings, passwords, keys and readings lie under the same names as with image-rota.
  local bound=bind,x-systemd.requires-mounts-for=/persistent
  cat > etc/fstab <<END
PARTUUID=$signature-01  /boot/firmware  vfat  rw,noatime,flush  0 2
PARTUUID=$signature-04  /persistent     ext4  rw,noatime,nosuid,nodev,noexec,errors=remount-ro,commit=60  0 2
/persistent/shared/etc/commonwatt      /etc/commonwatt      none  $bound  0 0
/persistent/shared/var/lib/commonwatt  /var/lib/commonwatt  none  $bound  0 0
END
}

"lay_out_$what"
