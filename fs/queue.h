/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/queue.h - work handed from one thread to another, run there in order */
#ifndef SBXFS_FS_QUEUE_H
#define SBXFS_FS_QUEUE_H

#include <pthread.h>
#include <stdbool.h>

/* A piece of work; the first member of what it belongs to. run() may free it. */
struct post {
	struct post *next;
	void (*run)(struct post *p);
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct post *head, **tail; /* tail: valid while head is not NULL */
	int event_fd;              /* readable when there is something; -1: a thread waits */
	bool stopping;
	pthread_t thread;
};

/* clang-format off */
#define QUEUE_INIT { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .event_fd = -1 }
/* clang-format on */

/* For a loop that polls: make event_fd. Return: 0; negative errno. */
int queue_open(struct queue *q);
void queue_close(struct queue *q);

/* Start a thread that runs what comes. Return: 0; -EAGAIN. */
int queue_start(struct queue *q);

/* End that thread once it has run everything. */
void queue_stop(struct queue *q);

/* Any thread. */
void queue_add(struct queue *q, struct post *p);

/* Run all that is there, in the calling thread. */
void queue_run(struct queue *q);

#endif
