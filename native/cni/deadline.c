/* SPDX-License-Identifier: Apache-2.0 */
#include "deadline.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>

#define PAUSE_MS 10

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t deadline_in(int64_t ms)
{
	return now_ms() + ms;
}

int64_t deadline_earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int deadline_left(int64_t deadline)
{
	int64_t left = deadline - now_ms();

	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

bool deadline_poll(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = fd, .events = events };
		int ready = poll(&poll_fd, 1, deadline_left(deadline));

		if (ready > 0)
			return true;
		if (ready == 0) {
			errno = ETIMEDOUT;
			return false;
		}
		if (errno != EINTR)
			return false;
	}
}

bool deadline_pause(int64_t deadline)
{
	int left = deadline_left(deadline);

	if (!left)
		return false;
	poll(NULL, 0, left < PAUSE_MS ? left : PAUSE_MS);
	return true;
}
