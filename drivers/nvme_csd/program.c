// SPDX-License-Identifier: GPL-2.0
/*
 * Programs on a drive: downloaded once, kept for the next scan, and replaced by
 * others when there is no more room. They are told apart by their content.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "csd.h"

/* Bytes of a program, or of a global variable, in one command. */
#define CHUNK_BYTES	((u32)SZ_64K)
/* Indices with programs of somebody else's that are passed over for one of ours. */
#define FOREIGN_MAX	256U

/* Return: 0, a status (positive), or a negative errno. */
static int admin_cmd(struct csd_drive *drive, struct csd_cmd *cmd, u8 opcode,
		     u8 alias)
{
	int err;

	cmd->nvme.common.opcode = drive->vendor_admin ? alias : opcode;
	cmd->nvme.common.nsid = cpu_to_le32(drive->info.cp_nsid);
	err = csd_cmd_wait(drive->ctrl->admin_q, cmd);
	return err ?: cmd->status;
}

static int load_chunk(struct csd_drive *drive, struct csd_program *prog, u32 off,
		      u32 len, struct blk_bpf_scan_path *path)
{
	struct csd_cmd cmd;

	csd_cmd_init(&cmd);
	cmd.nvme.common.cdw10 = cpu_to_le32(prog->pind | NVME_CSD_PTYPE_EBPF << 16);
	cmd.nvme.common.cdw11 = cpu_to_le32(prog->len);
	cmd.nvme.common.cdw14 = cpu_to_le32(len);
	cmd.nvme.common.cdw15 = cpu_to_le32(off);
	cmd.buf = prog->image + off;
	cmd.len = len;
	cmd.path = path;
	return admin_cmd(drive, &cmd, NVME_CSD_ADMIN_LOAD, NVME_CSD_ADMIN_LOAD_ALIAS);
}

static int load(struct csd_drive *drive, struct csd_program *prog,
		struct blk_bpf_scan_path *path)
{
	u32 off, len, chunk = min(CHUNK_BYTES, csd_cmd_limit(drive->ctrl->admin_q));
	int ret = 0;

	for (off = 0; off < prog->len && !ret; off += len) {
		if (fatal_signal_pending(current))
			return -EINTR;
		len = min(chunk, prog->len - off);
		ret = load_chunk(drive, prog, off, len, path);
	}
	if (!ret && path)
		path->loads++;
	return ret;
}

static int activate(struct csd_drive *drive, u32 pind, u32 sel,
		    struct blk_bpf_scan_path *path)
{
	struct csd_cmd cmd;

	csd_cmd_init(&cmd);
	cmd.nvme.common.cdw10 = cpu_to_le32(pind | sel << 16);
	cmd.path = path;
	return admin_cmd(drive, &cmd, NVME_CSD_ADMIN_ACTIVATE,
			 NVME_CSD_ADMIN_ACTIVATE_ALIAS);
}

static int unload(struct csd_drive *drive, u32 pind,
		  struct blk_bpf_scan_path *path)
{
	struct csd_cmd cmd;
	int ret;

	ret = activate(drive, pind, NVME_CSD_DEACTIVATE, path);
	if (ret)
		return ret;
	csd_cmd_init(&cmd);
	cmd.nvme.common.cdw10 = cpu_to_le32(pind | NVME_CSD_PTYPE_EBPF << 16 |
					    NVME_CSD_LOAD_SEL_UNLOAD);
	cmd.path = path;
	return admin_cmd(drive, &cmd, NVME_CSD_ADMIN_LOAD, NVME_CSD_ADMIN_LOAD_ALIAS);
}

static void entry_free(struct csd_drive *drive, struct csd_program *prog)
{
	xa_erase(&drive->programs, prog->pind);
	kvfree(prog->image);
	kfree(prog);
}

/*
 * Has the drive been reset since this was asked last? Then it holds no program,
 * and what is at an index is somebody else's. Scans load again what they use.
 *
 * Return: 0, a status (positive), or a negative errno.
 */
static int look_for_reset(struct csd_drive *drive)
{
	struct csd_program *prog;
	unsigned long pind;
	u64 generation;
	int ret;

	lockdep_assert_held(&drive->prog_lock);
	ret = csd_info_generation(drive, &generation);
	if (ret || generation == drive->info.generation)
		return ret;
	drive->info.generation = generation;
	xa_for_each(&drive->programs, pind, prog) {
		prog->ready = false;
		if (!prog->users)
			entry_free(drive, prog);
	}
	return 0;
}

/*
 * Make room: the program that nobody has used for longest goes. One whose index
 * turned out to be somebody else's has no image, and stays.
 *
 * Return: false if all are in use.
 */
static bool evict(struct csd_drive *drive, struct blk_bpf_scan_path *path)
{
	struct csd_program *prog, *oldest = NULL;
	unsigned long pind;

	lockdep_assert_held(&drive->prog_lock);
	xa_for_each(&drive->programs, pind, prog) {
		if (prog->image && !prog->users &&
		    (!oldest || prog->used < oldest->used))
			oldest = prog;
	}
	if (!oldest)
		return false;
	if (oldest->ready)
		unload(drive, oldest->pind, path);
	entry_free(drive, oldest);
	return true;
}

static int refuse_busy(struct csd_drive *drive, struct blk_bpf_msg *msg)
{
	return blk_bpf_refuse(msg, -EBUSY,
		"%s has no room for one more program, and all that it holds are in use: wait for the scans that use them",
		drive->target.name);
}

static int refuse_silent(struct csd_drive *drive, int ret, struct blk_bpf_msg *msg)
{
	return blk_bpf_refuse(msg, csd_errno(ret),
		"%s does not say whether it was reset, so its programs cannot be used (%d): try again",
		drive->target.name, ret);
}

static int refuse_foreign(struct csd_drive *drive, struct blk_bpf_msg *msg)
{
	return blk_bpf_refuse(msg, -EBUSY,
		"%s says of %u indices in a row that they hold programs, and none of these is ours: unload some",
		drive->target.name, FOREIGN_MAX);
}

/* A new entry, with an index of its own; not loaded yet. */
static struct csd_program *entry_new(struct csd_drive *drive, const void *image,
				     u32 len, struct blk_bpf_scan_path *path,
				     struct blk_bpf_msg *msg)
{
	struct csd_program *prog;
	int err;

	prog = kzalloc(sizeof(*prog), GFP_KERNEL);
	if (!prog)
		return ERR_PTR(-ENOMEM);
	prog->len = len;
	prog->image = kvmemdup(image, len, GFP_KERNEL);
	if (!prog->image) {
		kfree(prog);
		return ERR_PTR(-ENOMEM);
	}
	do {
		err = xa_alloc(&drive->programs, &prog->pind, prog,
			       XA_LIMIT(NVME_CSD_PIND_FIRST,
					drive->info.max_programs), GFP_KERNEL);
	} while (err == -EBUSY && evict(drive, path));
	if (!err)
		return prog;
	kvfree(prog->image);
	kfree(prog);
	return ERR_PTR(err == -EBUSY ? refuse_busy(drive, msg) : err);
}

static int refuse_load(struct csd_drive *drive, struct csd_program *prog, int ret,
		       struct blk_bpf_msg *msg)
{
	char text[BLK_BPF_MSG_MAX - 64] = "";

	if (ret < 0)
		return blk_bpf_refuse(msg, ret,
			"%s takes no commands (error %d), so the program could not be loaded",
			drive->target.name, ret);
	if (csd_status_is_reset(ret))
		return blk_bpf_refuse(msg, -ENOTRECOVERABLE,
			"%s was reset while the program was loaded: try again",
			drive->target.name);
	if (ret == NVME_CSD_SC_BAD_PROG_DATA)
		csd_message(drive, prog->pind, text, sizeof(text));
	if (*text)
		return blk_bpf_refuse(msg, -ENOEXEC, "%s refuses the program: %s",
				      drive->target.name, text);
	return blk_bpf_refuse(msg, -ENOEXEC,
		"%s could not load the program: %s (status 0x%x)",
		drive->target.name, csd_status_text(ret), ret);
}

/* Statuses that the eviction of another program may help against. */
static bool wants_room(int ret)
{
	return ret == NVME_CSD_SC_MAX_PROG_BYTES || ret == NVME_CSD_SC_MAX_ACTIVE ||
	       ret == NVME_CSD_SC_PROG_RESOURCES || ret == NVME_CSD_SC_RESOURCES;
}

/* Return: 0, or a status or errno that is not explained yet. */
static int entry_load(struct csd_drive *drive, struct csd_program *prog,
		      struct blk_bpf_scan_path *path)
{
	int ret;

	do {
		ret = load(drive, prog, path);
	} while (wants_room(ret) && evict(drive, path));
	if (ret)
		return ret;
	do {
		ret = activate(drive, prog->pind, NVME_CSD_ACTIVATE, path);
	} while (wants_room(ret) && evict(drive, path));
	if (ret) {
		unload(drive, prog->pind, path);
		return ret;
	}
	prog->loaded = ktime_get_ns();
	prog->ready = true;
	return 0;
}

static struct csd_program *find(struct csd_drive *drive, const void *image, u32 len)
{
	struct csd_program *prog;
	unsigned long pind;

	xa_for_each(&drive->programs, pind, prog) {
		if (prog->image && prog->len == len &&
		    !(prog->alone && prog->users) &&
		    !memcmp(prog->image, image, len))
			return prog;
	}
	return NULL;
}

static struct csd_program *get_locked(struct csd_drive *drive, const void *image,
				      u32 len, struct blk_bpf_scan_path *path,
				      struct blk_bpf_msg *msg)
{
	struct csd_program *prog = find(drive, image, len);
	u32 foreign = 0;
	int ret;

	while (!prog || !prog->ready) {
		if (foreign == FOREIGN_MAX)
			return ERR_PTR(refuse_foreign(drive, msg));
		if (!prog)
			prog = entry_new(drive, image, len, path, msg);
		if (IS_ERR(prog))
			return prog;
		/* In use, so that making room does not take it. */
		prog->users++;
		ret = entry_load(drive, prog, path);
		prog->users--;
		if (!ret)
			break;
		if (ret == NVME_CSD_SC_NOT_DOWNLOADABLE && !prog->users) {
			/* Somebody else's: remember it, and take another index. */
			kvfree(prog->image);
			prog->image = NULL;
			prog = NULL;
			foreign++;
			continue;
		}
		ret = wants_room(ret) ? refuse_busy(drive, msg) :
					refuse_load(drive, prog, ret, msg);
		if (!prog->users)
			entry_free(drive, prog);
		return ERR_PTR(ret);
	}
	prog->users++;
	prog->used = ++drive->prog_clock;
	return prog;
}

/**
 * csd_program_get - have a program on the drive, for one scan
 * @drive:  in use by the caller
 * @image:  the program
 * @len:    its bytes
 * @parsed: the same
 * @path:   counts what crosses the link
 * @msg:    why not
 *
 * Return: the program, or an ERR_PTR().
 */
struct csd_program *csd_program_get(struct csd_drive *drive, const void *image,
				    u32 len, const struct csd_image *parsed,
				    struct blk_bpf_scan_path *path,
				    struct blk_bpf_msg *msg)
{
	struct csd_program *prog;
	int ret;

	if (len > drive->info.max_prog_bytes || len % 4)
		return ERR_PTR(blk_bpf_refuse(msg, -ENOEXEC,
			"the program's image has %u bytes: %s takes a multiple of 4 up to %llu",
			len, drive->target.name, drive->info.max_prog_bytes));
	if (mutex_lock_killable(&drive->prog_lock))
		return ERR_PTR(-EINTR);
	ret = look_for_reset(drive);
	prog = ret ? ERR_PTR(refuse_silent(drive, ret, msg)) :
		     get_locked(drive, image, len, path, msg);
	if (!IS_ERR(prog))
		prog->alone = parsed->writable;
	mutex_unlock(&drive->prog_lock);
	return prog;
}

void csd_program_put(struct csd_drive *drive, struct csd_program *prog)
{
	mutex_lock(&drive->prog_lock);
	prog->users--;
	mutex_unlock(&drive->prog_lock);
}

/**
 * csd_program_reload - the drive does not know a program any more
 * @drive: in use by the caller
 * @prog:  the caller's
 * @sent:  when the command was sent that the drive refused, ktime_get_ns()
 * @path:  counts what crosses the link
 * @msg:   why not
 *
 * A reset makes a drive forget its programs, and tells nobody. Another scan with
 * the same program may have been quicker.
 *
 * Return: 0 or a negative errno.
 */
int csd_program_reload(struct csd_drive *drive, struct csd_program *prog, u64 sent,
		       struct blk_bpf_scan_path *path, struct blk_bpf_msg *msg)
{
	int ret;

	if (mutex_lock_killable(&drive->prog_lock))
		return -EINTR;
	ret = look_for_reset(drive);
	if (!ret && !(prog->ready && prog->loaded > sent)) {
		prog->ready = false;
		ret = entry_load(drive, prog, path);
	}
	mutex_unlock(&drive->prog_lock);
	return ret ? refuse_load(drive, prog, ret, msg) : 0;
}

static int globals_cmd(struct csd_drive *drive, struct csd_program *prog, u32 index,
		       u32 off, void *buf, u32 len, bool write,
		       struct blk_bpf_scan_path *path)
{
	struct csd_cmd cmd;
	int err;

	csd_cmd_init(&cmd);
	cmd.nvme.common.opcode = write ? NVME_CSD_CP_GLOBALS_WRITE :
					 NVME_CSD_CP_GLOBALS_READ;
	cmd.nvme.common.nsid = cpu_to_le32(drive->info.cp_nsid);
	cmd.nvme.common.cdw2[0] = cpu_to_le32(prog->pind);
	cmd.nvme.common.cdw10 = cpu_to_le32(index);
	cmd.nvme.common.cdw11 = cpu_to_le32(off);
	cmd.nvme.common.cdw12 = cpu_to_le32(len);
	cmd.buf = buf;
	cmd.len = len;
	cmd.path = path;
	cmd.timeout = msecs_to_jiffies(csd_timeout_ms);
	err = csd_cmd_wait(drive->cp_ns->queue, &cmd);
	return err ?: cmd.status;
}

/**
 * csd_program_globals - read or write all writable global variables
 * @drive:  in use by the caller
 * @prog:   used by the caller alone
 * @image:  of the program
 * @values: one after the other, @image->writable bytes
 * @write:  to the drive; else from it
 * @path:   counts what crosses the link
 *
 * Return: 0, a status (positive), or a negative errno.
 */
int csd_program_globals(struct csd_drive *drive, struct csd_program *prog,
			const struct csd_image *image, void *values, bool write,
			struct blk_bpf_scan_path *path)
{
	u32 i, off, len, chunk = min(CHUNK_BYTES, csd_cmd_limit(drive->cp_ns->queue));
	int ret;

	for (i = 0; i < image->nr_globals; i++) {
		u32 size = le32_to_cpu(image->globals[i].size);

		if (le32_to_cpu(image->globals[i].flags) & NVME_CSD_GLOBAL_RDONLY)
			continue;
		for (off = 0; off < size; off += len) {
			len = min(chunk, size - off);
			ret = globals_cmd(drive, prog, i, off, values + off, len,
					  write, path);
			if (ret)
				return ret;
		}
		values += size;
	}
	return 0;
}

/**
 * csd_programs_free - the drive is going
 * @drive:  used by nobody
 * @unload_them: leave it as it was found, for who comes next
 */
void csd_programs_free(struct csd_drive *drive, bool unload_them)
{
	struct csd_program *prog;
	unsigned long pind;

	xa_for_each(&drive->programs, pind, prog) {
		if (unload_them && prog->image && prog->ready)
			unload(drive, prog->pind, NULL);
		entry_free(drive, prog);
	}
	xa_destroy(&drive->programs);
}
