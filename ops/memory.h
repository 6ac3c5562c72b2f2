/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/memory.h - a sandbox's saved memory: where it is, what goes with it, how it comes and goes
 *
 * What a VMM's driver saved lies in a directory: memory.N of a paused sandbox, named by its record (s->memory); memory in a full
 * snapshot and in a template's version, named by theirs. Its files never change, so that whoever goes on from
 * the same shares them by hard links: nothing is lost when one of them goes.
 *
 * Saved memory fits the disk as it was at that moment and no other. So the record names it before the VM ends
 * (from then on it must not go on), and no more once the guest has gone on for good. In between the journal says "resumed".
 */
#ifndef SBXFS_OPS_MEMORY_H
#define SBXFS_OPS_MEMORY_H

#include "base/json.h"
#include "ops/sbx.h"

#define MEMORY_DIR "memory" /* in a snapshot and in a template's version */

enum {
	MEMORY_DIR_SIZE = sizeof(((struct memory_saved *)0)->dir),
};

/* As members of a JSON object "memory" in a record; nothing when there is none. */
int memory_add_json(const struct memory_saved *m, struct json_object *o);
void memory_from_json(struct json_object *o, struct memory_saved *ret);

/**
 * memory_make_dir() - Make an empty directory memory.N for saved memory of a sandbox, durably
 * @ret_name: what goes into s->memory.dir
 * Context: with the turn.
 */
int memory_make_dir(struct sbx *s, char ret_name[MEMORY_DIR_SIZE], int *ret_fd, struct err *e);

/* Remove memory.N that the record does not name. A failure is logged: the next start removes it. */
void memory_remove(struct sbx *s, const char *name);

/**
 * memory_save() - Save the memory of a VM whose vCPUs stand
 * @s:    with the turn
 * @path: absolute, of the directory @fd, which is empty
 * @ret:  all but dir
 * Return: 0, durably, but for the directory's own name; as vm_driver.save().
 */
int memory_save(struct sbx *s, const char *path, int fd, const struct deadline *d,
		struct memory_saved *ret, struct err *e);

/* Share the files of saved memory: a name for each in another, empty directory, durably. Return: 0; -ENOSPC, -EIO, …. */
int memory_link(int from_fd, int to_fd, struct err *e);

/**
 * memory_give() - Make saved memory the sandbox's own, without saving its record yet
 * @from_fd: directory of saved memory, whose files are linked
 * @m:       what goes with it; dir is set here, foreign and shared are the caller's
 * Return: 0: s->memory is set, and becomes durable with the next record_save(); else nothing has changed.
 */
int memory_give(struct sbx *s, int from_fd, const struct memory_saved *m, struct err *e);

/* Does what is built from here on go on with the saved memory, rather than boot? */
bool memory_goes_on(const struct sbx *s);

/* From here on its disk may change, durably. Before its guest goes on, or boots in spite of saved memory. With the turn. */
int memory_mark(struct sbx *s, struct err *e);

/**
 * memory_judge() - Its VM has ended after memory_mark(): does the memory still fit its disk?
 * Context: with the turn, the disk detached. It becomes stale when the disk has been written to, or nobody knows.
 * Return: 0, also when it was never marked; the record could not be saved: it stays marked.
 */
int memory_judge(struct sbx *s, struct err *e);

/* It is not needed any more: the record says so first, durably, then it is removed, and the mark. Return: 0, also when there is none. */
int memory_drop(struct sbx *s, struct err *e);

/* At start, after the record: remove what the record does not name. */
void memory_settle(struct sbx *s);

/* Can it go on? Return: 0; -EINVAL there is none, or its disk has changed since. */
int memory_check(struct sbx *s, struct err *e);

/* Allocated bytes of the files in a directory of saved memory. */
uint64_t memory_bytes(int dir_fd);

#endif
