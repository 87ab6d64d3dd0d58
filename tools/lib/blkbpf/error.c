// SPDX-License-Identifier: GPL-2.0
/* The sentence of the last failure, and versions. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "internal.h"

/* A sentence of the kernel, and as much again to say what it was about. */
static __thread char last_error[2 * BLK_BPF_MSG_MAX + 1024];

int blkbpf_err(int err, const char *fmt, ...)
{
	/* The new sentence may quote the old one. */
	char sentence[sizeof(last_error)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	strcpy(last_error, sentence);

	if (err < 0)
		err = -err;
	/* libbpf has errors of its own, about the format of what it reads. */
	if (err >= __LIBBPF_ERRNO__START)
		err = EINVAL;
	errno = err;
	return -err;
}

const char *blkbpf_last_error(void)
{
	return last_error;
}

bool have_sys_admin(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &hdr, data))
		return false;
	return data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &
	       CAP_TO_MASK(CAP_SYS_ADMIN);
}

bool opts_copy(void *dst, size_t dst_sz, const void *src, const char *what)
{
	const char *bytes = src;
	size_t sz, i;

	if (!src)
		return true;
	memcpy(&sz, src, sizeof(sz));
	if (sz < sizeof(sz)) {
		blkbpf_err(EINVAL, "%s: opts.sz is not set: set it to sizeof(opts)",
			   what);
		return false;
	}
	for (i = dst_sz; i < sz; i++) {
		if (bytes[i]) {
			blkbpf_err(EOPNOTSUPP, "%s: an option is set that this version of the library does not know: use a newer one",
				   what);
			return false;
		}
	}
	memcpy(dst, src, sz < dst_sz ? sz : dst_sz);
	return true;
}

#define STR_(x) #x
#define STR(x) STR_(x)

const char *blkbpf_version(void)
{
	return STR(LIBBLKBPF_MAJOR_VERSION) "." STR(LIBBLKBPF_MINOR_VERSION);
}

const char *blkbpf_libbpf_version(void)
{
	const char *version = libbpf_version_string();

	return *version == 'v' ? version + 1 : version;
}
