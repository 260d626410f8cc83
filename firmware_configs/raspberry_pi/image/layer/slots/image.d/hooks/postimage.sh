#!/bin/bash
# Makes an update of the image: what `commonwatt-slot write` puts into the other slot. Called with
# genimage's folder. Sign it with the key whose public half is in the images:
#   openssl pkeyutl -sign -inkey KEY.pem -rawin -in SHA256SUMS -out SHA256SUMS.sig
set -eu

update=$1/update
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT

mkdir -p "$update"
mcopy -s -n -i "$1/boot.vfat" ::slot_a "$aside/"
tar -C "$aside/slot_a" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
  -cf "$update/boot.tar" .
cp --sparse=always "$1/system.ext4" "$update/system.ext4"
cd "$update"
sha256sum boot.tar system.ext4 > SHA256SUMS
