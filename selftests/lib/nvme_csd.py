# SPDX-License-Identifier: GPL-2.0
"""linux/nvme_csd.h for tests: the same names without NVME_CSD_, and its structs.

The numbers are written down here a second time on purpose; drive/wire_format.py
compares both with what a compiler makes of the header.
"""

import ctypes
from ctypes import c_char, c_uint8, c_uint16, c_uint32, c_uint64

LAYOUT = 1
EBPF_ABI = 1

# Command sets
CSI_SLM = 0x03
CSI_CP = 0x04

# Opcodes
ADMIN_LOAD = 0x85
ADMIN_ACTIVATE = 0x88
ADMIN_RANGE_SET = 0x89
ADMIN_LOAD_ALIAS = 0xc1
ADMIN_ACTIVATE_ALIAS = 0xc4
ADMIN_RANGE_SET_ALIAS = 0xc9
CP_EXECUTE = 0x01
CP_EXECUTE_DLEN = 0x81
CP_GLOBALS_READ = 0x82
CP_GLOBALS_WRITE = 0x85
SLM_COPY = 0x01
SLM_READ = 0x02
SLM_FILL = 0x04
SLM_WRITE = 0x05

# Fields of commands
LOAD_SEL_UNLOAD = 1 << 24
LOAD_RSVD = 0xf0000000
PIT_NONE = 0
PIT_PUID = 1
PIND_FIRST = 1
PTYPE_EBPF = 0xc0
ACTIVATE_RSVD = 0xfff00000
DEACTIVATE = 0
ACTIVATE = 1
RANGE_SET_RSVD = 0x0000fff0
RANGE_SET_CREATE = 0
RANGE_SET_DELETE = 1
COPY_RSVD = 0xfffff000
COPY_LBA = 0x2
COPY_LBA_LONG = 0x3
COPY_BYTES = 0x4
COPY_FCO = 1 << 15

# Execute
CALL = 0
SCAN = 1
EXEC_COUNT = 1 << 0
NO_RANGE = 0xffffffff

# Result.status
DONE = 0
FULL = 1
STOPPED = 2
PROGRAM_ERROR = 3
NONSENSE = 4
FAULT = 5
EMIT_ERROR = 6

# Result.fault
FAULT_NONE = 0
FAULT_ACCESS = 1
FAULT_ALIGN = 2
FAULT_FUEL = 3
FAULT_DEADLINE = 4
FAULT_ABORTED = 5
FAULT_ENGINE = 6

# Images
IMAGE_MAGIC = 0x50425343
GLOBAL_RDONLY = 1 << 0
HELPER_LOOP = 181
HELPER_ITER_NUM_NEW = 0x10001
HELPER_ITER_NUM_NEXT = 0x10002
HELPER_ITER_NUM_DESTROY = 0x10003
HELPER_EMIT = 0x10010

# Statuses
SCT = 0x100
SC_SIZE_LIMIT = 0x183
SC_BAD_NS_FORMAT = 0x185
SC_NO_FAST_COPY = 0x186
SC_OVERLAP = 0x187
SC_UNREACHABLE = 0x188
SC_RESOURCES = 0x189
SC_PROG_RESOURCES = 0x18a
SC_BAD_MEM_NS = 0x18b
SC_BAD_RANGE_SET = 0x18c
SC_BAD_RSID = 0x18d
SC_BAD_PROG_DATA = 0x18e
SC_BAD_PIND = 0x18f
SC_BAD_PTYPE = 0x190
SC_MAX_RANGES = 0x191
SC_MAX_RANGE_SETS = 0x192
SC_MAX_ACTIVE = 0x193
SC_MAX_PROG_BYTES = 0x194
SC_RANGE_SET_IN_USE = 0x195
SC_NO_PROGRAM = 0x196
SC_RANGES_OVERLAP = 0x197
SC_NOT_ACTIVE = 0x198
SC_PROG_IN_USE = 0x199
SC_NOT_DOWNLOADABLE = 0x19a
SC_PROG_TOO_BIG = 0x19b
SC_PROG_FAULT = 0x1c0
SC_DEADLINE = 0x1c1

# Logs
LOG_REACH_GROUPS = 0x1a
LOG_REACH_ASSOC = 0x1b
LOG_PROGRAMS = 0x82
LOG_PTYPES = 0x83
LOG_RANGE_SETS = 0x84
LOG_HOST_ADDRESSABLE = 0x85
LOG_INFO = 0xd0
LOG_MESSAGE = 0xd1
LOG_COUNTERS = 0xd2
LOG_IDENTIFY = 0xd3
RAC_REACHABLE = 1
RAC_FAST_COPY = 2
RAC_NO_FAST_COPY = 3
PEOCC_EMPTY = 0
PEOCC_DOWNLOADED = 1
PEOCC_ACTIVE = 1 << 2
INFO_TIMING = 1 << 0
INFO_JIT = 1 << 1


class Struct(ctypes.LittleEndianStructure):
    """Of the wire: no padding but what the header spells out."""

    def __repr__(self):
        fields = ", ".join(f"{name}={getattr(self, name)!r}"
                           for name, *_ in self._fields_
                           if not name.startswith("rsvd"))
        return f"{type(self).__name__}({fields})"

    @classmethod
    def parse(cls, data, at=0):
        """From bytes, which may go on behind it."""
        return cls.from_buffer_copy(data, at)

    @classmethod
    def parse_all(cls, data, number, at=0):
        """That many of them, one behind the other."""
        size = ctypes.sizeof(cls)
        return [cls.parse(data, at + n * size) for n in range(number)]


class Range(Struct):
    _fields_ = [("nsid", c_uint32), ("len", c_uint32), ("off", c_uint64),
                ("rsvd", c_uint8 * 16)]


class CopyLba(Struct):
    _fields_ = [("nsid", c_uint32), ("rsvd4", c_uint8 * 4), ("slba", c_uint64),
                ("nlb", c_uint16), ("cetype", c_uint8), ("rsvd19", c_uint8),
                ("cev", c_uint16), ("sopt", c_uint16), ("elbrt", c_uint8 * 4),
                ("elbat", c_uint16), ("elbatm", c_uint16)]


class CopyLbaLong(Struct):
    _fields_ = [("nsid", c_uint32), ("rsvd4", c_uint8 * 4), ("slba", c_uint64),
                ("nlb", c_uint16), ("cetype", c_uint8), ("rsvd19", c_uint8),
                ("cev", c_uint16), ("sopt", c_uint16), ("rsvd24", c_uint8 * 2),
                ("elbt", c_uint8 * 10), ("elbat", c_uint16),
                ("elbatm", c_uint16)]


class CopyBytes(Struct):
    _fields_ = [("nsid", c_uint32), ("rsvd4", c_uint8 * 4), ("off", c_uint64),
                ("len", c_uint32), ("rsvd20", c_uint8 * 2), ("sopt", c_uint16),
                ("rsvd24", c_uint8 * 8)]


class Cursor(Struct):
    _fields_ = [("off", c_uint64), ("skip", c_uint32), ("rsvd", c_uint32),
                ("cookie", c_uint64)]


class Exec(Struct):
    _fields_ = [("size", c_uint32), ("mode", c_uint8), ("rsvd", c_uint8 * 3),
                ("flags", c_uint32), ("data_range", c_uint32),
                ("result_range", c_uint32), ("unit", c_uint32),
                ("data_off", c_uint64), ("data_len", c_uint64),
                ("tail_len", c_uint32), ("dev", c_uint32), ("pos", c_uint64),
                ("args", c_uint64 * 4), ("cursor", Cursor)]


class Result(Struct):
    _fields_ = [("status", c_uint32), ("nr", c_uint32), ("cursor", Cursor),
                ("units", c_uint64), ("bytes", c_uint64),
                ("matches", c_uint64), ("retired", c_uint64),
                ("error", c_uint32), ("fault", c_uint32),
                ("fault_pc", c_uint32), ("rsvd", c_uint32), ("r0", c_uint64),
                ("rsvd2", c_uint8 * 40)]


class Image(Struct):
    _fields_ = [("magic", c_uint32), ("abi", c_uint16), ("hdr_size", c_uint16),
                ("size", c_uint32), ("crc", c_uint32), ("nr_insns", c_uint32),
                ("insns_off", c_uint32), ("nr_globals", c_uint32),
                ("globals_off", c_uint32), ("unit", c_uint32),
                ("overlap", c_uint32), ("ctx_size", c_uint32),
                ("rsvd", c_uint32), ("name", c_char * 16)]


class Global(Struct):
    _fields_ = [("size", c_uint32), ("flags", c_uint32),
                ("init_len", c_uint32), ("init_off", c_uint32)]


class LogReachHdr(Struct):
    _fields_ = [("change_count", c_uint64), ("nr", c_uint16),
                ("rsvd", c_uint8 * 6)]


class ReachGroup(Struct):
    _fields_ = [("id", c_uint32), ("nr_nsids", c_uint32),
                ("change_count", c_uint64), ("rsvd", c_uint8 * 16)]


class ReachAssoc(Struct):
    _fields_ = [("id", c_uint32), ("nr_groups", c_uint32),
                ("change_count", c_uint64), ("rac", c_uint8),
                ("rsvd", c_uint8 * 15)]


class LogProgramsHdr(Struct):
    _fields_ = [("nr", c_uint32), ("rsvd", c_uint8 * 60)]


class LogProgram(Struct):
    _fields_ = [("flags", c_uint8), ("ptype", c_uint8), ("rsvd2", c_uint8 * 6),
                ("pid", c_uint64), ("rsvd16", c_uint8 * 48)]


class LogPtypesHdr(Struct):
    _fields_ = [("nr", c_uint32), ("rsvd", c_uint8 * 28)]


class LogPtype(Struct):
    _fields_ = [("ptype", c_uint8), ("version", c_uint8),
                ("rsvd", c_uint8 * 30)]


class LogRangeSetsHdr(Struct):
    _fields_ = [("nr", c_uint32), ("rsvd", c_uint8 * 28)]


class LogRangeSet(Struct):
    _fields_ = [("rsid", c_uint16), ("nr_ranges", c_uint16),
                ("rsvd", c_uint8 * 28)]


class LogHostHdr(Struct):
    _fields_ = [("nr", c_uint16), ("rsvd", c_uint8 * 14)]


class LogHostEntry(Struct):
    _fields_ = [("nsid", c_uint32), ("type", c_uint8), ("rsvd", c_uint8 * 3),
                ("off", c_uint64)]


class LogInfo(Struct):
    _fields_ = [("layout", c_uint16), ("ebpf_abi", c_uint16),
                ("size", c_uint32), ("slm_nsid", c_uint32),
                ("cp_nsid", c_uint32), ("generation", c_uint64),
                ("slm_size", c_uint64), ("window_off", c_uint64),
                ("window_size", c_uint64), ("max_prog_bytes", c_uint64),
                ("max_total_bytes", c_uint64), ("max_globals", c_uint64),
                ("max_programs", c_uint32), ("max_active", c_uint32),
                ("max_ranges", c_uint32), ("max_range_sets", c_uint32),
                ("max_insns", c_uint32), ("engines", c_uint32),
                ("max_queued", c_uint32), ("copy_granularity", c_uint32),
                ("deadline_ns", c_uint64), ("fuel", c_uint64),
                ("max_copy", c_uint64), ("features", c_uint32),
                ("rsvd", c_uint8 * 124)]


class LogMessage(Struct):
    _fields_ = [("seq", c_uint64), ("opcode", c_uint8), ("rsvd", c_uint8 * 1),
                ("sqid", c_uint16), ("cid", c_uint16), ("status", c_uint16),
                ("pind", c_uint16), ("rsvd2", c_uint16), ("len", c_uint32),
                ("rsvd3", c_uint8 * 8), ("text", c_char * 4064)]


class LogCounters(Struct):
    _fields_ = [("loads", c_uint64), ("load_refused", c_uint64),
                ("executes", c_uint64), ("units", c_uint64),
                ("retired", c_uint64), ("matches", c_uint64),
                ("faults", c_uint64 * 8), ("media_to_slm", c_uint64),
                ("slm_to_media", c_uint64), ("slm_to_slm", c_uint64),
                ("host_to_slm", c_uint64), ("slm_to_host", c_uint64),
                ("link_to_drive", c_uint64), ("link_to_host", c_uint64),
                ("engine_busy_ns", c_uint64), ("rsvd", c_uint8 * 336)]


class IdNsCp(Struct):
    _fields_ = [("max_active", c_uint16), ("max_range_sets", c_uint16),
                ("range_granularity", c_uint16), ("max_ranges", c_uint8),
                ("rsvd7", c_uint8), ("max_prog_mib", c_uint64),
                ("load_granularity", c_uint8), ("rsvd17", c_uint8 * 4079)]


class LogIdentify(Struct):
    _fields_ = [("slm_nsid", c_uint32), ("cp_nsid", c_uint32),
                ("slm_csi", c_uint8), ("cp_csi", c_uint8), ("ocfs", c_uint16),
                ("rsvd", c_uint8 * 52), ("cp", c_uint8 * 64)]
