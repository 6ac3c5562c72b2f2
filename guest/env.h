/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest/env.h - environments as agents take them */
#ifndef SBXFS_GUEST_ENV_H
#define SBXFS_GUEST_ENV_H

struct json_object;

/**
 * env_add() - Add @env as an object of texts under @key
 * @env: "K=V", NULL-terminated; NULL adds nothing; what has no '=' or no name is passed over
 * Return: 0; -ENOMEM.
 */
int env_add(struct json_object *o, const char *key, const char *const *env);

#endif
