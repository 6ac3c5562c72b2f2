/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-private.h - what template.c shares with its loading and importing halves; for nobody else */
#ifndef SBXFS_OPS_TEMPLATE_PRIVATE_H
#define SBXFS_OPS_TEMPLATE_PRIVATE_H

#include "base/json.h"
#include "ops/template.h"

enum {
	DIGEST_SHORT = 12, /* hexadecimal digits that name a version */
};

/* One version, as its files say; constant once listed, but for its memory. */
struct version {
	struct version *next;
	char digest[DIGEST_SHORT + 1];
	uint64_t rootfs_bytes;
	uint64_t disk_bytes; /* allocated */
	char cmdline[1024], init[128];
	struct config defaults; /* settings in its template.conf; owned */

	/* These change: the template lock. */
	struct template_memory memory;
	uint64_t memory_bytes; /* allocated by it */
	bool memory_bad; /* it failed, or is for another host: not to be tried again by this daemon */
};

struct template
{
	atomic_uint refs;
	uint32_t serial;
	int dir_fd; /* templates/NAME; owned */
	struct lane lane;
	char name[NAME_MAX_LEN + 1]; /* constant */

	/* All below: the template lock. */
	struct template *next; /* in order of serials */
	bool removing;         /* nothing may begin to need it */
	const char *doing;     /* "pulling", "importing"; NULL: nothing */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	int64_t created_ms, imported_ms;
	char digest[DIGEST_SHORT + 1]; /* of the current version; "" none */
	struct version *versions;      /* newest first; owned */
	struct config config;          /* set in its config file: over its version's */
	struct template_source source; /* of the current version */
	uint64_t pull_bytes, pull_total;
	int64_t checked_ms;
	char last_error[512];
};

extern pthread_mutex_t template_lock;

/* Its record, durably. Without the template lock. */
int template_save(struct template *t, struct err *e);
int template_load(struct template *t, struct err *e);

/* A source as members of a JSON object. */
int source_add_json(const struct template_source *s, struct json_object *o);
void source_from_json(struct json_object *o, struct template_source *ret);

/* What status shows of a pull that an earlier daemon left. */
void template_pull_load(struct template *t);

/* Show what is being done to it, and how that ended. */
void template_doing(struct template *t, const char *what);
void template_did(struct template *t, int result, const struct err *e);

/* Open the kernel or the initramfs of the template `default`, for one that has none of its own. */
int template_lend(int part, struct template_parts *p, struct err *e);

/**
 * template_unpack() - The parts in a file that was downloaded
 * @fd: an archive or an image; its digest is known to be right
 * @p:  gets new files of ours; of a bare image the root file system alone
 * Return: 0; -EBADMSG not such a file; -ENOSPC; -ECANCELED; -EIO.
 */
int template_unpack(int fd, struct template_parts *p, const struct deadline *d, struct err *e);

/* Read versions/@digest of it. One allocation, the caller's until it is listed; NULL with @e. */
struct version *version_load(struct template *t, const char *digest, struct err *e);
void version_free(struct version *v); /* takes NULL */

/* The version that a pin names, and its template; NULL: there is none. With the template lock. */
struct version *version_of_pin(const char *pin, struct template **ret);

/* The absolute path of a file in a version's directory; @name "" for the directory. */
void version_path(const struct template *t, const struct version *v, const char *name, char *path,
		  size_t size);

/* What it has of saved memory; what a crash has left half is removed. @version_fd: its directory. */
void version_load_memory(int version_fd, struct version *v);

/* At start: an image of memory that this host cannot go on from any more is removed. */
void version_check_memory(struct template *t, struct version *v);

/* The directory `memory` in @from_fd becomes that of the version @version_fd, durably. */
int version_move_memory(int from_fd, int version_fd, struct err *e);

/* How many sandboxes need a version of it, themselves or for a snapshot; @digest NULL: any. */
unsigned template_users(const struct template *t, const char *digest);

#endif
