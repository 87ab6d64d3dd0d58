// SPDX-License-Identifier: GPL-2.0
/* States: copying, and joining what comes together at a place. */
#include <errno.h>
#include <string.h>

#include "state.h"

#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define MIN(a, b)	((a) < (b) ? (a) : (b))

#define ROOM_LEAST	(-65536)

static size_t slots_bytes(uint32_t room)
{
	return room * sizeof(struct slot);
}

/* Without the slots of its frames. */
static size_t bytes_at(uint32_t room)
{
	return sizeof(struct state) + room * sizeof(struct frame) +
	       (room - 1) * NR_SAVED * sizeof(struct val);
}

struct state *state_new(struct pool *pool, uint32_t depth)
{
	size_t bytes = bytes_at(depth + 1);
	struct state *st = pool_get(pool, bytes);

	if (!st)
		return NULL;
	memset(st, 0, bytes);
	st->pool = pool;
	st->room = depth + 1;
	for (uint32_t i = 0; i < depth; i++)
		st->frames[i].saved = (struct val *)(st->frames + depth + 1) +
				      i * NR_SAVED;
	return st;
}

void state_free(struct state *st)
{
	if (!st)
		return;
	for (uint32_t i = 0; i < st->room; i++)
		if (st->frames[i].room)
			pool_put(st->pool, st->frames[i].slots,
				 slots_bytes(st->frames[i].room));
	pool_put(st->pool, st, bytes_at(st->room));
}

size_t state_bytes(const struct state *st)
{
	size_t bytes = bytes_at(st->room);

	for (uint32_t i = 0; i < st->room; i++)
		bytes += slots_bytes(st->frames[i].room);
	return bytes;
}

static bool make_room(struct pool *pool, struct frame *frame, uint32_t nr)
{
	uint32_t room = frame->room ? frame->room : 4;
	struct slot *slots;

	while (room < nr)
		room *= 2;
	slots = pool_get(pool, slots_bytes(room));
	if (!slots)
		return false;
	if (frame->room) {
		memcpy(slots, frame->slots, slots_bytes(frame->nr));
		pool_put(pool, frame->slots, slots_bytes(frame->room));
	}
	frame->slots = slots;
	frame->room = room;
	return true;
}

struct slot *state_slot(struct state *st, uint32_t frame, uint32_t slot)
{
	struct frame *f = &st->frames[frame];

	if (slot >= f->room && !make_room(st->pool, f, slot + 1))
		return NULL;
	if (slot >= f->nr) {
		memset(f->slots + f->nr, 0, slots_bytes(slot + 1 - f->nr));
		f->nr = slot + 1;
	}
	return &f->slots[slot];
}

/* The library's memcpy() is faster than what is put in line for a fixed size. */
static __attribute__((noinline)) void copy_bytes(void *to, const void *from,
						 size_t bytes)
{
	memcpy(to, from, bytes);
}

bool state_copy(struct state *to, const struct state *from)
{
	to->depth = from->depth;
	to->minlen = from->minlen;
	copy_bytes(to->r, from->r, sizeof(to->r));
	for (uint32_t i = 0; i <= from->depth; i++) {
		struct frame *t = &to->frames[i];
		const struct frame *f = &from->frames[i];

		if (f->nr > t->room) {
			t->nr = 0;
			if (!make_room(to->pool, t, f->nr))
				return false;
		}
		t->nr = f->nr;
		if (i < from->depth)
			copy_bytes(t->saved, f->saved,
				   NR_SAVED * sizeof(*t->saved));
		if (f->nr)
			copy_bytes(t->slots, f->slots, slots_bytes(f->nr));
	}
	return true;
}

void state_name(struct joiner *j, struct val *v)
{
	if (v->id || (v->type != VAL_NUM && v->type != VAL_PTR))
		return;
	v->id = ++j->next_id;
	v->delta = 0;
}

static bool has_number(const struct val *v)
{
	return v->type == VAL_NUM || v->type == VAL_PTR;
}

static bool joins_as_number(const struct val *a, const struct val *b)
{
	if (a->type == VAL_NUM && b->type == VAL_NUM)
		return true;
	return val_same_object(a, b) && a->null == b->null;
}

/* Pairs are found by their @a. */
static uint16_t *chain_of(struct joiner *j, uint32_t a)
{
	return &j->chains[a % NR_CHAINS];
}

static struct pair *first_pair(struct joiner *j, uint32_t a)
{
	uint16_t nr = *chain_of(j, a);

	return nr ? &j->pairs[nr - 1] : NULL;
}

static struct pair *next_pair(struct joiner *j, const struct pair *pair)
{
	j->work++;
	return pair->next ? &j->pairs[pair->next - 1] : NULL;
}

static struct pair *add_pair(struct joiner *j, uint32_t a, uint32_t b,
			     int64_t diff)
{
	uint16_t *chain = chain_of(j, a);
	struct pair *pair = &j->pairs[j->nr_pairs++];

	*pair = (struct pair){ a, b, diff, a, *chain };
	*chain = j->nr_pairs;
	return pair;
}

/* Returns 1 if something was lost. */
static int join_id(struct joiner *j, struct val *a, const struct val *b)
{
	int64_t diff = a->delta - b->delta;
	bool taken = a->id == ID_KNOWN && (b->id != ID_KNOWN || diff);
	struct pair *pair;

	/* Of known numbers all is said, however they came to be. */
	if (!a->id || (a->id == ID_KNOWN && b->id == ID_KNOWN && !diff))
		return 0;
	if (!b->id || !joins_as_number(a, b)) {
		a->id = 0;
		return 1;
	}
	for (pair = first_pair(j, a->id); pair; pair = next_pair(j, pair)) {
		if (pair->a != a->id)
			continue;
		if (pair->b == b->id && pair->diff == diff) {
			int lost = pair->id != a->id;

			a->id = pair->id;
			return lost;
		}
		taken = taken || pair->id == a->id;
	}
	pair = add_pair(j, a->id, b->id, diff);
	if (taken)
		pair->id = ++j->next_id;
	a->id = pair->id;
	return taken;
}

/* A symbol that nobody has in either state stays what it is, if it is free. */
static bool keep_symbol(struct joiner *j, uint32_t id)
{
	const struct pair *pair;

	for (pair = first_pair(j, id); pair; pair = next_pair(j, pair))
		if (pair->a == id)
			return false;
	if (j->nr_pairs == MAX_PAIRS)
		return false;
	add_pair(j, id, id, 0);
	return true;
}

static int join_exact(struct joiner *j, struct val *a, const struct val *b)
{
	const struct pair *pair;

	if (!a->exact)
		return 0;
	for (pair = b->exact ? first_pair(j, a->minus) : NULL; pair;
	     pair = next_pair(j, pair)) {
		uint32_t old = a->minus;

		if (pair->a != a->minus || pair->b != b->minus ||
		    (uint64_t)b->exact_off !=
		    (uint64_t)a->exact_off + pair->diff)
			continue;
		a->minus = pair->id;
		return pair->id != old;
	}
	if (b->exact && a->minus == b->minus && a->exact_off == b->exact_off &&
	    (a->minus == ID_KNOWN || keep_symbol(j, a->minus)))
		return 0;
	a->exact = false;
	a->minus = ID_KNOWN;
	a->exact_off = 0;
	return 1;
}

static int64_t limit_above(const struct joiner *j, int64_t number)
{
	for (uint32_t i = 0; i < j->nr_limits; i++)
		if (j->limits[i] >= number)
			return j->limits[i];
	return INT64_MAX;
}

static int64_t limit_below(const struct joiner *j, int64_t number)
{
	for (uint32_t i = j->nr_limits; i-- > 0; )
		if (j->limits[i] <= number)
			return j->limits[i];
	return INT64_MIN;
}

static void widen(const struct joiner *j, struct val *v, const struct val *old)
{
	if (v->umax != old->umax)
		v->umax = v->umax > INT64_MAX ? UINT64_MAX :
			  limit_above(j, v->umax) == INT64_MAX ? UINT64_MAX :
			  (uint64_t)limit_above(j, v->umax);
	if (v->smax != old->smax)
		v->smax = limit_above(j, v->smax);
	if (v->smin != old->smin)
		v->smin = limit_below(j, v->smin);
	if (v->umin != old->umin) {
		/* Stay on the grid. */
		if (v->step > 1)
			v->umin %= v->step;
		else
			v->umin = 0;
	}
	if (v->room < old->room && v->room != ROOM_NONE)
		v->room = v->room >= 0 ? 0 : limit_below(j, v->room);
	if (v->step != old->step && old->step)
		v->step = j->nr_limits ? v->step & -v->step : 1;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

static void join_room(const struct joiner *j, struct val *v,
		      const struct val *a, const struct val *b)
{
	uint32_t scale = a->room != ROOM_NONE ? a->scale : b->scale;

	v->scale = 1;
	v->room = ROOM_NONE;
	v->room = MIN(val_room_at(a, scale, j->minlen[0]),
		      val_room_at(b, scale, j->minlen[1]));
	/* That may follow from the length in both, and in the same way. */
	if (v->room != ROOM_NONE && a->room == ROOM_NONE &&
	    b->room == ROOM_NONE && v->room <= MIN(j->minlen[0], j->minlen[1]) -
		       MAX(MAX(a->smax, b->smax), -NUM_LIMIT))
		v->room = ROOM_NONE;
	/* Far less than no room at all is not worth remembering. */
	if (v->room < ROOM_LEAST)
		v->room = ROOM_NONE;
	if (v->room != ROOM_NONE)
		v->scale = scale;
}

/* Does @v, which held for less before, say less than it did? */
static bool lost_number(const struct val *v, const struct val *old)
{
	if (old->room != ROOM_NONE &&
	    (v->room < old->room || v->scale != old->scale))
		return true;
	return v->umin < old->umin || v->umax > old->umax ||
	       v->smin < old->smin || v->smax > old->smax ||
	       v->step != old->step;
}

static bool same_number(const struct val *a, const struct val *b)
{
	return a->umin == b->umin && a->umax == b->umax && a->smin == b->smin &&
	       a->smax == b->smax && a->step == b->step && a->room == b->room &&
	       a->scale == b->scale;
}

static int join_number(struct joiner *j, struct val *a, const struct val *b)
{
	uint64_t apart;
	struct val old;

	if (same_number(a, b))
		return join_exact(j, a, b);
	apart = a->umin > b->umin ? a->umin - b->umin : b->umin - a->umin;
	old = *a;
	join_room(j, a, &old, b);
	a->step = gcd(gcd(a->step, b->step), apart);
	a->umin = MIN(a->umin, b->umin);
	a->umax = MAX(a->umax, b->umax);
	a->smin = MIN(a->smin, b->smin);
	a->smax = MAX(a->smax, b->smax);
	if (j->widen)
		widen(j, a, &old);
	if (a->umin != a->umax && a->id == ID_KNOWN)
		a->id = 0;
	val_sync(a);
	return lost_number(a, &old) | join_exact(j, a, b);
}

/* Can be read through a pointer that may point into any of several. */
static bool mixes(const struct val *v)
{
	return v->type == VAL_PTR &&
	       (v->region == REGION_CTX || v->region == REGION_DATA ||
		v->region == REGION_GLOBAL || v->region == REGION_ANY);
}

static int join_pointers(struct joiner *j, struct val *a, const struct val *b)
{
	int lost = 0;

	if (b->null > a->null) {
		a->null = b->null;
		lost = 1;
	}
	if (val_same_object(a, b) ||
	    (a->region == REGION_MEM && b->region == REGION_MEM &&
	     a->where == b->where))
		return join_number(j, a, b) | lost;
	if (a->region == REGION_ANY && mixes(b))
		return lost;
	if (mixes(a) && mixes(b)) {
		val_forget(a);
		a->region = REGION_ANY;
		a->where = 0;
		return 1;
	}
	memset(a, 0, sizeof(*a));
	a->type = VAL_MIXED;
	return 1;
}

static int join_val(struct joiner *j, struct val *a, const struct val *b)
{
	uint8_t null;

	if (a->type == VAL_NONE || (a->type == VAL_MIXED && b->type != VAL_NONE))
		return 0;
	if (a->type == VAL_NUM && b->type == VAL_NUM)
		return join_number(j, a, b);
	if (a->type == VAL_PTR && b->type == VAL_PTR)
		return join_pointers(j, a, b);
	if (a->type == VAL_FUNC && b->type == VAL_FUNC && a->where == b->where)
		return 0;
	if (a->type == VAL_PTR && val_is(b, 0)) {
		null = a->null;
		a->null = MAX(a->null, NULL_MAYBE);
		return null != a->null;
	}
	if (b->type == VAL_PTR && val_is(a, 0)) {
		*a = *b;
		a->id = 0;
		a->null = MAX(a->null, NULL_MAYBE);
		a->exact = false;
		a->minus = ID_KNOWN;
		return 1;
	}
	memset(a, 0, sizeof(*a));
	a->type = b->type == VAL_NONE ? VAL_NONE : VAL_MIXED;
	return 1;
}

static int join_slot(struct joiner *j, struct slot *a, const struct slot *b)
{
	uint8_t init = a->init & b->init;
	int lost = init != a->init;

	a->init = init;
	if (a->v.type == VAL_NONE)
		return lost;
	if (b->v.type == VAL_NONE) {
		/* Parts of numbers; of a pointer nothing may be read. */
		if (a->v.type != VAL_NUM)
			a->init = 0;
		a->v.type = VAL_NONE;
		return 1;
	}
	lost |= join_val(j, &a->v, &b->v);
	if (a->v.type == VAL_MIXED) {
		a->v.type = VAL_NONE;
		a->init = 0;
	}
	return lost;
}

/* A stored pointer that meets parts of numbers cannot be read either. */
static int hide_pointer(struct slot *a, const struct slot *b)
{
	if (a->v.type != VAL_NONE || b->v.type == VAL_NONE ||
	    b->v.type == VAL_NUM || !a->init)
		return 0;
	a->init = 0;
	return 1;
}

static int join_ids(struct joiner *j, struct state *to,
		    const struct state *from)
{
	int lost = 0;

	j->nr_pairs = 0;
	memset(j->chains, 0, sizeof(j->chains));
	for (int i = 0; i < NR_REGS; i++)
		if (has_number(&to->r[i]))
			lost |= join_id(j, &to->r[i], &from->r[i]);
	for (uint32_t f = 0; f <= to->depth; f++) {
		struct frame *t = &to->frames[f];
		const struct frame *s = &from->frames[f];

		for (int i = 0; f < to->depth && i < NR_SAVED; i++)
			if (has_number(&t->saved[i]))
				lost |= join_id(j, &t->saved[i], &s->saved[i]);
		for (uint32_t i = 0; i < t->nr && i < s->nr; i++)
			if (has_number(&t->slots[i].v))
				lost |= join_id(j, &t->slots[i].v,
						&s->slots[i].v);
	}
	return lost;
}

static int join_frame(struct joiner *j, struct frame *to,
		      const struct frame *from, bool caller)
{
	int lost = 0;

	for (int i = 0; caller && i < NR_SAVED; i++)
		lost |= join_val(j, &to->saved[i], &from->saved[i]);
	for (uint32_t i = from->nr; i < to->nr; i++)
		lost |= to->slots[i].init != 0;
	if (to->nr > from->nr)
		to->nr = from->nr;
	for (uint32_t i = 0; i < to->nr; i++) {
		lost |= hide_pointer(&to->slots[i], &from->slots[i]);
		lost |= join_slot(j, &to->slots[i], &from->slots[i]);
	}
	return lost;
}

/* States arrive again and again that are known already. */
bool state_same(const struct state *a, const struct state *b)
{
	if (a->minlen != b->minlen || memcmp(a->r, b->r, sizeof(a->r)))
		return false;
	for (uint32_t f = 0; f <= a->depth; f++) {
		const struct frame *x = &a->frames[f], *y = &b->frames[f];

		if (x->nr != y->nr ||
		    (x->nr && memcmp(x->slots, y->slots,
				     x->nr * sizeof(*x->slots))) ||
		    (f < a->depth && memcmp(x->saved, y->saved,
					    NR_SAVED * sizeof(*x->saved))))
			return false;
	}
	return true;
}

int state_join(struct joiner *j, struct state *to, const struct state *from)
{
	int lost;

	if (state_same(to, from))
		return 0;
	j->minlen[0] = to->minlen;
	j->minlen[1] = from->minlen;
	j->work += 4 + to->frames[to->depth].nr / 4;
	lost = join_ids(j, to, from);
	for (int i = 0; i < NR_REGS; i++)
		lost |= join_val(j, &to->r[i], &from->r[i]);
	for (uint32_t f = 0; f <= to->depth; f++)
		lost |= join_frame(j, &to->frames[f], &from->frames[f],
				   f < to->depth);
	if (from->minlen < to->minlen) {
		to->minlen = j->widen ? 0 : from->minlen;
		lost = 1;
	}
	return lost;
}
