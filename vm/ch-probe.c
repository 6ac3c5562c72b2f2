/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch-probe.c - find cloud-hypervisor and what it can do on this host
 *
 * Versions from 52 on are taken: they write and read only what a guest has touched of its memory (52), and take descriptors for
 * the API socket. There is no promise that one version goes on with what another one saved; the manifest says which it was.
 * Memory always comes back whole before a guest goes on ("Copy"), in every version. The other way, pages as they are touched,
 * loses memory in 52 when such a guest is saved again with memory shared as ours is, and in 53 reads everything all the same,
 * while the guest waits for its pages behind it.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "vm/accel.h"
#include "vm/ch.h"
#include "vm/program.h"

#define PROGRAM "cloud-hypervisor"
#define HOW_TO_GET                                                                                 \
	"install version 52 or later of https://github.com/cloud-hypervisor/cloud-hypervisor, or " \
	"name it with --cloud-hypervisor"

enum {
	VERSION_MIN = 52,
	LANDLOCK_ABI = 3, /* what the program insists on; Linux 6.2 */
	DECIMAL = 10,
};

bool ch_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >=
	       LANDLOCK_ABI;
}

static int find_program(struct vm_host *host, struct err *e)
{
	const char *given = vm_program(ch_driver.name);

	if (!given)
		return program_find(PROGRAM, HOW_TO_GET, host->program, sizeof(host->program), e);
	if (given[0] != '/' || strlen(given) >= sizeof(host->program))
		return err_set(e, ENOTSUP, "--cloud-hypervisor %s is not an absolute path", given);
	if (access(given, X_OK) < 0)
		return err_set(e, ENOTSUP, "%s cannot be executed (%s); " HOW_TO_GET, given,
			       err_name(errno));
	memcpy(host->program, given, strlen(given) + 1);
	return 0;
}

/* "cloud-hypervisor v53.0" and more lines: all behind the "v" of the first. */
static int find_version(struct vm_host *host, struct err *e)
{
	static const char mark[] = "cloud-hypervisor v";
	const char *const argv[] = {host->program, "--version", NULL};
	AUTO_BUF answer = BUF_INIT;
	const char *at;
	int r = program_ask(argv, &answer, e);

	if (r < 0)
		return r;
	at = buf_text(&answer);
	if (strncmp(at, mark, strlen(mark)) != 0)
		return err_set(e, ENOTSUP, "%s does not tell its version", host->program);
	at += strlen(mark);
	if (strtol(at, NULL, DECIMAL) < VERSION_MIN)
		return err_set(e, ENOTSUP, "%s is version %.*s, which is too old; " HOW_TO_GET,
			       host->program, (int)strcspn(at, "\r\n"), at);
	(void)snprintf(host->version, sizeof(host->version), "%.*s", (int)strcspn(at, "\r\n"), at);
	return 0;
}

int ch_probe(enum vm_accel want, struct vm_host *ret, struct err *e)
{
	struct vm_host host = {.driver = &ch_driver};
	int r = find_program(&host, e);

	if (r == 0)
		r = find_version(&host, e);
	if (r == 0)
		r = accel_choose(want, &host.accel, host.accel_why, sizeof(host.accel_why), e);
	if (r == 0 && host.accel != VM_ACCEL_KVM)
		r = err_set(
			e, ENOTSUP,
			"cloud-hypervisor needs KVM, and %s; run it on hardware, or in a machine "
			"with nested virtualisation, and let it open /dev/kvm",
			host.accel_why);
	if (r == 0)
		*ret = host;
	return r;
}
