// SPDX-License-Identifier: GPL-2.0
/* The kernels of kernels.h for the machine: gcc -O2, no vectors. */
unsigned int crc_table[256];
unsigned int base64_table[256];
unsigned int bins[256];

#define KERNEL(name)	u64 name(const u8 *data, const u8 *end)

#include "kernels.h"
