/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-private.h - what template.c shares with its loading and importing halves; for nobody else */
#ifndef SBXFS_OPS_TEMPLATE_PRIVATE_H
#define SBXFS_OPS_TEMPLATE_PRIVATE_H

#include "ops/template.h"

enum {
	DIGEST_SHORT = 12, /* hexadecimal digits that name a version */
};

/* One version, as its files say; constant once listed. */
struct version {
	struct version *next;
	char digest[DIGEST_SHORT + 1];
	uint64_t rootfs_bytes;
	uint64_t disk_bytes; /* allocated */
	char cmdline[1024], init[128];
	struct config defaults; /* settings in its template.conf; owned */
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
	bool importing;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	int64_t created_ms, imported_ms;
	char digest[DIGEST_SHORT + 1]; /* of the current version; "" none */
	struct version *versions;      /* newest first; owned */
	struct config config;          /* set in its config file: over its version's */
	char last_error[512];
};

extern pthread_mutex_t template_lock;

/* Its record, durably. Without the template lock. */
int template_save(struct template *t, struct err *e);
int template_load(struct template *t, struct err *e);

/* Read versions/@digest of it. One allocation, the caller's until it is listed; NULL with @e. */
struct version *version_load(struct template *t, const char *digest, struct err *e);
void version_free(struct version *v); /* takes NULL */

/* Remove the versions that no sandbox needs and that are not current. */
void template_prune(struct template *t);

/* How many sandboxes need a version of it, themselves or for a snapshot; @digest NULL: any. */
unsigned template_users(const struct template *t, const char *digest);

#endif
