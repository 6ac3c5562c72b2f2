/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/thread.h - threads for what may block: the loop never does */
#ifndef SBXFS_AGENT_THREAD_H
#define SBXFS_AGENT_THREAD_H

/**
 * thread_start() - Run @main in a detached thread with a small stack and every signal blocked: they belong to the loop
 * Return: 0; a negative errno.
 */
int thread_start(void *(*main)(void *), void *arg);

#endif
