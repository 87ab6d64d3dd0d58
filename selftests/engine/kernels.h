/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What filters are made of, in C that is compiled twice: by clang for BPF, and
 * by gcc for the machine, to compare with.
 *
 * KERNEL(name) is a function of the data; one that goes over all of them, and a
 * second one, NAME_rec, that goes from one 64-byte record to the next.
 */
#ifndef SELFTESTS_ENGINE_KERNELS_H
#define SELFTESTS_ENGINE_KERNELS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define RECORD	64

#define RECORDS(p)	(p = data; p + RECORD <= end; p += RECORD)
#define LOAD(type, p)	(*(const type *)(p))

KERNEL(count_field)
{
	const u8 *p;
	u64 n = 0;

	for (p = data; p + 4 <= end; p += 4)
		n += LOAD(u32, p) == 7;
	return n;
}

KERNEL(count_field_rec)
{
	const u8 *p;
	u64 n = 0;

	for RECORDS(p)
		if (LOAD(u32, p + 12) == 7)
			n++;
	return n;
}

KERNEL(range_1)
{
	const u8 *p;
	u64 n = 0;

	for (p = data; p + 4 <= end; p += 4)
		if (LOAD(u32, p) % 4096 < 41)
			n += LOAD(u32, p);
	return n;
}

KERNEL(range_1_rec)
{
	const u8 *p;
	u64 n = 0;

	for RECORDS(p) {
		u32 v = LOAD(u32, p + 24) & 1023;

		if (v >= 100 && v < 110)
			n += LOAD(u64, p + 32);
	}
	return n;
}

KERNEL(range_10)
{
	const u8 *p;
	u64 n = 0;

	for (p = data; p + 2 <= end; p += 2) {
		u32 v = LOAD(u16, p);

		if (v >= 10000 && v < 16554)
			n += v;
	}
	return n;
}

KERNEL(range_10_rec)
{
	const u8 *p;
	u64 n = 0;

	for RECORDS(p) {
		u32 v = LOAD(u32, p + 24) & 1023;

		if (v >= 100 && v < 202)
			n += LOAD(u64, p + 32);
	}
	return n;
}

KERNEL(search_8)
{
	const u8 *p;
	u64 n = 0;

	for (p = data; p + 8 <= end; p++)
		if (LOAD(u64, p) == 0x6867666564636261ULL)
			n++;
	return n;
}

KERNEL(search_8_rec)
{
	const u8 *p;
	u64 n = 0;
	u32 i;

	for RECORDS(p)
		for (i = 0; i <= RECORD - 8; i++)
			if (LOAD(u64, p + i) == 0x6867666564636261ULL)
				n++;
	return n;
}

static const u8 needle[13] = "needle-in-hay";

KERNEL(search_n)
{
	const u8 *p;
	u64 n = 0;
	u32 i;

	for (p = data; p + sizeof(needle) <= end; p++) {
		if (*p != needle[0])
			continue;
		for (i = 1; i < sizeof(needle); i++)
			if (p[i] != needle[i])
				break;
		n += i == sizeof(needle);
	}
	return n;
}

KERNEL(search_n_rec)
{
	const u8 *p;
	u64 n = 0;
	u32 i, k;

	for RECORDS(p) {
		for (i = 0; i <= RECORD - sizeof(needle); i++) {
			if (p[i] != needle[0])
				continue;
			for (k = 1; k < sizeof(needle); k++)
				if (p[i + k] != needle[k])
					break;
			n += k == sizeof(needle);
		}
	}
	return n;
}

KERNEL(sum)
{
	const u8 *p;
	u64 n = 0;

	for (p = data; p + 8 <= end; p += 8)
		n += LOAD(u64, p);
	return n;
}

KERNEL(sum_rec)
{
	const u8 *p;
	u64 n = 0;

	for RECORDS(p)
		n += LOAD(u64, p + 40);
	return n;
}

KERNEL(fnv1a)
{
	const u8 *p;
	u64 hash = 0xcbf29ce484222325ULL;

	for (p = data; p < end; p++)
		hash = (hash ^ *p) * 0x100000001b3ULL;
	return hash;
}

KERNEL(fnv1a_rec)
{
	const u8 *p;
	u64 all = 0;
	u32 i;

	for RECORDS(p) {
		u64 hash = 0xcbf29ce484222325ULL;

		for (i = 0; i < RECORD; i++)
			hash = (hash ^ p[i]) * 0x100000001b3ULL;
		all += hash;
	}
	return all;
}

KERNEL(crc32c)
{
	const u8 *p;
	u32 crc = ~0U;

	for (p = data; p < end; p++)
		crc = crc_table[(crc ^ *p) & 0xff] ^ (crc >> 8);
	return ~crc;
}

KERNEL(crc32c_rec)
{
	const u8 *p;
	u64 all = 0;
	u32 i;

	for RECORDS(p) {
		u32 crc = ~0U;

		for (i = 0; i < RECORD; i++)
			crc = crc_table[(crc ^ p[i]) & 0xff] ^ (crc >> 8);
		all += ~crc;
	}
	return all;
}

/* Nodes of 4 KiB: 511 keys in order, after their number. */
KERNEL(btree)
{
	const u8 *p;
	u64 key = 0x123456789abcdefULL, all = 0;

	for (p = data; p + 4096 <= end; p += 4096) {
		for (u32 t = 0; t < 64; t++) {
			u32 lo = 0, hi = 511;

			key = key * 6364136223846793005ULL + 1442695040888963407ULL;
			while (lo < hi) {
				u32 mid = (lo + hi) / 2;

				if (LOAD(u64, p + 8 + 8 * (mid & 511)) < key)
					lo = mid + 1;
				else
					hi = mid;
			}
			all += lo;
		}
	}
	return all;
}

/* A node of a cache line: seven keys. */
KERNEL(btree_rec)
{
	const u8 *p;
	u64 key = 0x123456789abcdefULL, all = 0;
	u32 i;

	for RECORDS(p) {
		key = key * 6364136223846793005ULL + 1442695040888963407ULL;
		for (i = 0; i < 7; i++)
			if (LOAD(u64, p + 8 * i) >= key)
				break;
		all += i;
	}
	return all;
}

enum { S_VALUE, S_STRING, S_ESCAPE, S_NUMBER };

#define TOKEN(c, state, n)						\
	do {								\
		if (state == S_STRING) {				\
			if (c == '"')					\
				state = S_VALUE;			\
			else if (c == '\\')				\
				state = S_ESCAPE;			\
		} else if (state == S_ESCAPE) {				\
			state = S_STRING;				\
		} else if (c == '"') {					\
			state = S_STRING;				\
			n++;						\
		} else if ((c >= '0' && c <= '9') || c == '-' || c == '.') { \
			n += state != S_NUMBER;				\
			state = S_NUMBER;				\
		} else {						\
			state = S_VALUE;				\
			n += c == '{' || c == '}' || c == '[' || c == ']' || \
			     c == ':' || c == ',';			\
		}							\
	} while (0)

KERNEL(json)
{
	const u8 *p;
	u32 state = S_VALUE;
	u64 n = 0;

	for (p = data; p < end; p++)
		TOKEN(*p, state, n);
	return n;
}

KERNEL(json_rec)
{
	const u8 *p;
	u64 n = 0;
	u32 i;

	for RECORDS(p) {
		u32 state = S_VALUE;

		for (i = 0; i < RECORD; i++)
			TOKEN(p[i], state, n);
	}
	return n;
}

KERNEL(histogram)
{
	const u8 *p;

	for (p = data; p < end; p++)
		bins[*p]++;
	return bins[17];
}

KERNEL(histogram_rec)
{
	const u8 *p;

	for RECORDS(p)
		bins[LOAD(u16, p + 20) & 255]++;
	return bins[17];
}

KERNEL(base64)
{
	const u8 *p;
	u64 bad = 0;

	for (p = data; p + 4 <= end; p += 4) {
		u32 v = base64_table[p[0]] << 18 | base64_table[p[1]] << 12 |
			base64_table[p[2]] << 6 | base64_table[p[3]];

		bad += v >> 24 ? 1 : v & 1;
	}
	return bad;
}

KERNEL(base64_rec)
{
	const u8 *p;
	u64 bad = 0;
	u32 i;

	for RECORDS(p) {
		u32 all = 0;

		for (i = 0; i < RECORD; i++)
			all |= base64_table[p[i]];
		bad += all >> 8;
	}
	return bad;
}

#define FOR_EACH_KERNEL(X)						\
	X(count_field) X(count_field_rec) X(range_1) X(range_1_rec)	\
	X(range_10) X(range_10_rec) X(search_8) X(search_8_rec)		\
	X(search_n) X(search_n_rec) X(sum) X(sum_rec)			\
	X(fnv1a) X(fnv1a_rec) X(crc32c) X(crc32c_rec)			\
	X(btree) X(btree_rec) X(json) X(json_rec)			\
	X(histogram) X(histogram_rec) X(base64) X(base64_rec)

#endif
