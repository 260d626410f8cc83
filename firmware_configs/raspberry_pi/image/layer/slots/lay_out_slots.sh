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
  sed -i "s|root=[^ ]*|root=PARTUUID=$signature-02|" slot_a/cmdline.txt
  sed -i "s|root=[^ ]*|root=PARTUUID=$signature-03|" slot_b/cmdline.txt
}

lay_out_system() {
  mkdir -p boot/firmware var/lib/commonwatt
  # Which slot is / is known from the command line; what is the same in both is written here.
  cat > etc/fstab <<END
PARTUUID=$signature-01  /boot/firmware       vfat  rw,noatime,flush  0 2
PARTUUID=$signature-04  /var/lib/commonwatt  ext4  rw,noatime,nosuid,nodev,noexec,errors=remount-ro,commit=60  0 2
END
}

"lay_out_$what"
