/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What programs at sockets did, for those who watch. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "watchers.h"

/* To be called while somebody watches. The port in network order. */
static __noinline int trace_socket(struct bpf_sock_addr *ctx, __u32 point, __be32 address,
				   __u32 port)
{
	struct sock_event *event = bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0);

	if (!event) {
		count_lost_event();
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->type = EVENT_TRACE_SOCK;
	event->code = point;
	event->l4_proto = ctx->protocol;
	event->port = port;
	event->address = address;
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->socket_cookie = bpf_get_socket_cookie(ctx);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
