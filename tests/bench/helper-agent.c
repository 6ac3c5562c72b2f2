// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-agent.c - times the ways to a guest's agent, in turn
 *
 *   helper-agent COUNT DIR ADDRESS PORT
 *
 * Each round: `exec true` written to DIR/ctl (ctl-exec), the same through the host's side of the agent alone
 * (agent-exec), and one plain request over a connection of its own (agent-health).
 */
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "base/log.h"
#include "guest/guest.h"
#include "tests/bench/bench.h"

enum { LIMIT_MS = 60000 };

static void ctl_exec(int ctl_fd)
{
	static const char line[] = "exec true\n";
	double start = bench_now();

	if (write(ctl_fd, line, sizeof(line) - 1) < 0)
		bench_die_sys("exec true");
	bench_sample("ctl-exec", start);
}

static void agent_exec(const struct guest *g)
{
	const struct guest_command c = {.text = "true"};
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct guest_exit ended;
	AUTO_BUF output = BUF_INIT;
	double start = bench_now();
	struct err e;

	if (guest_exec(g, &c, &d, &output, &ended, &e) < 0)
		bench_die("%s", e.text);
	bench_sample("agent-exec", start);
}

static void agent_health(const struct guest *g)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	double start = bench_now();
	struct err e;

	if (guest_health(g, &d, &e) < 0)
		bench_die("%s", e.text);
	bench_sample("agent-health", start);
}

int main(int argc, char **argv)
{
	AUTO_BUF token = BUF_INIT;
	struct guest g = {.token = ""};
	char path[512];
	AUTO_FD ctl_fd = -1;

	if (argc != 5)
		bench_die("usage: helper-agent COUNT DIR ADDRESS PORT");
	log_open(false);
	(void)snprintf(path, sizeof(path), "%s/token", argv[2]);
	if (http_init() < 0 || file_read(AT_FDCWD, path, sizeof(path), &token, NULL) < 0)
		bench_die("cannot read %s", path);
	token.data[strcspn(token.data, "\n")] = '\0';
	g = (struct guest){
		.addr = argv[3], .port = (uint16_t)bench_number(argv[4]), .token = token.data};
	(void)snprintf(path, sizeof(path), "%s/ctl", argv[2]);
	ctl_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (ctl_fd < 0)
		bench_die_sys(path);
	for (unsigned i = bench_number(argv[1]); i > 0; i--) {
		ctl_exec(ctl_fd);
		agent_exec(&g);
		agent_health(&g);
	}
	return 0;
}
