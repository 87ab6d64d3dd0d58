#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Memory Range Set Management, and ranges that come with an Execute."""

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import CP, NVM, SLM
from ktap import expect, test, test_each
from nvmequeue import Raw

SIZE = 2 << 20
MAX_RANGES, MAX_SETS = 4, 3
NOTHING = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()


def get():
    return drives.get(slm_size=SIZE, max_ranges=MAX_RANGES,
                      max_range_sets=MAX_SETS)


def listed(drive):
    """Log 84h: {RSID: [(off, len), …]}"""
    status, data = drive.log(csd.LOG_RANGE_SETS, 32 + MAX_SETS * 32 * 5)
    expect(status, 0, "status of log 84h")
    at, found = 32, {}
    for _ in range(csd.LogRangeSetsHdr.parse(data).nr):
        entry = csd.LogRangeSet.parse(data, at)
        ranges = csd.Range.parse_all(data, entry.nr_ranges, at + 32)
        expect({r.nsid for r in ranges}, {SLM}, "namespaces")
        found[entry.rsid] = [(r.off, r.len) for r in ranges]
        at += 32 * (1 + entry.nr_ranges)
    return found


@test
def sets_are_created_listed_and_deleted():
    """If this breaks, a set has other ranges than it was given, or an
    identifier of 0, which means none."""
    drive = get()
    drive.put(1, NOTHING)
    expect(listed(drive), {}, "sets at first")
    sets = {}
    for ranges in ([(0, 4)], [(4096, 8192), (0, 4096)],
                   [(n * 8, 8) for n in range(MAX_RANGES)]):
        done = drive.must(drive.range_set(ranges))
        expect(done.dw0 not in (0, *sets), what=f"RSID {done.dw0}")
        sets[done.dw0] = ranges
        expect(listed(drive), sets, "log 84h")
    for rsid in sets:
        drive.must(drive.execute(1, rsid=rsid, what=drive.exec(
            4, result=False, flags=csd.EXEC_COUNT)))
    gone = next(iter(sets))
    drive.must(drive.delete_range_set(gone))
    del sets[gone]
    expect(listed(drive), sets, "log 84h")
    drives.refused(drive, drive.execute(1, rsid=gone), csd.SC_BAD_RSID,
                   f"set {gone}")
    drives.refused(drive, drive.delete_range_set(gone), csd.SC_BAD_RSID,
                   f"set {gone}")
    drive.must(drive.range_set([(0, 16)]))


@test
def sets_have_a_limit():
    """If this breaks, range sets use the drive's memory up."""
    drive = get()
    made = [drive.must(drive.range_set([(0, 4)])).dw0 for _ in range(MAX_SETS)]
    drives.refused(drive, drive.range_set([(0, 4)]), csd.SC_MAX_RANGE_SETS,
                   "delete one")
    drive.must(drive.delete_range_set(made[1]), drive.range_set([(0, 4)]))


R = csd.Range
BAD_RANGES = dict(
    length_zero=([(0, 0)], csd.SC_BAD_RANGE_SET, "range 0"),
    length_odd=([(0, 6)], csd.SC_BAD_RANGE_SET, "range 0"),
    at_odd=([(2, 4)], csd.SC_BAD_RANGE_SET, "range 0"),
    behind=([(SIZE, 4)], csd.SC_BAD_RANGE_SET, "range 0"),
    across=([(SIZE - 4, 8)], csd.SC_BAD_RANGE_SET, "range 0"),
    wraps=([((1 << 64) - 4, 8)], csd.SC_BAD_RANGE_SET, "range 0"),
    far=([(1 << 32, 4)], csd.SC_BAD_RANGE_SET, "range 0"),
    longest=([(0, 0xfffffffc)], csd.SC_BAD_RANGE_SET, "range 0"),
    second=([(0, 4), (SIZE, 4)], csd.SC_BAD_RANGE_SET, "range 1"),
    reserved=([R(nsid=SLM, len=4, rsvd=(csd.c_uint8 * 16)(1))],
              csd.SC_BAD_RANGE_SET, "reserved"),
    reserved_last=([R(nsid=SLM, len=4, rsvd=(csd.c_uint8 * 16)(*[0] * 15, 1))],
                   csd.SC_BAD_RANGE_SET, "reserved"),
    lbas=([(0, 4, NVM)], csd.SC_BAD_MEM_NS, "namespace 1"),
    programs=([(0, 4, CP)], csd.SC_BAD_MEM_NS, "namespace 3"),
    none=([(0, 4, 0)], csd.SC_BAD_MEM_NS, "namespace 0"),
    all=([(0, 4, 0xffffffff)], csd.SC_BAD_MEM_NS, "namespace 4294967295"),
    same=([(0, 8), (0, 8)], csd.SC_RANGES_OVERLAP, "range 1 overlaps"),
    last_word=([(0, 8), (4, 8)], csd.SC_RANGES_OVERLAP, "range 1 overlaps"),
    inside=([(64, 4), (0, 8), (0, 4096)], csd.SC_RANGES_OVERLAP,
            "range 2 overlaps"),
    many=([(n * 8, 8) for n in range(MAX_RANGES + 1)], csd.SC_MAX_RANGES,
          "(at most|more than) 4"),
)


@test_each(**BAD_RANGES)
def bad_ranges_are_refused(ranges, status, sentence):
    """If this breaks, a program gets at memory that is no SLM, or the same
    bytes twice; in a set, and in an Execute's own list."""
    drive = get()
    drives.refused(drive, drive.range_set(ranges), status, sentence)
    drive.put(1, NOTHING)
    drives.refused(drive, drive.execute(1, ranges), status, sentence)
    expect(listed(drive), {}, "sets")


@test_each(
    no_range=({"nr": 0}, csd.SC_BAD_RANGE_SET, "at least one"),
    select=({"select": 2}, nvme.INVALID_FIELD, "SEL"),
    select_last=({"select": 15}, nvme.INVALID_FIELD, "SEL"),
    reserved=({"rsvd": 1 << 4}, nvme.INVALID_FIELD, "zero"),
    reserved_last=({"rsvd": 1 << 15}, nvme.INVALID_FIELD, "zero"),
    number_high=({"nr": 0x101}, nvme.INVALID_FIELD, "zero"),
    rsid=({"rsid": 1}, nvme.INVALID_FIELD, "RSID"),
    many=({"nr": 255}, csd.SC_MAX_RANGES, "at most 4"),
    nowhere=({"data": Raw(1 << 40)}, nvme.DATA_TRANSFER, "fetched"),
)
def bad_creations_are_refused(fields, status, sentence):
    """If this breaks, a creation that means nothing makes a set."""
    drive = get()
    drives.refused(drive, drive.range_set([(0, 4)], **fields), status, sentence)
    expect(listed(drive), {}, "sets")


@test_each(never=(2, csd.SC_BAD_RSID, "set 2"), zero=(0, csd.SC_BAD_RSID, "0"),
           beyond=(MAX_SETS + 1, csd.SC_BAD_RSID, "set 4"),
           last=(0xffff, csd.SC_BAD_RSID, "set 65535"))
def bad_deletions_are_refused(rsid, status, sentence):
    """If this breaks, deleting a set that is not there deletes another."""
    drive = get()
    drive.must(drive.range_set([(0, 4)]))
    drives.refused(drive, drive.delete_range_set(rsid), status, sentence)
    drives.refused(drive, drive.run_admin(drive.range_set_command(
        select=csd.RANGE_SET_DELETE, rsid=1, nr=1)), nvme.INVALID_FIELD, "NUMR")
    expect(len(listed(drive)), 1, "sets")


@test
def a_set_and_inline_ranges_exclude_each_other():
    """If this breaks, an Execute that says two things does one of them."""
    drive = get()
    drive.put(1, NOTHING)
    rsid = drive.must(drive.range_set([(0, 4)])).dw0
    drives.refused(drive, drive.execute(1, [(0, 4)], rsid=rsid),
                   nvme.INVALID_FIELD)
    drives.refused(drive, drive.execute(1, rsid=77), csd.SC_BAD_RSID, "77")


@test
def a_set_in_use_is_not_deleted():
    """If this breaks, the memory of a running Execute is given away."""
    drive = get()
    drive.put(1, NOTHING)
    rsid = drive.must(drive.range_set([(0, 4)])).dw0
    drive.set_fault("execute:hang")
    cid = drive.io.submit(drive.execute_command(1, rsid=rsid))
    drive.settle()
    done = drive.delete_range_set(rsid)
    drives.refused(drive, done, csd.SC_RANGE_SET_IN_USE, f"set {rsid}")
    drive.abort(drive.io, cid)
    expect(hex(drive.io.wait(cid).status), hex(nvme.ABORTED), "its status")
    drive.must(drive.delete_range_set(rsid))


if __name__ == "__main__":
    drives.run()
