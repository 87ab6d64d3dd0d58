// SPDX-License-Identifier: GPL-2.0
/* The kernels of kernels.h as programs. */
unsigned int crc_table[256];
unsigned int base64_table[256];
unsigned int bins[256];

#define KERNEL(name)							\
static __attribute__((always_inline)) u64				\
body_##name(const u8 *data, const u8 *end);				\
__attribute__((section("struct_ops/" #name))) u64 name(u64 *args)	\
{									\
	return body_##name((const u8 *)args[1], (const u8 *)args[2]);	\
}									\
static __attribute__((always_inline)) u64				\
body_##name(const u8 *data, const u8 *end)

#include "kernels.h"
