/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/spawn.h - start a program as a user of the guest */
#ifndef SBXFS_AGENT_SPAWN_H
#define SBXFS_AGENT_SPAWN_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/connect.h"
#include "agent/user.h"
#include "base/buf.h"
#include "base/err.h"

struct json_object;

struct spawn_spec {
	const char *cmd;          /* a path, or a name to be found in PATH */
	struct json_object *args; /* an array of texts, NULL: none */
	struct json_object *env;  /* the whole environment, an object of texts */
	const char *cwd; /* relative to the user's home; NULL: the home, or / where there is none */
	const struct user *user;
	const struct rlimit *files;
};

struct spawned {
	pid_t pid;  /* leader of a session and a process group of its own */
	int out[2]; /* stdout and stderr to read from, not blocking */
	int report; /* ends empty when the program runs, else holds a struct spawn_report; not blocking */
};

/* What kept the program from running. */
struct spawn_report {
	int step;  /* enum spawn_step */
	int error; /* positive errno */
};

/**
 * spawn_start() - Fork a child that becomes the program
 * Owner:  the caller reaps the child and closes the descriptors.
 * Return: 0, which does not mean that the program runs: wait for @ret->report; -EAGAIN, -ENOMEM, -EMFILE.
 */
int spawn_start(const struct spawn_spec *spec, struct spawned *ret, struct err *e);

/**
 * spawn_explain() - A report in words
 * @config: of the process: "cmd" and "cwd" are named in the text
 * @ret:    for the caller to free, by buf_done()
 */
enum connect_code spawn_explain(const struct spawn_report *r, struct json_object *config,
				struct buf *ret);

#endif
