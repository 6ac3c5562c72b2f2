/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch.h - the cloud-hypervisor driver's parts; private to vm/ */
#ifndef SBXFS_VM_CH_H
#define SBXFS_VM_CH_H

#include <pthread.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "base/json.h"
#include "vm/ch-argv.h"
#include "vm/manifest.h"
#include "vm/vm.h"

extern const struct vm_driver ch_driver;

/* The driver's names below run_dir. */
#define CH_SOCKET  "ch.sock"    /* the API */
#define CH_EVENTS  "ch.events"  /* FIFO: what the VMM says by itself */
#define CH_SAVE    "ch.save"    /* symbolic link to the spec's save_dir */
#define CH_RESTORE "ch.restore" /* directory: what the VMM is to go on from, while it starts */

enum {
	CH_RUN_DIR_SIZE = 96,
	CH_EVENT_MAX = 16 << 10, /* bytes of one event */
};

/* The state of a VM as the API names it. */
#define CH_RUNNING "Running"
#define CH_PAUSED  "Paused"

/* Taking events apart. */
struct ch_events {
	struct buf text; /* of the event that has not ended */
	void (*event)(void *arg, const char *source, const char *name);
	void *arg;
};

struct vm {
	struct vm_common common; /* first */
	char run_dir[CH_RUN_DIR_SIZE];
	pthread_mutex_t lock; /* guards events, end and began */
	struct ch_events events;
	enum vm_end end;
	bool began; /* booted or restored */
	struct manifest manifest;
};

/* vm/ch-probe.c: the driver's probe(). */
int ch_probe(enum vm_accel want, struct vm_host *ret, struct err *e);

/* Can this kernel confine a VMM to its files the way this one wants it? */
bool ch_landlock(void);

/* vm/ch-save.c: the driver's save(), check_saved(). */
int ch_save(struct vm *vm, const struct vm_saved *to, const struct deadline *d, struct err *e);
int ch_check_saved(const struct vm_spec *spec, struct err *e);

/* What a VM started with @spec has, without files. */
void ch_manifest(struct manifest *m, const struct vm_spec *spec);

/**
 * ch_restore_dir() - Make the directory that the VMM goes on from: its configuration for here, links to the rest
 * @fds: numbers in the new process
 * Return: 0; -EBADMSG what is saved is damaged; negative errno.
 */
int ch_restore_dir(const struct vm_spec *spec, const struct ch_fds *fds, bool direct,
		   struct err *e);

/**
 * ch_config_edit() - Fit a saved configuration to the process that is to go on with it
 * @config: as the VMM wrote it; changed
 * Return: 0; -EBADMSG it is none of ours.
 */
int ch_config_edit(struct json_object *config, const struct ch_fds *fds, bool direct,
		   struct err *e);

/* ---- vm/ch-files.c ---- */

/* Everything that a new VMM inherits, open in this process; owned, -1: none. */
struct ch_files {
	int api, events, kernel, initrd, disk, save;
	bool direct; /* the disk takes O_DIRECT */
};

/**
 * ch_files_open() - Open kernel, initrd and disk, make the socket of the API and the FIFO of the events
 * @f: to be released with ch_files_close(), on failure too
 * Return: 0; negative errno with what could not be opened.
 */
int ch_files_open(const struct vm_spec *spec, struct ch_files *f, struct err *e);
void ch_files_close(struct ch_files *f);

/* Open the FIFO: for reading too on each side, so that it neither ends nor fails when the other one goes. */
int ch_events_open(const char *run_dir, int *ret_fd, struct err *e);

/* Remove what the driver made below run_dir; it may not be there. */
void ch_names_remove(const char *run_dir);

/* ---- vm/ch-api.c ---- */

/**
 * ch_call() - One request to the API: GET when an answer is wanted, else PUT
 * @what: such as "vm.pause"
 * @body: NULL: none; borrowed
 * @ret:  the answer, a new reference; NULL: not wanted
 * Context: blocks until the VMM has done it: its API answers one after the other. A call that @d ends goes on in the VMM.
 * Return: 0; -EIO refused, with the VMM's reasons, or it is gone; -ETIMEDOUT; -ECANCELED.
 */
int ch_call(const char *run_dir, const char *what, struct json_object *body,
	    const struct deadline *d, struct json_object **ret, struct err *e);

/* PUT of one text or number member. */
int ch_put_text(const char *run_dir, const char *what, const char *key, const char *value,
		const struct deadline *d, struct err *e);
int ch_put_int(const char *run_dir, const char *what, const char *key, int64_t value,
	       const struct deadline *d, struct err *e);

/* GET vm.info. Return: 0 and @ret, a new reference; as ch_call(). */
int ch_info(const char *run_dir, const struct deadline *d, struct json_object **ret, struct err *e);

/* Read what is there of the FIFO and take it apart. Never waits. */
void ch_events_read(struct ch_events *ev, int fd);

/* Take a piece of what the VMM wrote apart: events() is called for each that is whole. */
void ch_events_take(struct ch_events *ev, const char *data, size_t len);

#endif
