/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time on the monotonic clock, in milliseconds: nothing here waits for ever. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The moment `ms` milliseconds from now. */
int64_t deadline_in(int64_t ms);
/* The earlier of two moments. */
int64_t deadline_earlier(int64_t a, int64_t b);
/* Milliseconds until then as poll() takes them: 0 when it has passed. */
int deadline_left(int64_t deadline);
/* Waits for poll events on a descriptor; false with errno ETIMEDOUT when the time has come first. */
bool deadline_poll(int fd, short events, int64_t deadline);
/* Sleeps a short while, but not past the deadline; false when it has passed already. */
bool deadline_pause(int64_t deadline);
