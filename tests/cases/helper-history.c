/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-history.c - is a history of calls and events one that the model allows?
 *
 *   helper-history FILE
 *
 * Prints what is wrong, a line each, and a last line of counts; exit status 1 when something is. FILE has a line for each thing
 * that helper-history-load saw, in the order in which it did; times are nanoseconds of one clock:
 *
 *   sandbox NAME STATE KIND KIND                      from here on there is one: its state and the kinds of its snapshots a, b
 *   op NAME BEGIN END VERB ARG wait|nowait RESULT -|signalled
 *   event SEQ NAME STATE FROM                         from .events; FROM is - when it was no change of state
 *   final NAME STATE                                  at rest: the state that was read
 *   died                                              the daemon was killed; calls without an answer have RESULT died
 *
 * How it works: the calls of a sandbox have to be in some order in which each gives the answer that it gave (Wing and Gong,
 * with the positions already tried remembered). One that had returned before another began comes before it. What was only accepted takes
 * effect in its place among the commands, but for asides at an unknown time: at the latest when a later command has had its turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/history-model.h"

enum { WORDS = 4, WINDOW = WORDS * 64, TRIED_MAX = 8 * 1000 * 1000 };

struct box {
	char name[64], last[16]; /* the state of its last event */
	struct model begin;
	struct op *ops;
	size_t count, room;
};

/* A position of the search: which of its calls have had their place, all before the first and those of a mask after it. */
struct position {
	uint64_t done[WORDS];
	uint32_t first;
	struct model m;
	uint8_t zero; /* no padding: positions are compared as bytes */
};

struct search {
	const struct box *b;
	struct position *
		tried; /* a hash table, zeroed: none has first 0 and nothing done but the beginning */
	bool *used;
	size_t room, count;
	uint32_t most; /* calls that had their place, in the best attempt */
	struct position best;
	bool gave_up;
};

static struct box *boxes;
static size_t box_count;
static unsigned wrong;
static uint64_t last_seq;
static bool died;

static struct box *box_find(const char *name)
{
	for (size_t i = 0; i < box_count; i++)
		if (is(boxes[i].name, name))
			return &boxes[i];
	return NULL;
}

static void *grow(void *list, size_t count, size_t size)
{
	void *bigger = realloc(list, count * size);

	if (!bigger)
		abort();
	return bigger;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

static bool read_sandbox(const char *line)
{
	char name[64], state[16], a[16], b[16];
	struct box *box;
	int s, ka, kb;

	if (sscanf(line, "sandbox %63s %15s %15s %15s", name, state, a, b) != 4)
		return false;
	s = word_of(state_words, STATE_COUNT, state);
	ka = word_of(kind_words, KIND_COUNT, a);
	kb = word_of(kind_words, KIND_COUNT, b);
	if (s < 0 || ka < 0 || kb < 0 || box_find(name))
		return false;
	boxes = grow(boxes, box_count + 1, sizeof(*boxes));
	box = &boxes[box_count++];
	*box = (struct box){.begin = {(uint8_t)s, {(uint8_t)ka, (uint8_t)kb}}};
	(void)snprintf(box->name, sizeof(box->name), "%s", name);
	(void)snprintf(box->last, sizeof(box->last), "%s", state);
	return true;
}

static bool read_op(const char *line, size_t number)
{
	char name[64], verb[16], mode[8], flags[16];
	struct op op = {.verb = verbs, .line = number};
	struct box *b;

	if (sscanf(line, "op %63s %ld %ld %15s %63s %7s %15s %15s", name, &op.begin, &op.ret, verb,
		   op.arg, mode, op.result, flags) != 8)
		return false;
	while (op.verb->name && !is(op.verb->name, verb))
		op.verb++;
	b = box_find(name);
	if (!op.verb->name || !b || op.ret < op.begin)
		return false;
	op.nowait = is(mode, "nowait");
	op.signalled = is(flags, "signalled");
	op.end = op.ret;
	if (b->count == b->room) {
		b->room = b->room ? 2 * b->room : 256;
		b->ops = grow(b->ops, b->room, sizeof(*b->ops));
	}
	b->ops[b->count++] = op;
	return true;
}

/* Numbers without a gap, and for each sandbox an unbroken chain of changes that something allows. */
static bool read_event(const char *line, size_t number)
{
	char name[64], state[16], from[16];
	unsigned long seq;
	struct box *b;

	if (sscanf(line, "event %lu %63s %15s %15s", &seq, name, state, from) != 4)
		return false;
	if (last_seq && seq != last_seq + 1)
		printf("line %zu: event %lu follows %lu\n", number, seq, (unsigned long)last_seq),
			wrong++;
	last_seq = seq;
	b = box_find(name);
	if (!b || is(from, "-"))
		return true;
	if (!is(b->last, from))
		printf("line %zu: %s goes from %s to %s, and was %s\n", number, name, from, state,
		       b->last),
			wrong++;
	if (!edge_is_allowed(from, state))
		printf("line %zu: %s goes from %s to %s, which nothing allows\n", number, name,
		       from, state),
			wrong++;
	(void)snprintf(b->last, sizeof(b->last), "%s", state);
	return true;
}

static bool read_final(const char *line, size_t number)
{
	char name[64], state[16];
	const struct box *b;

	if (sscanf(line, "final %63s %15s", name, state) != 2)
		return false;
	b = box_find(name);
	if (!b)
		return false;
	if (!is(b->last, state))
		printf("line %zu: %s is %s, and its last event says %s\n", number, name, state,
		       b->last),
			wrong++;
	if (word_of(state_words, GONE, state) < 0)
		printf("line %zu: %s rests in %s\n", number, name, state), wrong++;
	return true;
}

static void read_line(const char *line, size_t number)
{
	bool ok = true;

	if (strncmp(line, "sandbox ", 8) == 0)
		ok = read_sandbox(line);
	else if (strncmp(line, "op ", 3) == 0)
		ok = read_op(line, number);
	else if (strncmp(line, "event ", 6) == 0)
		ok = read_event(line, number);
	else if (strncmp(line, "final ", 6) == 0)
		ok = read_final(line, number);
	else if (is(line, "died\n"))
		died = true;
	else
		ok = line[0] == '#';
	if (!ok)
		printf("line %zu: not understood: %s", number, line), wrong++;
}

/* ---- what was at the same time ------------------------------------------------------------------------------- */

/* Having come to its answer, had it the turn behind all that was there before? */
static bool had_its_turn(const struct op *op)
{
	static const char *const not_so[] = {"EBUSY", "ECANCELED", "EINTR", "died"};

	if ((op->verb->kind != LANE && op->verb->kind != OVERTAKING) || is(op->verb->name, "rmdir"))
		return false;
	for (size_t i = 0; i < sizeof(not_so) / sizeof(not_so[0]); i++)
		if (is(op->result, not_so[i]))
			return false;
	return !op->nowait || !is(op->result, "ok");
}

static bool is_accepted(const struct op *op)
{
	return op->nowait && is(op->result, "ok") &&
	       (op->verb->kind == LANE || op->verb->kind == OVERTAKING);
}

static void find_ends(struct box *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct op *x = &b->ops[i];

		if (!is_accepted(x) && !is(x->result, "died"))
			continue;
		x->end = INT64_MAX;
		for (size_t k = i + 1; k < b->count; k++)
			if (b->ops[k].begin > x->ret && b->ops[k].ret < x->end &&
			    had_its_turn(&b->ops[k]))
				x->end = b->ops[k].ret;
		if (died && x->end == INT64_MAX && is_accepted(x))
			(void)snprintf(x->result, sizeof(x->result), "died");
	}
}

static void find_neighbours(struct box *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct op *x = &b->ops[i];

		for (size_t k = 0; k < b->count && b->ops[k].begin < x->end; k++) {
			const struct op *y = &b->ops[k];
			bool is_command = y->verb->kind == LANE || y->verb->kind == OVERTAKING;

			if (k == i || y->end < x->begin)
				continue;
			x->beside_lane |= is_command || y->verb->kind == ACCIDENT;
			x->beside_two |= (y->verb->flags & TWO_STATES) != 0;
			x->beside_accident |= y->verb->kind == ACCIDENT;
			x->beside_end |= y->verb->kind == OVERTAKING && y->ret > x->begin &&
					 y->begin < x->ret;
		}
	}
}

static int compare_ops(const void *a, const void *b)
{
	const struct op *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* ---- the search ---------------------------------------------------------------------------------------------- */

static bool is_done(const struct position *p, uint32_t i)
{
	uint32_t at = i - p->first;

	return at < WINDOW && (p->done[at / 64] >> (at % 64) & 1);
}

/* Mark it, and move the window up to the first that is not. */
static void set_done(struct position *p, uint32_t i)
{
	uint32_t at = i - p->first;

	p->done[at / 64] |= UINT64_C(1) << (at % 64);
	while (p->done[0] & 1) {
		for (int w = 0; w < WORDS; w++)
			p->done[w] = p->done[w] >> 1 | (w + 1 < WORDS ? p->done[w + 1] << 63 : 0);
		p->first++;
	}
}

static uint64_t hash_of(const struct position *p)
{
	const unsigned char *bytes = (const unsigned char *)p;
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < sizeof(*p); i++)
		h = (h ^ bytes[i]) * UINT64_C(1099511628211);
	return h ^ h >> 29;
}

/* True when it was there already. */
static bool tried_add(struct search *s, const struct position *p)
{
	size_t at = hash_of(p) & (s->room - 1);

	for (; s->used[at]; at = (at + 1) & (s->room - 1))
		if (memcmp(&s->tried[at], p, sizeof(*p)) == 0)
			return true;
	s->used[at] = true;
	s->tried[at] = *p;
	s->count++;
	return false;
}

static void tried_grow(struct search *s)
{
	struct search old = *s;

	if (s->count * 2 < s->room)
		return;
	s->room = s->room ? s->room * 4 : 4096;
	s->tried = calloc(s->room, sizeof(*s->tried));
	s->used = calloc(s->room, sizeof(*s->used));
	if (!s->tried || !s->used)
		abort();
	s->count = 0;
	for (size_t i = 0; i < old.room; i++)
		if (old.used[i])
			(void)tried_add(s, &old.tried[i]);
	free(old.tried);
	free(old.used);
}

static bool search(struct search *s, const struct position *p, uint32_t placed);

/* Let this call be the next. */
static bool search_with(struct search *s, const struct position *p, uint32_t i, uint32_t placed)
{
	struct outcomes o;

	model_outcomes(&s->b->ops[i], p->m, &o);
	for (int k = 0; k < o.count; k++) {
		struct position next = *p;

		next.m = o.list[k];
		set_done(&next, i);
		if (search(s, &next, placed + 1))
			return true;
	}
	return false;
}

static bool is_lane(const struct op *op)
{
	return op->verb->kind == LANE || op->verb->kind == OVERTAKING;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as a sandbox has calls */
static bool search(struct search *s, const struct position *p, uint32_t placed)
{
	int64_t first_ret = INT64_MAX, first_end = INT64_MAX;

	if (p->first == s->b->count)
		return true;
	tried_grow(s);
	if (tried_add(s, p) || s->gave_up)
		return false;
	s->gave_up = s->count > TRIED_MAX;
	if (placed >= s->most) {
		s->most = placed;
		s->best = *p;
	}
	for (uint32_t i = p->first; i < s->b->count && i - p->first < WINDOW; i++) {
		const struct op *op = &s->b->ops[i];

		if (is_done(p, i))
			continue;
		if (first_end < op->begin)
			break;
		if ((is_lane(op) ? first_ret : first_end) >= op->begin &&
		    search_with(s, p, i, placed))
			return true;
		first_ret = op->ret < first_ret ? op->ret : first_ret;
		first_end = op->end < first_end ? op->end : first_end;
	}
	return false;
}

static void show(const struct search *s)
{
	const struct position *p = &s->best;

	printf("%s: %s after %u of %zu calls in order, being %s (a %s, b %s); then one of:\n",
	       s->b->name, s->gave_up ? "no order was found" : "there is no order", s->most,
	       s->b->count, state_words[p->m.state], kind_words[p->m.snapshot[0]],
	       kind_words[p->m.snapshot[1]]);
	for (uint32_t i = p->first, shown = 0; i < s->b->count && shown < 8; i++) {
		const struct op *op = &s->b->ops[i];

		if (is_done(p, i))
			continue;
		printf("  line %zu: %s %s %s: %s%s\n", op->line, op->verb->name, op->arg,
		       op->nowait ? "nowait" : "", op->result, op->signalled ? " (signalled)" : "");
		shown++;
	}
}

static void check_box(struct box *b)
{
	struct search s = {.b = b};
	struct position begin = {.m = b->begin};

	qsort(b->ops, b->count, sizeof(*b->ops), compare_ops);
	find_ends(b);
	find_neighbours(b);
	if (!search(&s, &begin, 0)) {
		show(&s);
		wrong++;
	}
	free(s.tried);
	free(s.used);
}

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "re") : NULL;
	size_t number = 0, calls = 0;
	char line[512];

	if (!file)
		return 2;
	while (fgets(line, sizeof(line), file))
		read_line(line, ++number);
	(void)fclose(file);
	for (size_t i = 0; i < box_count; i++) {
		if (boxes[i].count)
			check_box(&boxes[i]);
		calls += boxes[i].count;
		free(boxes[i].ops);
	}
	printf("%zu sandboxes, %zu calls, %u wrong\n", box_count, calls, wrong);
	free(boxes);
	return wrong != 0;
}
