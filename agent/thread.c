// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/thread.c - threads for what may block */
#include "agent/thread.h"

#include <pthread.h>
#include <signal.h>

enum {
	STACK_BYTES = 64 * 1024,
};

int thread_start(void *(*main)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int r = pthread_attr_init(&attr);

	if (r)
		return -r;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED); /* valid arguments */
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);               /* else the default */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, main, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return -r;
}
