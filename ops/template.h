/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template.h - templates: versions of a root image, a kernel and an initramfs, with default settings
 *
 * On disk: templates/NAME/ with a record and versions/DIGEST12/{rootfs.ext4,kernel,initrd,template.conf}. A version never changes
 * once it has its name; a sandbox keeps the version that it began with. pull/ is a download that is under way or broke off.
 */
#ifndef SBXFS_OPS_TEMPLATE_H
#define SBXFS_OPS_TEMPLATE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/fetch.h"
#include "ops/config.h"
#include "ops/lane.h"
#include "ops/sbx.h"

struct template; /* by reference: template_get(), template_put() */

struct template *template_get(struct template *t);
void template_put(struct template *t); /* takes NULL */

struct template *template_find(const char *name);
struct template *template_find_serial(uint32_t serial);
struct template *template_next(uint32_t after); /* in order of serials; 0 to begin */

/* mkdir and rmdir below .templates; durable. rmdir: -EBUSY while a sandbox needs it. */
int template_create(const char *name, const struct writer *w, struct template **ret, struct err *e);
int template_remove(struct template *t, struct err *e);

/* The same if it has no version: one that was made for an import that failed. Return: -EBUSY it has one. */
int template_remove_empty(struct template *t, struct err *e);
int template_set_owner(struct template *t, uid_t uid, gid_t gid, mode_t mode, struct err *e);

/* Where a version was pulled from. */
struct template_source {
	char url[FETCH_URL_MAX];      /* "": nowhere, it was imported */
	char sha256[DIGEST_HEX_SIZE]; /* of the file as downloaded */
	char etag[256], modified[64]; /* what the server said of it; "" nothing */
	uint64_t bytes;               /* its length; 0 not known */
};

struct template_view {
	uint32_t serial;
	char name[NAME_MAX_LEN + 1];
	const char *state; /* "empty", "pulling", "importing", "ready" */
	char digest[13];   /* of the current version; "" */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	uint64_t rootfs_bytes, disk_bytes; /* length; allocated on disk by all versions */
	const char
		*warm; /* saved memory of the current version: "none", "making", "ready", "full" */
	uint64_t warm_bytes; /* allocated by it */
	unsigned used_by;    /* sandboxes that need it */
	int64_t created_ms, imported_ms;
	struct template_source source; /* of the current version */
	uint64_t pull_bytes,
		pull_total; /* of a pull under way or broken off: here, and in all; 0 none */
	int64_t checked_ms; /* when its source was last asked; 0 never */
	char last_error[512];
};

void template_view(struct template *t, struct template_view *ret);

/* What stat shows; unlike template_view() it does not look at who uses it. */
struct template_owner {
	uid_t uid;
	gid_t gid;
	mode_t mode;
	int64_t created_ms;
};

struct template_owner template_owner(struct template *t);
struct lane *template_lane(struct template *t);

/* Copy of its default settings; config_done() is the caller's. */
int template_config(struct template *t, struct config *ret);

/* Copy of what was set for it, without its version's own. */
int template_own_config(struct template *t, struct config *ret);

/* Replace what was set for it, durably; @c comes back as what is not in use then. With its lane's turn. */
int template_set_config(struct template *t, struct config *c, struct err *e);

/* Saved memory that sandboxes of a version go on from at their first start: versions/DIGEST12/memory/, template-memory.c */
struct template_memory {
	struct memory_saved saved; /* dir "": there is none */
	bool full; /* of a sandbox as somebody left it (commit full), else of a guest that had just booted */
	char store
		[16]; /* of the disk's data beside it; "": there is none, the disk is the template's image */
	uint64_t disk_mib; /* of the disk that it fits to */
};

/* The paths of one version, for a sandbox. */
struct template_version {
	char pin[NAME_MAX_LEN + 1 + 13];            /* NAME@DIGEST12 */
	char rootfs[384], kernel[384], initrd[384]; /* absolute */
	char cmdline[1024];                         /* the template's own kernel arguments */
	char init[128]; /* sbxfs.init= for the agent: "agent" or a path */
	uint64_t rootfs_bytes;
	struct template_memory memory; /* that is known to be good so far */
	char memory_dir[384];          /* absolute */
	struct config defaults;        /* owned: template_version_done() */
};

/**
 * template_version_find() - The version that a sandbox starts from
 * @pin: NAME for the current one, NAME@DIGEST12 for that one
 * Return: 0; -ENOENT with how to make it.
 */
int template_version_find(const char *pin, struct template_version *ret, struct err *e);

/* The same content whatever its template is called here: @pin is NAME@DIGEST12, and that name goes first. */
int template_version_like(const char *pin, struct template_version *ret, struct err *e);
void template_version_done(struct template_version *v);

/* The disk that a sandbox of this version gets, in MiB; 0 when neither it nor the version says. @v may be NULL. */
uint64_t template_disk_mb(const struct config *c, const struct template_version *v);

/* Import from a directory written by sbx-mktemplate, opened with the writer's own rights. */
int template_import(struct template *t, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e);

/* Files given one by one; NULL: not given. */
struct template_files {
	const char *rootfs;          /* must be given */
	const char *kernel, *initrd; /* else those of the template `default` */
	const char *cmdline;
};

int template_import_files(struct template *t, const struct template_files *f,
			  const struct writer *w, const struct deadline *d, struct err *e);

enum template_part {
	TEMPLATE_PART_ROOTFS,
	TEMPLATE_PART_KERNEL,
	TEMPLATE_PART_INITRD,
	TEMPLATE_PART_CONF,
	TEMPLATE_PART_COUNT
};

/* The parts of a version as open files, read from offset 0. */
struct template_parts {
	int fd[TEMPLATE_PART_COUNT]; /* -1: not given; owned: template_parts_done() */
	/*
	 * Of the templates' directory: made by us with O_TMPFILE, or a version's own that never changes. It gets a name
	 * rather than being copied.
	 */
	bool ours[TEMPLATE_PART_COUNT];
	const char *conf; /* text to use in place of a template.conf; NULL: the file; borrowed */
	const struct template_source *source; /* NULL: not pulled; borrowed */
	/* Saved memory that goes with it, as template_memory_seal() left it: its files get names there too; -1: none; borrowed. */
	int memory_fd;
};

#define TEMPLATE_PARTS_NONE                                                                        \
	{                                                                                          \
		.fd = {-1, -1, -1, -1}, .memory_fd = -1                                            \
	}
void template_parts_done(struct template_parts *p);

/* A new version from parts; rootfs, kernel and initrd must be given. With its lane's turn, as all imports. */
int template_import_parts(struct template *t, const struct template_parts *p,
			  const struct deadline *d, struct err *e);

/**
 * template_pull() - A new version from a URL
 * @url:    fetch_check_url()
 * @sha256: of the file that is there, 64 lower-case hexadecimal digits
 *
 * The file is a tar archive of what sbx-mktemplate writes, or an ext4 image, either compressed by gzip, zstd or xz or not.
 * What has come of it when the pull ends early stays, for the next pull of the same to go on with.
 *
 * Context: blocks for as long as something comes; with its lane's turn.
 * Return: 0; -EBADMSG another digest, or not such a file: nothing of it is kept; -ENOENT, -EACCES, -EIO, -ETIMEDOUT by
 *         the server or the way to it; -ENOSPC; -ECANCELED.
 */
int template_pull(struct template *t, const char *url, const char *sha256, const struct deadline *d,
		  struct err *e);

/**
 * template_check() - Ask where it was pulled from whether there is a newer one
 * @out: "current", "newer", "newer sha256=…" or "unreachable: …" and a newline
 * Return: 0, also when nobody answers; -EINVAL it was never pulled; -ECANCELED.
 */
int template_check(struct template *t, const struct deadline *d, struct buf *out, struct err *e);

/* Remove the versions that no sandbox needs and that are not current. With its lane's turn. */
void template_prune(struct template *t);

/* ---- saved memory ---------------------------------------------------------------------------------------- */

/**
 * template_memory_check() - Can this host go on from it, as far as can be told without trying?
 * @dir: its directory, absolute
 * Return: 0; -ENOTSUP what differs; -EBADMSG damaged; -ENOENT.
 */
int template_memory_check(const struct template_memory *m, const char *dir, struct err *e);

/* It has failed: no start takes it any more until the next daemon. */
void template_memory_bad(const struct template_version *v);

/* Memory on its way to a version: versions/DIGEST12/.memory.new */
struct template_memory_fresh {
	int version_fd, fd; /* its version's directory and its own; owned */
	char path[400];     /* of fd, absolute */
};

/* Make the directory, empty; template_memory_fresh_done() is the caller's either way. */
int template_memory_begin(const struct template_version *v, struct template_memory_fresh *ret,
			  struct err *e);

#define TEMPLATE_MEMORY_START "start" /* in a directory of saved memory: what goes with it */

/* Make the directory of what goes with saved memory: the disk's data is to be copied to it. */
int template_memory_start_dir(int memory_fd, int *ret_fd, struct err *e);

/* Write its record to that, and make both directories durable. */
int template_memory_seal(int memory_fd, int start_fd, const struct template_memory *m,
			 struct err *e);

/* Give it its name, durably, in the place of what the version had. Return: 0; -ENOENT the version is gone; -EIO, …. */
int template_memory_finish(struct template_memory_fresh *f, const struct template_version *v,
			   const struct template_memory *m, const struct deadline *d,
			   struct err *e);

/* Remove what has not been finished. */
void template_memory_fresh_done(struct template_memory_fresh *f);

/* Load all; at start, before any thread. */
int template_init(struct err *e);
void template_done(void);

#endif
