// SPDX-License-Identifier: GPL-2.0
/*
 * Writes down how it was called, and matches units whose first byte is below
 * args[0]. With args[1], it returns that for units in [args[2], args[3]).
 */
#include <bpf/blk_bpf.h>

#define LOG_MAX	4096

struct call {
	__u64 pos;
	__u32 len;
	__u32 visible;
	__u32 unit;
	__u32 flags;
	__u32 op;
	__u32 first;	/* the first eight bytes added up, or as many as there are */
};

/* The one global, so that it begins the map and needs no symbol to be found. */
struct seen {
	__u64 calls;
	__u64 bytes;
	__u64 size;	/* of the last ctx */
	__u64 hints;	/* or of all hint words */
	__u64 state;	/* or of all state words at entry */
	__u64 args;	/* xor of the argument words of the last call */
	struct call log[LOG_MAX];
} seen;

static __always_inline void note(const struct blk_bpf_ctx *ctx, const __u8 *data,
				 const void *data_end, __u32 sum)
{
	__u64 n = __sync_fetch_and_add(&seen.calls, 1);
	__u64 visible = data_end - (void *)data;
	struct call *call;

	/* Not narrowed: an engine takes a difference of pointers by 64 bits alone. */
	asm volatile("" : "+r"(visible));
	__sync_fetch_and_add(&seen.bytes, ctx->len);
	seen.size = ctx->size;
	__sync_fetch_and_or(&seen.hints, ctx->hints[0] | ctx->hints[1] |
					 ctx->hints[2] | ctx->hints[3]);
	__sync_fetch_and_or(&seen.state, ctx->state[0] | ctx->state[1] |
					 ctx->state[2] | ctx->state[3]);
	seen.args = ctx->args[0] ^ ctx->args[1] ^ ctx->args[2] ^ ctx->args[3];
	if (n >= LOG_MAX)
		return;
	call = &seen.log[n];
	call->pos = ctx->pos;
	call->len = ctx->len;
	call->visible = visible;
	call->unit = ctx->unit;
	call->flags = ctx->flags;
	call->op = ctx->op;
	call->first = sum;
}

static __always_inline int look(struct blk_bpf_ctx *ctx, const __u8 *data,
				const void *data_end)
{
	__u32 first = 256, sum = 0, i;

	if ((void *)data + 1 <= data_end)
		first = data[0];
	for (i = 0; i < 8; i++) {
		if ((void *)data + i + 1 <= data_end)
			sum += data[i];
	}
	note(ctx, data, data_end, sum);
	ctx->state[0] = 1;
	ctx->state[3] = ~0ULL;
	if (ctx->args[1] && ctx->pos >= ctx->args[2] && ctx->pos < ctx->args[3])
		return ctx->args[1];
	return first < ctx->args[0] ? BLK_BPF_MATCH : BLK_BPF_SKIP;
}

#define PROBE(_unit, _overlap)						\
SEC("struct_ops/filter")						\
int BLK_BPF_FILTER(p##_unit##_##_overlap, struct blk_bpf_ctx *ctx,	\
		   const void *data, const void *data_end)		\
{									\
	return look(ctx, data, data_end);				\
}									\
BLK_BPF_PROGRAM(probe_##_unit##_##_overlap,				\
		.filter = (void *)p##_unit##_##_overlap,		\
		.unit = _unit, .overlap = _overlap)

PROBE(4096, 0);
PROBE(4096, 512);
PROBE(512, 0);
PROBE(32768, 0);
PROBE(3000, 0);
