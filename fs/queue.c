/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/queue.c - work handed from one thread to another */
#include "fs/queue.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

int queue_open(struct queue *q)
{
	q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return q->event_fd < 0 ? -errno : 0;
}

void queue_close(struct queue *q)
{
	fd_close(steal_fd(&q->event_fd));
}

void queue_add(struct queue *q, struct post *p)
{
	const uint64_t one = 1;

	p->next = NULL;
	pthread_mutex_lock(&q->lock);
	if (q->head)
		*q->tail = p;
	else
		q->head = p;
	q->tail = &p->next;
	pthread_cond_signal(&q->more);
	/* Inside the lock, so that queue_close() cannot come between. It only fails at 2^64 - 1, and then the
	 * descriptor is readable anyway. */
	if (q->event_fd >= 0)
		(void)!write(q->event_fd, &one, sizeof(one));
	pthread_mutex_unlock(&q->lock);
}

static void run_all(struct post *p)
{
	while (p) {
		struct post *next = p->next;

		p->run(p);
		p = next;
	}
}

void queue_run(struct queue *q)
{
	struct post *all;
	uint64_t count;

	pthread_mutex_lock(&q->lock);
	all = q->head;
	q->head = NULL;
	if (q->event_fd >= 0)
		(void)!read(q->event_fd, &count, sizeof(count)); /* EAGAIN: nothing was told */
	pthread_mutex_unlock(&q->lock);
	run_all(all);
}

static void *queue_thread(void *arg)
{
	struct queue *q = arg;
	bool stopping = false;

	while (!stopping) {
		pthread_mutex_lock(&q->lock);
		while (!q->head && !q->stopping)
			pthread_cond_wait(&q->more, &q->lock);
		stopping = !q->head;
		pthread_mutex_unlock(&q->lock);
		queue_run(q);
	}
	return NULL;
}

int queue_start(struct queue *q)
{
	q->stopping = false; /* it may have been stopped before */
	return -pthread_create(&q->thread, NULL, queue_thread, q);
}

void queue_stop(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
	(void)pthread_join(q->thread, NULL); /* can only fail for a thread that is not there */
}
