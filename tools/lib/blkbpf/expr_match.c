// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes to search for to instructions. 64 places at a time are looked at by
 * their first two bytes, eight places an instruction; where both may be, place
 * by place.
 *
 * Strides and places are counted by iterators, whose number is any number to the
 * kernel's verifier: it walks through one stride and one place, and not through
 * all.
 *
 * r6 is the first byte eight times, r7 data, r9 the offset of the stride, r8 that
 * of the place; the stack has the iterators, the ctx and data_end.
 */
#include <linux/bpf.h>
#include <string.h>
#include "expr.h"

#define STRIDE		64
#define STRIDES		(BLK_BPF_UNIT_DEFAULT / STRIDE)
#define FIRSTS		6
#define DATA		7
#define PLACE		8
#define OFFSET		9
/* On the stack. */
#define ALL_STRIDES	(-8)
#define ALL_PLACES	(-16)
#define CTX		(-24)
#define DATA_END	(-32)
#define EACH_BYTE(b)	(0x0101010101010101ULL * (b))

struct search {
	struct code *code;
	const unsigned char *bytes;
	uint32_t len;
	uint32_t stride;	/* labels */
	uint32_t slow;
	uint32_t out;
};

static void alu(struct code *code, uint8_t op, unsigned int dst, unsigned int src)
{
	code_insn(code, BPF_ALU64 | op | BPF_X, dst, src, 0, 0);
}

static void alu_imm(struct code *code, uint8_t op, unsigned int dst, int32_t imm)
{
	code_insn(code, BPF_ALU64 | op | BPF_K, dst, 0, 0, imm);
}

static void load(struct code *code, uint8_t size, unsigned int dst,
		 unsigned int src, int16_t off)
{
	code_insn(code, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static void load_stack(struct code *code, unsigned int dst, int16_t off)
{
	load(code, BPF_DW, dst, BPF_REG_10, off);
}

static void store_stack(struct code *code, int16_t off, unsigned int src)
{
	code_insn(code, BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, src, off, 0);
}

static void call_iter(struct code *code, enum callee callee, int32_t iter)
{
	code_mov(code, 1, BPF_REG_10);
	alu_imm(code, BPF_ADD, 1, iter);
	code_call(code, callee);
}

/* Numbers from 0 to below @end. */
static void begin_iter(struct code *code, int32_t iter, uint32_t end)
{
	code_imm(code, 2, 0);
	code_imm(code, 3, end);
	call_iter(code, CALL_ITER_NEW, iter);
}

/* The next one in @dst; the verifier has to see that it is below @end. */
static void next_iter(struct code *code, int32_t iter, uint32_t end,
		      unsigned int dst, uint32_t over)
{
	call_iter(code, CALL_ITER_NEXT, iter);
	code_jump(code, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, over);
	load(code, BPF_W, dst, 0, 0);
	code_jump(code, BPF_JMP | BPF_JGE | BPF_K, dst, 0, end, over);
}

/*
 * Eight places: r1 has a zero byte where both are right; a zero byte in r1 sets
 * the high bit of that byte in (r1 - 0x01..) & ~r1, which is gathered in r0.
 * r3 is the second byte eight times, r4 0x01.., r5 the stride.
 */
static void gen_word(const struct search *s, int16_t off, bool first)
{
	struct code *code = s->code;

	load(code, BPF_DW, 1, 5, off);
	alu(code, BPF_XOR, 1, FIRSTS);
	if (s->len > 1) {
		load(code, BPF_DW, 2, 5, off + 1);
		alu(code, BPF_XOR, 2, 3);
		alu(code, BPF_OR, 1, 2);
	}
	code_mov(code, 2, 1);
	alu(code, BPF_SUB, 2, 4);
	alu_imm(code, BPF_XOR, 1, -1);
	alu(code, BPF_AND, 1, 2);
	if (first)
		code_mov(code, 0, 1);
	else
		alu(code, BPF_OR, 0, 1);
}

/* The next stride: to @slow if something may be in it or it is not all there. */
static void gen_fast(const struct search *s)
{
	struct code *code = s->code;
	int16_t off;

	next_iter(code, ALL_STRIDES, STRIDES, OFFSET, s->out);
	alu_imm(code, BPF_LSH, OFFSET, __builtin_ctz(STRIDE));
	code_mov(code, 5, DATA);
	alu(code, BPF_ADD, 5, OFFSET);
	code_mov(code, 1, 5);
	alu_imm(code, BPF_ADD, 1, STRIDE + (s->len > 1));
	load_stack(code, 2, DATA_END);
	code_jump(code, BPF_JMP | BPF_JGT | BPF_X, 1, 2, 0, s->slow);
	if (s->len > 1)
		code_imm(code, 3, EACH_BYTE((uint64_t)s->bytes[1]));
	code_imm(code, 4, EACH_BYTE(1ULL));
	for (off = 0; off < STRIDE; off += 8)
		gen_word(s, off, !off);
	code_imm(code, 1, EACH_BYTE(0x80ULL));
	alu(code, BPF_AND, 0, 1);
	code_jump(code, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, s->stride);
}

/* The bytes from @off on of the place at r5, in one load to r2; how many. */
static uint32_t load_piece(const struct search *s, uint32_t off, uint64_t *value)
{
	static const uint8_t sizes[] = {
		[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW,
	};
	uint32_t size;

	for (size = 8; size > s->len - off; size /= 2)
		;
	*value = 0;
	memcpy(value, s->bytes + off, size);
	load(s->code, sizes[size], 2, 5, off);
	return size;
}

/*
 * Compare all bytes at a place: the first ones at once, and the others without
 * branches, each of which the verifier would come back to at every place.
 */
static void gen_compare(const struct search *s, uint32_t differs)
{
	uint64_t value;
	uint32_t off = load_piece(s, 0, &value);

	if (off == 8) {
		code_imm(s->code, 3, value);
		code_jump(s->code, BPF_JMP | BPF_JNE | BPF_X, 2, 3, 0, differs);
	} else {
		code_jump(s->code, BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, (int32_t)value,
			  differs);
	}
	if (off == s->len)
		return;
	code_imm(s->code, 4, 0);
	while (off < s->len) {
		off += load_piece(s, off, &value);
		code_imm(s->code, 3, value);
		alu(s->code, BPF_XOR, 2, 3);
		alu(s->code, BPF_OR, 4, 2);
	}
	code_jump(s->code, BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, differs);
}

/* Place by place, up to the end of the stride. */
static void gen_slow(const struct search *s)
{
	struct code *code = s->code;
	uint32_t place = code_label(code), over = code_label(code);

	code_place(code, s->slow);
	begin_iter(code, ALL_PLACES, STRIDE);
	code_place(code, place);
	next_iter(code, ALL_PLACES, STRIDE, PLACE, over);
	alu(code, BPF_ADD, PLACE, OFFSET);
	/* What begins behind the unit belongs to the next one. */
	load_stack(code, 1, CTX);
	load(code, BPF_W, 1, 1, offsetof(struct blk_bpf_ctx, len));
	code_jump(code, BPF_JMP | BPF_JGE | BPF_X, PLACE, 1, 0, over);
	code_mov(code, 5, DATA);
	alu(code, BPF_ADD, 5, PLACE);
	code_mov(code, 2, 5);
	alu_imm(code, BPF_ADD, 2, s->len);
	load_stack(code, 1, DATA_END);
	code_jump(code, BPF_JMP | BPF_JGT | BPF_X, 2, 1, 0, over);
	gen_compare(s, place);
	load_stack(code, 1, CTX);
	code_mov(code, 2, PLACE);
	code_imm(code, 3, s->len);
	code_call(code, CALL_EMIT);
	code_jump(code, BPF_JMP | BPF_JA, 0, 0, 0, place);
	code_place(code, over);
	call_iter(code, CALL_ITER_DESTROY, ALL_PLACES);
	code_jump(code, BPF_JMP | BPF_JA, 0, 0, 0, s->stride);
}

int match_gen(const unsigned char *bytes, size_t len, struct code *code)
{
	struct search s = {
		.code = code,
		.bytes = bytes,
		.len = len,
		.stride = code_label(code),
		.slow = code_label(code),
		.out = code_label(code),
	};

	load(code, BPF_DW, DATA, 1, 8);
	load(code, BPF_DW, 2, 1, 16);
	store_stack(code, DATA_END, 2);
	load(code, BPF_DW, 1, 1, 0);
	store_stack(code, CTX, 1);
	code_imm(code, FIRSTS, EACH_BYTE((uint64_t)bytes[0]));
	begin_iter(code, ALL_STRIDES, STRIDES);
	code_place(code, s.stride);
	gen_fast(&s);
	gen_slow(&s);
	code_place(code, s.out);
	call_iter(code, CALL_ITER_DESTROY, ALL_STRIDES);
	code_imm(code, 0, BLK_BPF_SKIP);
	code_insn(code, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return code_finish(code);
}
