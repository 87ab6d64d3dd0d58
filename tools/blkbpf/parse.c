// SPDX-License-Identifier: GPL-2.0
/* Numbers and paths in arguments. */
#include <ctype.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include "main.h"

bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* Digits up to @end; no sign, no space, which strtoull() would take. */
static bool parse_digits(const char *text, uint64_t *value, char **end)
{
	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoull(text, end, text[0] == '0' &&
			  (text[1] == 'x' || text[1] == 'X') ? 16 : 10);
	return !errno;
}

bool parse_u64(const char *text, uint64_t *value)
{
	bool negative = *text == '-';
	char *end;

	if (!parse_digits(text + negative, value, &end) || *end)
		return false;
	if (negative && *value > 1ULL << 63)
		return false;
	if (negative)
		*value = -*value;
	return true;
}

bool parse_size(const char *text, uint64_t *value)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 0;
	const char *suffix;
	char *end;

	if (!parse_digits(text, value, &end))
		return false;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix)
			return false;
		shift = 10 * (suffix - suffixes + 1);
		/* "4K" and "4KiB" */
		if (end[1] && strcmp(end + 1, "iB"))
			return false;
	}
	if (*value > UINT64_MAX >> shift)
		return false;
	*value <<= shift;
	return true;
}

bool parse_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "ns", 1 }, { "us", 1000 }, { "ms", 1000000 },
		{ "s", 1000000000 },
	};
	char *end;
	size_t i;

	if (!parse_digits(text, ns, &end))
		return false;
	for (i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].name))
			return !__builtin_mul_overflow(*ns, units[i].ns, ns);
	return false;
}

bool parse_u32(const char *text, uint32_t *value)
{
	uint64_t wide;

	if (*text == '-' || !parse_u64(text, &wide) || wide > UINT32_MAX)
		return false;
	*value = wide;
	return true;
}

bool parse_s32(const char *text, int32_t *value)
{
	uint64_t wide;
	int64_t s;

	if (!parse_u64(text, &wide))
		return false;
	s = wide;
	if (s < INT32_MIN || s > INT32_MAX || (*text != '-' && s < 0))
		return false;
	*value = s;
	return true;
}

bool parse_arg(const char *text, uint64_t args[BLK_BPF_NR_ARGS])
{
	unsigned int n = text[0] - '0';
	uint64_t value;

	if (n >= BLK_BPF_NR_ARGS || text[1] != '=') {
		fail_usage("--arg %s: give N=V with N from 0 to %d", text,
			   BLK_BPF_NR_ARGS - 1);
		return false;
	}
	/* a size is a number too, and -1 one that is no size */
	if (!parse_u64(text + 2, &value) && !parse_size(text + 2, &value)) {
		fail_usage("--arg %s: '%s' is not a number that fits in 64 bits",
			   text, text + 2);
		return false;
	}
	args[n] = value;
	return true;
}

bool is_in_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}
