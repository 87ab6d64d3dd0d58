/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What the author of a blk_bpf program includes, and all of it:
 *
 *	#include <bpf/blk_bpf.h>
 *
 *	SEC("struct_ops/filter")
 *	int BLK_BPF_FILTER(zeroes, struct blk_bpf_ctx *ctx,
 *			   const void *data, const void *data_end)
 *	{
 *		...
 *	}
 *
 *	BLK_BPF_PROGRAM(zeroes_ops, .filter = (void *)zeroes, .unit = 4096);
 *
 * Compile with
 *	clang -O2 -g -mcpu=v3 -target bpf -D__TARGET_ARCH_x86 -Iinclude \
 *	      -Iinclude/uapi -I<libbpf's headers> -c FILE.bpf.c -o FILE.bpf.o
 */
#ifndef _BPF_BLK_BPF_H
#define _BPF_BLK_BPF_H

/*
 * The integer types of <linux/types.h>, which clang cannot reach for the bpf
 * target without a header search path of the host's architecture. A program
 * that includes a vmlinux.h has them, and struct bpf_iter_num, from there.
 */
#ifndef __VMLINUX_H__
typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u16 __le16;
typedef __u32 __be32;
typedef __u32 __le32;
typedef __u64 __be64;
typedef __u64 __le64;
typedef __u32 __wsum;
typedef __u16 __sum16;

#ifndef NULL
#define NULL ((void *)0)
#endif

/* State of bpf_for(), opaque (include/uapi/linux/bpf.h). */
struct bpf_iter_num {
	__u64 __opaque[1];
} __attribute__((aligned(8)));
#endif

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/blk_bpf.h>

/* What bpf_endian.h lacks: numbers on disks are little-endian as a rule. */
#ifndef bpf_le64_to_cpu
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_le16_to_cpu(x)	((__u16)(x))
#define bpf_le32_to_cpu(x)	((__u32)(x))
#define bpf_le64_to_cpu(x)	((__u64)(x))
#else
#define bpf_le16_to_cpu(x)	__builtin_bswap16(x)
#define bpf_le32_to_cpu(x)	__builtin_bswap32(x)
#define bpf_le64_to_cpu(x)	__builtin_bswap64(x)
#endif
#endif

/**
 * struct blk_bpf_ops - a program; use BLK_BPF_PROGRAM() to define one
 * @filter:  called for every unit: see BLK_BPF_FILTER()
 * @unit:    bytes a call: 0 for 4096; up to 32768; a power of two of at least
 *	     512 for a program that is to be attached
 * @overlap: bytes after the unit that a call may see too, so that what crosses
 *	     the border is found by the unit it begins in; up to 4096
 * @name:    for lists and messages: letters, digits, '_', '.' and '-'; empty for
 *	     the name of the variable
 */
struct blk_bpf_ops {
	int (*filter)(struct blk_bpf_ctx *ctx, void *data, void *data_end);
	__u32 unit;
	__u32 overlap;
	char name[BLK_BPF_NAME_LEN];
};

/**
 * blk_bpf_emit - add a match inside the unit
 * @ctx: the ctx that the filter was called with
 * @off: first byte, from the start of the unit; must be below ctx->len
 * @len: length in bytes, at least 1; the match must end inside the bytes that
 *	 the call sees, overlap included
 *
 * Return: 0; -EINVAL for a range outside, -ENOSPC after BLK_BPF_EMIT_MAX
 * matches in one call, -ENOMEM. What could not be added is not lost silently:
 * a scan ends with the error.
 */
extern int blk_bpf_emit(struct blk_bpf_ctx *ctx, __u32 off, __u32 len) __ksym;

/**
 * BLK_BPF_FILTER - define a filter with its arguments by name
 *
 * libbpf's BPF_PROG() takes the name ctx for itself, hence a macro of our own.
 * At entry r1 points to u64 args[3]; the body is inlined.
 */
#define BLK_BPF_FILTER(name, ctx_arg, data_arg, end_arg)		\
name(__u64 *__args);							\
static __always_inline int ____##name(ctx_arg, data_arg, end_arg);	\
int name(__u64 *__args)							\
{									\
	return ____##name((void *)__args[0], (void *)__args[1],		\
			  (void *)__args[2]);				\
}									\
static __always_inline int ____##name(ctx_arg, data_arg, end_arg)

/**
 * BLK_BPF_PROGRAM - define a program from a filter and named members
 * @id:  a C identifier; its first 15 letters name the program, unless .name does
 * @...: designated initialisers of struct blk_bpf_ops
 */
#define BLK_BPF_PROGRAM(id, ...)					\
SEC(".struct_ops.link") struct blk_bpf_ops id = { __VA_ARGS__ }

/* blk_bpf_emit() is for programs under a licence that the GPL goes with. */
#ifndef BLK_BPF_LICENSE
#define BLK_BPF_LICENSE "GPL"
#endif
char LICENSE[] SEC("license") __weak = BLK_BPF_LICENSE;

#endif /* _BPF_BLK_BPF_H */
