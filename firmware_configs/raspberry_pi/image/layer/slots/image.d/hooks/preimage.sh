#!/bin/bash
# Writes what genimage builds the card from. Called with the finished system and genimage's folder.
# shellcheck disable=SC2154  # rpi-image-gen gives what begins with IGconf_
set -eu

layer=$(readlink -ef "$(dirname "$0")/../..")

# What outlives an update; both are mounted over the directories of the same name.
install -d -m 0755 "$1/persistent/shared/etc/commonwatt"
install -d -m 0700 "$1/persistent/shared/var/lib/commonwatt"

sed \
  -e "s|<NAME>|$IGconf_image_name.$IGconf_image_suffix|g" \
  -e "s|<SIGNATURE>|$IGconf_image_disksig|g" \
  -e "s|<BOOT_SIZE>|$IGconf_image_boot_part_size|g" \
  -e "s|<SYSTEM_SIZE>|$IGconf_image_system_part_size|g" \
  -e "s|<DATA_SIZE>|$IGconf_image_data_part_size|g" \
  -e "s|<LAYOUT>|$layer/lay_out_slots.sh|g" \
  "$layer/genimage.cfg.in" > "$2/genimage.cfg"
