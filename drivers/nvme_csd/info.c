// SPDX-License-Identifier: GPL-2.0
/*
 * What a drive says of itself. A drive may lie, by mistake or to do harm: every
 * figure that something depends on is looked at before it is used.
 */
#include <linux/ctype.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "csd.h"

#define NSID_ALL	0xffffffff

/* Less memory than this is of no use, more than that is a lie. */
#define SLM_MIN		SZ_256K
#define SLM_MAX		(1ULL << 44)
#define COPY_MIN	SZ_64K
/* As the callers of a scan: the values of a program's variables are kept here. */
#define GLOBALS_MAX	SZ_64M
#define PROGRAMS_MAX	65535U
#define ENGINES_MAX	1024U
#define QUEUED_MAX	65536U
/* Groups, associations and namespaces that are looked at. */
#define REACH_BYTES	SZ_64K

static void take_figures(struct csd_info *info, const struct nvme_csd_log_info *log)
{
	info->slm_nsid = le32_to_cpu(log->slm_nsid);
	info->cp_nsid = le32_to_cpu(log->cp_nsid);
	info->generation = le64_to_cpu(log->generation);
	info->slm_size = le64_to_cpu(log->slm_size);
	info->window_off = le64_to_cpu(log->window_off);
	info->window_size = le64_to_cpu(log->window_size);
	info->max_prog_bytes = le64_to_cpu(log->max_prog_bytes);
	info->max_total_bytes = le64_to_cpu(log->max_total_bytes);
	info->max_globals = min_t(u64, le64_to_cpu(log->max_globals), GLOBALS_MAX);
	info->max_programs = min(le32_to_cpu(log->max_programs), PROGRAMS_MAX);
	info->max_active = le32_to_cpu(log->max_active);
	info->engines = clamp(le32_to_cpu(log->engines), 1U, ENGINES_MAX);
	info->max_queued = min(le32_to_cpu(log->max_queued), QUEUED_MAX);
	info->deadline_ns = le64_to_cpu(log->deadline_ns);
	info->fuel = le64_to_cpu(log->fuel);
	info->max_copy = le64_to_cpu(log->max_copy);
	info->features = le32_to_cpu(log->features);
}

/* Why the figures make no sense, or NULL. */
static const char *nonsense(const struct csd_info *info)
{
	if (!info->generation)
		return "a generation of 0";
	if (info->slm_size < SLM_MIN || info->slm_size > SLM_MAX)
		return "a memory of an impossible size";
	if (info->window_off > info->slm_size ||
	    info->window_size > info->slm_size - info->window_off)
		return "a window that is not in its memory";
	if (!info->max_programs || !info->max_active)
		return "room for no program";
	if (info->max_prog_bytes < sizeof(struct nvme_csd_image))
		return "programs that are smaller than their header";
	if (info->max_queued < 2)
		return "fewer than two commands at a time";
	if (info->max_copy < COPY_MIN)
		return "copies of less than 64 KiB";
	return NULL;
}

/**
 * csd_info_read - read and check log D0h
 * @ctrl: live
 * @slm:  namespace with that command set
 * @cp:   likewise
 * @info: filled
 *
 * What is wrong is said in the kernel's log.
 *
 * Return: 0 or a negative errno.
 */
int csd_info_read(struct nvme_ctrl *ctrl, struct nvme_ns *slm,
		  struct nvme_ns *cp, struct csd_info *info)
{
	struct nvme_csd_log_info *log = kmalloc(sizeof(*log), GFP_KERNEL);
	const char *wrong;
	int ret;

	if (!log)
		return -ENOMEM;
	ret = csd_get_log(ctrl, NSID_ALL, NVME_CSD_LOG_INFO, 0, log, sizeof(*log));
	if (ret) {
		wrong = csd_status_text(ret > 0 ? ret : CSD_NOT_SENT);
		dev_warn(ctrl->device,
			 "its memory and program namespaces cannot be used: log D0h cannot be read (%s, %d)\n",
			 wrong, ret);
		ret = ret < 0 ? ret : -EREMOTEIO;
		goto free;
	}
	ret = -EPROTONOSUPPORT;
	if (le16_to_cpu(log->layout) != NVME_CSD_LAYOUT ||
	    le16_to_cpu(log->ebpf_abi) != NVME_CSD_EBPF_ABI ||
	    le32_to_cpu(log->size) < offsetofend(struct nvme_csd_log_info, features)) {
		dev_warn(ctrl->device,
			 "the drive speaks layout %u and program ABI %u, this driver %u and %u\n",
			 le16_to_cpu(log->layout), le16_to_cpu(log->ebpf_abi),
			 NVME_CSD_LAYOUT, NVME_CSD_EBPF_ABI);
		goto free;
	}
	take_figures(info, log);
	wrong = nonsense(info);
	if (!wrong && le32_to_cpu(log->max_ranges) < 2)
		wrong = "fewer than two memory ranges for a program";
	if (!wrong && (info->slm_nsid != slm->head->ns_id ||
		       info->cp_nsid != cp->head->ns_id))
		wrong = "namespaces that it does not have";
	if (wrong) {
		dev_warn(ctrl->device, "the drive claims %s: it is not used\n", wrong);
		ret = -EPROTO;
		goto free;
	}
	ret = 0;
free:
	kfree(log);
	return ret;
}

/**
 * csd_info_ptypes - whether a drive runs programs of our type
 * @ctrl:    live
 * @cp_nsid: its CP namespace
 *
 * Return: 0; -EPROTONOSUPPORT if not; another negative errno.
 */
int csd_info_ptypes(struct nvme_ctrl *ctrl, u32 cp_nsid)
{
	struct nvme_csd_log_ptypes_hdr *log = kmalloc(SZ_4K, GFP_KERNEL);
	const struct nvme_csd_log_ptype *type;
	u32 nr, i;
	int ret;

	if (!log)
		return -ENOMEM;
	ret = csd_get_log(ctrl, cp_nsid, NVME_CSD_LOG_PTYPES, 0, log, SZ_4K);
	if (ret) {
		ret = ret < 0 ? ret : -EREMOTEIO;
		goto free;
	}
	nr = min_t(u32, le32_to_cpu(log->nr), (SZ_4K - sizeof(*log)) / sizeof(*type));
	type = (const void *)(log + 1);
	ret = -EPROTONOSUPPORT;
	for (i = 0; i < nr; i++) {
		if (type[i].ptype == NVME_CSD_PTYPE_EBPF &&
		    type[i].version == NVME_CSD_EBPF_ABI)
			ret = 0;
	}
free:
	kfree(log);
	return ret;
}

/**
 * csd_info_generation - which life of the drive this is
 * @drive:      in use by the caller
 * @generation: receives it; another than before if programs were forgotten
 *
 * Return: 0, a status of the drive's (positive), or a negative errno.
 */
int csd_info_generation(struct csd_drive *drive, u64 *generation)
{
	struct nvme_csd_log_info *log = kmalloc(sizeof(*log), GFP_KERNEL);
	int ret;

	if (!log)
		return -ENOMEM;
	ret = csd_get_log(drive->ctrl, NSID_ALL, NVME_CSD_LOG_INFO, 0, log,
			  offsetofend(struct nvme_csd_log_info, generation));
	*generation = le64_to_cpu(log->generation);
	kfree(log);
	return ret;
}

/* The reachability group of a namespace, by log 1Ah; 0 if it is in none. */
static u32 find_group(const void *log, u32 len, u32 nsid)
{
	const struct nvme_csd_log_reach_hdr *hdr = log;
	const struct nvme_csd_reach_group *group;
	u32 at = sizeof(*hdr), i, n;

	for (i = 0; i < le16_to_cpu(hdr->nr); i++) {
		const __le32 *nsids;
		u32 nr;

		if (len - at < sizeof(*group))
			return 0;
		group = log + at;
		at += sizeof(*group);
		nr = le32_to_cpu(group->nr_nsids);
		if (nr > (len - at) / sizeof(*nsids))
			return 0;
		nsids = log + at;
		for (n = 0; n < nr; n++) {
			if (le32_to_cpu(nsids[n]) == nsid)
				return le32_to_cpu(group->id);
		}
		at += nr * sizeof(*nsids);
	}
	return 0;
}

/* Whether an association of log 1Bh has both groups. */
static bool associated(const void *log, u32 len, u32 a, u32 b)
{
	const struct nvme_csd_log_reach_hdr *hdr = log;
	const struct nvme_csd_reach_assoc *assoc;
	u32 at = sizeof(*hdr), i, n;

	for (i = 0; i < le16_to_cpu(hdr->nr); i++) {
		bool has_a = false, has_b = false;
		const __le32 *groups;
		u32 nr;

		if (len - at < sizeof(*assoc))
			return false;
		assoc = log + at;
		at += sizeof(*assoc);
		nr = le32_to_cpu(assoc->nr_groups);
		if (nr > (len - at) / sizeof(*groups))
			return false;
		groups = log + at;
		for (n = 0; n < nr; n++) {
			has_a |= le32_to_cpu(groups[n]) == a;
			has_b |= le32_to_cpu(groups[n]) == b;
		}
		at += nr * sizeof(*groups);
		if (has_a && has_b)
			return true;
	}
	return false;
}

/**
 * csd_info_reachable - whether the drive can copy from a namespace of its own
 * @drive: in use by the caller
 * @nsid:  of the namespace
 *
 * A drive that does not say so is asked by the first copy.
 */
bool csd_info_reachable(struct csd_drive *drive, u32 nsid)
{
	void *groups = kvmalloc(REACH_BYTES, GFP_KERNEL);
	void *assocs = kvmalloc(REACH_BYTES, GFP_KERNEL);
	bool reachable = true;
	u32 a, b;

	if (!groups || !assocs ||
	    csd_get_log(drive->ctrl, NSID_ALL, NVME_CSD_LOG_REACH_GROUPS, 0,
			groups, REACH_BYTES) ||
	    csd_get_log(drive->ctrl, NSID_ALL, NVME_CSD_LOG_REACH_ASSOC, 0,
			assocs, REACH_BYTES))
		goto free;
	a = find_group(groups, REACH_BYTES, drive->info.slm_nsid);
	b = find_group(groups, REACH_BYTES, nsid);
	reachable = a && b && associated(assocs, REACH_BYTES, a, b);
free:
	kvfree(groups);
	kvfree(assocs);
	return reachable;
}

/**
 * csd_message - what the drive has to say about a program, on one line
 * @drive: in use by the caller
 * @pind:  the program
 * @text:  receives it; "" if there is nothing
 * @size:  of @text
 *
 * The text is the drive's: what cannot be printed is made a space.
 */
void csd_message(struct csd_drive *drive, u16 pind, char *text, size_t size)
{
	struct nvme_csd_log_message *log = kmalloc(sizeof(*log), GFP_KERNEL);
	size_t len, i, at = 0;

	*text = '\0';
	if (!log)
		return;
	if (csd_get_log(drive->ctrl, NSID_ALL, NVME_CSD_LOG_MESSAGE, pind, log,
			sizeof(*log)) || !log->seq)
		goto free;
	len = min_t(size_t, le32_to_cpu(log->len), sizeof(log->text));
	len = strnlen(log->text, len);
	/* A verifier's log has its verdict at the end. */
	while (len && isspace(log->text[len - 1]))
		len--;
	for (i = len >= size ? len - size + 1 : 0; i < len; i++)
		text[at++] = isprint(log->text[i]) && log->text[i] > 0 ?
			     log->text[i] : ' ';
	text[at] = '\0';
free:
	kfree(log);
}
