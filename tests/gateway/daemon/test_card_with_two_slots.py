"""A card with two systems and data, built and updated by the scripts the image has."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gateway.real_tools import PI, SEARCH, run, tool

SLOTS = PI / "image/layer/slots"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card with two slots, built by genimage as rpi-image-gen calls it, from a system in outline."""
    program = tool("genimage", "genimage")
    for name, package in (("mcopy", "mtools"), ("mkdosfs", "dosfstools"), ("mke2fs", "e2fsprogs")):
        tool(name, package)
    folder = tmp_path_factory.mktemp("card")
    boot = folder / "root/boot/firmware"
    for path in (boot / "overlays", folder / "root/etc", folder / "root/var/lib/commonwatt"):
        path.mkdir(parents=True)
    for name in (
        "bootcode.bin",
        "start.elf",
        "kernel8.img",
        "initramfs8",
        "bcm2710-rpi-zero-2.dtb",
    ):
        (boot / name).write_text(name, encoding="utf-8")
    (boot / "overlays/README").write_text("overlays", encoding="utf-8")
    (boot / "cmdline.txt").write_text("console=tty1 root=ROOTDEV rootwait\n", encoding="utf-8")
    (boot / "config.txt").write_text("arm_64bit=1\n[pi4]\nmax_framebuffers=2\n", encoding="utf-8")
    for name in ("in", "tmp"):
        (folder / name).mkdir()
    values = {"name": "card", "suffix": "img", "disksig": "0x434f4d57"}
    values |= {"boot_part_size": "40M", "system_part_size": "24M", "data_part_size": "8M"}
    hook = SLOTS / "image.d/hooks/preimage.sh"
    env = {f"IGconf_image_{name}": value for name, value in values.items()} | {"PATH": SEARCH}
    done = run("bash", str(hook), str(folder / "root"), str(folder), env=env)
    assert done.returncode == 0, done.stderr
    words = [
        f"--{name}path={folder / where}"
        for name, where in (("root", "root"), ("tmp", "tmp"), ("input", "in"), ("output", "out"))
    ]
    done = run(program, *words, f"--config={folder / 'genimage.cfg'}", env={"PATH": SEARCH})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def test_a_card_has_two_systems_and_data_where_the_kernel_looks_for_them(card: Path) -> None:
    done = run(tool("sfdisk", "fdisk"), "--json", str(card / "card.img"))
    table = json.loads(done.stdout)["partitiontable"]
    assert (table["label"], table["id"]) == ("dos", "0x434f4d57")
    assert [part["type"] for part in table["partitions"]] == ["c", "83", "83", "83"]
    debugfs = tool("debugfs", "e2fsprogs")
    fstab = run(debugfs, "-R", "cat /etc/fstab", str(card / "system.ext4")).stdout
    assert re.search(r"^PARTUUID=434f4d57-04 +/persistent +ext4 ", fstab, re.MULTILINE)
    shared = (PI / "slot_shared/commonwatt.conf").read_text(encoding="utf-8")
    for place in re.findall(r"^Path=(.+)$", shared, re.MULTILINE):
        assert re.search(rf"^/persistent/shared{place} +{place} +none +bind,", fstab, re.MULTILINE)
        found = run(debugfs, "-R", f"stat /shared{place}", str(card / "data.ext4")).stdout
        assert "Type: directory" in found


def test_both_slots_are_whole_and_the_boot_files_choose_between_them(card: Path) -> None:
    mtype, mdir = tool("mtype", "mtools"), tool("mdir", "mtools")
    image = str(card / "boot.vfat")

    def text(name: str) -> str:
        return run(mtype, "-i", image, f"::{name}").stdout

    names = set(run(mdir, "-i", image, "-/", "-b").stdout.split())
    for slot in ("slot_a", "slot_b"):
        for name in ("kernel8.img", "initramfs8", "cmdline.txt", "overlays/README"):
            assert f"::/{slot}/{name}" in names
    assert {"::/bootcode.bin", "::/start.elf"} <= names
    assert not {"::/kernel8.img", "::/cmdline.txt"} & names
    assert text("config.txt").endswith("[all]\nos_prefix=slot_a/\n")
    assert text("tryboot.txt").endswith("[all]\nos_prefix=slot_b/\n")
    for slot, number in (("slot_a", "02"), ("slot_b", "03")):
        words = text(f"{slot}/cmdline.txt").split()
        assert words == [f"root=PARTUUID=434f4d57-{number}", "console=tty1", "rootwait"]


def test_an_image_is_an_update_for_the_cards_that_run_already(card: Path) -> None:
    done = run("bash", str(SLOTS / "image.d/hooks/postimage.sh"), str(card), env={"PATH": SEARCH})
    assert done.returncode == 0, done.stderr
    update = card / "update"
    done = run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=update)
    assert done.stdout.splitlines() == ["boot.tar: OK", "system.ext4: OK"]
    names = set(run("tar", "-tf", str(update / "boot.tar")).stdout.split())
    assert {"./kernel8.img", "./cmdline.txt", "./overlays/README"} <= names


@dataclass(kw_only=True)
class Pi:
    """A running Pi in outline: a first boot stage, two partitions, and the command in the image."""

    folder: Path
    private_key: Path
    running: str = "slot_a"
    healthy: bool = True

    @property
    def boot(self) -> Path:
        return self.folder / "boot"

    def partition(self, slot: str) -> Path:
        number = {"slot_a": "02", "slot_b": "03"}[slot]
        return self.folder / f"disks/434f4d57-{number}"

    def start(self, file: str = "config.txt") -> None:
        """What the first boot stage does: read one file, and run what it names."""
        text = (self.boot / file).read_text(encoding="utf-8")
        self.running = re.findall(r"^os_prefix=(slot_[ab])/$", text, re.MULTILINE)[-1]
        told = (self.boot / self.running / "cmdline.txt").read_text(encoding="utf-8")
        (self.folder / "cmdline").write_text(told, encoding="utf-8")

    def slot(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command; a reboot it asks for happens."""
        env = {
            "COMMONWATT_BOOT": str(self.boot),
            "COMMONWATT_CMDLINE": str(self.folder / "cmdline"),
            "COMMONWATT_DISKS": str(self.folder / "disks"),
            "COMMONWATT_UPDATE_KEY": str(self.folder / "update.pem"),
            "COMMONWATT_REBOOT": "echo",
            "COMMONWATT_STEP_S": "0",
            "PATH": f"{self.folder / 'bin'}:{SEARCH}",
        }
        health = "exit 0" if self.healthy else "exit 3"
        (self.folder / "bin/systemctl").write_text(f"#!/bin/sh\n{health}\n", encoding="utf-8")
        done = run("sh", str(SLOTS / "commonwatt-slot"), *words, env=env)
        if done.returncode == 0 and words[0] == "try":
            assert done.stdout == "0 tryboot\n"
            self.start("tryboot.txt")
        elif words[0] == "trial" and not done.stdout.startswith("trusted"):
            self.start()
        return done

    def update(self, system: bytes, kernel: str, *, signed: bool = True) -> Path:
        """Make an update as the image's maker does."""
        folder = self.folder / "update"
        shutil.rmtree(folder, ignore_errors=True)
        files = folder / "files"
        files.mkdir(parents=True)
        (folder / "system.ext4").write_bytes(system)
        (files / "kernel8.img").write_text(kernel, encoding="utf-8")
        (files / "cmdline.txt").write_text("root=PARTUUID=434f4d57-02 quiet\n", encoding="utf-8")
        run("tar", "-C", str(files), "-cf", str(folder / "boot.tar"), ".")
        sums = "".join(
            f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("boot.tar", "system.ext4")
        )
        (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
        self.sign(folder)
        if not signed:
            (folder / "SHA256SUMS.sig").write_bytes(b"0" * 64)
        return folder

    def sign(self, folder: Path) -> None:
        words = ["-inkey", str(self.private_key), "-rawin", "-in", str(folder / "SHA256SUMS")]
        done = run("openssl", "pkeyutl", "-sign", *words, "-out", str(folder / "SHA256SUMS.sig"))
        assert done.returncode == 0, done.stderr


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    tool("openssl", "openssl")
    for name in ("boot/slot_a", "boot/slot_b", "disks", "bin"):
        (tmp_path / name).mkdir(parents=True)
    pi = Pi(folder=tmp_path, private_key=tmp_path / "maker.pem")
    for slot, number, file in (("slot_a", "02", "config"), ("slot_b", "03", "tryboot")):
        text = f"a=1\n[all]\nos_prefix={slot}/\n"
        (pi.boot / f"{file}.txt").write_text(text, encoding="utf-8")
        told = f"root=PARTUUID=434f4d57-{number} quiet\n"
        (pi.boot / slot / "cmdline.txt").write_text(told, encoding="utf-8")
        (pi.boot / slot / "kernel8.img").write_text("first", encoding="utf-8")
        pi.partition(slot).write_bytes(b"first".ljust(64, b"."))
    (tmp_path / "bin/systemctl").touch(mode=0o755)
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(pi.private_key))
    public = ["-in", str(pi.private_key), "-pubout", "-out", str(tmp_path / "update.pem")]
    assert run("openssl", "pkey", *public).returncode == 0
    pi.start()
    return pi


def test_the_command_says_which_slot_runs_and_which_is_trusted(pi: Pi) -> None:
    assert pi.slot("status").stdout.splitlines() == [
        "running slot_a",
        "trusted slot_a",
        "other slot_b PARTUUID=434f4d57-03",
    ]
    (pi.folder / "cmdline").write_text("root=/dev/mmcblk0p2\n", encoding="utf-8")
    done = pi.slot("status")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_good_update_is_written_tried_and_kept(pi: Pi) -> None:
    assert pi.slot("write", str(pi.update(b"second", "second"))).returncode == 0
    assert pi.partition("slot_b").read_bytes().startswith(b"second")
    assert pi.slot("try").returncode == 0
    assert pi.running == "slot_b"
    assert (pi.boot / "slot_b/kernel8.img").read_text(encoding="utf-8") == "second"
    assert "root=PARTUUID=434f4d57-03" in (pi.folder / "cmdline").read_text(encoding="utf-8")
    assert pi.slot("write", str(pi.update(b"third", "third"))).returncode == 2
    assert pi.slot("trial").stdout == "trusted slot_b\n"
    pi.start()
    assert pi.running == "slot_b"
    assert pi.slot("try").returncode == 0
    assert pi.running == "slot_a"


def test_an_update_on_which_the_gateway_does_not_run_is_left_again(pi: Pi) -> None:
    pi.slot("write", str(pi.update(b"second", "second")))
    pi.slot("try")
    pi.healthy = False
    done = pi.slot("trial")
    assert "going back to slot_a" in done.stderr
    assert pi.running == "slot_a"
    assert pi.partition("slot_a").read_bytes().startswith(b"first")
    # On the trusted slot there is nothing to try, whatever the gateway does.
    assert pi.slot("trial").stdout == ""


@pytest.mark.parametrize("cut_at", ["dd", "cmp", "mkdir", "tar", "mv"])
def test_a_power_cut_while_an_update_is_written_leaves_the_old_system_and_no_half_one_to_try(
    pi: Pi, cut_at: str
) -> None:
    cut = pi.folder / "bin" / cut_at
    cut.write_text("#!/bin/sh\nkill -9 $PPID\n", encoding="utf-8")
    cut.chmod(0o755)
    update = pi.update(b"second", "second")
    assert pi.slot("write", str(update)).returncode != 0
    pi.start()
    assert pi.running == "slot_a"
    assert "no whole system" in pi.slot("try").stderr
    assert pi.running == "slot_a"
    cut.unlink()
    assert pi.slot("write", str(update)).returncode == 0
    assert pi.slot("try").returncode == 0
    assert pi.running == "slot_b"


def test_a_power_cut_while_a_slot_is_kept_is_made_good(pi: Pi) -> None:
    pi.slot("write", str(pi.update(b"second", "second")))
    pi.slot("try")
    # config.txt names the new slot already, tryboot.txt not the old one yet.
    shutil.copy(pi.boot / "tryboot.txt", pi.boot / "config.txt")
    pi.start()
    assert pi.slot("keep").stdout == "trusted slot_b\n"
    assert "os_prefix=slot_a/" in (pi.boot / "tryboot.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("fault", ["unsigned", "changed", "no key", "too large", "a file more"])
def test_an_update_that_is_not_what_its_maker_signed_is_not_written(pi: Pi, fault: str) -> None:
    system = b"x" * 65 if fault == "too large" else b"second"
    update = pi.update(system, "second", signed=fault != "unsigned")
    if fault == "changed":
        (update / "system.ext4").write_bytes(b"other!")
    if fault == "no key":
        (pi.folder / "update.pem").unlink()
    if fault == "a file more":
        with (update / "SHA256SUMS").open("a", encoding="utf-8") as sums:
            sums.write("0" * 64 + "  ../etc/shadow\n")
        pi.sign(update)
    done = pi.slot("write", str(update))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert pi.partition("slot_b").read_bytes().startswith(b"first")
    assert pi.slot("try").returncode == 0
