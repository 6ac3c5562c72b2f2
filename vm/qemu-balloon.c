/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-balloon.c - have a guest give memory back
 *
 * How it works: QEMU tells of the balloon at most once a second, so it is asked as well while the balloon moves. It has
 * come to rest when a second went by in which nothing changed.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/qemu-private.h"

enum {
	ASK_MS = 20,     /* between two questions when no event comes */
	STALL_MS = 1000, /* without a change it has come to rest */
};

/* Memory that the guest has, in bytes. */
static int ask(struct vm *vm, const struct deadline *d, uint64_t *ret, struct err *e)
{
	AUTO_JSON reply = NULL;
	int r = qmp_call(&vm->qmp, "query-balloon", NULL, d, &reply, e);

	if (r == 0)
		*ret = (uint64_t)json_int_at(reply, "return/actual", 0);
	return r;
}

static int order(struct vm *vm, uint64_t bytes, const struct deadline *d, struct err *e)
{
	struct json_object *args = json_object_new_object();

	if (!args || json_add_int(args, "value", (int64_t)bytes) < 0) {
		json_object_put(args);
		return err_set(e, ENOMEM, "no memory for a command to QEMU");
	}
	return qmp_call(&vm->qmp, "balloon", args, d, NULL, e);
}

/* Wait until the guest has @wanted bytes, rests, or time is over. */
static int follow(struct vm *vm, uint64_t wanted, const struct deadline *d, uint64_t *now,
		  struct err *e)
{
	struct deadline rest = deadline_within(d, STALL_MS);

	while (*now != wanted && deadline_left_ms(&rest) != 0) {
		struct deadline piece = deadline_within(&rest, ASK_MS);
		struct deadline answer = deadline_in(STALL_MS, d->cancel_fd);
		uint64_t before = *now;
		int r = qmp_await(&vm->qmp, &piece, e);

		if (r == 0 || r == -ETIMEDOUT)
			r = ask(vm, &answer, now, e);
		if (r < 0)
			return r;
		if (*now != before)
			rest = deadline_within(d, STALL_MS);
	}
	return 0;
}

static int set_balloon(struct vm *vm, uint64_t bytes, const struct deadline *d, uint64_t *now,
		       struct err *e)
{
	int r = ask(vm, d, now, e);

	if (r == 0)
		r = order(vm, bytes, d, e);
	return r < 0 ? r : follow(vm, bytes, d, now, e);
}

int qemu_balloon(struct vm *vm, uint64_t keep_mib, const struct deadline *d, uint64_t *ret_mib,
		 struct err *e)
{
	uint64_t all = vm->common.memory_mib, now = 0;
	int r;

	if (all == 0)
		return err_set(e, ENOTSUP, "it is not known how much memory the guest has");
	if (keep_mib < all && strcmp(vm->runs.memory, QEMU_MEMORY_FILE) != 0)
		return err_set(e, ENOTSUP,
			       "the guest shares saved memory with others, of which nothing can be "
			       "given back");
	if (keep_mib > all)
		keep_mib = all;
	(void)pthread_mutex_lock(&vm->lock);
	r = set_balloon(vm, (keep_mib ? keep_mib : 1) << 20, d, &now, e);
	(void)pthread_mutex_unlock(&vm->lock);
	if (r == 0 && ret_mib)
		*ret_mib = now >> 20;
	return r < 0 ? err_wrap(e, "cannot set the guest's balloon") : 0;
}
