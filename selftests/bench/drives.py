# SPDX-License-Identifier: GPL-2.0
"""The bench's part on drives: what a scan on one saves, and how fast it is.

Drives that take modelled time (Documentation/drive.rst), under icount: so both
the instructions and the throughput hold on any machine.
"""

import contextlib
import json
import os
import random
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "selftests", "lib"))

import csdprog  # noqa: E402

MIB = 1 << 20
PART, TIMES = 128 * MIB, 8
# The first field of a record, of 64 random bits: of 1000 records, one.
KEY_MAX = 2 ** 64 // 1000
NEEDLE, NEEDLES = b"a needle in the haystack", 4 * 128

# A p4500 of the model: 8 channels of 400 MB/s. The larger its memory, the larger
# the pieces, and the fewer the commands.
NEAR_CHANNELS, NEAR_CHANNEL_BW = 8, 400 * 10 ** 6
NEAR_ENGINES, ENGINE_IPS = 4, 10 ** 9
NEAR = (f"timing=on,timing-preset=p4500,engines={NEAR_ENGINES},"
        f"engine-ips={ENGINE_IPS},slm-size=256M")

# Beside a drive of the same engines, SSDs of 2 such channels.
SSD_CHANNELS = 2
SSD = (f"timing=on,timing-preset=p4500,channels={SSD_CHANNELS},slm-size=1M,"
       "snapshot=on")
# How far from the model, and from so many times the first (percent).
SCALE_OFF_MAX = 10
ENGINES = (1, 2, 4, 8)

# Of the scanned bytes over the link, in percent; instructions of the user's way for
# one of the drive's; of the slower of media and engines, in percent.
LINK_MAX, SAVES_MIN, SHARE_MIN = 0.3, 50, 90


def make_disks(folder):
    """A random GiB with needles, which is its first 128 MiB again and again."""
    source = random.Random("a drive's data")
    part = bytearray(source.randbytes(PART))
    for _ in range(NEEDLES):
        at = source.randrange(PART - len(NEEDLE))
        part[at:at + len(NEEDLE)] = NEEDLE
    with open(f"{folder}/part", "wb") as file:
        file.write(part)
    with open(f"{folder}/whole", "wb") as file:
        for _ in range(TIMES):
            file.write(part)


def make_filters(folder):
    """The programs with their settings; how user space is told the same."""
    records = csdprog.from_object("records").set("key_max", KEY_MAX)
    grep = csdprog.from_object("grep").set("needle", NEEDLE)
    grep.set("needle_len", len(NEEDLE))
    for name, image in (("records", records), ("grep", grep)):
        with open(f"{folder}/{name}.img", "wb") as file:
            file.write(image.pack())
    text = NEEDLE.decode()
    filters = [
        ("records", {"key_max": str(KEY_MAX)},
         ["0", str(KEY_MAX), "0", str(2 ** 32 - 1)]),
        ("grep", {"needle": text}, [text])]
    with open(f"{folder}/filters.json", "w", encoding="ascii") as file:
        json.dump(filters, file)


@contextlib.contextmanager
def workspace():
    """A folder with the disks, and in it one for the guest, without them."""
    os.makedirs(f"{ROOT}/build", exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench.",
                                     dir=f"{ROOT}/build") as folder:
        make_disks(folder)
        os.mkdir(f"{folder}/share")
        make_filters(f"{folder}/share")
        yield folder.replace(",", ",,")


def near(bench, measure, folder):
    """Rows: each filter on the drive, in the kernel, and in user space."""
    rows = measure("guest_drive.py", "near", str(bench.rounds),
                   vm=("--share", f"{folder}/share",
                       "--csd", f"{folder}/whole,{NEAR}",
                       "--csd", f"{folder}/part,{NEAR}"))
    for row in rows:
        bench.check(f"near: {row['filter']} by the {row['way']}", 0, None,
                    row["per_mib"])
        row.update(bench.summary(row["per_mib"]))
    user = {row["filter"]: row["mean"] for row in rows if row["way"] == "user"}
    for row in rows:
        if row["way"] == "drive":
            row["saves"] = user[row["filter"]] / row["mean"]
            judge_near(bench, row)
    return rows


def judge_near(bench, row):
    """What a drive is for: little over the link, and no slower than its parts."""
    media = NEAR_CHANNELS * NEAR_CHANNEL_BW
    engines = NEAR_ENGINES * ENGINE_IPS * row["bytes"] / row["insns"]
    limit = min(media, engines)
    rates = [row["bytes"] / ns * 1e9 for ns in row["ns"]]
    row["limit"] = "media" if media < engines else "engines"
    row["mb_per_s"] = [rate / 1e6 for rate in rates]
    row["limit_mb_per_s"] = limit / 1e6
    row["share_percent"] = 100 * min(rates) / limit
    row["link_percent"] = 100 * row["link"] / row["bytes"]
    name = f"near: {row['filter']}"
    row["mean_fetched"] = bench.summary(row["per_mib_fetched"])["mean"]
    for key, what in (("per_mib_fetched", "with the matches"), ("ns", "the time")):
        bench.check(f"{name}, {what}", 0, None, row[key])
    bench.want(row["link_percent"] <= LINK_MAX, f"{name}: {row['link_percent']:.3f}"
               f" % over the link, and at most {LINK_MAX} is wanted")
    bench.want(row["saves"] >= SAVES_MIN, f"{name}: user space takes "
               f"{row['saves']:.1f} times the instructions, and {SAVES_MIN} are "
               "wanted")
    bench.want(row["share_percent"] >= SHARE_MIN, f"{name}: "
               f"{row['share_percent']:.1f} % of what the {row['limit']} can do, "
               f"and {SHARE_MIN} are wanted")


def print_near(rows):
    print("\nCounting matches on the drive whose data they are, 1 GiB; in the kernel "
          "and in user\nspace, of 128 MiB of them on such a drive. Instructions per "
          "MiB, in thousands.\n")
    print(f"  {'filter':<10}{'drive':>9}{'spread':>9}{'kernel':>9}{'spread':>9}"
          f"{'user':>9}{'spread':>9}{'user/drive':>12}")
    by_key = {(row["filter"], row["way"]): row for row in rows}
    drives = [row for row in rows if row["way"] == "drive"]
    for drive in drives:
        cells = "".join(f"{row['mean'] / 1e3:>9.1f}{row['spread_percent']:>7.2f} %"
                        for row in (by_key[drive["filter"], way] for way in
                                    ("drive", "kernel", "user")))
        print(f"  {drive['filter']:<10}{cells}{drive['saves']:>12.0f}")
    print("\n  Fetching the matches: instructions, what crosses the link, commands "
          "and all, and\n  the speed beside what the model allows, the slower of "
          "media and engines\n")
    print(f"  {'filter':<9}{'per MiB':>8}{'matches':>9}{'bytes':>9}{'of all':>9}"
          f"{'MB/s':>7}{'model':>7}{'share':>9}  limit")
    for row in drives:
        print(f"  {row['filter']:<9}{row['mean_fetched'] / 1e3:>8.1f}"
              f"{row['matches']:>9}{row['link']:>9}{row['link_percent']:>7.3f} %"
              f"{min(row['mb_per_s']):>7.0f}{row['limit_mb_per_s']:>7.0f}"
              f"{row['share_percent']:>7.1f} %  {row['limit']}")


def scaled(bench, row, media, engines):
    """Complete a row of a scan by its speed, and by what the model allows."""
    samples = [row["bytes"] / ns * 1e3 for ns in row["ns"]]
    row.update(bench.summary(samples))
    computed = engines * ENGINE_IPS * row["bytes"] / row["insns"]
    row["limit"] = "media" if media < computed else "engines"
    row["limit_mb_per_s"] = min(media, computed) / 1e6
    row["share_percent"] = 100 * row["mean"] / row["limit_mb_per_s"]
    return samples


def judge_scaled(bench, name, row, samples, linear):
    """@linear: should it be so many times the first?"""
    bench.check(f"{name}, the speed", 0, None, samples)
    bench.want(row["share_percent"] >= 100 - SCALE_OFF_MAX,
               f"{name}: {row['share_percent']:.1f} % of what the {row['limit']} "
               f"can do, and {100 - SCALE_OFF_MAX} are wanted")
    bench.want(not linear or abs(row["linear_percent"] - 100) <= SCALE_OFF_MAX,
               f"{name}: {row['linear_percent']:.1f} % of so many times the first, "
               f"and at most {SCALE_OFF_MAX} off is wanted")


def peers(bench, measure, folder):
    """Rows: by how many SSDs write into the drive's memory."""
    drive = f"{folder}/part,{NEAR},slm-window=128M,snapshot=on"
    machine = ["--kernel", "p2p", "--qemu-arg=-cpu", "--qemu-arg=EPYC",
               "--share", f"{folder}/share", "--csd", drive]
    rows = measure("guest_drive.py", "peers", str(bench.rounds),
                   vm=(*machine, *["--csd", f"{folder}/part,{SSD}"] * 4))
    for row in rows:
        name, many = f"peers: {row['ssds']} SSDs", row["ssds"]
        samples = scaled(bench, row, many * SSD_CHANNELS * NEAR_CHANNEL_BW,
                         NEAR_ENGINES)
        row["linear_percent"] = 100 * row["mean"] / many / rows[0]["mean"]
        judge_scaled(bench, name, row, samples, row["limit"] == "media")
        for key in ("link_data", "host_to_slm"):
            bench.want(row[key] == 0, f"{name}: {row[key]} bytes of data came by "
                       f"the host ({key}), and none should")
    return rows


def engines(bench, measure, folder):
    """Rows: by how many engines a drive has."""
    machine = ["--share", f"{folder}/share"]
    for many in ENGINES:
        machine += ["--csd", f"{folder}/part,{NEAR},snapshot=on,engines={many}"]
    rows = measure("guest_drive.py", "engines", str(bench.rounds), vm=machine)
    for row in rows:
        samples = scaled(bench, row, NEAR_CHANNELS * NEAR_CHANNEL_BW,
                         row["engines"])
        row["linear_percent"] = (100 * row["mean"] / row["engines"]
                                 / rows[0]["mean"])
        judge_scaled(bench, f"engines: {row['engines']}", row, samples,
                     row["limit"] == "engines")
    return rows


def print_scaled(rows, key, more=()):
    print(f"  {key:<9}{'MB/s':>7}{'spread':>9}{'model':>7}{'share':>9}"
          f"{'linear':>9}  {'limit':<8}", "  ".join(more))
    for row in rows:
        cells = "  ".join(f"{row[name]:>{len(name)}}" for name in more)
        print(f"  {row[key]:<9}{row['mean']:>7.0f}{row['spread_percent']:>7.2f} %"
              f"{row['limit_mb_per_s']:>7.0f}{row['share_percent']:>7.1f} %"
              f"{row['linear_percent']:>7.1f} %  {row['limit']:<8} {cells}")


def print_peers(rows):
    print("\nSSDs beside a drive that write into its memory, for records: speed "
          "beside what the\nmodel allows, and beside so many times the first; data "
          "over the link as the host\ncounts, and into memory as the drive does\n")
    print_scaled(rows, "ssds", ("link_data", "host_to_slm"))


def print_engines(rows):
    print("\nThe same scan for a text on drives with more and more engines\n")
    print_scaled(rows, "engines")
